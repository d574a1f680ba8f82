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

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

const NOW: i64 = 1_790_000_000;
/// Official test vectors of Standard Webhooks.
const VECTORS: &str = include_str!("../../vectors/standard-webhooks.json");
/// Name of the vector with both kinds of signatures and the key pair of the asymmetric one.
const ED25519_VECTOR: &str = "v1-and-v1a-in-one-header-ed25519-key";

/// Webhook request, in parts that can be changed.
#[derive(Clone)]
struct SignedRequest {
    query: Vec<(String, Vec<u8>)>,
    headers: BTreeMap<&'static str, Vec<u8>>,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Headers for SignedRequest {
    fn get(&self, name: &str) -> Header<'_> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Header::Absent, |(_, value)| Header::One(value))
    }
}

impl SignedRequest {
    /// Query of the request target, with percent-encoded values.
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

    /// Every variant of the request with one flipped bit of its body, a header or a parameter, each with the
    /// name of that bit.
    fn flipped(&self) -> Vec<(String, Self)> {
        let mut variants = Vec::new();
        for bit in 0..self.body.len() * 8 {
            let mut request = self.clone();
            flip(&mut request.body, bit);
            variants.push((format!("bit {bit} of the body"), request));
        }
        for (name, value) in &self.headers {
            for bit in 0..value.len() * 8 {
                let mut request = self.clone();
                flip(request.headers.get_mut(name).unwrap(), bit);
                variants.push((format!("bit {bit} of the header {name}"), request));
            }
        }
        for index in 0..self.query.len() {
            for bit in 0..self.query[index].1.len() * 8 {
                let mut request = self.clone();
                flip(&mut request.query[index].1, bit);
                variants
                    .push((format!("bit {bit} of the parameter {}", self.query[index].0), request));
            }
        }
        variants
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Configuration of a scheme, and a valid request.
struct Case {
    name: &'static str,
    /// Settings of the source `flips`.
    config: String,
    request: SignedRequest,
    /// Whether the signature is in hex. Its digits may be of either case, so some flips have no effect.
    is_hex: bool,
}

/// Canonical form of a request. It is equal for requests that differ only in the case of hex digits or in the
/// encoding of a form.
fn canonical(case: &Case, request: &SignedRequest) -> String {
    let lower_case = |name: &str, value: &[u8]| {
        if case.is_hex && name.to_ascii_lowercase().ends_with("signature") {
            value.to_ascii_lowercase()
        } else {
            value.to_vec()
        }
    };
    let query: Vec<_> =
        request.query.iter().map(|(name, value)| (name, lower_case(name, value))).collect();
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| lower_case(name, value)).collect();
    if request.content_type == FORM[0].1 {
        let form: Vec<_> = form_urlencoded::parse(&request.body).collect();
        format!("{query:?} {headers:?} {form:?}")
    } else {
        format!("{query:?} {headers:?} {:?}", request.body)
    }
}

fn request(query: &[(&str, &str)], headers: &[(&'static str, &str)], body: &str) -> SignedRequest {
    SignedRequest {
        query: query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect(),
        content_type: "application/json",
        body: body.as_bytes().to_vec(),
    }
}

/// Secret of every scheme but Standard Webhooks.
const SECRET: &str = "a-secret-for-flipped-bits";
/// Setting that accepts signatures of any age.
const ANY_AGE: &str = "max_age_seconds = 4000000000";

/// One case of each scheme, signed at this second.
fn cases(now: i64) -> [Case; 6] {
    [token(), signed_url(now), template(now), shared_key(now), key_pair(), twilio()]
}

fn token() -> Case {
    Case {
        name: "url-token",
        config: format!(
            "verify = {{ scheme = \"url-token\", secrets = [\"an-older-one-0123\", \"{SECRET}\"] }}"
        ),
        request: request(&[("token", SECRET)], &[], ""),
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
        request: request(&query, &[], ""),
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
        request: request(&[], &headers, EXAMPLE),
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
        request: request(&[], &headers.each_ref().map(|(name, value)| (*name, &**value)), EXAMPLE),
        is_hex: false,
    }
}

/// Official vector with both kinds of signatures, reduced to the signature of the key pair.
fn key_pair() -> Case {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let vector = vectors.iter().find(|vector| vector["name"] == ED25519_VECTOR).unwrap();
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
        request: request(&[], &headers, vector["request"]["body"].as_str().unwrap()),
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
    let request = request(&[("key", "order 7")], &[("X-Twilio-Signature", &signature)], form);
    Case {
        name: "native twilio",
        config: format!(
            "dialect = \"twilio\"\npublic_url = \"{address}\"\n\
             verify = {{ scheme = \"native\", secrets = \"{SECRET}\" }}"
        ),
        request: SignedRequest { content_type: FORM[0].1, ..request },
        is_hex: false,
    }
}

/// Source `flips` of this case, read from a configuration file.
fn source(case: &Case) -> Source {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let key = "[api_keys.tests]\nkey = \"an-api-key-for-these-tests\"\n";
    fs::write(&file, format!("{key}[sources.flips]\n{}", case.config)).unwrap();
    config::read(Some(&file), Secrets::Require).unwrap().sources.pop().unwrap()
}

#[test]
fn each_flipped_bit_of_signed_content_is_rejected_in_every_scheme() {
    for case in cases(NOW) {
        let source = source(&case);
        assert!(case.request.verify(&source, NOW).is_ok(), "{}", case.name);
        let (mut rejected, mut equivalent) = (0, 0);
        for (bit, flipped) in case.request.flipped() {
            // An equivalent request may be accepted.
            if canonical(&case, &flipped) == canonical(&case, &case.request) {
                equivalent += 1;
                continue;
            }
            let result = flipped.verify(&source, NOW);
            assert!(result.is_err(), "{}: {bit}: {result:?}", case.name);
            rejected += 1;
        }
        eprintln!("{}: {rejected} rejected, {equivalent} equivalent", case.name);
        assert!(
            rejected > 8 * 20 && equivalent < 8 * 64,
            "{}: {rejected} rejected, {equivalent} equivalent",
            case.name
        );
    }
}

#[test]
fn each_flipped_bit_of_a_signed_query_is_rejected() {
    for case in cases(NOW) {
        let source = source(&case);
        let Some(query) = case.request.query() else { continue };
        let decoded = |text: &str| -> Vec<(String, String)> {
            let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
            // Unknown parameters are ignored.
            let known = |(name, _): &(String, String)| {
                case.request.query.iter().any(|(known, _)| known == name)
            };
            let lower_case = |(name, value): (String, String)| match &*name {
                "signature" => (name, value.to_ascii_lowercase()),
                _ => (name, value),
            };
            pairs.filter(known).map(lower_case).collect()
        };
        let is_signed_raw = case.name.starts_with("native");
        let mut rejected = 0;
        for bit in 0..query.len() * 8 {
            let mut bytes = query.clone().into_bytes();
            flip(&mut bytes, bit);
            // A request line has no bytes outside ASCII.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if !is_signed_raw && decoded(&text) == decoded(&query) {
                continue;
            }
            let result = case.request.verify_query(&source, Some(&text), NOW);
            assert!(result.is_err(), "{}: bit {bit}, {text}: {result:?}", case.name);
            rejected += 1;
        }
        assert!(rejected > 7 * 10, "{}: {rejected}", case.name);
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
        let at = |now| case.request.verify(&source, now).map(|verified| verified.too_old);
        let valid = Ok(false);
        assert_eq!(at(NOW - 61), Err(Unverified::TooNew), "{scheme}");
        assert_eq!(at(NOW - 60), valid, "{scheme}");
        assert_eq!(at(NOW + 300), valid, "{scheme}");
        assert_eq!(at(NOW + 301), Ok(true), "{scheme}");
    }
}

#[test]
fn a_flipped_bit_is_401_through_the_server() {
    let mut rng = SeededRng::for_test("flipped bits");
    let started = std::time::Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let flips_per_case = repetitions(40, 400, 4_000);
    let mut rejected = 0;
    for case in cases(now) {
        let server = Server::start(&format!("[sources.flips]\n{}", case.config));
        let mut connection = server.connect();
        let mut post = |request: &SignedRequest| {
            let query = request.query().map_or(String::new(), |query| format!("?{query}"));
            let headers: Option<Vec<(&str, &str)>> = request
                .headers
                .iter()
                .map(|(name, value)| {
                    // Other bytes are skipped: some would end the header, others are invalid in it.
                    let text = str::from_utf8(value).ok()?;
                    text.bytes().all(|byte| (0x20..0x7f).contains(&byte)).then_some((*name, text))
                })
                .collect();
            let mut headers = headers?;
            headers.push(("Content-Type", request.content_type));
            let path = format!("/webhooks/flips{query}");
            Some(connection.send("POST", &path, &headers, &request.body).status)
        };
        // The unchanged request is verified. With 400, only its content was rejected.
        assert!(matches!(post(&case.request), Some(200 | 400)), "{}", case.name);
        let flipped = case.request.flipped();
        let mut tried = 0;
        while tried < flips_per_case {
            let index = usize::try_from(rng.below(u64::try_from(flipped.len()).unwrap())).unwrap();
            let (bit, request) = &flipped[index];
            if canonical(&case, request) == canonical(&case, &case.request) {
                continue;
            }
            let Some(status) = post(request) else { continue };
            assert_eq!(status, 401, "{}: {bit}", case.name);
            tried += 1;
        }
        rejected += tried;
    }
    report("P19", &rng, &[("flipped bits", rejected), ("accepted", 0)], started);
}
