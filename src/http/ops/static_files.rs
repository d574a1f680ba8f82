//! Static files embedded in the program, the same for every client.

use std::fmt::Write as _;
use std::sync::OnceLock;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

/// Embedded file with its content type and entity tag.
pub(crate) struct File {
    content_type: &'static str,
    content: &'static [u8],
    is_gzip: bool,
    tag: OnceLock<String>,
}

impl File {
    /// Creates a file from uncompressed content.
    pub(crate) const fn new(content_type: &'static str, content: &'static [u8]) -> Self {
        Self { content_type, content, is_gzip: false, tag: OnceLock::new() }
    }

    /// Creates a file from gzip-compressed content.
    pub(crate) const fn gzip(content_type: &'static str, content: &'static [u8]) -> Self {
        Self { content_type, content, is_gzip: true, tag: OnceLock::new() }
    }

    /// Answers with the file and these headers, or with 304 if the client's copy is current.
    ///
    /// `no-cache` lets a cache keep the file but revalidate it each time: a new version of the program must
    /// not be shown with files of the old one.
    pub(crate) fn answer(
        &self,
        request: &HttpRequest,
        headers: &[(HeaderName, &'static str)],
    ) -> HttpResponse {
        let tag = self.tag();
        let is_current =
            request.headers().get_all(IF_NONE_MATCH).any(|client_tag| matches_tag(client_tag, tag));
        let mut answer = if is_current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "no-cache"));
        for (name, value) in headers {
            answer.insert_header((name, *value));
        }
        if is_current {
            return answer.finish();
        }
        if self.is_gzip {
            answer.insert_header((CONTENT_ENCODING, "gzip"));
        }
        answer.content_type(self.content_type).body(self.content)
    }

    fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let mut tag = String::from("\"");
            for byte in Sha256::digest(self.content).iter().take(16) {
                // Writing to a String does not fail.
                let _written = write!(tag, "{byte:02x}");
            }
            tag + "\""
        })
    }
}

/// Whether an `If-None-Match` names this tag (RFC 9110, section 13.1.2; weak comparison).
fn matches_tag(header: &HeaderValue, tag: &str) -> bool {
    let Ok(text) = header.to_str() else { return false };
    text.trim() == "*"
        || text.split(',').any(|client_tag| {
            let client_tag = client_tag.trim();
            client_tag.strip_prefix("W/").unwrap_or(client_tag) == tag
        })
}
