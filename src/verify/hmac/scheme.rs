//! Settings of the HMAC scheme, and its verification.

use ::hmac::{Hmac as Keyed, KeyInit, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::header_items::items;
use crate::message::Timestamp;
use crate::verify::encoding::{from_base64, unhex};
use crate::verify::verdict::MAX_SIGNATURES;
use crate::verify::{
    Place, Request, SchemeError, Secret, Unverified, Verified, Window, find_secret,
};

/// Settings of the scheme, as written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Header that holds the signature, or `query:NAME`.
    pub header: String,
    /// `sha256`, `sha1` or `sha512`.
    pub algorithm: String,
    /// `hex` or `base64`.
    pub encoding: String,
    /// Prefix of a signature.
    pub prefix: String,
    /// Separator between several signatures.
    pub separator: String,
    /// Template of the signed text.
    pub signed: String,
    /// Place of the signed time: `header:NAME` or `item:NAME`.
    pub timestamp: String,
    /// `s`, `ms` or `iso8601`.
    pub timestamp_unit: String,
    /// Header whose value replaces `{id}`.
    pub id_header: String,
    /// `utf8` or `base64`.
    pub secret_encoding: String,
}

impl Default for Settings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            header: String::new(),
            algorithm: text("sha256"),
            encoding: text("hex"),
            prefix: String::new(),
            separator: String::new(),
            signed: text("{body}"),
            timestamp: String::new(),
            timestamp_unit: text("s"),
            id_header: String::new(),
            secret_encoding: text("utf8"),
        }
    }
}

/// Scheme, ready to verify.
#[derive(Debug, Clone, PartialEq)]
pub struct Hmac {
    pub(crate) secrets: Vec<Secret>,
    pub(crate) at: Place,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: Vec<u8>,
    pub(crate) separator: Option<Vec<u8>>,
    pub(crate) signed: Vec<Part>,
    pub(crate) timestamp: Option<(TimeAt, Unit)>,
    pub(crate) id_header: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Encoding {
    Hex,
    Base64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Body,
    Timestamp,
    Id,
    Method,
    Url,
    Header(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TimeAt {
    Header(String),
    Item(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Iso8601,
}

impl Hmac {
    /// Builds the scheme with these secrets, or reports which setting is wrong.
    pub fn new(secrets: &[Secret], settings: &Settings) -> Result<Self, SchemeError> {
        let secrets = match settings.secret_encoding.as_str() {
            "utf8" => secrets.to_vec(),
            "base64" => secrets.iter().map(from_base64).collect::<Result<_, _>>()?,
            _ => return Err(SchemeError::new("secret_encoding", "use utf8 or base64")),
        };
        let at = match settings.header.strip_prefix("query:") {
            Some(name) => Place::Parameter(name.to_owned()),
            None if settings.header.is_empty() => {
                return Err(SchemeError::new("header", "name the header that holds the signature"));
            }
            None => Place::Header(settings.header.clone()),
        };
        let algorithm = match settings.algorithm.as_str() {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(SchemeError::new("algorithm", "use sha256, sha1 or sha512")),
        };
        let encoding = match settings.encoding.as_str() {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            _ => return Err(SchemeError::new("encoding", "use hex or base64")),
        };
        header_name("header", settings.header.trim_start_matches("query:"))?;
        if !settings.id_header.is_empty() {
            header_name("id_header", &settings.id_header)?;
        }
        let separator =
            (!settings.separator.is_empty()).then(|| settings.separator.as_bytes().to_vec());
        let timestamp = timestamp(settings)?;
        let signed = template(&settings.signed)?;
        if timestamp.is_some() != signed.contains(&Part::Timestamp) {
            return Err(SchemeError::new(
                "signed",
                "`timestamp` and the placeholder {timestamp} require each other: a time that is \
                 not signed can be forged",
            ));
        }
        if signed.contains(&Part::Id) && settings.id_header.is_empty() {
            return Err(SchemeError::new("id_header", "name the header that {id} stands for"));
        }
        if !signed.contains(&Part::Body) {
            return Err(SchemeError::new("signed", "the template must contain {body}"));
        }
        Ok(Self {
            secrets,
            at,
            algorithm,
            encoding,
            prefix: settings.prefix.as_bytes().to_vec(),
            separator,
            signed,
            timestamp,
            id_header: settings.id_header.clone(),
        })
    }

    /// Whether the URL is part of the signed text.
    pub fn covers_url(&self) -> bool {
        self.signed.contains(&Part::Url)
    }

    /// Number of secrets.
    pub fn secrets(&self) -> usize {
        self.secrets.len()
    }

    /// Verifies a request; `url` is the public URL that the sender called.
    pub fn verify(
        &self,
        request: &Request<'_>,
        url: &str,
        window: Window,
        now: Timestamp,
    ) -> Result<Verified, Unverified> {
        let value = self.value(request)?;
        let items = items(&value, self.separator.as_deref());
        if items.len() > MAX_SIGNATURES {
            return Err(Unverified::Wrong);
        }
        let time = self.time(request, &items)?;
        let message = self.render(request, url, time.unwrap_or_default())?;
        let signatures: Vec<Vec<u8>> = items
            .iter()
            .filter_map(|item| self.decode(item.strip_prefix(self.prefix.as_slice())?))
            .collect();
        let verified =
            find_secret(&self.secrets, |secret| self.verifies(secret, &message, &signatures))?;
        match (time, &self.timestamp) {
            (Some(time), Some((_, unit))) => window.judge(verified, to_seconds(time, *unit)?, now),
            _ => Ok(verified),
        }
    }

    pub(crate) fn value(&self, request: &Request<'_>) -> Result<Vec<u8>, Unverified> {
        match &self.at {
            Place::Header(name) => request.headers.get(name).required().map(<[u8]>::to_vec),
            Place::Parameter(wanted) => {
                let mut found = request.parameters().filter(|(name, _)| name == wanted.as_str());
                match (found.next(), found.next()) {
                    (None, _) => Err(Unverified::Missing),
                    (Some((_, value)), None) => Ok(value.into_owned().into_bytes()),
                    (Some(_), Some(_)) => Err(Unverified::Wrong),
                }
            }
        }
    }

    pub(crate) fn time<'a>(
        &self,
        request: &Request<'a>,
        items: &[&'a [u8]],
    ) -> Result<Option<&'a [u8]>, Unverified> {
        match &self.timestamp {
            None => Ok(None),
            Some((TimeAt::Header(name), _)) => request.headers.get(name).required().map(Some),
            Some((TimeAt::Item(name), _)) => {
                let mut times = items.iter().filter_map(|item| item.strip_prefix(name.as_slice()));
                match (times.next(), times.next()) {
                    (None, _) => Err(Unverified::Missing),
                    (Some(time), None) => Ok(Some(time)),
                    (Some(_), Some(_)) => Err(Unverified::Wrong),
                }
            }
        }
    }

    /// Renders the signed bytes. Works on bytes, because a body need not be text.
    pub(crate) fn render(
        &self,
        request: &Request<'_>,
        url: &str,
        time: &[u8],
    ) -> Result<Vec<u8>, Unverified> {
        let mut message = Vec::with_capacity(request.body.len() + 64);
        for part in &self.signed {
            match part {
                Part::Text(text) => message.extend_from_slice(text.as_bytes()),
                Part::Body => message.extend_from_slice(request.body),
                Part::Timestamp => message.extend_from_slice(time),
                Part::Id => {
                    message.extend_from_slice(request.headers.get(&self.id_header).required()?);
                }
                Part::Method => message.extend_from_slice(request.method.as_bytes()),
                Part::Url => message.extend_from_slice(url.as_bytes()),
                Part::Header(name) => {
                    message.extend_from_slice(request.headers.get(name).required()?);
                }
            }
        }
        Ok(message)
    }

    fn decode(&self, signature: &[u8]) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Hex => unhex(signature),
            Encoding::Base64 => STANDARD.decode(signature).ok(),
        }
    }

    fn verifies(&self, secret: &Secret, message: &[u8], signatures: &[Vec<u8>]) -> bool {
        let key = secret.bytes();
        match self.algorithm {
            Algorithm::Sha1 => matches_any(&mac::<Keyed<Sha1>>(key, message), signatures),
            Algorithm::Sha256 => matches_any(&mac::<Keyed<Sha256>>(key, message), signatures),
            Algorithm::Sha512 => matches_any(&mac::<Keyed<Sha512>>(key, message), signatures),
        }
    }
}

/// Whether one of these signatures matches a MAC that has been fed the message. The message is hashed once,
/// however many signatures the request carries.
pub(crate) fn matches_any<M: Mac + Clone>(mac: &M, signatures: &[Vec<u8>]) -> bool {
    signatures
        .iter()
        .filter(|signature| signature.len() == M::output_size())
        .fold(false, |found, signature| mac.clone().verify_slice(signature).is_ok() | found)
}

/// MAC that has been fed the message.
pub(crate) fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> M {
    // An HMAC takes a key of any length.
    let mut mac = <M as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_never| <M as KeyInit>::new(&::hmac::digest::Key::<M>::default()));
    mac.update(message);
    mac
}

/// Checks that a name is a valid header name. The same rule applies to query parameters.
fn header_name(key: &'static str, name: &str) -> Result<(), SchemeError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_token) {
        return Ok(());
    }
    Err(SchemeError::new(key, format!("`{name}` cannot be the name of a header")))
}

fn timestamp(settings: &Settings) -> Result<Option<(TimeAt, Unit)>, SchemeError> {
    let unit = match settings.timestamp_unit.as_str() {
        "s" => Unit::Seconds,
        "ms" => Unit::Milliseconds,
        "iso8601" => Unit::Iso8601,
        _ => return Err(SchemeError::new("timestamp_unit", "use s, ms or iso8601")),
    };
    let at = match settings.timestamp.split_once(':') {
        None if settings.timestamp.is_empty() => return Ok(None),
        Some(("header", name)) => {
            header_name("timestamp", name)?;
            TimeAt::Header(name.to_owned())
        }
        Some(("item", name)) if !name.is_empty() => {
            if settings.separator.is_empty() {
                return Err(SchemeError::new(
                    "separator",
                    "a timestamp that is an item needs a separator of the items",
                ));
            }
            TimeAt::Item(format!("{name}=").into_bytes())
        }
        _ => return Err(SchemeError::new("timestamp", "use header:NAME or item:NAME")),
    };
    Ok(Some((at, unit)))
}

fn template(text: &str) -> Result<Vec<Part>, SchemeError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (name, after) =
            behind.split_once('}').ok_or_else(|| SchemeError::new("signed", "a `{` has no `}`"))?;
        parts.push(match name.split_once(':') {
            Some(("header", name)) => {
                header_name("signed", name)?;
                Part::Header(name.to_owned())
            }
            None if name == "body" => Part::Body,
            None if name == "timestamp" => Part::Timestamp,
            None if name == "id" => Part::Id,
            None if name == "method" => Part::Method,
            None if name == "url" => Part::Url,
            _ => {
                return Err(SchemeError::new(
                    "signed",
                    format!(
                        "unknown placeholder {{{name}}}; the placeholders are {{body}}, \
                         {{timestamp}}, {{id}}, {{method}}, {{url}} and {{header:NAME}}"
                    ),
                ));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

pub(crate) fn to_seconds(time: &[u8], unit: Unit) -> Result<i64, Unverified> {
    let text = str::from_utf8(time).map_err(|_not_text| Unverified::Wrong)?;
    let number = || parse_digits(text).ok_or(Unverified::Wrong);
    match unit {
        Unit::Seconds => number(),
        Unit::Milliseconds => number().map(|milliseconds| milliseconds.div_euclid(1_000)),
        Unit::Iso8601 => {
            text.parse::<Timestamp>().map(Timestamp::seconds).map_err(|_no_time| Unverified::Wrong)
        }
    }
}

/// Parses a number of ASCII digits only: no sign, no fraction.
pub(crate) fn parse_digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
