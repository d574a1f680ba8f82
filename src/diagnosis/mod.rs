//! Why was it refused? What the server would do with a captured request, step by step, and if it
//! refuses it, what does not fit.
//!
//! It judges with [`Source::admit`], [`Source::verify`] and [`Source::read`], as the server does, and
//! has no rules of its own. What does not fit is what must be changed for these to take it: so the
//! request is tried with one thing changed after the other, and the source with other settings. It
//! shows nothing of secrets, and of what is presented the first characters at most.

mod captured;
mod cause;
mod variations;

use std::fmt;

pub use self::captured::{Captured, NoRequest};
use crate::content::Content;
use crate::dialect::{Entry, NotEncoded, Source, Unfit, is_encoded, kept_query};
use crate::message::Timestamp;
use crate::proof::{Place, Scheme, Unproven, Verified};

/// How many characters of what is presented are shown, if it is at least four times as long.
const SHOWN: usize = 6;

/// What was found out.
pub struct Diagnosis {
    /// What was looked at, in the order in which the server looks at it.
    pub steps: Vec<Step>,
    /// What would become of it; if it is refused, what does not fit and how to mend it.
    pub verdict: String,
    /// Whether the server would take it.
    pub is_taken: bool,
}

/// Something that was looked at.
pub struct Step {
    /// Whether it is as it must be.
    pub found: Found,
    /// What it is about.
    pub what: &'static str,
    /// What was found, and what was expected.
    pub words: String,
}

/// Whether something is as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is.
    Ok,
    /// It need not be wrong, but should be known.
    Warn,
    /// It is not.
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

/// What does not fit.
struct Misfit {
    /// Source, scheme, secret, time, URL, body or request.
    what: &'static str,
    /// In which way, and how to mend it.
    words: String,
}

impl Misfit {
    fn new(what: &'static str, words: impl Into<String>) -> Self {
        Self { what, words: words.into() }
    }
}

/// The captured request, and whom it was posted to.
#[derive(Clone, Copy)]
struct Case<'a> {
    sources: &'a [Source],
    source: &'a Source,
    captured: &'a Captured,
    now: Timestamp,
}

/// Finds out what this source, one of these, makes of a request that arrives at this time.
pub fn diagnose(
    sources: &[Source],
    source: &Source,
    captured: &Captured,
    now: Timestamp,
) -> Diagnosis {
    let case = Case { sources, source, captured, now };
    let mut told = Told::default();
    told.addressed(case);
    told.admitted(case);
    told.whole(captured);
    told.presented(case);
    let verified = source.verify(&captured.request(), now);
    told.proven(case, verified);
    told.timely(case, verified);
    if let Some(misfit) = told.too_large.take() {
        told.refuse(413, misfit);
    }
    told.waited_for(captured);
    told.understood(case)
}

/// The steps so far, and the first thing for which it is refused, with the status code.
#[derive(Default)]
struct Told {
    steps: Vec<Step>,
    refused: Option<(u16, Misfit)>,
    /// What does not fit if its body is too large, until it is known whether that counts.
    too_large: Option<Misfit>,
}

impl Told {
    fn say(&mut self, found: Found, what: &'static str, words: impl Into<String>) {
        self.steps.push(Step { found, what, words: words.into() });
    }

    fn refuse(&mut self, status: u16, misfit: Misfit) {
        self.refused.get_or_insert((status, misfit));
    }

    fn addressed(&mut self, Case { sources, source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let names: Vec<_> = request.parameters().map(|(name, _)| name).collect();
        let parameters = match names.as_slice() {
            [] => "no parameters".to_owned(),
            names => format!("the parameters {}", names.join(", ")),
        };
        let words = format!("{}, with {parameters}", captured.method);
        self.say(Found::Ok, "request", words);
        let name = &source.name;
        match captured.source() {
            Some(posted) if posted == name => self.say(Found::Ok, "source", name),
            None => {
                let words =
                    format!("{name}; the path is not /webhooks/{name}, so a proxy changes it");
                self.say(Found::Warn, "source", words);
            }
            Some(posted) => {
                let words = format!("the path leads to the source `{posted}`, not to `{name}`");
                let is_known = sources.iter().any(|source| source.name == posted);
                let (status, mend) = if is_known {
                    (401, format!("post it to /webhooks/{name}, or verify it as `{posted}`"))
                } else {
                    (404, format!("none of this name is configured; post it to /webhooks/{name}"))
                };
                self.say(Found::Fail, "source", words.clone());
                self.refuse(status, Misfit::new("source", format!("{words}; {mend}")));
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
                return self.say(Found::Ok, "form", words);
            }
            Err(Unfit::Method) => {
                let allowed = source.dialect.methods().join(" or ");
                (405, "request", format!("its method is {method}, and must be {allowed}"))
            }
            Err(Unfit::Encoded) => {
                let words = "it has a Content-Encoding; send the body as it is, since the proof is \
                             over its bytes";
                (415, "body", words.to_owned())
            }
            Err(Unfit::ContentType) => {
                let given = content_type.unwrap_or("none");
                let words = format!(
                    "its content type is {given}, which the signature of {} does not cover; let the \
                     sender post what its documentation says",
                    source.dialect.name()
                );
                (415, "body", words)
            }
            Err(Unfit::TooLarge) => {
                let words = format!(
                    "it has {} bytes, and may have {}; raise sources.{}.max_body_bytes",
                    length.unwrap_or_default(),
                    source.max_body_bytes,
                    source.name
                );
                (413, "body", words)
            }
        };
        self.say(Found::Fail, "form", words.clone());
        let misfit = Misfit::new(what, words);
        // Whose address does not prove it is refused before its length counts.
        if status == 413 && source.scheme.needs_only_url() {
            self.too_large = Some(misfit);
        } else {
            self.refuse(status, misfit);
        }
    }

    fn whole(&mut self, captured: &Captured) {
        let Some(body) = &captured.body else {
            let words =
                "what came in does not show it, as curl -v prints none; give it with --body";
            return self.say(Found::Warn, "body", words);
        };
        let length = body.len();
        let (found, words) = match captured.content_length() {
            None => (Found::Ok, format!("{length} bytes; no Content-Length says how many")),
            Some(said) if said > length => {
                (Found::Fail, format!("{length} bytes, but Content-Length says {said}: it is cut"))
            }
            Some(said) if !captured.surplus.is_empty() => {
                let surplus = captured.surplus.len();
                let words =
                    format!("{said} bytes, as Content-Length says; {surplus} more left out");
                (Found::Warn, words)
            }
            Some(said) => (Found::Ok, format!("{said} bytes, as Content-Length says")),
        };
        self.say(found, "body", words);
    }

    fn presented(&mut self, Case { source, captured, .. }: Case<'_>) {
        let request = captured.request();
        let places = source.places(&request);
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
        self.say(found, "scheme", words);
    }

    fn proven(&mut self, case: Case<'_>, verified: Result<Verified, Unproven>) {
        let count = case.source.scheme.secrets();
        match verified {
            Err(Unproven::Missing) => {
                self.say(Found::Fail, "proof", "there is none, or not all of it");
                self.refuse(401, case.absent());
            }
            Err(Unproven::Wrong) => {
                let words = match count {
                    1 => "it does not fit the secret".to_owned(),
                    count => format!("it fits none of the {count} secrets"),
                };
                self.say(Found::Fail, "proof", words);
                self.refuse(401, case.wrong());
            }
            Ok(_) | Err(Unproven::Expired | Unproven::TooNew) => {
                let words = match (&case.source.scheme, count) {
                    (Scheme::None, _) => "the source takes whatever comes at its word".to_owned(),
                    (_, 1) => "it fits the secret".to_owned(),
                    (_, count) => format!("it fits one of the {count} secrets"),
                };
                self.say(Found::Ok, "proof", words);
            }
        }
    }

    fn timely(&mut self, case: Case<'_>, verified: Result<Verified, Unproven>) {
        let stated = case.source.scheme.stated_time(&case.captured.request());
        let Some(stated) = stated else {
            return self.say(Found::Ok, "time", "the proof states none");
        };
        let words = case.times(stated);
        let refused = matches!(
            verified,
            Err(Unproven::Expired | Unproven::TooNew) | Ok(Verified { too_old: true, .. })
        );
        if let (false, Some(advice)) = (refused, case.far_expiry(stated)) {
            return self.say(Found::Warn, "time", format!("{words}; {advice}"));
        }
        self.say(if refused { Found::Fail } else { Found::Ok }, "time", words);
        if refused {
            self.refuse(401, case.untimely(stated));
        }
    }

    /// Where the body is not what is proven, it is still read to its end.
    fn waited_for(&mut self, captured: &Captured) {
        let length = captured.body.as_ref().map(Vec::len);
        if let (Some(said), Some(length)) = (captured.content_length(), length)
            && said > length
        {
            let words = format!(
                "it has {length} bytes of {said}, and the rest is waited for in vain; look for what \
                 cuts it, or capture all of it"
            );
            self.refuse(503, Misfit::new("body", words));
        }
    }

    fn understood(mut self, Case { source, captured, .. }: Case<'_>) -> Diagnosis {
        let mut becomes = "its proof is right; the body that would be read is not shown".to_owned();
        if let (None, Some(body)) = (&self.refused, &captured.body) {
            let content = Content {
                method: captured.method.clone(),
                query: kept_query(captured.query.as_deref().unwrap_or_default()),
                content_type: captured.text_of("Content-Type").map(str::to_owned),
                body: body.clone(),
            };
            match source.read(&content) {
                Ok(entries) => {
                    let entries: Vec<_> = entries.iter().map(outcome).collect();
                    becomes = entries.join("; ");
                    self.say(Found::Ok, "reading", becomes.clone());
                }
                Err(NotEncoded(reason)) => {
                    self.say(Found::Fail, "reading", reason.clone());
                    let words = format!(
                        "{reason}; the source's dialect is {}. It is kept in quarantine",
                        source.dialect.name()
                    );
                    self.refuse(400, Misfit::new("body", words));
                }
            }
        }
        let verdict = match &self.refused {
            None => format!("taken: {becomes}"),
            Some((status, Misfit { what, words })) => {
                format!("refused with {status}, the {what} does not fit: {words}")
            }
        };
        Diagnosis { steps: self.steps, verdict, is_taken: self.refused.is_none() }
    }
}

/// The length of the body, as far as it is known.
fn length(captured: &Captured) -> Option<usize> {
    captured.content_length().or_else(|| captured.body.as_ref().map(Vec::len))
}

/// What an entry would become, without what it says of anybody.
fn outcome(entry: &Entry) -> String {
    match entry {
        Entry::Notification { notification, .. } => {
            let said = notification.statement();
            let number = if said.destination.is_some() { "with" } else { "without" };
            let words = format!(
                "a notification of {} by {} about the message {}, {number} a phone number",
                said.status.name(),
                said.channel.name(),
                said.message
            );
            if notification.is_valid() { words } else { format!("{words}, which is invalid") }
        }
        Entry::Ignored { reason } => format!("ignored: {reason}"),
        Entry::Unreadable { reason } => format!("quarantined: {reason}"),
    }
}

/// The beginning of something that is presented.
fn shown(presented: &str) -> String {
    let length = presented.chars().count();
    let beginning: String = presented.chars().take(SHOWN.min(length / 4)).collect();
    format!("`{beginning}…`, {length} characters")
}
