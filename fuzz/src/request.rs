//! An input, read as a request.

use std::borrow::Cow;

use statusmirror::verify::{Header, Headers, Request};

/// A request that can be changed.
#[derive(Debug, Clone)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The path of the address.
    pub path: String,
    /// The raw query, if there is one.
    pub query: Option<String>,
    /// The headers, line by line.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads an input; what is missing is empty.
    pub fn read(input: &[u8]) -> Self {
        let (first, mut rest) = line(input);
        let first = String::from_utf8_lossy(first);
        let (method, address) = first.split_once(' ').unwrap_or((&first, ""));
        let (path, query) = match address.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (address, None),
        };
        let mut headers = Vec::new();
        loop {
            let (header, behind) = line(rest);
            rest = behind;
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|byte| *byte == b':').unwrap_or(header.len());
            let (name, value) = header.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
            headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers,
            body: rest.to_vec(),
        }
    }

    /// The address, with its query.
    pub fn address(&self) -> Cow<'_, str> {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path).into(),
            None => self.path.as_str().into(),
        }
    }

    /// The query; empty if there is none.
    pub fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }

    /// The content type, as the service takes it.
    pub fn content_type(&self) -> Option<&str> {
        let value = self.lines("Content-Type").next()?;
        str::from_utf8(value).ok()
    }

    /// What a proof is checked over.
    pub fn as_request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            query: self.query.as_deref(),
            content_type: self.content_type(),
            headers: self,
            body: &self.body,
        }
    }

    /// The value of the header's only line.
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        match self.get(name) {
            Header::One(value) => Some(value),
            Header::Absent | Header::Several => None,
        }
    }

    /// Gives the header this value, in one line.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Removes the header.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    /// Gives the query this parameter, once and last.
    pub fn set_parameter(&mut self, name: &str, value: &str) {
        self.remove_parameters(&[name]);
        let pair =
            form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        self.query = Some(match self.query.take() {
            Some(query) => format!("{query}&{pair}"),
            None => pair,
        });
    }

    /// Removes these parameters from the query, and leaves the others as they are written.
    pub fn remove_parameters(&mut self, names: &[&str]) {
        let is_named = |pair: &&str| {
            let name = form_urlencoded::parse(pair.as_bytes()).next();
            !name.is_some_and(|(name, _)| names.contains(&&*name))
        };
        self.query = self
            .query
            .take()
            .map(|query| query.split('&').filter(is_named).collect::<Vec<_>>().join("&"));
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = move |(other, _): &&(String, _)| other.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_slice())
    }
}

impl Headers for Message {
    fn get(&self, name: &str) -> Header<'_> {
        let mut lines = self.lines(name);
        match (lines.next(), lines.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => Header::One(value),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}

fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    (line.strip_suffix(b"\r").unwrap_or(line), rest.strip_prefix(b"\n").unwrap_or_default())
}
