//! Twilio's signature: what is signed, and with which algorithm.
//!
//! Signed are the address and, of a form, each name with each of its distinct values. Twilio's own
//! libraries accept several ways to write the address, since its back ends differ; so does this one.
//! None of them makes a signature easier to forge.

use std::collections::HashMap;

use ::hmac::{Hmac, Mac};
use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};
use sha1::Sha1;
use sha2::Sha256;

use crate::dialect::source::called;
use crate::proof::hmac::mac;
use crate::proof::{Secret, Unproven};

/// A form with more parameters is refused unread: they would have to be sorted to be verified.
/// Twilio sends some thirty.
pub(super) const MOST_PARAMETERS: usize = 1_000;
/// Longer queries are verified as they were received alone.
const LONGEST_REENCODED: usize = 8 << 10;
/// Node's `querystring` reads so many parameters.
const MOST_REENCODED: usize = 1_000;

/// What a URL library escapes in a query.
const NORMALISED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
/// What Node's `querystring` escapes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A hash function that Twilio signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
}

impl Algorithm {
    /// The algorithm that the settings of a signature name, for a signature of so many bytes. Shared
    /// keys (a public beta of Twilio's) name it in a header that is not signed; whatever it says, only
    /// the holder of the secret can make the signature.
    pub(super) fn named(settings: &[u8], length: usize) -> Result<Self, Unproven> {
        let settings = String::from_utf8_lossy(settings);
        let items = settings.split(',').filter_map(|item| item.split_once('='));
        let mut named = items
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| name.eq_ignore_ascii_case("algorithm") && !value.is_empty());
        // Twilio's library for Python knows the name in small letters alone.
        let exact = named.clone().find(|(name, _)| *name == "algorithm");
        let is_exact = exact.is_some();
        match exact.or_else(|| named.next()).map(|(_, value)| value.to_ascii_uppercase()).as_deref()
        {
            None | Some("HMAC_SHA1") => Ok(Self::Sha1),
            Some("HMAC_SHA256") if is_exact || length == 32 => Ok(Self::Sha256),
            Some(_) if !is_exact => Ok(Self::Sha1),
            Some(_) => Err(Unproven::Wrong),
        }
    }

    /// Whether this is the signature of an address and parameters.
    pub(super) fn fits(self, secret: &Secret, signed: [&[u8]; 2], signature: &[u8]) -> bool {
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

/// Every name and each of its distinct values, decoded, in order, without anything between; none of
/// a form with more than [`MOST_PARAMETERS`].
pub(super) fn parameters(form: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(form.len());
    let mut pairs = Vec::new();
    for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MOST_PARAMETERS {
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

/// Decodes a name or a value of a form.
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

/// The addresses that may have been signed, the likeliest first: those of this one with the query as
/// it was received, and with the query as Twilio's libraries write it anew.
pub(super) fn signed_urls(url: &str, query: Option<&str>) -> impl Iterator<Item = String> {
    let addresses = addresses(url);
    let received = std::iter::once_with(move || vec![query.map(str::to_owned)]);
    let queries = received.chain(std::iter::once_with(move || rewritten(query))).flatten();
    queries.flat_map(move |query| {
        let urls = addresses.iter().map(|url| called(url, query.as_deref()));
        urls.collect::<Vec<_>>()
    })
}

/// The query in the other ways that Twilio's libraries accept.
fn rewritten(query: Option<&str>) -> Vec<Option<String>> {
    let Some(query) = query.filter(|query| query.len() <= LONGEST_REENCODED) else {
        return Vec::new();
    };
    if query.is_empty() {
        // The library for Python drops a `?` without anything behind it.
        return vec![None];
    }
    let normalised = utf8_percent_encode(query, NORMALISED).to_string();
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

/// The query as Node's `querystring` parses it and writes it again.
fn reencoded(query: &str) -> String {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let mut parameters: Vec<(String, Vec<String>)> = Vec::new();
    let mut places = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).take(MOST_REENCODED) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        let place = *places.entry(name.clone()).or_insert(parameters.len());
        match parameters.get_mut(place) {
            Some((_, values)) => values.push(value),
            None => parameters.push((name, vec![value])),
        }
    }
    // Members of an object that look like places of an array come first, in their order.
    let index = |name: &str| name.parse::<u32>().ok().filter(|index| index.to_string() == name);
    parameters.sort_by_key(|(name, _)| {
        let index = index(name).filter(|index| *index < u32::MAX);
        (index.is_none(), index)
    });
    let pairs = parameters.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| {
            let escape = |text| utf8_percent_encode(text, ESCAPED);
            format!("{}={}", escape(name), escape(value))
        })
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The address without a port, as it is configured, and with the port of its scheme: Twilio drops
/// the port over HTTPS and keeps it over HTTP, and its libraries accept any of the three. A URL
/// library writes scheme and host in small letters.
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
    let (small_scheme, small_host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    for (scheme, host) in [(scheme, host), (&small_scheme, host), (&small_scheme, &small_host)] {
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
