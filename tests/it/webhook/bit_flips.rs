//! One flipped bit anywhere in signed content fails verification, in every scheme.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use sha1::Sha1;
use statusmirror::config::{self, Secrets};
use statusmirror::dialect::Source;
use statusmirror::message::Timestamp;
use statusmirror::verify::{Header, Headers, Request, Unverified, Verified};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::*;

const NOW: i64 = 1_790_000_000;
/// The key pair of the vector that has both kinds of signatures.
const VECTORS: &str = include_str!("../../vectors/standard-webhooks.json");
const ED25519: &str = "v1-and-v1a-in-one-header-ed25519-key";

/// A request as it is sent, in parts that can be changed.
#[derive(Clone)]
struct Sent {
    query: Vec<(String, Vec<u8>)>,
    headers: BTreeMap<&'static str, Vec<u8>>,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Headers for Sent {
    fn one(&self, name: &str) -> Header<'_> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Header::Absent, |(_, value)| Header::One(value))
    }
}

impl Sent {
    /// The query on the wire, its values percent-encoded.
    fn query(&self) -> Option<String> {
        let pair = |(name, value): &(String, Vec<u8>)| {
            format!("{name}={}", percent_encode(value, NON_ALPHANUMERIC))
        };
        let pairs: Vec<_> = self.query.iter().map(pair).collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }

    fn verify(&self, source: &Source, now: i64) -> Result<Verified, Unverified> {
        self.verify_query(source, self.query().as_deref(), now)
    }

    fn verify_query(
        &self,
        source: &Source,
        query: Option<&str>,
        now: i64,
    ) -> Result<Verified, Unverified> {
        let request = Request {
            method: "POST",
            query,
            content_type: Some(self.content_type),
            headers: self,
            body: &self.body,
        };
        source.verify(&request, Timestamp::from_micros(now * 1_000_000).unwrap())
    }

    /// The same request with one bit of one of its signed parts flipped, for every bit.
    fn flipped(&self) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        for bit in 0..self.body.len() * 8 {
            let mut sent = self.clone();
            flip(&mut sent.body, bit);
            all.push((format!("bit {bit} of the body"), sent));
        }
        for (name, value) in &self.headers {
            for bit in 0..value.len() * 8 {
                let mut sent = self.clone();
                flip(sent.headers.get_mut(name).unwrap(), bit);
                all.push((format!("bit {bit} of the header {name}"), sent));
            }
        }
        for place in 0..self.query.len() {
            for bit in 0..self.query[place].1.len() * 8 {
                let mut sent = self.clone();
                flip(&mut sent.query[place].1, bit);
                all.push((format!("bit {bit} of the parameter {}", self.query[place].0), sent));
            }
        }
        all
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// A scheme: how it is configured, and a request that it takes.
struct Case {
    name: &'static str,
    /// The dialect and `verify` of the source `flips`.
    config: String,
    sent: Sent,
    /// The digits of a signature in hex may be of any case, so that some bits do not matter.
    is_hex: bool,
}

/// What a request says, where what is sent has several forms: digits in hex, and a form's encoding.
fn meant(case: &Case, sent: &Sent) -> String {
    let any_case = |name: &str, value: &[u8]| {
        if case.is_hex && name.to_ascii_lowercase().ends_with("signature") {
            value.to_ascii_lowercase()
        } else {
            value.to_vec()
        }
    };
    let query: Vec<_> =
        sent.query.iter().map(|(name, value)| (name, any_case(name, value))).collect();
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| any_case(name, value)).collect();
    if sent.content_type == FORM[0].1 {
        let form: Vec<_> = form_urlencoded::parse(&sent.body).collect();
        format!("{query:?} {headers:?} {form:?}")
    } else {
        format!("{query:?} {headers:?} {:?}", sent.body)
    }
}

fn sent(query: &[(&str, &str)], headers: &[(&'static str, &str)], body: &str) -> Sent {
    Sent {
        query: query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect(),
        content_type: "application/json",
        body: body.as_bytes().to_vec(),
    }
}

const SECRET: &str = "a-secret-for-flipped-bits";
const ANY_AGE: &str = "max_age_seconds = 4000000000";

/// One of each scheme, with times of this second.
fn cases(now: i64) -> [Case; 6] {
    [token(), signed_url(now), template(now), shared_key(now), key_pair(), twilio()]
}

fn token() -> Case {
    Case {
        name: "url-token",
        config: format!(
            "verify = {{ scheme = \"url-token\", secrets = [\"an-older-one-0123\", \"{SECRET}\"] }}"
        ),
        sent: sent(&[("token", SECRET)], &[], ""),
        is_hex: false,
    }
}

fn signed_url(now: i64) -> Case {
    let expires = (now + 1_000).to_string();
    let text = format!(
        "flips\n+393331234567\n{expires}\naction=A\nkey=order 7 é\nmessageid={EXAMPLE_ID}\nservice=S"
    );
    let query = [
        ("destination", "+393331234567"),
        ("expires", &expires),
        ("action", "A"),
        ("key", "order 7 é"),
        ("messageid", EXAMPLE_ID),
        ("service", "S"),
        ("signature", &hmac_hex(SECRET.as_bytes(), text.as_bytes())),
    ];
    Case {
        name: "signed-url",
        config: format!("verify = {{ scheme = \"signed-url\", secrets = \"{SECRET}\" }}"),
        sent: sent(&query, &[], ""),
        is_hex: true,
    }
}

fn template(now: i64) -> Case {
    let signed = format!("v0:{now}:m-1:POST:{EXAMPLE}");
    let signature = format!("v0={}", hmac_hex(SECRET.as_bytes(), signed.as_bytes()));
    let headers = [("X-Signature", &*signature), ("X-Time", &now.to_string()), ("X-Id", "m-1")];
    Case {
        name: "hmac with a timestamp in its template",
        config: format!(
            "verify = {{ scheme = \"hmac\", secrets = \"{SECRET}\", header = \"X-Signature\", \
             prefix = \"v0=\", signed = \"v0:{{timestamp}}:{{id}}:{{method}}:{{body}}\", \
             timestamp = \"header:X-Time\", id_header = \"X-Id\", {ANY_AGE} }}"
        ),
        sent: sent(&[], &headers, EXAMPLE),
        is_hex: true,
    }
}

fn shared_key(now: i64) -> Case {
    let headers = standard_webhooks(EXAMPLE, now);
    Case {
        name: "standard-webhooks v1",
        config: format!(
            "verify = {{ scheme = \"standard-webhooks\", \
             secrets = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", {ANY_AGE} }}"
        ),
        sent: sent(&[], &headers.each_ref().map(|(name, value)| (*name, &**value)), EXAMPLE),
        is_hex: false,
    }
}

/// The official vector that has both kinds of signatures, with that of the key pair alone.
fn key_pair() -> Case {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let vector = vectors.iter().find(|vector| vector["name"] == ED25519).unwrap();
    let header = |name: &str| vector["request"]["headers"][name].as_str().unwrap();
    let mut signatures = header("webhook-signature").split(' ');
    let headers = [
        ("webhook-id", header("webhook-id")),
        ("webhook-timestamp", header("webhook-timestamp")),
        ("webhook-signature", signatures.find(|item| item.starts_with("v1a,")).unwrap()),
    ];
    Case {
        name: "standard-webhooks v1a",
        config: format!(
            "verify = {{ scheme = \"standard-webhooks\", secrets = {}, {ANY_AGE} }}",
            vector["verify"]["secrets"]
        ),
        sent: sent(&[], &headers, vector["request"]["body"].as_str().unwrap()),
        is_hex: false,
    }
}

fn twilio() -> Case {
    let address = "https://hooks.example.com/webhooks/flips";
    let form = "MessageSid=SM1&MessageStatus=delivered&To=%2B15558675310&Text=a+b%C3%A9";
    let signed =
        format!("{address}?key=order%207MessageSidSM1MessageStatusdeliveredTexta béTo+15558675310");
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let request = sent(&[("key", "order 7")], &[("X-Twilio-Signature", &signature)], form);
    Case {
        name: "native twilio",
        config: format!(
            "dialect = \"twilio\"\npublic_url = \"{address}\"\n\
             verify = {{ scheme = \"native\", secrets = \"{SECRET}\" }}"
        ),
        sent: Sent { content_type: FORM[0].1, ..request },
        is_hex: false,
    }
}

/// The source `flips` of this case, read as an operator would write it.
fn source(case: &Case) -> Source {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let key = "[api_keys.tests]\nkey = \"an-api-key-for-these-tests\"\n";
    fs::write(&file, format!("{key}[sources.flips]\n{}", case.config)).unwrap();
    config::read(Some(&file), Secrets::Find).unwrap().sources.pop().unwrap()
}

#[test]
fn each_flipped_bit_of_signed_content_is_rejected_in_every_scheme() {
    for case in cases(NOW) {
        let source = source(&case);
        assert!(case.sent.verify(&source, NOW).is_ok(), "{}", case.name);
        let (mut refused, mut same) = (0, 0);
        for (what, flipped) in case.sent.flipped() {
            // A sender may write it so too; it says the same.
            if meant(&case, &flipped) == meant(&case, &case.sent) {
                same += 1;
                continue;
            }
            let told = flipped.verify(&source, NOW);
            assert!(told.is_err(), "{}: {what}: {told:?}", case.name);
            refused += 1;
        }
        eprintln!("{}: {refused} refused, {same} say the same", case.name);
        assert!(refused > 8 * 20 && same < 8 * 64, "{}: {refused}, {same}", case.name);
    }
}

#[test]
fn each_flipped_bit_of_a_signed_query_is_rejected() {
    for case in cases(NOW) {
        let source = source(&case);
        let Some(query) = case.sent.query() else { continue };
        let decoded = |text: &str| -> Vec<(String, String)> {
            let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
            // What is no parameter of ours means nothing, and nothing is taken of it.
            let known = |(name, _): &(String, String)| {
                case.sent.query.iter().any(|(known, _)| known == name)
            };
            let any_case = |(name, value): (String, String)| match &*name {
                "signature" => (name, value.to_ascii_lowercase()),
                _ => (name, value),
            };
            pairs.filter(known).map(any_case).collect()
        };
        let signs_raw = case.name.starts_with("native");
        let mut refused = 0;
        for bit in 0..query.len() * 8 {
            let mut bytes = query.clone().into_bytes();
            flip(&mut bytes, bit);
            // Other bytes than ASCII cannot stand in the first line of a request.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if !signs_raw && decoded(&text) == decoded(&query) {
                continue;
            }
            let told = case.sent.verify_query(&source, Some(&text), NOW);
            assert!(told.is_err(), "{}: bit {bit}, {text}: {told:?}", case.name);
            refused += 1;
        }
        assert!(refused > 7 * 10, "{}: {refused}", case.name);
    }
}

#[test]
fn the_time_window_includes_both_ends() {
    for scheme in ["hmac", "standard-webhooks"] {
        let mut case = cases(NOW).into_iter().find(|case| case.name.starts_with(scheme)).unwrap();
        let window = "max_age_seconds = 300, max_skew_seconds = 60";
        let before = case.config.find(", max_age_seconds").unwrap();
        case.config.replace_range(before.., &format!(", {window} }}"));
        let source = source(&case);
        let at = |now| case.sent.verify(&source, now).map(|verified| verified.too_old);
        let valid = Ok(false);
        assert_eq!(at(NOW - 61), Err(Unverified::TooNew), "{scheme}");
        assert_eq!(at(NOW - 60), valid, "{scheme}");
        assert_eq!(at(NOW + 300), valid, "{scheme}");
        assert_eq!(at(NOW + 301), Ok(true), "{scheme}");
    }
}

#[test]
fn a_flipped_bit_is_401_through_the_server() {
    let mut chance = Chance::of("flipped bits");
    let since = std::time::Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let each = times(40, 400, 4_000);
    let mut refused = 0;
    for case in cases(now) {
        let server = Server::start(&format!("[sources.flips]\n{}", case.config));
        let mut open = server.connect();
        let mut post = |sent: &Sent| {
            let query = sent.query().map_or(String::new(), |query| format!("?{query}"));
            let headers: Option<Vec<(&str, &str)>> = sent
                .headers
                .iter()
                .map(|(name, value)| {
                    // Another byte makes another request, or none.
                    let text = str::from_utf8(value).ok()?;
                    text.bytes().all(|byte| (0x20..0x7f).contains(&byte)).then_some((*name, text))
                })
                .collect();
            let mut headers = headers?;
            headers.push(("Content-Type", sent.content_type));
            let path = format!("/webhooks/flips{query}");
            Some(open.send("POST", &path, &headers, &sent.body).status)
        };
        // Authentic; whether it is understood does not matter here.
        assert!(matches!(post(&case.sent), Some(200 | 400)), "{}", case.name);
        let flipped = case.sent.flipped();
        let mut tried = 0;
        while tried < each {
            let place =
                usize::try_from(chance.below(u64::try_from(flipped.len()).unwrap())).unwrap();
            let (what, sent) = &flipped[place];
            if meant(&case, sent) == meant(&case, &case.sent) {
                continue;
            }
            let Some(status) = post(sent) else { continue };
            assert_eq!(status, 401, "{}: {what}", case.name);
            tried += 1;
        }
        refused += tried;
    }
    report("P19", &chance, &[("flipped bits", refused), ("taken", 0)], since);
}
