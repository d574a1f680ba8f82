//! Export of spans to a trace collector: OTLP over HTTP, in batches that a thread of its own sends.
//!
//! The OpenTelemetry library reads the other variables of its specification itself, such as headers, the
//! sampler and the resource:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{Key, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ureq::Agent;

use crate::cli::common::tls;
use crate::config;

/// Timeout of sending a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time to send the last batch at the end of the process.
const FINAL_SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Hint on the form of an address.
const ADDRESS_HINT: &str = "write one like http://127.0.0.1:4318";

/// Span export, if a collector is configured.
pub(crate) struct Spans(Option<SdkTracerProvider>);

impl Spans {
    /// Starts the export of spans, if the environment names a collector. An invalid address is logged, since
    /// a service without export is better than none.
    pub(crate) fn start() -> Self {
        if !config::names_collector() {
            return Self(None);
        }
        let exporter =
            SpanExporter::builder().with_http().with_http_client(Collector::new()).build();
        // The error repeats the address, which may contain a password.
        let Ok(exporter) = exporter else {
            tracing::warn!(
                "no spans are exported: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or else \
                 OTEL_EXPORTER_OTLP_ENDPOINT, is not an address; {ADDRESS_HINT}"
            );
            return Self(None);
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        global::set_tracer_provider(provider.clone());
        Self(Some(provider))
    }

    /// Sends the remaining spans, within a second.
    pub(crate) fn flush(&self) {
        let Self(Some(provider)) = self else { return };
        if let Err(error) = provider.shutdown_with_timeout(FINAL_SEND_TIMEOUT) {
            tracing::warn!(%error, "the last spans may not have been exported");
        }
    }
}

/// Resource attributes of the exported spans.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    // The library's name for a service without a configured name.
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return found;
    }
    Resource::builder().with_service_name("statusmirror").build()
}

/// HTTP client for the collector.
#[derive(Debug)]
struct Collector {
    agent: Agent,
    /// Whether the last batch failed. The failure is logged once, not for each batch.
    fails: AtomicBool,
}

impl Collector {
    fn new() -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(SEND_TIMEOUT))
            .tls_config(tls::config())
            .build()
            .into();
        Self { agent, fails: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, &*body))?;
        let (head, mut body) = answer.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks, which is acceptable on the batch thread.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Only the host: the address may contain a name and a password.
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answer = self.send(request);
        let failure = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            // This error repeats the whole address, too.
            Err(ureq::Error::BadUri(_)) => Some(format!("invalid address; {ADDRESS_HINT}")),
            Err(error) => Some(error.to_string()),
        };
        let failed = self.fails.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed => tracing::warn!(
                host,
                error,
                "the collector does not accept spans; spans are lost until it does. Check the \
                 collector and the OTEL_EXPORTER_OTLP_ variables"
            ),
            None if failed => tracing::info!(host, "the collector accepts spans again"),
            Some(_) | None => {}
        }
        Ok(answer?)
    }
}
