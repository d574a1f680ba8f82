//! A valid captured request for each scheme, and the output of `verify` for it.

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
/// The contract's signed URL.
pub(crate) const QUERY: &str = "destination=%2B393331234567&key=order+7";
pub(crate) const SIGNATURE: &str =
    "1b2251a94d5b8ef076af9062e2f3fb24518d80b8b7143bbb5eb9325b276580a6";
/// When everything here is signed, in seconds and in words.
pub(crate) const SECOND: i64 = 1_770_908_000;
pub(crate) const TIME: &str = "2026-02-12T14:53:20Z";
pub(crate) const TWILIO_URL: &str = "https://hooks.example.com/webhooks/twilio";
pub(crate) const ADDRESS_URL: &str = "https://hooks.example.com/webhooks/address";

/// A request that is captured.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    body: String,
    /// What the request says of its length, if that is not how long it is.
    pub(crate) length: Option<usize>,
}

impl Sent {
    pub(crate) fn to(path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        canaries::request(path, headers, &[]);
        let headers = headers.iter().chain(JSON).map(own).collect();
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

    pub(crate) fn of_body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

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

/// The steps and the verdict of a command.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.printed);
        let verdict = self.printed.lines().last().unwrap();
        assert!(verdict.starts_with("verdict: "), "{}", self.printed);
        for word in words {
            assert!(verdict.contains(word), "`{word}` is not the verdict of\n{}", self.printed);
        }
    }

    /// It would be taken, and becomes this.
    #[track_caller]
    pub(crate) fn assert_taken(&self, words: &str) {
        self.assert(0, &["verdict: taken: ", words]);
        assert!(!self.printed.contains("FAIL"), "{}", self.printed);
    }

    /// It would be refused, because this does not fit, in these words.
    #[track_caller]
    pub(crate) fn assert_misfit(&self, status: u16, what: &str, words: &[&str]) {
        self.assert(65, words);
        let verdict = format!("verdict: rejected with {status}, {what} mismatch: ");
        assert!(self.printed.contains(&verdict), "{}", self.printed);
        assert!(self.printed.contains("FAIL"), "{}", self.printed);
    }
}

/// A folder with the configuration.
pub(crate) struct Installed(pub(crate) TempDir);

impl Installed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        canaries::configuration(SOURCES);
        let config = format!("[api_keys.tests]\nkey = \"{KEY}\"\n{SOURCES}");
        fs::write(folder.path().join("statusmirror.toml"), config).unwrap();
        Self(folder)
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Answer {
        let mut child = Command::new(PROGRAM)
            .current_dir(self.0.path())
            .args(["--config", "statusmirror.toml", "verify"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments reads nothing.
        drop(child.stdin.take().unwrap().write_all(input));
        let output = child.wait_with_output().unwrap();
        let printed = text(&output.stdout).to_owned();
        canaries::assert_none("what is said of a request", &printed);
        canaries::assert_none("what a command complains of", text(&output.stderr));
        Answer { code: output.status.code(), printed }
    }

    /// What is said of it if it arrives when it was signed.
    pub(crate) fn verify(&self, source: &str, sent: &Sent) -> Answer {
        self.at(TIME, source, sent)
    }

    pub(crate) fn at(&self, time: &str, source: &str, sent: &Sent) -> Answer {
        self.run(&[source, "--at", time], sent.text().as_bytes())
    }
}

pub(crate) fn signed_url() -> Sent {
    Sent::to(&format!("/webhooks/gateway?{QUERY}&signature={SIGNATURE}"), &[], EXAMPLE)
}

pub(crate) fn token() -> Sent {
    Sent::to("/webhooks/token?token=a-token-for-verify", &[], EXAMPLE)
}

pub(crate) fn signed() -> Sent {
    let signature = hmac_hex(b"a-secret-of-signed-1", EXAMPLE.as_bytes());
    Sent::to("/webhooks/signed", &[("X-Signature", &signature)], EXAMPLE)
}

pub(crate) fn timed() -> Sent {
    let message = format!("{SECOND}.{EXAMPLE}");
    let signature = hmac_hex(b"a-secret-of-timed-1", message.as_bytes());
    let time = SECOND.to_string();
    Sent::to("/webhooks/timed", &[("X-Sign", &signature), ("X-Time", &time)], EXAMPLE)
}

pub(crate) fn address(url: &str) -> Sent {
    let message = format!("{url}{EXAMPLE}");
    let signature = hmac_hex(b"a-secret-of-address", message.as_bytes());
    Sent::to("/webhooks/address", &[("X-Url-Signature", &signature)], EXAMPLE)
}

pub(crate) fn standard() -> Sent {
    let headers = standard_webhooks(EXAMPLE, SECOND);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Sent::to("/webhooks/standard", &headers, EXAMPLE)
}

pub(crate) fn twilio(url: &str) -> Sent {
    let mut mac = Hmac::<Sha1>::new_from_slice(b"9f1c0a7be2d84e0fb36a5d1c2e7a4f80").unwrap();
    mac.update(format!("{url}MessageSidSM7MessageStatussent").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut sent = Sent::to("/webhooks/twilio", &[], "MessageSid=SM7&MessageStatus=sent");
    sent.headers = vec![
        ("Content-Type".to_owned(), FORM[0].1.to_owned()),
        ("X-Twilio-Signature".to_owned(), signature),
    ];
    sent
}
