//! A configured sender: its dialect, its proof, and what all dialects have in common.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::rate::Bucket;
use super::url::Url;
use super::{Aside, Dialect, Entry, Name, NotEncoded, Said};
use crate::content::Content;
use crate::message::{
    Added, Kind, MAX_PROVIDER_ID_BYTES, MessageId, Notification, ReferenceTooLong, Statement,
    Timestamp,
};
use crate::proof::{self, Place, Request, Scheme, Unproven, Verified, Window};

/// A sender of webhooks.
pub struct Source {
    /// Its name, which is part of its address.
    pub name: String,
    /// How it speaks.
    pub dialect: &'static dyn Dialect,
    /// How it proves that it is the one.
    pub scheme: Scheme,
    /// How large its bodies may be.
    pub max_body_bytes: usize,
    window: Window,
    public_url: String,
    provider: Option<String>,
    max_rate: Option<NonZeroU32>,
    bucket: Option<Bucket>,
    warned: AtomicBool,
}

/// What a source is made of.
#[derive(Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// How it speaks.
    pub dialect: &'static dyn Dialect,
    /// How it proves that it is the one.
    pub scheme: Scheme,
    /// How old or new its signed times may be.
    pub window: Window,
    /// The address that it calls, without the query; empty if that is not known.
    pub public_url: String,
    /// The name of the aggregator, where webhooks do not say it.
    pub provider: Option<String>,
    /// How large its bodies may be.
    pub max_body_bytes: usize,
    /// How many deliveries are accepted in a second; none: any number.
    pub max_rate: Option<NonZeroU32>,
}

/// Why there can be no such source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSource {
    /// Its name cannot be part of an address.
    #[error(
        "a name has 1 to 64 characters of a-z, 0-9, _ and -, and begins with a letter or digit"
    )]
    Name,
    /// Its dialect has no signature of its own.
    #[error("verify.scheme: the dialect {0} has no signature of its own; use another scheme")]
    NoNative(&'static str),
    /// Its address is none that a sender can call.
    #[error(
        "public_url: `{0}` is no address; write http:// or https://, host and path, without a query"
    )]
    PublicUrl(String),
    /// Its proof covers the address, which is not known.
    #[error(
        "public_url: the proof covers the address that the sender calls; set it here, or set \
         server.public_url"
    )]
    NoPublicUrl,
}

/// Why a request is not looked at, whatever proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The dialect does not use its method.
    Method,
    /// Its body is not as it is, but encoded.
    Encoded,
    /// The proof cannot read a body of its content type.
    ContentType,
    /// Its body is larger than the source's may be.
    TooLarge,
}

/// Whether this can be the name of a source or a key.
pub fn is_name(text: &str) -> bool {
    let inside = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    (1..=64).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with(['_', '-'])
}

/// Whether a body with these lines of `Content-Encoding` is another one than the sender signed. Some
/// senders name a coding that encodes nothing.
pub fn is_encoded<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let encodes_nothing = |coding: &[u8]| {
        [&b""[..], b"identity", b"utf-8", b"utf8"]
            .iter()
            .any(|name| coding.trim_ascii().eq_ignore_ascii_case(name))
    };
    !lines.flat_map(|line| line.split(|byte| *byte == b',')).all(encodes_nothing)
}

/// Whether they are configured alike.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, dialect, scheme, max_body_bytes, window, public_url, provider, .. } = self;
        *name == other.name
            && dialect.name() == other.dialect.name()
            && *scheme == other.scheme
            && *max_body_bytes == other.max_body_bytes
            && *window == other.window
            && *public_url == other.public_url
            && *provider == other.provider
            && self.max_rate == other.max_rate
    }
}

impl Source {
    /// The source, or why there can be none.
    pub fn new(settings: Settings) -> Result<Self, BadSource> {
        let Settings { name, dialect, scheme, window, public_url, provider, .. } = settings;
        let Settings { max_body_bytes, max_rate, .. } = settings;
        if !is_name(&name) {
            return Err(BadSource::Name);
        }
        let signs_url = match &scheme {
            Scheme::Native(_) => {
                let native = dialect.native().ok_or(BadSource::NoNative(dialect.name()))?;
                native.covers_url()
            }
            Scheme::Hmac(hmac) => hmac.covers_url(),
            Scheme::UrlToken(_)
            | Scheme::SignedUrl(_)
            | Scheme::StandardWebhooks(_)
            | Scheme::None => false,
        };
        let is_address = ["http://", "https://"].iter().any(|start| public_url.starts_with(start))
            && !public_url.contains(['?', '#', ' ']);
        if !public_url.is_empty() && !is_address {
            return Err(BadSource::PublicUrl(public_url));
        }
        if signs_url && public_url.is_empty() {
            return Err(BadSource::NoPublicUrl);
        }
        let bucket = max_rate.map(Bucket::new);
        let warned = AtomicBool::new(false);
        Ok(Self {
            name,
            dialect,
            scheme,
            max_body_bytes,
            window,
            public_url,
            provider,
            max_rate,
            bucket,
            warned,
        })
    }

    /// The address that the sender calls, without the query; empty if that is not known.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Whether to warn of its addresses now: once, until it is configured anew.
    pub fn warns(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// How long after it was first sent something may still come, in seconds.
    pub fn max_age_seconds(&self) -> i64 {
        i64::from(self.window.max_age_seconds)
    }

    /// What it is made of.
    pub fn settings(&self) -> Settings {
        let Self { name, dialect, scheme, max_body_bytes, window, public_url, provider, .. } = self;
        Settings {
            name: name.clone(),
            dialect: *dialect,
            scheme: scheme.clone(),
            window: *window,
            public_url: public_url.clone(),
            provider: provider.clone(),
            max_body_bytes: *max_body_bytes,
            max_rate: self.max_rate,
        }
    }

    /// Whether another delivery may be accepted now; asked before any work is done for it. Who proves
    /// nothing takes nothing from the source's rate.
    pub fn is_within_rate(&self) -> bool {
        self.bucket.as_ref().is_none_or(Bucket::has_token)
    }

    /// Accepts an authentic delivery, if another one may be accepted now.
    pub fn take_turn(&self) -> bool {
        self.bucket.as_ref().is_none_or(Bucket::take)
    }

    /// What can be said of a request before anything proves it: method, content type, and whether
    /// the body is encoded.
    pub fn admit(
        &self,
        method: &str,
        content_type: Option<&str>,
        is_encoded: bool,
    ) -> Result<(), Unfit> {
        if !self.dialect.methods().contains(&method) {
            return Err(Unfit::Method);
        }
        if is_encoded {
            return Err(Unfit::Encoded);
        }
        if let (Scheme::Native(_), Some(native)) = (&self.scheme, self.dialect.native())
            && !native.reads(content_type)
        {
            return Err(Unfit::ContentType);
        }
        Ok(())
    }

    /// Whether a body may be so long, as far as that is known.
    pub fn admit_length(&self, length: Option<usize>) -> Result<(), Unfit> {
        if length.is_some_and(|length| length > self.max_body_bytes) {
            return Err(Unfit::TooLarge);
        }
        Ok(())
    }

    /// Whether a request whose body is not read yet is authentic; none where that depends on its
    /// body, or where whatever comes is taken at its word.
    pub fn verify_head(
        &self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Option<Result<Verified, Unproven>> {
        self.scheme.needs_only_url().then(|| self.verify(request, now))
    }

    /// Where a request says what its proof needs.
    pub fn places(&self, request: &Request<'_>) -> Vec<Place> {
        match (&self.scheme, self.dialect.native()) {
            (Scheme::Native(_), Some(native)) => native.places(),
            (scheme, _) => scheme.places(request),
        }
    }

    /// Whether a request is authentic.
    pub fn verify(&self, request: &Request<'_>, now: Timestamp) -> Result<Verified, Unproven> {
        match &self.scheme {
            Scheme::UrlToken(secrets) => proof::verify_token(secrets, request),
            Scheme::SignedUrl(secrets) => proof::signed_url::verify(
                secrets,
                &self.name,
                request.query.unwrap_or_default(),
                now,
            ),
            Scheme::Hmac(hmac) => {
                hmac.verify(request, &called(&self.public_url, request.query), self.window, now)
            }
            Scheme::StandardWebhooks(keys) => keys.verify(request, self.window, now),
            Scheme::Native(secrets) => match self.dialect.native() {
                Some(native) => native.verify(secrets, request, &self.public_url, now),
                None => Err(Unproven::Wrong),
            },
            Scheme::None => Ok(Verified::UNASKED),
        }
    }

    /// The headers that prove a request as the sender would, with the first secret; none if only the
    /// sender can make them. There are no headers where the address carries the proof, which must be in
    /// it already, and where none is asked for.
    pub fn sign(
        &self,
        request: &Request<'_>,
        id: &str,
        now: Timestamp,
    ) -> Option<Vec<(String, String)>> {
        match &self.scheme {
            Scheme::UrlToken(_) | Scheme::SignedUrl(_) | Scheme::None => Some(Vec::new()),
            Scheme::Hmac(hmac) => {
                hmac.sign(request, &called(&self.public_url, request.query), id, now)
            }
            Scheme::StandardWebhooks(keys) => keys.sign(request, id, now),
            Scheme::Native(secrets) => {
                self.dialect.native()?.sign(secrets, request, &self.public_url)
            }
        }
    }

    /// Reads what was posted: one entry for each of the delivery's.
    pub fn read(&self, content: &Content) -> Result<Vec<Entry>, NotEncoded> {
        self.read_again(content, self.covers_url())
    }

    /// Reads what was posted earlier. The callback URL's own parameters count only if verification
    /// covered the URL then.
    pub fn read_again(
        &self,
        content: &Content,
        url_covered: bool,
    ) -> Result<Vec<Entry>, NotEncoded> {
        let readings = self.dialect.read(content)?;
        // Of several entries, nobody can say which one the address is about.
        let is_told = readings.len() == 1 && url_covered;
        let url = if is_told { Url::read(&content.query) } else { Url::default() };
        Ok(readings
            .into_iter()
            .map(|reading| match reading.and_then(|said| self.entry(*said, &url)) {
                Ok(entry) => entry,
                Err(Aside::Ignored(reason)) => Entry::Ignored { reason },
                Err(Aside::Unreadable(reason)) => Entry::Unreadable { reason },
            })
            .collect())
    }

    /// Whether the proof covers the callback URL's own parameters.
    pub fn covers_url(&self) -> bool {
        match &self.scheme {
            Scheme::UrlToken(_) | Scheme::SignedUrl(_) | Scheme::None => true,
            Scheme::Hmac(hmac) => hmac.covers_url(),
            Scheme::StandardWebhooks(_) => false,
            Scheme::Native(_) => self.dialect.native().is_some_and(super::Native::covers_url),
        }
    }

    fn entry(&self, said: Said, url: &Url) -> Result<Entry, Aside> {
        let too_long = |error: ReferenceTooLong| Aside::Unreadable(error.to_string());
        let id_bytes = said.provider.id.len();
        if id_bytes > MAX_PROVIDER_ID_BYTES {
            return Err(Aside::Unreadable(format!(
                "the provider's id has {id_bytes} bytes; at most {MAX_PROVIDER_ID_BYTES} are allowed"
            )));
        }
        let destination = url.destination.or(said.destination);
        let from_url = url.reference().map_err(too_long)?;
        let (message, foreign_id) = match said.message {
            Name::Ours(id) => (id, None),
            Name::Foreign(id) => {
                let own = || MessageId::of_foreign(&self.name, &id, None);
                (url.message.unwrap_or_else(own), Some(id))
            }
        };
        let is_echo = !from_url.is_empty() || self.dialect.foreign_ids();
        let added = Added {
            provider_name: self.provider.clone().unwrap_or_else(|| self.dialect.name().to_owned()),
            provider_message: said.plain_words.map(str::to_owned),
            service: is_echo.then(|| self.name.clone()),
        };
        let statement = Statement {
            message,
            kind: Kind::Report,
            status: said.status,
            stated_at: said.stated_at,
            accepted_at: said.accepted_at,
            channel: said.channel,
            destination,
            reference: if from_url.is_empty() { said.reference } else { from_url },
            provider: said.provider,
            segments: said.segments,
        };
        let notification = Box::new(Notification::new(statement, added));
        Ok(Entry::Notification { notification, foreign_id })
    }
}

/// The whole address that was called.
pub(super) fn called(url: &str, query: Option<&str>) -> String {
    query.map_or_else(|| url.to_owned(), |query| format!("{url}?{query}"))
}
