//! The way of spans to a collector of traces: OTLP over HTTP, in batches that a thread of their own sends.
//!
//! The library itself reads what else its specification has variables for, such as headers, the sampler and
//! the resource: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{Key, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ureq::Agent;

use crate::cli::tls;
use crate::config;

/// For so long a batch may be on its way.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long the end waits for the last one.
const LAST: Duration = Duration::from_secs(1);

/// What an address looks like.
const EXAMPLE: &str = "write one like http://127.0.0.1:4318";

/// Where spans go, if anywhere.
pub(in crate::cli) struct Spans(Option<SdkTracerProvider>);

impl Spans {
    /// Has spans exported from here on, if the environment names a collector. A service that cannot export
    /// is still better than none.
    pub(in crate::cli) fn start() -> Self {
        if !config::names_collector() {
            return Self(None);
        }
        let exporter =
            SpanExporter::builder().with_http().with_http_client(Collector::new()).build();
        // Its words repeat the address, in which there may be a password.
        let Ok(exporter) = exporter else {
            tracing::warn!(
                "no spans are exported: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or else \
                 OTEL_EXPORTER_OTLP_ENDPOINT, is no address; {EXAMPLE}"
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

    /// Sends what is left, for a second at most.
    pub(in crate::cli) fn flush(&self) {
        let Self(Some(provider)) = self else { return };
        if let Err(error) = provider.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans may not have been exported");
        }
    }
}

/// Who sends the spans.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    // The library's word for a name that nobody gave.
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return found;
    }
    Resource::builder().with_service_name("statusmirror").build()
}

/// The collector, as it is reached.
#[derive(Debug)]
struct Collector {
    agent: Agent,
    /// Whether it did not take what was sent last. That is told once, and not for each batch.
    fails: AtomicBool,
}

impl Collector {
    fn new() -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(PATIENCE))
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
    /// Blocks, which the thread of the batches is for.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Without a name and a password that the address may have.
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answer = self.send(request);
        let failure = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            // That repeats the whole address, too.
            Err(ureq::Error::BadUri(_)) => Some(format!("no address; {EXAMPLE}")),
            Err(error) => Some(error.to_string()),
        };
        let failed = self.fails.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed => tracing::warn!(
                host,
                error,
                "the collector takes no spans; those of meanwhile are lost. Look at it and at the \
                 OTEL_EXPORTER_OTLP_ variables"
            ),
            None if failed => tracing::info!(host, "the collector takes spans again"),
            Some(_) | None => {}
        }
        Ok(answer?)
    }
}
