//! Reachability checks: the running server as a sender reaches it, with a test delivery to each source and
//! the server's clock.

use std::io::ErrorKind;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use ureq::{Agent, Error};

use super::report::Report;
use crate::cli::callback_url;
use crate::cli::common::exit_code::Failure;
use crate::cli::common::tls;
use crate::clock::Clock;
use crate::config::Config;
use crate::diagnosis::{Found, describe_duration};
use crate::dialect::Source;
use crate::message::Timestamp;
use crate::verify::signed_url::Callback;
use crate::verify::{GeneratedHeaders, Request, Scheme};

/// Time allowed for an answer; senders wait no longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Validity of the URL of a test delivery, in seconds; short, because proxies log URLs.
const URL_VALIDITY_SECONDS: i64 = 10 * 60;
/// Clock difference above which the report has a warning, in seconds.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 5;
/// Age that a correct `Date` may have, in seconds, as far as can be told.
const MAX_DATE_AGE_SECONDS: i64 = 2;
/// Maximum size of an answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// Id of a test delivery, for schemes that need one.
const TEST_DELIVERY_ID: &str = "statusmirror-doctor";

/// Answer to a check.
struct Answer {
    status: u16,
    /// Body of the answer, if it is JSON.
    body: Value,
    /// Whether the answer is an error in this program's format.
    is_problem: bool,
    /// Target of a redirect, without the query.
    location: Option<String>,
    /// Lead of the server's clock over ours, in seconds.
    ahead: Option<i64>,
}

/// Checks that need HTTP, for one configuration.
struct Doctor<'a> {
    config: &'a Config,
    agent: Agent,
}

/// Checks the server and every source.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let doctor = Doctor { config, agent: agent() };
    let ready = doctor.server("server", &config.server.listen, report)?;
    if let Some(listen) = &config.server.internal_listen {
        doctor.server("internal", listen, report)?;
    }
    if let Some(ahead) = ready.as_ref().and_then(|answer| answer.ahead) {
        doctor.clock(ahead, report)?;
    }
    for source in &config.sources {
        doctor.source(source, ready.is_some(), report)?;
    }
    Ok(())
}

impl Doctor<'_> {
    /// Checks the server at its own address; returns its answer, if it answers.
    fn server(
        &self,
        label: &str,
        listen: &str,
        report: &mut Report<'_>,
    ) -> Result<Option<Answer>, Failure> {
        let address = local_url(listen);
        let answer = ask(|| self.agent.get(format!("{address}/readyz")).call());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let detail = format!("cannot reach {address}: {}", describe_unreachable(&error));
                report.print(Found::Fail, label, &detail)?;
                return Ok(None);
            }
        };
        if answer.status == 200 {
            report.print(Found::Ok, label, &format!("{address} is ready"))?;
        } else {
            let alive = ask(|| self.agent.get(format!("{address}/livez")).call());
            let detail = if alive.is_ok_and(|alive| alive.status == 200) {
                "is alive, but not ready; its log has the reason"
            } else {
                "is used by another program; check which process listens there, and check \
                 server.listen and server.internal_listen"
            };
            report.print(Found::Fail, label, &format!("{address} {detail}"))?;
        }
        Ok(Some(answer))
    }

    fn clock(&self, ahead: i64, report: &mut Report<'_>) -> Result<(), Failure> {
        let windows = self.config.sources.iter().map(|source| source.settings().window);
        let allowed = windows.map(|window| window.max_skew_seconds).min().unwrap_or_default();
        let detail = describe_clock_difference(ahead);
        let (found, detail) = match ahead.saturating_abs() {
            off if off <= MAX_CLOCK_DIFFERENCE_SECONDS => (Found::Ok, detail),
            off if off <= allowed.into() => {
                (Found::Warn, format!("{detail}; synchronize both clocks by NTP"))
            }
            _ => (
                Found::Fail,
                format!(
                    "{detail}, and for signed webhooks at most {} are allowed; synchronize both \
                     clocks by NTP, and restart the server",
                    describe_duration(allowed.into())
                ),
            ),
        };
        report.print(found, "clock", &detail)
    }

    /// Sends a test delivery through the public URL, or directly if there is none.
    fn source(
        &self,
        source: &Source,
        is_reachable: bool,
        report: &mut Report<'_>,
    ) -> Result<(), Failure> {
        let label = format!("source {}", source.name);
        let direct = format!("{}/webhooks/{}", local_url(&self.config.server.listen), source.name);
        let address = match source.public_url() {
            "" if !is_reachable => {
                return report.print(
                    Found::Warn,
                    &label,
                    "not tested: the server cannot be reached",
                );
            }
            "" => direct.as_str(),
            public => public,
        };
        let Some(answer) = self.deliver(source, address) else {
            let detail = "not tested: only the provider can sign webhooks";
            return report.print(Found::Warn, &label, detail);
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let detail = format!("cannot reach {address}: {}", describe_unreachable(&error));
                return report.print(Found::Fail, &label, &detail);
            }
        };
        if answer.ahead.is_some_and(|ahead| ahead.saturating_abs() > MAX_CLOCK_DIFFERENCE_SECONDS)
            && !source.public_url().is_empty()
        {
            let detail = describe_clock_difference(answer.ahead.unwrap_or_default());
            report.print(Found::Warn, &label, &format!("at {address}, {detail}"))?;
        }
        let outcome = answer.body.pointer("/results/0/outcome").and_then(Value::as_str);
        if let (200, Some("ignored")) = (answer.status, outcome) {
            let also = if source.public_url().is_empty() { "; no public_url is set" } else { "" };
            let detail = format!("a test delivery to {address} is accepted and ignored{also}");
            return report.print(Found::Ok, &label, &detail);
        }
        let detail = match (answer.status, outcome) {
            (200, Some(outcome)) => format!(
                "the outcome of a test delivery is {outcome}: the source's dialect on the server \
                 is not {}; reload the server, or run doctor with the server's configuration",
                source.dialect.name()
            ),
            (401, _) if answer.is_problem => {
                let is_accepted_directly = address != direct
                    && self
                        .deliver(source, &direct)
                        .is_some_and(|answer| answer.is_ok_and(|answer| answer.status == 200));
                describe_rejection(source, &answer, is_accepted_directly)
            }
            (404, _) if answer.is_problem => {
                "the server there has no source of this name; reload that server, or set a \
                 public_url that ends with the source's name"
                    .to_owned()
            }
            (503, _) if answer.is_problem => {
                "the server there rejects webhooks at the moment; its log has the reason".to_owned()
            }
            (400 | 405 | 413 | 415, _) if answer.is_problem => format!(
                "the server there answers {}: a proxy changes the request, or the source's dialect \
                 on the server is not {}",
                answer.status,
                source.dialect.name()
            ),
            (301..=308, _) => format!(
                "it redirects to {}, and senders do not follow redirects; set public_url to that \
                 address, or configure the proxy to forward the request",
                answer.location.as_deref().unwrap_or("another address")
            ),
            (status, _) => format!(
                "another program answers there, with {status}; correct public_url, or configure \
                 the proxy to forward /webhooks/ to {}",
                self.config.server.listen
            ),
        };
        report.print(Found::Fail, &label, &format!("{address}: {detail}"))
    }

    /// Posts a signed test delivery; `None` if only the provider can sign.
    fn deliver(&self, source: &Source, address: &str) -> Option<Result<Answer, Error>> {
        let now = Clock::System.now();
        let (content_type, body) = source.dialect.test_delivery();
        let expires = matches!(source.scheme, Scheme::SignedUrl(_))
            .then(|| now.seconds().saturating_add(URL_VALIDITY_SECONDS).to_string());
        let callback = Callback { expires, ..Callback::default() };
        let query = Some(callback_url::query(source, &callback)).filter(|query| !query.is_empty());
        let signed = Request {
            method: "POST",
            query: query.as_deref(),
            content_type: Some(content_type),
            headers: &GeneratedHeaders(&[]),
            body: body.as_bytes(),
        };
        let headers = source.sign(&signed, TEST_DELIVERY_ID, now)?;
        let address =
            query.map_or_else(|| address.to_owned(), |query| format!("{address}?{query}"));
        Some(ask(|| {
            let mut request = self.agent.post(&address).content_type(content_type);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            request.send(body)
        }))
    }
}

/// URL of a server with this listen address, as it is reached from its own machine.
fn local_url(listen: &str) -> String {
    let loopback =
        |(all, loopback): (&str, &str)| Some(format!("{loopback}{}", listen.strip_prefix(all)?));
    let local_address =
        [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")].into_iter().find_map(loopback);
    format!("http://{}", local_address.as_deref().unwrap_or(listen))
}

/// Sends a request and reads its answer.
fn ask(
    send: impl FnOnce() -> Result<ureq::http::Response<ureq::Body>, Error>,
) -> Result<Answer, Error> {
    let before = Clock::System.now();
    let mut response = send()?;
    let text = |name: &str| {
        let value = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let ahead = text("Date").and_then(|date| ahead(&date, before, Clock::System.now()));
    let is_problem = text("Content-Type").is_some_and(|given| given == "application/problem+json");
    let location = text("Location").map(|to| to.split('?').next().unwrap_or_default().to_owned());
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
    let body = body.ok().and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
    Ok(Answer { status, body, is_problem, location, ahead })
}

/// Reason why a test delivery that is signed with this configuration gets 401.
fn describe_rejection(source: &Source, answer: &Answer, is_accepted_directly: bool) -> String {
    let off = answer.ahead.unwrap_or_default();
    let is_timed = !matches!(source.scheme, Scheme::UrlToken(_) | Scheme::Native(_) | Scheme::None);
    let allowed = if matches!(source.scheme, Scheme::SignedUrl(_)) {
        URL_VALIDITY_SECONDS
    } else {
        source.settings().window.max_skew_seconds.into()
    };
    if is_timed && off.saturating_abs() > allowed {
        return format!(
            "rejected (401), because {}; synchronize both clocks by NTP",
            describe_clock_difference(off)
        );
    }
    if is_accepted_directly {
        return "rejected (401), but accepted when posted directly to the server; a proxy changes \
                the query or the body, or forwards the request to another server"
            .to_owned();
    }
    let signs_url =
        source.covers_url() && matches!(source.scheme, Scheme::Hmac(_) | Scheme::Native(_));
    let also = if signs_url { " or public_url" } else { "" };
    format!(
        "rejected (401): the server's secrets{also} differ from this configuration; reload the \
         server, or run doctor with the server's configuration"
    )
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(ANSWER_TIMEOUT))
        .tls_config(tls::config())
        .build()
        .into()
}

/// Lead of the clock that wrote this date, in seconds; `before` and `after` are our times around the answer.
/// A date has whole seconds, and servers do not read the clock for each answer.
fn ahead(date: &str, before: Timestamp, after: Timestamp) -> Option<i64> {
    let date = DateTime::parse_from_rfc2822(date).ok()?.timestamp();
    Some(if date < before.seconds() - MAX_DATE_AGE_SECONDS {
        date - before.seconds()
    } else {
        (date - after.seconds()).max(0)
    })
}

fn describe_clock_difference(ahead: i64) -> String {
    match ahead {
        0 => "the server's clock agrees with this machine's clock".to_owned(),
        ahead if ahead > 0 => format!(
            "the server's clock is {} ahead of this machine's clock",
            describe_duration(ahead)
        ),
        ahead => format!(
            "the server's clock is {} behind this machine's clock",
            describe_duration(-ahead)
        ),
    }
}

/// Reason why a server is not reached, and a hint on where to look.
fn describe_unreachable(error: &Error) -> String {
    // Errors of the resolver have no kind of their own.
    if matches!(error, Error::HostNotFound) || error.to_string().contains("lookup address") {
        return "unknown host name; check the address and the DNS".to_owned();
    }
    if let Error::Io(error) = error
        && error.kind() == ErrorKind::ConnectionRefused
    {
        return "nothing listens there; start the server, or correct the address".to_owned();
    }
    if let Error::Timeout(_) = error {
        return format!(
            "no answer within {} s; check for a firewall, or for a proxy that waits for another \
             server",
            ANSWER_TIMEOUT.as_secs()
        );
    }
    let inner_error = if let Error::Io(error) = error { error.get_ref() } else { None };
    let is_tls_error =
        inner_error.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    if is_tls_error || matches!(error, Error::Tls(_) | Error::Rustls(_)) {
        return format!(
            "TLS error ({error}); check the certificate, and which program answers there"
        );
    }
    if let Error::BadUri(_) = error {
        return "the address is not valid; correct it".to_owned();
    }
    format!("{error}; check the address, and which program answers there")
}
