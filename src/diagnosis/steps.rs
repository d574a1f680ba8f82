//! Steps of the server with a request, and the one that ends them.

use super::captured_request::CapturedRequest;
use super::report::{Diagnosis, Found, Step};
use crate::dialect::{
    DecodeError, Entry, HeadRejection, Source, is_encoded, query_without_credentials,
};
use crate::message::Timestamp;
use crate::payload::RawPayload;
use crate::verify::{Place, Scheme, Unverified, Verified};

/// Number of characters of a credential that are shown, if it is at least four times as long.
const SHOWN_CHARACTERS: usize = 6;

/// Mismatch for which a request is rejected.
pub(crate) struct Mismatch {
    /// Part that does not match: source, scheme, secret, time, URL, body or request.
    part: &'static str,
    /// Description of the mismatch, and how to fix it.
    description: String,
}

impl Mismatch {
    pub(crate) fn new(part: &'static str, description: impl Into<String>) -> Self {
        Self { part, description: description.into() }
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
    builder.check_source(case);
    builder.check_admission(case);
    builder.check_length(captured);
    builder.check_credential(case);
    let verified = source.verify(&captured.request(), now);
    builder.add_verification(case, verified);
    builder.add_time(case, verified);
    if let Some(mismatch) = builder.too_large.take() {
        builder.reject(413, mismatch);
    }
    builder.check_body_is_complete(captured);
    builder.finish(case)
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
    fn add(&mut self, found: Found, part: &'static str, description: impl Into<String>) {
        self.steps.push(Step { found, part, description: description.into() });
    }

    fn reject(&mut self, status: u16, mismatch: Mismatch) {
        self.rejected.get_or_insert((status, mismatch));
    }

    fn check_source(&mut self, Case { sources, source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let names: Vec<_> = request.parameters().map(|(name, _)| name).collect();
        let parameters = match names.as_slice() {
            [] => "no parameters".to_owned(),
            names => format!("the parameters {}", names.join(", ")),
        };
        let description = format!("{}, with {parameters}", captured.method);
        self.add(Found::Ok, "request", description);
        let name = &source.name;
        match captured.source() {
            Some(posted) if posted == name => self.add(Found::Ok, "source", name),
            None => {
                let description =
                    format!("{name}; the path is not /webhooks/{name}, so a proxy changes it");
                self.add(Found::Warn, "source", description);
            }
            Some(posted) => {
                let description = format!("the path names the source `{posted}`, not `{name}`");
                let is_known = sources.iter().any(|source| source.name == posted);
                let (status, remedy) = if is_known {
                    (401, format!("post it to /webhooks/{name}, or verify it as `{posted}`"))
                } else {
                    (404, format!("no source has that name; post it to /webhooks/{name}"))
                };
                self.add(Found::Fail, "source", description.clone());
                self.reject(status, Mismatch::new("source", format!("{description}; {remedy}")));
            }
        }
    }

    fn check_admission(&mut self, Case { source, captured, .. }: Case<'_>) {
        let method = captured.method.as_str();
        let content_type = captured.header_text("Content-Type");
        let is_encoded = is_encoded(captured.all("Content-Encoding"));
        let length = length(captured);
        let admitted = source.admit(method, content_type, is_encoded);
        let (status, part, description) = match admitted.and_then(|()| source.admit_length(length))
        {
            Ok(()) => {
                let description =
                    format!("{method}, {}", content_type.unwrap_or("no content type"));
                return self.add(Found::Ok, "form", description);
            }
            Err(HeadRejection::Method) => {
                let allowed = source.dialect.methods().join(" or ");
                (405, "request", format!("the method is {method}, and must be {allowed}"))
            }
            Err(HeadRejection::Encoded) => {
                let description = "the request has a Content-Encoding; send the body without one, \
                                   because the signature covers its bytes";
                (415, "body", description.to_owned())
            }
            Err(HeadRejection::ContentType) => {
                let given = content_type.unwrap_or("none");
                let description = format!(
                    "the content type is {given}, which the signature of {} does not cover; the \
                     sender must post the content type in its documentation",
                    source.dialect.name()
                );
                (415, "body", description)
            }
            Err(HeadRejection::TooLarge) => {
                let description = format!(
                    "the body has {} bytes, and at most {} are allowed; raise \
                     sources.{}.max_body_bytes",
                    length.unwrap_or_default(),
                    source.max_body_bytes,
                    source.name
                );
                (413, "body", description)
            }
        };
        self.add(Found::Fail, "form", description.clone());
        let mismatch = Mismatch::new(part, description);
        // A scheme that verifies by the URL alone rejects a wrong URL before the length counts.
        if status == 413 && source.scheme.needs_only_url() {
            self.too_large = Some(mismatch);
        } else {
            self.reject(status, mismatch);
        }
    }

    fn check_length(&mut self, captured: &CapturedRequest) {
        let Some(body) = &captured.body else {
            let description = "the captured request does not show the body, as curl -v prints \
                               none; give it with --body";
            return self.add(Found::Warn, "body", description);
        };
        let length = body.len();
        let (found, description) = match captured.content_length() {
            None => (Found::Ok, format!("{length} bytes, without a Content-Length")),
            Some(announced) if announced > length => (
                Found::Fail,
                format!("{length} bytes, but Content-Length is {announced}: the body is truncated"),
            ),
            Some(announced) if !captured.surplus.is_empty() => {
                let surplus = captured.surplus.len();
                let description = format!(
                    "{announced} bytes, as Content-Length states; further bytes ignored: {surplus}"
                );
                (Found::Warn, description)
            }
            Some(announced) => (Found::Ok, format!("{announced} bytes, as Content-Length states")),
        };
        self.add(found, "body", description);
    }

    fn check_credential(&mut self, Case { source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let places = source.credential_places(&request);
        let name = source.scheme.name();
        let mut found = Found::Ok;
        let mut parts = Vec::new();
        for place in &places {
            let (label, values): (_, Vec<_>) = match place {
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
                [value] => format!("{label} holds {}", excerpt(value)),
                [] => {
                    found = Found::Fail;
                    format!("{label} is missing")
                }
                several => {
                    found = Found::Fail;
                    format!("{label} occurs {} times", several.len())
                }
            });
        }
        let description = match parts.as_slice() {
            [] => format!("{name}: no credential is required"),
            parts => format!("{name}: {}", parts.join(", ")),
        };
        self.add(found, "scheme", description);
    }

    fn add_verification(&mut self, case: Case<'_>, verified: Result<Verified, Unverified>) {
        let count = case.source.scheme.secrets();
        match verified {
            Err(Unverified::Missing) => {
                self.add(Found::Fail, "verify", "the credential is missing or incomplete");
                self.reject(401, case.missing_credential());
            }
            Err(Unverified::Wrong) => {
                let description = match count {
                    1 => "the credential does not match the secret".to_owned(),
                    count => format!("the credential matches none of the {count} secrets"),
                };
                self.add(Found::Fail, "verify", description);
                self.reject(401, case.wrong_credential());
            }
            Ok(_) | Err(Unverified::Expired | Unverified::TooNew) => {
                let description = match (&case.source.scheme, count) {
                    (Scheme::None, _) => {
                        "the source accepts every request without verification".to_owned()
                    }
                    (_, 1) => "the credential matches the secret".to_owned(),
                    (_, count) => format!("the credential matches one of the {count} secrets"),
                };
                self.add(Found::Ok, "verify", description);
            }
        }
    }

    fn add_time(&mut self, case: Case<'_>, verified: Result<Verified, Unverified>) {
        let stated = case.source.scheme.stated_time(&case.captured.request());
        let Some(stated) = stated else {
            return self.add(Found::Ok, "time", "the credential states no time");
        };
        let description = case.describe_times(stated);
        let is_rejected = matches!(
            verified,
            Err(Unverified::Expired | Unverified::TooNew) | Ok(Verified { too_old: true, .. })
        );
        if let (false, Some(advice)) = (is_rejected, case.implausible_expiry(stated)) {
            return self.add(Found::Warn, "time", format!("{description}; {advice}"));
        }
        self.add(if is_rejected { Found::Fail } else { Found::Ok }, "time", description);
        if is_rejected {
            self.reject(401, case.time_mismatch(stated));
        }
    }

    /// A body that is not part of the verification is still read to its end.
    fn check_body_is_complete(&mut self, captured: &CapturedRequest) {
        let length = captured.body.as_ref().map(Vec::len);
        if let (Some(announced), Some(length)) = (captured.content_length(), length)
            && announced > length
        {
            let description = format!(
                "the body has {length} bytes of {announced}, and the rest does not arrive; check \
                 whether a proxy truncates the body, or capture all of it"
            );
            self.reject(503, Mismatch::new("body", description));
        }
    }

    fn finish(mut self, Case { source, captured, .. }: Case<'_>) -> Diagnosis {
        let mut result =
            "the credential is valid; the captured request does not show the body".to_owned();
        if let (None, Some(body)) = (&self.rejected, &captured.body) {
            let content = RawPayload {
                method: captured.method.clone(),
                query: query_without_credentials(captured.query.as_deref().unwrap_or_default()),
                content_type: captured.header_text("Content-Type").map(str::to_owned),
                body: body.clone(),
            };
            match source.read(&content) {
                Ok(entries) => {
                    let entries: Vec<_> = entries.iter().map(outcome).collect();
                    result = entries.join("; ");
                    self.add(Found::Ok, "reading", result.clone());
                }
                Err(DecodeError(reason)) => {
                    self.add(Found::Fail, "reading", reason.clone());
                    let description = format!(
                        "{reason}; the source's dialect is {}. The webhook is kept in quarantine",
                        source.dialect.name()
                    );
                    self.reject(400, Mismatch::new("body", description));
                }
            }
        }
        let verdict = match &self.rejected {
            None => format!("accepted: {result}"),
            Some((status, Mismatch { part, description })) => {
                format!("rejected with {status}, {part} mismatch: {description}")
            }
        };
        Diagnosis { steps: self.steps, verdict, is_accepted: self.rejected.is_none() }
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
            let description = format!(
                "a notification of {} by {} about the message {}, {number} a phone number",
                statement.status.name(),
                statement.channel.name(),
                statement.message
            );
            if notification.is_valid() {
                description
            } else {
                format!("{description}, which is invalid")
            }
        }
        Entry::Ignored { reason } => format!("ignored: {reason}"),
        Entry::Unreadable { reason } => format!("quarantined: {reason}"),
    }
}

/// Beginning of a credential, and its length.
fn excerpt(presented: &str) -> String {
    let length = presented.chars().count();
    let beginning: String = presented.chars().take(SHOWN_CHARACTERS.min(length / 4)).collect();
    format!("`{beginning}…`, {length} characters")
}
