//! Captured request: the text of HTTP/1.1, or the output of `curl -v`.

use thiserror::Error;

use crate::verify::{Header, Headers, Request};

/// Captured request.
#[derive(Clone)]
pub struct CapturedRequest {
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Raw query, if present.
    pub query: Option<String>,
    /// Headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body, up to the length that `Content-Length` states; `None` if the capture does not show it.
    pub body: Option<Vec<u8>>,
    /// Bytes after the end of the body, beyond the length that `Content-Length` states.
    pub surplus: Vec<u8>,
}

/// Error: a text is not a captured request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotARequest {
    /// No request line.
    #[error(
        "the input is not an HTTP request; give a line like `POST /webhooks/gateway HTTP/1.1`, the \
         headers, an empty line and the body, or give the output of `curl -v`"
    )]
    NoRequestLine,
    /// A line among the headers that is not a header; holds its number.
    #[error("line {0} of the input is not a header; an empty line must precede the body")]
    NoHeader(usize),
}

impl CapturedRequest {
    /// Parses a capture. A body that is given separately replaces the captured one.
    pub fn read(text: &[u8], body: Option<Vec<u8>>) -> Result<Self, NotARequest> {
        let mut lines = Lines { rest: text, number: 0 };
        let (first, by_curl) = loop {
            let line = lines.next().ok_or(NotARequest::NoRequestLine)?;
            let bare = line.strip_prefix(b"> ");
            if let Some(first) = request_line(bare.unwrap_or(line)) {
                break (first, bare.is_some());
            }
        };
        let (method, target) = first;
        let headers = headers(&mut lines, by_curl)?;
        let captured_body =
            if by_curl { body_after_curl_lines(lines) } else { Some(lines.rest.to_vec()) };
        // A proxy may print the whole URL.
        let target = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| rest.split_at(at).1),
            None => target,
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut captured = Self { method, path, query, headers, body: None, surplus: Vec::new() };
        let mut body = body.or(captured_body).unwrap_or_default();
        let is_body_shown =
            !by_curl || !body.is_empty() || captured.content_length().unwrap_or(0) == 0;
        if let Some(length) = captured.content_length().filter(|length| *length < body.len()) {
            captured.surplus = body.split_off(length);
        } else if captured.header_text("Transfer-Encoding").is_some_and(|text| text == "chunked") {
            body = decode_chunked(&body).unwrap_or(body);
        }
        captured.body = is_body_shown.then_some(body);
        Ok(captured)
    }

    /// Request, as the server would have received it.
    pub fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            query: self.query.as_deref(),
            content_type: self.header_text("Content-Type"),
            headers: self,
            body: self.body.as_deref().unwrap_or_default(),
        }
    }

    /// First header of this name, if present and printable text.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        let first = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let text = str::from_utf8(&first?.1).ok()?;
        text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)).then_some(text)
    }

    /// Length of the body, as `Content-Length` states it.
    pub fn content_length(&self) -> Option<usize> {
        self.header_text("Content-Length")?.parse().ok()
    }

    /// Values of all headers of this name.
    pub fn all<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let found = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_slice())
    }

    /// Names of all headers.
    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Source in the path.
    pub fn source(&self) -> Option<&str> {
        let (_, name) = self.path.trim_end_matches('/').rsplit_once("/webhooks/")?;
        let name = name.trim_start_matches('/');
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

impl Headers for CapturedRequest {
    fn get(&self, wanted: &str) -> Header<'_> {
        let mut found = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (None, _) => Header::Absent,
            (Some((_, value)), None) => Header::One(value),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}

/// Iterator over lines without their ends; `rest` is the text after the last one read.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let (line, behind) = self.rest.split_at(end);
        self.rest = behind.strip_prefix(b"\n").unwrap_or_default();
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// Method and target of a request line.
fn request_line(line: &[u8]) -> Option<(&str, &str)> {
    let mut parts = str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_target = target.starts_with('/') || target.contains("://");
    (is_method && is_target && version.starts_with("HTTP/")).then_some((method, target))
}

fn headers(lines: &mut Lines<'_>, by_curl: bool) -> Result<Vec<(String, Vec<u8>)>, NotARequest> {
    let mut headers = Vec::new();
    while let Some(line) = lines.next() {
        let line = match line.strip_prefix(b">") {
            Some(line) if by_curl => line.strip_prefix(b" ").unwrap_or(line),
            // Skip the lines that curl prints in between.
            None if by_curl => continue,
            _ => line,
        };
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0);
        let (name, value) = line.split_at(colon.ok_or(NotARequest::NoHeader(lines.number))?);
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    Ok(headers)
}

/// Text after curl's `> ` lines that curl did not print: a body that somebody added. The text after the head
/// of the answer belongs to the answer.
fn body_after_curl_lines(mut lines: Lines<'_>) -> Option<Vec<u8>> {
    let is_curl_line = |line: &[u8]| {
        [&b"* "[..], b"{ [", b"} ["].iter().any(|start| line.starts_with(start)) || line == b"*"
    };
    let mut body = Vec::new();
    loop {
        let before = lines.rest;
        let Some(line) = lines.next() else { break };
        if line.starts_with(b"< ") || line.starts_with(b"> ") {
            break;
        }
        if !is_curl_line(line) {
            let length = before.len() - lines.rest.len();
            body.extend_from_slice(before.get(..length).unwrap_or_default());
        }
    }
    (!body.is_empty()).then_some(body)
}

/// Decodes a chunked body; `None` if it is no longer chunked.
fn decode_chunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|at| at == b"\r\n")?;
        let (size, behind) = rest.split_at(end);
        let size = str::from_utf8(size).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let (chunk, behind) = behind.strip_prefix(b"\r\n")?.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
    }
}
