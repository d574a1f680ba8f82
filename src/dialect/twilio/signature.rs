//! Twilio's signature: the signed text and the algorithm.
//!
//! Signed are the URL and, of a form, each name with each of its distinct values. Twilio's own libraries
//! accept several ways to write the URL, since Twilio's back ends differ; so does this one. None of them
//! makes a signature easier to forge.

use std::collections::HashMap;

use ::hmac::{Hmac, Mac};
use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};
use sha1::Sha1;
use sha2::Sha256;

use crate::dialect::source::called_url;
use crate::verify::hmac::mac;
use crate::verify::{Secret, Unverified};

/// Maximum number of parameters in a form. A form with more is rejected unread, since its parameters would
/// have to be sorted to be verified. Twilio sends some thirty.
pub(crate) const MAX_PARAMETERS: usize = 1_000;
/// Maximum size of form parameters that are verified under every form of the URL, in bytes. A larger form is
/// verified under the likeliest URLs alone, with the query as received, because each URL hashes the
/// parameters again. Twilio's forms have about 1 KiB.
const MAX_EVERY_FORM_BYTES: usize = 16 << 10;
/// Maximum length of a query that is re-encoded, in bytes; a longer query is verified only as received.
const MAX_REENCODED_BYTES: usize = 8 << 10;
/// Number of parameters that Node's `querystring` reads.
const MAX_REENCODED_PARAMETERS: usize = 1_000;

/// Characters that a URL library escapes in a query.
const NORMALISED_CHARACTERS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
/// Characters that Node's `querystring` escapes.
const ESCAPED_CHARACTERS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Hash function of a Twilio signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
}

impl Algorithm {
    /// Algorithm named in the settings of a signature of this length, in bytes. Shared keys (a public beta of
    /// Twilio's) name it in a header that is not signed; whatever the header says, only the holder of the
    /// secret can make the signature.
    pub(crate) fn named(settings: &[u8], length: usize) -> Result<Self, Unverified> {
        let settings = String::from_utf8_lossy(settings);
        let items = settings.split(',').filter_map(|item| item.split_once('='));
        let mut named = items
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| name.eq_ignore_ascii_case("algorithm") && !value.is_empty());
        // Twilio's library for Python knows the name only in lower case.
        let exact = named.clone().find(|(name, _)| *name == "algorithm");
        let is_exact = exact.is_some();
        match exact.or_else(|| named.next()).map(|(_, value)| value.to_ascii_uppercase()).as_deref()
        {
            None | Some("HMAC_SHA1") => Ok(Self::Sha1),
            Some("HMAC_SHA256") if is_exact || length == 32 => Ok(Self::Sha256),
            Some(_) if !is_exact => Ok(Self::Sha1),
            Some(_) => Err(Unverified::Wrong),
        }
    }

    /// Whether this is the signature of a URL and its parameters.
    pub(crate) fn verifies(self, secret: &Secret, signed: [&[u8]; 2], signature: &[u8]) -> bool {
        let [url, parameters] = signed;
        match self {
            Self::Sha1 => {
                let mac = mac::<Hmac<Sha1>>(secret.bytes(), url).chain_update(parameters);
                mac.verify_slice(signature)
            }
            Self::Sha256 => {
                let mac = mac::<Hmac<Sha256>>(secret.bytes(), url).chain_update(parameters);
                mac.verify_slice(signature)
            }
        }
        .is_ok()
    }
}

/// Signed form parameters: every name and each of its distinct values, decoded, sorted, without separators;
/// `None` for a form with more than [`MAX_PARAMETERS`].
pub(crate) fn parameters(form: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(form.len());
    let mut pairs = Vec::new();
    for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_PARAMETERS {
            return None;
        }
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(end);
        let start = text.len();
        decode(name, &mut text);
        let middle = text.len();
        decode(value.strip_prefix(b"=").unwrap_or_default(), &mut text);
        pairs.push((start, middle, text.len()));
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let mut pairs: Vec<_> = pairs
        .into_iter()
        .map(|(start, middle, end)| (part(start, middle), part(middle, end)))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut signed = Vec::with_capacity(text.len());
    for (name, value) in pairs {
        signed.extend_from_slice(name);
        signed.extend_from_slice(value);
    }
    Some(signed)
}

/// Decodes a name or a value of a form and appends it to `text`.
fn decode(part: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = part;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'+' | b'%')) {
        let (plain, encoded) = rest.split_at(at);
        text.extend_from_slice(plain);
        let (byte, behind) = match encoded {
            [b'%', high, low, behind @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', encoded.split_at(1).1),
            },
            [b'+', behind @ ..] => (b' ', behind),
            _ => (b'%', encoded.split_at(1).1),
        };
        text.push(byte);
        rest = behind;
    }
    text.extend_from_slice(rest);
    let decoded = text.get(start..).unwrap_or_default();
    if str::from_utf8(decoded).is_err() {
        let shown = String::from_utf8_lossy(decoded).into_owned();
        text.truncate(start);
        text.extend_from_slice(shown.as_bytes());
    }
}

/// URLs that may have been signed, the likeliest first: every form of this URL with the query as received,
/// then with the query as Twilio's libraries rewrite it. If the form has more than [`MAX_EVERY_FORM_BYTES`]
/// bytes of parameters, at most two URLs are returned, so that the parameters are hashed at most twice.
pub(crate) fn signed_urls(
    url: &str,
    query: Option<&str>,
    parameter_bytes: usize,
) -> impl Iterator<Item = String> {
    let is_long = parameter_bytes > MAX_EVERY_FORM_BYTES;
    let mut addresses = addresses(url);
    if is_long {
        // Keep the URL without a port and the configured one.
        let first = addresses.first().cloned();
        addresses.retain(|address| address == url || Some(address) == first.as_ref());
    }
    let received = std::iter::once_with(move || vec![query.map(str::to_owned)]);
    let others = move || if is_long { Vec::new() } else { rewritten(query) };
    let queries = received.chain(std::iter::once_with(others)).flatten();
    queries.flat_map(move |query| {
        let urls = addresses.iter().map(|url| called_url(url, query.as_deref()));
        urls.collect::<Vec<_>>()
    })
}

/// Rewritten forms of the query that Twilio's libraries accept.
fn rewritten(query: Option<&str>) -> Vec<Option<String>> {
    let Some(query) = query.filter(|query| query.len() <= MAX_REENCODED_BYTES) else {
        return Vec::new();
    };
    if query.is_empty() {
        // The library for Python drops a trailing `?`.
        return vec![None];
    }
    let normalised = utf8_percent_encode(query, NORMALISED_CHARACTERS).to_string();
    let escaped = reencoded(&normalised);
    let without_tilde = escaped.replace('~', "%7E");
    let mut others = Vec::new();
    for other in [normalised, escaped, without_tilde] {
        if other != query && !others.contains(&other) {
            others.push(other);
        }
    }
    others.into_iter().map(Some).collect()
}

/// The query as Node's `querystring` parses and rewrites it.
fn reencoded(query: &str) -> String {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let mut parameters: Vec<(String, Vec<String>)> = Vec::new();
    let mut places = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).take(MAX_REENCODED_PARAMETERS) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        let place = *places.entry(name.clone()).or_insert(parameters.len());
        match parameters.get_mut(place) {
            Some((_, values)) => values.push(value),
            None => parameters.push((name, vec![value])),
        }
    }
    // JavaScript orders object members that look like array indexes first, by value.
    let index = |name: &str| name.parse::<u32>().ok().filter(|index| index.to_string() == name);
    parameters.sort_by_key(|(name, _)| {
        let index = index(name).filter(|index| *index < u32::MAX);
        (index.is_none(), index)
    });
    let pairs = parameters.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| {
            let escape = |text| utf8_percent_encode(text, ESCAPED_CHARACTERS);
            format!("{}={}", escape(name), escape(value))
        })
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Forms of the URL without a port, as configured, and with the default port of its scheme: Twilio drops the
/// port over HTTPS and keeps it over HTTP, and its libraries accept all three. A URL library writes scheme
/// and host in lower case.
fn addresses(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
    let mut addresses = Vec::new();
    let (lower_scheme, lower_host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    for (scheme, host) in [(scheme, host), (&lower_scheme, host), (&lower_scheme, &lower_host)] {
        addresses.push(format!("{scheme}://{host}{path}"));
        addresses.push(format!("{scheme}://{host}:{port}{path}"));
    }
    addresses.push(url.to_owned());
    let mut known = Vec::new();
    for address in addresses {
        if !known.contains(&address) {
            known.push(address);
        }
    }
    known
}
