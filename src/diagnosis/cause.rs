//! What does not fit: the one thing that must be changed for a request to be taken.

use super::captured::Captured;
use super::variations::{addresses, bodies, queries};
use super::{Case, Misfit};
use crate::dialect::{Settings, Source};
use crate::message::Timestamp;
use crate::proof::MILLISECONDS_FROM;
use crate::proof::otherwise::is_of_signature;
use crate::proof::{Header, Headers, Place, Scheme, Unproven};

/// A time earlier than this is one in seconds that was taken for milliseconds: the year 1973.
const SECONDS_FROM: i64 = 100_000_000;

impl Case<'_> {
    /// What does not fit where no proof, or only a part of one, is found.
    pub(super) fn absent(self) -> Misfit {
        let Self { source, captured, .. } = self;
        let others = self.others().filter(|other| !matches!(other.scheme, Scheme::None));
        if let Some(other) = others.into_iter().find(|other| self.fits(other, captured)) {
            return meant_for(other);
        }
        if let Some(url) = self.other_url() {
            return url;
        }
        let request = captured.request();
        let is_absent = |place: &Place| match place {
            Place::Header(name) => captured.one(name) == Header::Absent,
            Place::Parameter(name) => request.parameters().all(|(known, _)| known != name.as_str()),
        };
        let missing = source.places(&request).into_iter().find(is_absent);
        let of_signature: Vec<_> =
            captured.names().into_iter().filter(|name| is_of_signature(name)).collect();
        let scheme = source.scheme.name();
        match missing {
            Some(Place::Parameter(name)) => Misfit::new(
                "URL",
                format!(
                    "the parameter `{name}` is missing, which the scheme {scheme} asks for; give the \
                     sender the whole URL that `statusmirror callback-url {}` prints, and let no \
                     proxy take the query off",
                    source.name
                ),
            ),
            Some(Place::Header(name)) if of_signature.is_empty() => Misfit::new(
                "scheme",
                format!(
                    "the header {name} is missing, which the scheme {scheme} asks for, and no other \
                     looks like a signature; let the sender sign, and no proxy take it off"
                ),
            ),
            Some(Place::Header(name)) => Misfit::new(
                "scheme",
                format!(
                    "the header {name} is missing, which the scheme {scheme} asks for; like a \
                     signature looks {}",
                    of_signature.join(", ")
                ),
            ),
            None => Misfit::new(
                "scheme",
                format!("the signed time that the scheme {scheme} is told to look for is missing"),
            ),
        }
    }

    /// What does not fit where a proof is wrong.
    pub(super) fn wrong(self) -> Misfit {
        let Self { source, captured, .. } = self;
        if captured.body.is_none() && covers_body(&source.scheme) {
            let words = "it is not shown, and is what was signed; give it with --body FILE";
            return Misfit::new("body", words);
        }
        if let Some(several) = self.ambiguous() {
            return several;
        }
        let found = self.other_body().or_else(|| self.other_url()).or_else(|| self.other_source());
        let found = found.or_else(|| self.other_settings());
        found.unwrap_or_else(|| self.nothing_found())
    }

    /// What must be there once, and is there several times.
    fn ambiguous(self) -> Option<Misfit> {
        let Self { source, captured, .. } = self;
        let request = captured.request();
        let mend = "nobody can say which one counts, so let it be sent once";
        source.places(&request).into_iter().find_map(|place| match place {
            Place::Header(name) => (captured.one(&name) == Header::Several).then(|| {
                Misfit::new("scheme", format!("the header {name} is there several times; {mend}"))
            }),
            Place::Parameter(name) => {
                let is_it = |(known, _): &(_, _)| *known == *name;
                (request.parameters().filter(is_it).count() > 1)
                    .then(|| Misfit::new("URL", format!("`{name}` is there several times; {mend}")))
            }
        })
    }

    fn other_body(self) -> Option<Misfit> {
        let Self { source, captured, .. } = self;
        bodies(captured).into_iter().find_map(|(happened, body)| {
            let other = Captured { body: Some(body), ..captured.clone() };
            let words = format!(
                "{happened} after it was signed; let whatever stands between pass its bytes on as \
                 they are"
            );
            self.fits(source, &other).then(|| Misfit::new("body", words))
        })
    }

    fn other_url(self) -> Option<Misfit> {
        let Self { source, captured, .. } = self;
        let queries = queries(captured.query.as_deref());
        let with = |query: &Option<String>| Captured { query: query.clone(), ..captured.clone() };
        for (happened, query) in &queries {
            if self.fits(source, &with(query)) {
                let words = format!(
                    "its query is not the signed one: {happened}; let the sender and every proxy \
                     pass it on byte by byte"
                );
                return Some(Misfit::new("URL", words));
            }
        }
        if !source.covers_url() {
            return None;
        }
        for address in addresses(captured, source.public_url()) {
            let Some(moved) = self.variant(|settings| settings.public_url.clone_from(&address))
            else {
                continue;
            };
            let same = (String::new(), captured.query.clone());
            for (happened, query) in [&same].into_iter().chain(&queries) {
                if self.fits(&moved, &with(query)) {
                    let also = if happened.is_empty() { "" } else { ", and of its query " };
                    let words = format!(
                        "the sender called {address}, but public_url says {}{also}{happened}; set \
                         sources.{}.public_url to what it calls",
                        source.public_url(),
                        source.name
                    );
                    return Some(Misfit::new("URL", words));
                }
            }
        }
        None
    }

    fn other_source(self) -> Option<Misfit> {
        let Self { source, captured, .. } = self;
        for other in self.others().filter(|other| !matches!(other.scheme, Scheme::None)) {
            let of_its_secret = self.variant(|settings| settings.scheme = other.scheme.clone());
            if other.scheme.name() == source.scheme.name()
                && of_its_secret.is_some_and(|variant| self.fits(&variant, captured))
            {
                let words = format!(
                    "the secret is that of the source `{}`; give the sender one of \
                     sources.{}.verify.secrets, or another address",
                    other.name, source.name
                );
                return Some(Misfit::new("secret", words));
            }
            let of_its_name = self.variant(|settings| settings.name.clone_from(&other.name));
            if self.fits(other, captured)
                || of_its_name.is_some_and(|variant| self.fits(&variant, captured))
            {
                return Some(meant_for(other));
            }
        }
        None
    }

    fn other_settings(self) -> Option<Misfit> {
        let Self { source, captured, .. } = self;
        let fits = |scheme: Scheme| {
            let variant = self.variant(|settings| settings.scheme = scheme);
            variant.is_some_and(|variant| self.fits(&variant, captured))
        };
        let request = captured.request();
        let settings = source.scheme.otherwise(&request, &captured.names(), &fits)?;
        let words = match &source.scheme {
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
        let what = if matches!(source.scheme, Scheme::Hmac(_)) { "scheme" } else { "secret" };
        Some(Misfit::new(what, words))
    }

    /// No one thing changed makes it fit. What is left is the secret, unless the body is not what was
    /// sent.
    fn nothing_found(self) -> Misfit {
        let Self { source, captured, .. } = self;
        let length = captured.body.as_ref().map_or(0, Vec::len);
        if covers_body(&source.scheme) {
            if let Some(said) = captured.content_length().filter(|said| *said > length) {
                let words = format!(
                    "it has {length} bytes of {said}; look for what cuts it, or capture all of it"
                );
                return Misfit::new("body", words);
            }
            if length == 0 {
                let words = "it is empty, and is what was signed; capture it too";
                return Misfit::new("body", words);
            }
        }
        let mend = format!("compare the sender's with sources.{}.verify.secrets", source.name);
        let beside = match &source.scheme {
            Scheme::UrlToken(_) => {
                return Misfit::new(
                    "secret",
                    format!("the token is none of this or another source's; {mend}"),
                );
            }
            Scheme::SignedUrl(_) => {
                "or a signed parameter (destination, expires, action, key, messageid, service) was \
                 changed"
            }
            Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_) | Scheme::None
                if source.covers_url() =>
            {
                "or the sender called an address that is neither public_url nor what Host says, or \
                 the body was changed"
            }
            Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_) | Scheme::None => {
                "or the body was changed in a way that cannot be guessed"
            }
        };
        Misfit::new(
            "secret",
            format!(
                "as far as can be seen, the signature was made with a secret of no source; {mend} \
                 ({beside})"
            ),
        )
    }

    /// What does not fit where a proof is right, but not at this time.
    pub(super) fn untimely(self, stated: i64) -> Misfit {
        let Self { source, now, .. } = self;
        let name = &source.name;
        let ahead = stated.saturating_sub(now.seconds());
        let window = source.settings().window;
        let words = if matches!(source.scheme, Scheme::SignedUrl(_)) {
            format!(
                "the URL was valid until {} ago; let it be valid for longer (callback-url \
                 --expires-in), or set the clock here right",
                seconds(-ahead)
            )
        } else if stated >= MILLISECONDS_FROM {
            format!(
                "the signed time is in milliseconds; set sources.{name}.verify.timestamp_unit to ms"
            )
        } else if stated < SECONDS_FROM {
            format!("the signed time is in seconds; set sources.{name}.verify.timestamp_unit to s")
        } else if ahead > 0 {
            format!(
                "it was signed {} ahead of the clock here, and {} are allowed; set the sender's clock \
                 right, or the one here",
                seconds(ahead),
                seconds(window.max_skew_seconds.into())
            )
        } else {
            format!(
                "it was signed {} ago, and {} are allowed, unless it only repeats what is stored; \
                 set the sender's clock right, or the one here, or give with --at when it arrived",
                seconds(-ahead),
                seconds(window.max_age_seconds.into())
            )
        };
        Misfit::new("time", words)
    }

    /// What is odd about the end of a signed address that is valid, if anything is.
    pub(super) fn far_expiry(self, stated: i64) -> Option<String> {
        let is_odd =
            matches!(self.source.scheme, Scheme::SignedUrl(_)) && stated >= MILLISECONDS_FROM;
        is_odd.then(|| {
            "`expires` seems to be in milliseconds, and is read in seconds: the URL does not expire \
             in our days; sign it again with seconds"
                .to_owned()
        })
    }

    /// The time that a proof states, and how far it is away.
    pub(super) fn times(self, stated: i64) -> String {
        let Self { source, now, .. } = self;
        let is_end = matches!(source.scheme, Scheme::SignedUrl(_));
        let what = if is_end { "valid until" } else { "signed at" };
        let micros = stated.checked_mul(1_000_000).and_then(Timestamp::from_micros);
        let time = micros.map_or_else(|| stated.to_string(), |time| time.to_string());
        let ahead = stated.saturating_sub(now.seconds());
        let way = if ahead > 0 { "ahead" } else { "ago" };
        let away = format!("{what} {time}, {} {way}", seconds(ahead.saturating_abs()));
        if is_end {
            return away;
        }
        let window = source.settings().window;
        let (age, skew) = (window.max_age_seconds, window.max_skew_seconds);
        format!("{away}; allowed are {} ago to {} ahead", seconds(age.into()), seconds(skew.into()))
    }

    fn others(&self) -> impl Iterator<Item = &Source> {
        let Self { sources, source, .. } = *self;
        sources.iter().filter(move |other| other.name != source.name)
    }

    /// Whether a proof is right, at whatever time.
    fn fits(self, source: &Source, captured: &Captured) -> bool {
        let verified = source.verify(&captured.request(), self.now);
        !matches!(verified, Err(Unproven::Missing | Unproven::Wrong))
    }

    /// The source with something changed, if there can be one.
    fn variant(self, change: impl FnOnce(&mut Settings)) -> Option<Source> {
        let mut settings = self.source.settings();
        change(&mut settings);
        Source::new(settings).ok()
    }
}

fn meant_for(other: &Source) -> Misfit {
    let words = format!(
        "it was made for the source `{}`, whose proof fits; post it to /webhooks/{}",
        other.name, other.name
    );
    Misfit::new("source", words)
}

fn covers_body(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_))
}

fn seconds(number: i64) -> String {
    const DAY: i64 = 24 * 60 * 60;
    if number < 2 * DAY { format!("{number} s") } else { format!("{} days", number / DAY) }
}
