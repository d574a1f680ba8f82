//! Captured requests, valid ones for each scheme, and the output of `verify` for them.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use tempfile::TempDir;

use crate::support::*;

const SOURCES: &str = r#"
[sources.gateway]
verify = { scheme = "signed-url", secrets = ["a-newer-secret-of-ours", "s3cret"] }
[sources.elsewhere]
verify = { scheme = "signed-url", secrets = ["a-secret-of-elsewhere"] }
[sources.token]
verify = { scheme = "url-token", secrets = ["a-token-for-verify"] }
[sources.signed]
max_body_bytes = 2000
verify = { scheme = "hmac", secrets = ["a-secret-of-signed-1"], header = "X-Signature" }
[sources.another]
verify = { scheme = "hmac", secrets = ["a-secret-of-another"], header = "X-Signature" }
[sources.timed]
verify = { scheme = "hmac", secrets = ["a-secret-of-timed-1"], header = "X-Sign", signed = "{timestamp}.{body}", timestamp = "header:X-Time" }
[sources.address]
public_url = "https://hooks.example.com/webhooks/address"
verify = { scheme = "hmac", secrets = ["a-secret-of-address"], header = "X-Url-Signature", signed = "{url}{body}" }
[sources.standard]
verify = { scheme = "standard-webhooks", secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] }
[sources.twilio]
dialect = "twilio"
public_url = "https://hooks.example.com/webhooks/twilio"
verify = { scheme = "native", secrets = ["9f1c0a7be2d84e0fb36a5d1c2e7a4f80"] }
"#;
/// Query of the signed URL in the gateway's contract, without its signature.
pub(crate) const QUERY: &str = "destination=%2B393331234567&key=order+7";
/// Signature of [`QUERY`].
pub(crate) const SIGNATURE: &str =
    "1b2251a94d5b8ef076af9062e2f3fb24518d80b8b7143bbb5eb9325b276580a6";
/// Time at which the requests are signed, in Unix seconds.
pub(crate) const SIGNED_AT_SECONDS: i64 = 1_770_908_000;
/// Time at which the requests are signed, in RFC 3339.
pub(crate) const SIGNED_AT: &str = "2026-02-12T14:53:20Z";
pub(crate) const TWILIO_URL: &str = "https://hooks.example.com/webhooks/twilio";
pub(crate) const ADDRESS_URL: &str = "https://hooks.example.com/webhooks/address";

/// Captured request.
#[derive(Clone)]
pub(crate) struct CapturedRequest {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    body: String,
    /// Value of `Content-Length`, if it differs from the body's length.
    pub(crate) length: Option<usize>,
}

impl CapturedRequest {
    pub(crate) fn to(path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        canaries::request(path, headers, &[]);
        let headers = headers.iter().chain(JSON).map(owned).collect();
        Self { method: "POST", path: path.to_owned(), headers, body: body.to_owned(), length: None }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Replaces the body.
    pub(crate) fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Replaces the path.
    pub(crate) fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The request as HTTP/1.1 text.
    pub(crate) fn text(&self) -> String {
        let length = self.length.unwrap_or(self.body.len());
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: hooks.example.com\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        format!("{text}Content-Length: {length}\r\n\r\n{}", self.body)
    }
}

/// Output of a `verify` command.
pub(crate) struct VerifyOutput {
    pub(crate) code: Option<i32>,
    /// The steps, and the verdict in the last line.
    pub(crate) stdout: String,
}

impl VerifyOutput {
    /// Asserts the exit code, and that the verdict contains these texts.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stdout);
        let verdict = self.stdout.lines().last().unwrap();
        assert!(verdict.starts_with("verdict: "), "{}", self.stdout);
        for text in texts {
            assert!(verdict.contains(text), "the verdict lacks `{text}`:\n{}", self.stdout);
        }
    }

    /// Asserts that the request verifies, and that the verdict contains this text about its entries.
    #[track_caller]
    pub(crate) fn assert_accepted(&self, text: &str) {
        self.assert(0, &["verdict: accepted: ", text]);
        assert!(!self.stdout.contains("FAIL"), "{}", self.stdout);
    }

    /// Asserts that the request is rejected with this status because of this part of it, such as `body`, and
    /// that the verdict contains these texts.
    #[track_caller]
    pub(crate) fn assert_mismatch(&self, status: u16, part: &str, texts: &[&str]) {
        self.assert(65, texts);
        let verdict = format!("verdict: rejected with {status}, {part} mismatch: ");
        assert!(self.stdout.contains(&verdict), "{}", self.stdout);
        assert!(self.stdout.contains("FAIL"), "{}", self.stdout);
    }
}

/// Folder with a configuration file that has a source for each scheme.
pub(crate) struct ConfiguredFolder(pub(crate) TempDir);

impl ConfiguredFolder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        canaries::configuration(SOURCES);
        let config = format!("[api_keys.tests]\nkey = \"{KEY}\"\n{SOURCES}");
        fs::write(folder.path().join("statusmirror.toml"), config).unwrap();
        Self(folder)
    }

    /// Runs `verify` with these arguments and this standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> VerifyOutput {
        let mut child = Command::new(PROGRAM)
            .current_dir(self.0.path())
            .args(["--config", "statusmirror.toml", "verify"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that rejects its arguments does not read its input, so that writing may fail.
        drop(child.stdin.take().unwrap().write_all(input));
        let output = child.wait_with_output().unwrap();
        let stdout = text(&output.stdout).to_owned();
        canaries::assert_none("standard output of `verify`", &stdout);
        canaries::assert_none("standard error of `verify`", text(&output.stderr));
        VerifyOutput { code: output.status.code(), stdout }
    }

    /// Runs `verify` for a request that arrives at the time at which it was signed.
    pub(crate) fn verify(&self, source: &str, request: &CapturedRequest) -> VerifyOutput {
        self.verify_at(SIGNED_AT, source, request)
    }

    /// Runs `verify` for a request that arrives at this time.
    pub(crate) fn verify_at(
        &self,
        time: &str,
        source: &str,
        request: &CapturedRequest,
    ) -> VerifyOutput {
        self.run(&[source, "--at", time], request.text().as_bytes())
    }
}

pub(crate) fn signed_url() -> CapturedRequest {
    CapturedRequest::to(&format!("/webhooks/gateway?{QUERY}&signature={SIGNATURE}"), &[], EXAMPLE)
}

pub(crate) fn token() -> CapturedRequest {
    CapturedRequest::to("/webhooks/token?token=a-token-for-verify", &[], EXAMPLE)
}

pub(crate) fn signed() -> CapturedRequest {
    let signature = hmac_hex(b"a-secret-of-signed-1", EXAMPLE.as_bytes());
    CapturedRequest::to("/webhooks/signed", &[("X-Signature", &signature)], EXAMPLE)
}

pub(crate) fn timed() -> CapturedRequest {
    let message = format!("{SIGNED_AT_SECONDS}.{EXAMPLE}");
    let signature = hmac_hex(b"a-secret-of-timed-1", message.as_bytes());
    let time = SIGNED_AT_SECONDS.to_string();
    CapturedRequest::to("/webhooks/timed", &[("X-Sign", &signature), ("X-Time", &time)], EXAMPLE)
}

pub(crate) fn address(url: &str) -> CapturedRequest {
    let message = format!("{url}{EXAMPLE}");
    let signature = hmac_hex(b"a-secret-of-address", message.as_bytes());
    CapturedRequest::to("/webhooks/address", &[("X-Url-Signature", &signature)], EXAMPLE)
}

pub(crate) fn standard() -> CapturedRequest {
    let headers = standard_webhooks(EXAMPLE, SIGNED_AT_SECONDS);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    CapturedRequest::to("/webhooks/standard", &headers, EXAMPLE)
}

pub(crate) fn twilio(url: &str) -> CapturedRequest {
    let mut mac = Hmac::<Sha1>::new_from_slice(b"9f1c0a7be2d84e0fb36a5d1c2e7a4f80").unwrap();
    mac.update(format!("{url}MessageSidSM7MessageStatussent").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut request =
        CapturedRequest::to("/webhooks/twilio", &[], "MessageSid=SM7&MessageStatus=sent");
    request.headers = vec![
        ("Content-Type".to_owned(), FORM[0].1.to_owned()),
        ("X-Twilio-Signature".to_owned(), signature),
    ];
    request
}
