//! Finding: the one thing to change for a request to be accepted.

use super::captured_request::CapturedRequest;
use super::steps::{Case, Mismatch};
use super::tampering::{addresses, bodies, queries};
use crate::dialect::{Settings, Source};
use crate::message::Timestamp;
use crate::verify::hmac::variants::is_signature_header;
use crate::verify::{Header, Headers, MIN_UNIX_MILLISECONDS, Place, Scheme, Unverified};

/// Time in seconds (in the year 1973) before which a signed time that is read as milliseconds is taken to be
/// in seconds.
const MIN_UNIX_SECONDS: i64 = 100_000_000;

impl Case<'_> {
    /// Finding for a missing or incomplete credential.
    pub(crate) fn missing_credential(self) -> Mismatch {
        let Self { source, captured, .. } = self;
        let others = self.other_sources().filter(|other| !matches!(other.scheme, Scheme::None));
        if let Some(other) = others.into_iter().find(|other| self.verifies(other, captured)) {
            return sent_to_other_source(other);
        }
        if let Some(url) = self.other_url() {
            return url;
        }
        let request = captured.request();
        let is_absent = |place: &Place| match place {
            Place::Header(name) => captured.get(name) == Header::Absent,
            Place::Parameter(name) => request.parameters().all(|(known, _)| known != name.as_str()),
        };
        let missing = source.credential_places(&request).into_iter().find(is_absent);
        let signature_headers: Vec<_> =
            captured.names().into_iter().filter(|name| is_signature_header(name)).collect();
        let scheme = source.scheme.name();
        match missing {
            Some(Place::Parameter(name)) => Mismatch::new(
                "URL",
                format!(
                    "the parameter `{name}` is missing, which the scheme {scheme} requires; give \
                     the sender the whole URL that `statusmirror callback-url {}` prints, and \
                     check that no proxy removes the query",
                    source.name
                ),
            ),
            Some(Place::Header(name)) if signature_headers.is_empty() => Mismatch::new(
                "scheme",
                format!(
                    "the header {name} is missing, which the scheme {scheme} requires, and no \
                     other header looks like a signature; check that the sender signs its webhooks \
                     and that no proxy removes the header"
                ),
            ),
            Some(Place::Header(name)) => Mismatch::new(
                "scheme",
                format!(
                    "the header {name} is missing, which the scheme {scheme} requires; headers \
                     that look like a signature: {}",
                    signature_headers.join(", ")
                ),
            ),
            None => Mismatch::new(
                "scheme",
                format!("the signed time is missing, which the scheme {scheme} requires"),
            ),
        }
    }

    /// Finding for a wrong credential.
    pub(crate) fn wrong_credential(self) -> Mismatch {
        let Self { source, captured, .. } = self;
        if captured.body.is_none() && covers_body(&source.scheme) {
            let description = "the captured request does not show the body, which the signature \
                               covers; give the body with --body FILE";
            return Mismatch::new("body", description);
        }
        if let Some(several) = self.ambiguous() {
            return several;
        }
        let found = self.other_body().or_else(|| self.other_url()).or_else(|| self.other_source());
        let found = found.or_else(|| self.other_settings());
        found.unwrap_or_else(|| self.nothing_found())
    }

    /// Finding for a header or parameter that must occur once and occurs several times.
    fn ambiguous(self) -> Option<Mismatch> {
        let Self { source, captured, .. } = self;
        let request = captured.request();
        let remedy = "the sender must send it exactly once";
        source.credential_places(&request).into_iter().find_map(|place| match place {
            Place::Header(name) => (captured.get(&name) == Header::Several).then(|| {
                Mismatch::new("scheme", format!("the header {name} occurs several times; {remedy}"))
            }),
            Place::Parameter(name) => {
                let is_same_name = |(known, _): &(_, _)| *known == *name;
                (request.parameters().filter(is_same_name).count() > 1).then(|| {
                    Mismatch::new("URL", format!("`{name}` occurs several times; {remedy}"))
                })
            }
        })
    }

    fn other_body(self) -> Option<Mismatch> {
        let Self { source, captured, .. } = self;
        bodies(captured).into_iter().find_map(|(change, body)| {
            let other = CapturedRequest { body: Some(body), ..captured.clone() };
            let description = format!(
                "{change} after the sender signed the body; configure every proxy to forward it \
                 unchanged"
            );
            self.verifies(source, &other).then(|| Mismatch::new("body", description))
        })
    }

    fn other_url(self) -> Option<Mismatch> {
        let Self { source, captured, .. } = self;
        let queries = queries(captured.query.as_deref());
        let with =
            |query: &Option<String>| CapturedRequest { query: query.clone(), ..captured.clone() };
        for (change, query) in &queries {
            if self.verifies(source, &with(query)) {
                let description = format!(
                    "the query is not the signed one: {change}; the sender and every proxy must \
                     send it byte for byte"
                );
                return Some(Mismatch::new("URL", description));
            }
        }
        if !source.covers_url() {
            return None;
        }
        for address in addresses(captured, source.public_url()) {
            let Some(at_address) =
                self.variant(|settings| settings.public_url.clone_from(&address))
            else {
                continue;
            };
            let unchanged = (String::new(), captured.query.clone());
            for (change, query) in [&unchanged].into_iter().chain(&queries) {
                if self.verifies(&at_address, &with(query)) {
                    let also = if change.is_empty() { "" } else { ", and the query was changed: " };
                    let description = format!(
                        "the sender called {address}, but public_url is {}{also}{change}; set \
                         sources.{}.public_url to the address that the sender calls",
                        source.public_url(),
                        source.name
                    );
                    return Some(Mismatch::new("URL", description));
                }
            }
        }
        None
    }

    fn other_source(self) -> Option<Mismatch> {
        let Self { source, captured, .. } = self;
        for other in self.other_sources().filter(|other| !matches!(other.scheme, Scheme::None)) {
            let with_its_secret = self.variant(|settings| settings.scheme = other.scheme.clone());
            if other.scheme.name() == source.scheme.name()
                && with_its_secret.is_some_and(|variant| self.verifies(&variant, captured))
            {
                let description = format!(
                    "the sender used the secret of the source `{}`; give the sender one of \
                     sources.{}.verify.secrets, or the other source's URL",
                    other.name, source.name
                );
                return Some(Mismatch::new("secret", description));
            }
            let with_its_name = self.variant(|settings| settings.name.clone_from(&other.name));
            if self.verifies(other, captured)
                || with_its_name.is_some_and(|variant| self.verifies(&variant, captured))
            {
                return Some(sent_to_other_source(other));
            }
        }
        None
    }

    fn other_settings(self) -> Option<Mismatch> {
        let Self { source, captured, .. } = self;
        let verifies = |scheme: Scheme| {
            let variant = self.variant(|settings| settings.scheme = scheme);
            variant.is_some_and(|variant| self.verifies(&variant, captured))
        };
        let request = captured.request();
        let settings = source.scheme.other_variants(&request, &captured.names(), &verifies)?;
        let description = match &source.scheme {
            Scheme::Hmac(_) => {
                format!(
                    "the sender signs in another way; set {settings} in sources.{}.verify",
                    source.name
                )
            }
            Scheme::UrlToken(_)
            | Scheme::SignedUrl(_)
            | Scheme::StandardWebhooks(_)
            | Scheme::Native(_)
            | Scheme::None => settings,
        };
        let part = if matches!(source.scheme, Scheme::Hmac(_)) { "scheme" } else { "secret" };
        Some(Mismatch::new(part, description))
    }

    /// Finding when no single change makes the request verify: the secret is wrong, unless the body is not
    /// the one that was sent.
    fn nothing_found(self) -> Mismatch {
        let Self { source, captured, .. } = self;
        let length = captured.body.as_ref().map_or(0, Vec::len);
        if covers_body(&source.scheme) {
            if let Some(announced) =
                captured.content_length().filter(|announced| *announced > length)
            {
                let description = format!(
                    "the body has {length} bytes of {announced}; check whether a proxy truncates \
                     the body, or capture all of it"
                );
                return Mismatch::new("body", description);
            }
            if length == 0 {
                let description = "the body is empty, and the signature covers the body; capture \
                                   the body too";
                return Mismatch::new("body", description);
            }
        }
        let remedy =
            format!("compare the sender's secret with sources.{}.verify.secrets", source.name);
        let alternative = match &source.scheme {
            Scheme::UrlToken(_) => {
                return Mismatch::new(
                    "secret",
                    format!("the token is not a secret of any source; {remedy}"),
                );
            }
            Scheme::SignedUrl(_) => {
                "or a signed parameter (destination, expires, action, key, messageid, service) was \
                 changed"
            }
            Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_) | Scheme::None
                if source.covers_url() =>
            {
                "or the sender called an address that is neither public_url nor in the header \
                 Host, or the body was changed"
            }
            Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_) | Scheme::None => {
                "or the body was changed in a way that is not recognized"
            }
        };
        Mismatch::new(
            "secret",
            format!(
                "the signature probably uses a secret that no source has; {remedy} ({alternative})"
            ),
        )
    }

    /// Finding for a valid credential at the wrong time.
    pub(crate) fn time_mismatch(self, stated: i64) -> Mismatch {
        let Self { source, now, .. } = self;
        let name = &source.name;
        let ahead = stated.saturating_sub(now.seconds());
        let window = source.settings().window;
        let description = if matches!(source.scheme, Scheme::SignedUrl(_)) {
            format!(
                "the URL expired {} ago; create URLs with a longer validity (callback-url \
                 --expires-in), or correct this machine's clock",
                describe_duration(-ahead)
            )
        } else if stated >= MIN_UNIX_MILLISECONDS {
            format!(
                "the signed time is in milliseconds; set sources.{name}.verify.timestamp_unit to ms"
            )
        } else if stated < MIN_UNIX_SECONDS {
            format!("the signed time is in seconds; set sources.{name}.verify.timestamp_unit to s")
        } else if ahead > 0 {
            format!(
                "the webhook was signed {} ahead of this machine's clock, and {} are allowed; \
                 correct the sender's clock or this machine's clock",
                describe_duration(ahead),
                describe_duration(window.max_skew_seconds.into())
            )
        } else {
            format!(
                "the webhook was signed {} ago, and {} are allowed, unless the webhook only \
                 repeats stored notifications; correct the sender's clock or this machine's clock, \
                 or give the time of arrival with --at",
                describe_duration(-ahead),
                describe_duration(window.max_age_seconds.into())
            )
        };
        Mismatch::new("time", description)
    }

    /// Warning about the expiry of a valid signed URL, if it is implausible.
    pub(crate) fn implausible_expiry(self, stated: i64) -> Option<String> {
        let is_implausible =
            matches!(self.source.scheme, Scheme::SignedUrl(_)) && stated >= MIN_UNIX_MILLISECONDS;
        is_implausible.then(|| {
            "`expires` seems to be in milliseconds, but is read in seconds, so the URL stays valid \
             for thousands of years; sign it again with seconds"
                .to_owned()
        })
    }

    /// Time that a credential states, and its distance from now.
    pub(crate) fn describe_times(self, stated: i64) -> String {
        let Self { source, now, .. } = self;
        let is_end = matches!(source.scheme, Scheme::SignedUrl(_));
        let part = if is_end { "valid until" } else { "signed at" };
        let micros = stated.checked_mul(1_000_000).and_then(Timestamp::from_micros);
        let time = micros.map_or_else(|| stated.to_string(), |time| time.to_string());
        let ahead = stated.saturating_sub(now.seconds());
        let direction = if ahead > 0 { "ahead" } else { "ago" };
        let distance =
            format!("{part} {time}, {} {direction}", describe_duration(ahead.saturating_abs()));
        if is_end {
            return distance;
        }
        let window = source.settings().window;
        let (age, skew) = (window.max_age_seconds, window.max_skew_seconds);
        format!(
            "{distance}; allowed: up to {} ago or {} ahead",
            describe_duration(age.into()),
            describe_duration(skew.into())
        )
    }

    fn other_sources(&self) -> impl Iterator<Item = &Source> {
        let Self { sources, source, .. } = *self;
        sources.iter().filter(move |other| other.name != source.name)
    }

    /// Whether the credential is right, at whatever time.
    fn verifies(self, source: &Source, captured: &CapturedRequest) -> bool {
        let verified = source.verify(&captured.request(), self.now);
        !matches!(verified, Err(Unverified::Missing | Unverified::Wrong))
    }

    /// The source with one setting changed, if the result is valid.
    fn variant(self, change: impl FnOnce(&mut Settings)) -> Option<Source> {
        let mut settings = self.source.settings();
        change(&mut settings);
        Source::new(settings).ok()
    }
}

fn sent_to_other_source(other: &Source) -> Mismatch {
    let description = format!(
        "the credential is valid for the source `{}`; post the webhook to /webhooks/{}",
        other.name, other.name
    );
    Mismatch::new("source", description)
}

fn covers_body(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_))
}

/// Text of a duration in seconds: its two largest units, or whole days from two days on.
pub(crate) fn describe_duration(seconds: i64) -> String {
    let in_units = |number: i64, unit: &str, rest: i64, smaller_unit: &str| match rest {
        0 => format!("{number} {unit}"),
        _ => format!("{number} {unit} {rest} {smaller_unit}"),
    };
    match seconds {
        ..120 => format!("{seconds} s"),
        120..3_600 => in_units(seconds / 60, "min", seconds % 60, "s"),
        3_600..172_800 => in_units(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}
