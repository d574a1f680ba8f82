//! Tampering: requests with one thing changed, as may happen to webhooks on their way from the sender.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::captured_request::CapturedRequest;

/// Other bodies, each with the change that must have happened if it is the signed one.
pub(crate) fn bodies(captured: &CapturedRequest) -> Vec<(&'static str, Vec<u8>)> {
    let body = captured.body.as_deref().unwrap_or_default();
    let end = body.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let bare = body.get(..end).unwrap_or_default();
    let mut bodies = vec![("a line break was added at the end of the body", bare.to_vec())];
    for line_break in [&b"\n"[..], b"\r\n"] {
        bodies.push((
            "the line break at the end of the body was removed",
            [bare, line_break].concat(),
        ));
    }
    let long = [body, &captured.surplus].concat();
    bodies.push(("a smaller Content-Length truncated the body", long));
    bodies.push(("a byte order mark was removed", [b"\xef\xbb\xbf", body].concat()));
    if let Some(bare) = body.strip_prefix(b"\xef\xbb\xbf") {
        bodies.push(("a byte order mark was added", bare.to_vec()));
    }
    let Ok(text) = str::from_utf8(body) else { return bodies };
    let unix = text.replace("\r\n", "\n");
    let dos = unix.replace('\n', "\r\n");
    for text in [unix, dos] {
        bodies.push(("the line breaks of the body were changed", text.into_bytes()));
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else { return bodies };
    let compact = value.to_string();
    let php = ascii(&compact).replace('/', "\\/");
    let mut texts = vec![php, compact.replace('/', "\\/"), compact];
    texts.extend(
        [&b"  "[..], b"    ", b"\t"]
            .map(|indent| to_json(&value, PrettyFormatter::with_indent(indent))),
    );
    texts.push(to_json(&value, Spaced));
    for text in texts {
        for text in [ascii(&text), text] {
            bodies.push((
                "the JSON was reformatted, with other spaces or escapes,",
                text.into_bytes(),
            ));
        }
    }
    bodies
}

/// Other queries, each with the change that must have happened if it is the signed one.
pub(crate) fn queries(query: Option<&str>) -> Vec<(String, Option<String>)> {
    let Some(query) = query else {
        return vec![("the `?` at the end of the URL was removed".to_owned(), Some(String::new()))];
    };
    let decoded = percent_encoding::percent_decode_str(query).decode_utf8_lossy().into_owned();
    let mut queries = vec![
        ("a `+` was not encoded as %2B, and became a space".to_owned(), query.replace('+', "%2B")),
        (
            "a `+` was not encoded as %2B, and became a space".to_owned(),
            query.replace("=+", "=%2B"),
        ),
        ("a %2B became a `+`, and so a space".to_owned(), query.replace("%2B", "+")),
        ("a space was encoded in another way".to_owned(), query.replace("%20", "+")),
        ("a space was encoded in another way".to_owned(), query.replace('+', "%20")),
        ("the query was percent-encoded twice".to_owned(), decoded),
        ("the query was escaped as HTML".to_owned(), query.replace("&amp;", "&")),
    ];
    let pairs: Vec<&str> = query.split('&').collect();
    for (place, pair) in pairs.iter().enumerate() {
        let name = pair.split('=').next().unwrap_or_default();
        let others = pairs.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<&str> = others.map(|(_, pair)| *pair).collect();
        queries.push((format!("the parameter `{name}` was added"), others.join("&")));
    }
    queries
        .into_iter()
        .map(|(description, query)| (description, Some(query)))
        .chain([("the query was added".to_owned(), None)])
        .collect()
}

/// URLs that the sender may have called, as far as the request and the configuration tell.
pub(crate) fn addresses(captured: &CapturedRequest, public_url: &str) -> Vec<String> {
    let (_, configured) = public_url.split_once("://").unwrap_or(("", public_url));
    let at = configured.find('/').unwrap_or(configured.len());
    let (authority, path) = configured.split_at(at);
    let header = |name: &str| captured.header_text(name).and_then(|text| text.split(',').next());
    let mut authorities = Vec::new();
    for host in
        [Some(authority), header("X-Forwarded-Host"), header("X-Original-Host"), header("Host")]
            .into_iter()
            .flatten()
    {
        let host = host.trim();
        authorities.push(host.to_owned());
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        authorities.push(bare.to_owned());
        if let Some(port) = header("X-Forwarded-Port") {
            authorities.push(format!("{bare}:{}", port.trim()));
        }
    }
    let prefixed = header("X-Forwarded-Prefix").map(|prefix| format!("{prefix}{}", captured.path));
    let mut paths = Vec::new();
    for path in
        [Some(path), Some(captured.path.as_str()), prefixed.as_deref()].into_iter().flatten()
    {
        let bare = path.trim_end_matches('/');
        paths.extend([path.to_owned(), bare.to_owned(), format!("{bare}/")]);
    }
    let mut addresses = Vec::new();
    for authority in &authorities {
        for path in &paths {
            for scheme in ["https", "http"] {
                addresses.push(format!("{scheme}://{authority}{path}"));
            }
        }
    }
    let mut known = std::collections::BTreeSet::new();
    addresses.retain(|address| address != public_url && known.insert(address.clone()));
    addresses
}

/// JSON formatter with a space after each colon and comma, as Python writes it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn to_json(value: &Value, formatter: impl Formatter) -> String {
    let mut text = Vec::new();
    // Writing a value to memory cannot fail.
    let _written = value.serialize(&mut Serializer::with_formatter(&mut text, formatter));
    String::from_utf8(text).unwrap_or_default()
}

/// Escapes everything beyond ASCII in JSON.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _written = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}
