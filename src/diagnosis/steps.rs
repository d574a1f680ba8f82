//! Steps of the server with a request, and the one that ends them.

use std::fmt;

use super::captured_request::CapturedRequest;
use crate::dialect::{DecodeError, Entry, HeadRejection, Source, is_encoded, kept_query};
use crate::message::Timestamp;
use crate::payload::RawPayload;
use crate::verify::{Place, Scheme, Unverified, Verified};

/// Number of characters of a credential that are shown, if it is at least four times as long.
const SHOWN_CHARACTERS: usize = 6;

/// Result of a diagnosis.
pub struct Diagnosis {
    /// Steps, in the server's order.
    pub steps: Vec<Step>,
    /// Outcome of the request; if it is rejected, the mismatch and how to fix it.
    pub verdict: String,
    /// Whether the server would accept the request.
    pub is_taken: bool,
}

/// One step of the diagnosis.
pub struct Step {
    /// Result of the step.
    pub found: Found,
    /// Subject of the step.
    pub what: &'static str,
    /// Found and expected values.
    pub words: String,
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// As expected.
    Ok,
    /// Not necessarily wrong, but worth knowing.
    Warn,
    /// Not as expected.
    Fail,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// Mismatch for which a request is rejected.
pub(crate) struct Mismatch {
    /// Part that does not match: source, scheme, secret, time, URL, body or request.
    what: &'static str,
    /// Description of the mismatch, and how to fix it.
    words: String,
}

impl Mismatch {
    pub(crate) fn new(what: &'static str, words: impl Into<String>) -> Self {
        Self { what, words: words.into() }
    }
}

/// Captured request, and the source that it was posted to.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) source: &'a Source,
    pub(crate) captured: &'a CapturedRequest,
    pub(crate) now: Timestamp,
}

/// Diagnoses how `source`, one of `sources`, would treat a request that arrives at `now`.
pub fn diagnose(
    sources: &[Source],
    source: &Source,
    captured: &CapturedRequest,
    now: Timestamp,
) -> Diagnosis {
    let case = Case { sources, source, captured, now };
    let mut builder = DiagnosisBuilder::default();
    builder.addressed(case);
    builder.admitted(case);
    builder.whole(captured);
    builder.presented(case);
    let verified = source.verify(&captured.request(), now);
    builder.add_verification(case, verified);
    builder.add_time(case, verified);
    if let Some(mismatch) = builder.too_large.take() {
        builder.reject(413, mismatch);
    }
    builder.waited_for(captured);
    builder.understood(case)
}

/// Steps so far, and the first reason for a rejection, with its status code.
#[derive(Default)]
struct DiagnosisBuilder {
    steps: Vec<Step>,
    rejected: Option<(u16, Mismatch)>,
    /// Mismatch of a body that is too large, until it is known whether its size counts.
    too_large: Option<Mismatch>,
}

impl DiagnosisBuilder {
    fn add(&mut self, found: Found, what: &'static str, words: impl Into<String>) {
        self.steps.push(Step { found, what, words: words.into() });
    }

    fn reject(&mut self, status: u16, mismatch: Mismatch) {
        self.rejected.get_or_insert((status, mismatch));
    }

    fn addressed(&mut self, Case { sources, source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let names: Vec<_> = request.parameters().map(|(name, _)| name).collect();
        let parameters = match names.as_slice() {
            [] => "no parameters".to_owned(),
            names => format!("the parameters {}", names.join(", ")),
        };
        let words = format!("{}, with {parameters}", captured.method);
        self.add(Found::Ok, "request", words);
        let name = &source.name;
        match captured.source() {
            Some(posted) if posted == name => self.add(Found::Ok, "source", name),
            None => {
                let words =
                    format!("{name}; the path is not /webhooks/{name}, so a proxy changes it");
                self.add(Found::Warn, "source", words);
            }
            Some(posted) => {
                let words = format!("the path leads to the source `{posted}`, not to `{name}`");
                let is_known = sources.iter().any(|source| source.name == posted);
                let (status, remedy) = if is_known {
                    (401, format!("post it to /webhooks/{name}, or verify it as `{posted}`"))
                } else {
                    (404, format!("none of this name is configured; post it to /webhooks/{name}"))
                };
                self.add(Found::Fail, "source", words.clone());
                self.reject(status, Mismatch::new("source", format!("{words}; {remedy}")));
            }
        }
    }

    fn admitted(&mut self, Case { source, captured, .. }: Case<'_>) {
        let method = captured.method.as_str();
        let content_type = captured.text_of("Content-Type");
        let is_encoded = is_encoded(captured.all("Content-Encoding"));
        let length = length(captured);
        let admitted = source.admit(method, content_type, is_encoded);
        let (status, what, words) = match admitted.and_then(|()| source.admit_length(length)) {
            Ok(()) => {
                let words = format!("{method}, {}", content_type.unwrap_or("no content type"));
                return self.add(Found::Ok, "form", words);
            }
            Err(HeadRejection::Method) => {
                let allowed = source.dialect.methods().join(" or ");
                (405, "request", format!("its method is {method}, and must be {allowed}"))
            }
            Err(HeadRejection::Encoded) => {
                let words = "it has a Content-Encoding; send the body as it is, since the signature is \
                             over its bytes";
                (415, "body", words.to_owned())
            }
            Err(HeadRejection::ContentType) => {
                let given = content_type.unwrap_or("none");
                let words = format!(
                    "its content type is {given}, which the signature of {} does not cover; let the \
                     sender post what its documentation says",
                    source.dialect.name()
                );
                (415, "body", words)
            }
            Err(HeadRejection::TooLarge) => {
                let words = format!(
                    "it has {} bytes, and may have {}; raise sources.{}.max_body_bytes",
                    length.unwrap_or_default(),
                    source.max_body_bytes,
                    source.name
                );
                (413, "body", words)
            }
        };
        self.add(Found::Fail, "form", words.clone());
        let mismatch = Mismatch::new(what, words);
        // A scheme that verifies by the URL alone rejects a wrong URL before the length counts.
        if status == 413 && source.scheme.needs_only_url() {
            self.too_large = Some(mismatch);
        } else {
            self.reject(status, mismatch);
        }
    }

    fn whole(&mut self, captured: &CapturedRequest) {
        let Some(body) = &captured.body else {
            let words =
                "what came in does not show it, as curl -v prints none; give it with --body";
            return self.add(Found::Warn, "body", words);
        };
        let length = body.len();
        let (found, words) = match captured.content_length() {
            None => (Found::Ok, format!("{length} bytes; no Content-Length says how many")),
            Some(announced) if announced > length => (
                Found::Fail,
                format!("{length} bytes, but Content-Length says {announced}: it is cut"),
            ),
            Some(announced) if !captured.surplus.is_empty() => {
                let surplus = captured.surplus.len();
                let words =
                    format!("{announced} bytes, as Content-Length says; {surplus} more left out");
                (Found::Warn, words)
            }
            Some(announced) => (Found::Ok, format!("{announced} bytes, as Content-Length says")),
        };
        self.add(found, "body", words);
    }

    fn presented(&mut self, Case { source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let places = source.credential_places(&request);
        let name = source.scheme.name();
        let mut found = Found::Ok;
        let mut parts = Vec::new();
        for place in &places {
            let (how, values): (_, Vec<_>) = match place {
                Place::Header(name) => {
                    let text = |value| String::from_utf8_lossy(value).into_owned();
                    (format!("the header {name}"), captured.all(name).map(text).collect())
                }
                Place::Parameter(name) => {
                    let all = request.parameters().filter(|(known, _)| known == name.as_str());
                    (format!("?{name}="), all.map(|(_, value)| value.into_owned()).collect())
                }
            };
            parts.push(match values.as_slice() {
                [value] => format!("{how} holds {}", shown(value)),
                [] => {
                    found = Found::Fail;
                    format!("{how} is missing")
                }
                several => {
                    found = Found::Fail;
                    format!("{how} is there {} times", several.len())
                }
            });
        }
        let words = match parts.as_slice() {
            [] => format!("{name}: nothing is asked for"),
            parts => format!("{name}: {}", parts.join(", ")),
        };
        self.add(found, "scheme", words);
    }

    fn add_verification(&mut self, case: Case<'_>, verified: Result<Verified, Unverified>) {
        let count = case.source.scheme.secrets();
        match verified {
            Err(Unverified::Missing) => {
                self.add(Found::Fail, "verify", "there is none, or not all of it");
                self.reject(401, case.absent());
            }
            Err(Unverified::Wrong) => {
                let words = match count {
                    1 => "it does not match the secret".to_owned(),
                    count => format!("it matches none of the {count} secrets"),
                };
                self.add(Found::Fail, "verify", words);
                self.reject(401, case.wrong());
            }
            Ok(_) | Err(Unverified::Expired | Unverified::TooNew) => {
                let words = match (&case.source.scheme, count) {
                    (Scheme::None, _) => {
                        "the source accepts every request without verification".to_owned()
                    }
                    (_, 1) => "it matches the secret".to_owned(),
                    (_, count) => format!("it matches one of the {count} secrets"),
                };
                self.add(Found::Ok, "verify", words);
            }
        }
    }

    fn add_time(&mut self, case: Case<'_>, verified: Result<Verified, Unverified>) {
        let stated = case.source.scheme.stated_time(&case.captured.request());
        let Some(stated) = stated else {
            return self.add(Found::Ok, "time", "the credential states none");
        };
        let words = case.times(stated);
        let is_rejected = matches!(
            verified,
            Err(Unverified::Expired | Unverified::TooNew) | Ok(Verified { too_old: true, .. })
        );
        if let (false, Some(advice)) = (is_rejected, case.far_expiry(stated)) {
            return self.add(Found::Warn, "time", format!("{words}; {advice}"));
        }
        self.add(if is_rejected { Found::Fail } else { Found::Ok }, "time", words);
        if is_rejected {
            self.reject(401, case.time_mismatch(stated));
        }
    }

    /// A body that is not part of the verification is still read to its end.
    fn waited_for(&mut self, captured: &CapturedRequest) {
        let length = captured.body.as_ref().map(Vec::len);
        if let (Some(announced), Some(length)) = (captured.content_length(), length)
            && announced > length
        {
            let words = format!(
                "it has {length} bytes of {announced}, and the rest is waited for in vain; look for what \
                 cuts it, or capture all of it"
            );
            self.reject(503, Mismatch::new("body", words));
        }
    }

    fn understood(mut self, Case { source, captured, .. }: Case<'_>) -> Diagnosis {
        let mut becomes =
            "its credential is right; the body that would be read is not shown".to_owned();
        if let (None, Some(body)) = (&self.rejected, &captured.body) {
            let content = RawPayload {
                method: captured.method.clone(),
                query: kept_query(captured.query.as_deref().unwrap_or_default()),
                content_type: captured.text_of("Content-Type").map(str::to_owned),
                body: body.clone(),
            };
            match source.read(&content) {
                Ok(entries) => {
                    let entries: Vec<_> = entries.iter().map(outcome).collect();
                    becomes = entries.join("; ");
                    self.add(Found::Ok, "reading", becomes.clone());
                }
                Err(DecodeError(reason)) => {
                    self.add(Found::Fail, "reading", reason.clone());
                    let words = format!(
                        "{reason}; the source's dialect is {}. It is kept in quarantine",
                        source.dialect.name()
                    );
                    self.reject(400, Mismatch::new("body", words));
                }
            }
        }
        let verdict = match &self.rejected {
            None => format!("taken: {becomes}"),
            Some((status, Mismatch { what, words })) => {
                format!("rejected with {status}, {what} mismatch: {words}")
            }
        };
        Diagnosis { steps: self.steps, verdict, is_taken: self.rejected.is_none() }
    }
}

/// Length of the body, as far as it is known.
fn length(captured: &CapturedRequest) -> Option<usize> {
    captured.content_length().or_else(|| captured.body.as_ref().map(Vec::len))
}

/// Outcome of an entry, without personal data.
fn outcome(entry: &Entry) -> String {
    match entry {
        Entry::Notification { notification, .. } => {
            let statement = notification.statement();
            let number = if statement.destination.is_some() { "with" } else { "without" };
            let words = format!(
                "a notification of {} by {} about the message {}, {number} a phone number",
                statement.status.name(),
                statement.channel.name(),
                statement.message
            );
            if notification.is_valid() { words } else { format!("{words}, which is invalid") }
        }
        Entry::Ignored { reason } => format!("ignored: {reason}"),
        Entry::Unreadable { reason } => format!("quarantined: {reason}"),
    }
}

/// Beginning of a credential, and its length.
fn shown(presented: &str) -> String {
    let length = presented.chars().count();
    let beginning: String = presented.chars().take(SHOWN_CHARACTERS.min(length / 4)).collect();
    format!("`{beginning}…`, {length} characters")
}
