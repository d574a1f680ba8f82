//! Source: a configured sender with its dialect and verification, and the steps common to all dialects.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::callback_params::CallbackParams;
use super::contract::{DecodeError, Dialect, Entry, EntryStatement, Name, NoStatement};
use super::rate_limit::Bucket;
use crate::message::{
    Added, Kind, MAX_PROVIDER_ID_BYTES, MessageId, Notification, ReferenceTooLong, Statement,
    Timestamp,
};
use crate::payload::RawPayload;
use crate::verify::{self, Place, Request, Scheme, Unverified, Verified, Window};

/// Sender of webhooks.
pub struct Source {
    /// Name of the source, which is part of its URL.
    pub name: String,
    /// Dialect of the source.
    pub dialect: &'static dyn Dialect,
    /// Verification scheme.
    pub scheme: Scheme,
    /// Maximum size of a body, in bytes.
    pub max_body_bytes: usize,
    window: Window,
    public_url: String,
    provider: Option<String>,
    max_rate: Option<NonZeroU32>,
    bucket: Option<Bucket>,
    warned: AtomicBool,
}

/// Settings of a source.
#[derive(Clone)]
pub struct Settings {
    /// Name of the source.
    pub name: String,
    /// Dialect of the source.
    pub dialect: &'static dyn Dialect,
    /// Verification scheme.
    pub scheme: Scheme,
    /// Maximum age and lead of signed times.
    pub window: Window,
    /// URL that the sender calls, without the query; empty if unknown.
    pub public_url: String,
    /// Name of the aggregator, where webhooks do not state it.
    pub provider: Option<String>,
    /// Maximum size of a body, in bytes.
    pub max_body_bytes: usize,
    /// Maximum rate, in deliveries per second; `None`: unlimited.
    pub max_rate: Option<NonZeroU32>,
}

/// Error: settings from which no source can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Name that cannot be part of a URL.
    #[error(
        "a name has 1 to 64 characters of a-z, 0-9, _ and -, and begins with a letter or digit"
    )]
    Name,
    /// Native verification with a dialect that has no signature of its own.
    #[error("verify.scheme: the dialect {0} has no signature of its own; use another scheme")]
    NoNative(&'static str),
    /// Public URL that a sender cannot call.
    #[error(
        "public_url: `{0}` is not an address; write http:// or https://, host and path, without a query"
    )]
    PublicUrl(String),
    /// Verification that covers the URL, while the public URL is unknown.
    #[error(
        "public_url: the signature covers the address that the sender calls; set it here, or set \
         server.public_url"
    )]
    NoPublicUrl,
}

/// Reason to reject a request before verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRejection {
    /// Method that the dialect does not use.
    Method,
    /// Encoded body, for example compressed.
    Encoded,
    /// Content type whose bodies the native verification cannot read.
    ContentType,
    /// Body larger than the source allows.
    TooLarge,
}

/// Whether a text is a valid name of a source or a key.
pub fn is_name(text: &str) -> bool {
    let is_name_byte = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    (1..=64).contains(&text.len())
        && text.bytes().all(is_name_byte)
        && !text.starts_with(['_', '-'])
}

/// Whether these lines of `Content-Encoding` mean that the body differs from the signed one. Some senders
/// name a coding that encodes nothing.
pub fn is_encoded<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let encodes_nothing = |coding: &[u8]| {
        [&b""[..], b"identity", b"utf-8", b"utf8"]
            .iter()
            .any(|name| coding.trim_ascii().eq_ignore_ascii_case(name))
    };
    !lines.flat_map(|line| line.split(|byte| *byte == b',')).all(encodes_nothing)
}

/// Compares the configuration of two sources.
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
    /// Creates a source, or reports why the settings are invalid.
    pub fn new(settings: Settings) -> Result<Self, SourceError> {
        let Settings { name, dialect, scheme, window, public_url, provider, .. } = settings;
        let Settings { max_body_bytes, max_rate, .. } = settings;
        if !is_name(&name) {
            return Err(SourceError::Name);
        }
        let signs_url = match &scheme {
            Scheme::Native(_) => {
                let native = dialect.native().ok_or(SourceError::NoNative(dialect.name()))?;
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
            return Err(SourceError::PublicUrl(public_url));
        }
        if signs_url && public_url.is_empty() {
            return Err(SourceError::NoPublicUrl);
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

    /// URL that the sender calls, without the query; empty if unknown.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Whether to warn about its URLs now: true once, until the source is reconfigured.
    pub fn should_warn(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// Maximum age of a delivery, in seconds after it was first sent.
    pub fn max_age_seconds(&self) -> i64 {
        i64::from(self.window.max_age_seconds)
    }

    /// Settings that the source was created from.
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

    /// Whether another delivery would be accepted now; checked before any work is done for it. Takes no
    /// token, so a request that fails verification takes nothing from the source's rate.
    pub fn is_within_rate(&self) -> bool {
        self.bucket.as_ref().is_none_or(Bucket::has_token)
    }

    /// Takes a token for a verified delivery; returns `false` if the rate limit is reached.
    pub fn take_token(&self) -> bool {
        self.bucket.as_ref().is_none_or(Bucket::take)
    }

    /// Checks a request before verification: method, content type, and whether the body is encoded.
    pub fn admit(
        &self,
        method: &str,
        content_type: Option<&str>,
        is_encoded: bool,
    ) -> Result<(), HeadRejection> {
        if !self.dialect.methods().contains(&method) {
            return Err(HeadRejection::Method);
        }
        if is_encoded {
            return Err(HeadRejection::Encoded);
        }
        if let (Scheme::Native(_), Some(native)) = (&self.scheme, self.dialect.native())
            && !native.supports_content_type(content_type)
        {
            return Err(HeadRejection::ContentType);
        }
        Ok(())
    }

    /// Checks the length of a body, as far as it is known.
    pub fn admit_length(&self, length: Option<usize>) -> Result<(), HeadRejection> {
        if length.is_some_and(|length| length > self.max_body_bytes) {
            return Err(HeadRejection::TooLarge);
        }
        Ok(())
    }

    /// Verifies a request whose body is not read yet; `None` if verification needs the body or the source has
    /// no verification.
    pub fn verify_head(
        &self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Option<Result<Verified, Unverified>> {
        self.scheme.needs_only_url().then(|| self.verify(request, now))
    }

    /// Places in a request that hold what its verification needs.
    pub fn credential_places(&self, request: &Request<'_>) -> Vec<Place> {
        match (&self.scheme, self.dialect.native()) {
            (Scheme::Native(_), Some(native)) => native.credential_places(),
            (scheme, _) => scheme.credential_places(request),
        }
    }

    /// Verifies a request.
    pub fn verify(&self, request: &Request<'_>, now: Timestamp) -> Result<Verified, Unverified> {
        match &self.scheme {
            Scheme::UrlToken(secrets) => verify::verify_token(secrets, request),
            Scheme::SignedUrl(secrets) => verify::signed_url::verify(
                secrets,
                &self.name,
                request.query.unwrap_or_default(),
                now,
            ),
            Scheme::Hmac(hmac) => {
                hmac.verify(request, &called_url(&self.public_url, request.query), self.window, now)
            }
            Scheme::StandardWebhooks(keys) => keys.verify(request, self.window, now),
            Scheme::Native(secrets) => match self.dialect.native() {
                Some(native) => native.verify(secrets, request, &self.public_url, now),
                None => Err(Unverified::Wrong),
            },
            Scheme::None => Ok(Verified::NOT_REQUIRED),
        }
    }

    /// Headers that authenticate a request as the sender would, with the first secret; `None` if only the
    /// sender can make them. The list is empty if the URL carries the credential, which it must then contain
    /// already, and if the source has no verification.
    pub fn sign(
        &self,
        request: &Request<'_>,
        id: &str,
        now: Timestamp,
    ) -> Option<Vec<(String, String)>> {
        match &self.scheme {
            Scheme::UrlToken(_) | Scheme::SignedUrl(_) | Scheme::None => Some(Vec::new()),
            Scheme::Hmac(hmac) => {
                hmac.sign(request, &called_url(&self.public_url, request.query), id, now)
            }
            Scheme::StandardWebhooks(keys) => keys.sign(request, id, now),
            Scheme::Native(secrets) => {
                self.dialect.native()?.sign(secrets, request, &self.public_url)
            }
        }
    }

    /// Reads a raw payload: one entry for each entry of the delivery.
    pub fn read(&self, content: &RawPayload) -> Result<Vec<Entry>, DecodeError> {
        self.read_stored(content, self.covers_url())
    }

    /// Reads a raw payload of an earlier delivery. The callback URL's own parameters count only if
    /// verification covered the URL then.
    pub fn read_stored(
        &self,
        content: &RawPayload,
        url_covered: bool,
    ) -> Result<Vec<Entry>, DecodeError> {
        let readings = self.dialect.read(content)?;
        // With several entries, it is ambiguous which one the URL's parameters are about.
        let uses_url = readings.len() == 1 && url_covered;
        let url =
            if uses_url { CallbackParams::read(&content.query) } else { CallbackParams::default() };
        Ok(readings
            .into_iter()
            .map(|reading| match reading.and_then(|entry| self.entry(*entry, &url)) {
                Ok(entry) => entry,
                Err(NoStatement::Ignored(reason)) => Entry::Ignored { reason },
                Err(NoStatement::Unreadable(reason)) => Entry::Unreadable { reason },
            })
            .collect())
    }

    /// Whether verification covers the callback URL's own parameters.
    pub fn covers_url(&self) -> bool {
        match &self.scheme {
            Scheme::UrlToken(_) | Scheme::SignedUrl(_) | Scheme::None => true,
            Scheme::Hmac(hmac) => hmac.covers_url(),
            Scheme::StandardWebhooks(_) => false,
            Scheme::Native(_) => {
                self.dialect.native().is_some_and(super::contract::NativeSignature::covers_url)
            }
        }
    }

    fn entry(&self, entry: EntryStatement, url: &CallbackParams) -> Result<Entry, NoStatement> {
        let too_long = |error: ReferenceTooLong| NoStatement::Unreadable(error.to_string());
        let id_bytes = entry.provider.id.len();
        if id_bytes > MAX_PROVIDER_ID_BYTES {
            return Err(NoStatement::Unreadable(format!(
                "the provider's id has {id_bytes} bytes; at most {MAX_PROVIDER_ID_BYTES} are allowed"
            )));
        }
        let destination = url.destination.or(entry.destination);
        let from_url = url.reference().map_err(too_long)?;
        let (message, by_provider_id) = match entry.message {
            Name::Ours(id) => (id, false),
            Name::ProviderId => {
                let derived_id =
                    || MessageId::from_foreign_id(&self.name, &entry.provider.id, None);
                (url.message.unwrap_or_else(derived_id), true)
            }
        };
        let is_own_reference = !from_url.is_empty() || self.dialect.foreign_ids();
        let added = Added {
            provider_name: self.provider.clone().unwrap_or_else(|| self.dialect.name().to_owned()),
            provider_message: entry.plain_words.map(str::to_owned),
            service: is_own_reference.then(|| self.name.clone()),
        };
        let statement = Statement {
            message,
            kind: Kind::Report,
            status: entry.status,
            stated_at: entry.stated_at,
            accepted_at: entry.accepted_at,
            channel: entry.channel,
            destination,
            reference: if from_url.is_empty() { entry.reference } else { from_url },
            provider: entry.provider,
            segments: entry.segments,
        };
        let notification = Box::new(Notification::new(statement, added));
        Ok(Entry::Notification { notification, by_provider_id })
    }
}

/// Complete URL that was called.
pub(crate) fn called_url(url: &str, query: Option<&str>) -> String {
    query.map_or_else(|| url.to_owned(), |query| format!("{url}?{query}"))
}
