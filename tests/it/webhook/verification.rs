//! Verification: its maximum cost, and any request at any time of the clock.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha1::Sha1;
use statusmirror::dialect::{self, Settings, Source};
use statusmirror::message::{Destination, Timestamp};
use statusmirror::verify::standard_webhooks::StandardWebhooks;
use statusmirror::verify::{
    Header, Headers, Request, Scheme, Secret, Unverified, Verified, Window,
};

use crate::support::*;

const URL: &str = "https://hooks.example.com/webhooks/it";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Headers of a request.
struct HeaderList(Vec<(&'static str, String)>);

impl Headers for HeaderList {
    fn get(&self, wanted: &str) -> Header<'_> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map_or(Header::Absent, |(_, value)| Header::One(value.as_bytes()))
    }
}

fn source(dialect: &str, scheme: Scheme) -> Source {
    Source::new(Settings {
        name: "it".to_owned(),
        dialect: dialect::by_name(dialect).unwrap(),
        scheme,
        window: Window::default(),
        public_url: URL.to_owned(),
        provider: None,
        max_body_bytes: 1 << 20,
        max_rate: None,
    })
    .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).unwrap()
}

/// Twilio's signature of a form, as its documentation defines it.
fn signature(body: &[u8]) -> String {
    let pairs: BTreeSet<_> = form_urlencoded::parse(body).into_owned().collect();
    let text: String = pairs.into_iter().map(|(name, value)| name + &value).collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(b"token").unwrap();
    mac.update(format!("{URL}{text}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn verify_form(body: &[u8], signature: String) -> Result<Verified, Unverified> {
    let headers = HeaderList(vec![("X-Twilio-Signature", signature)]);
    let request = Request {
        method: "POST",
        query: None,
        content_type: Some(FORM_TYPE),
        headers: &headers,
        body,
    };
    source("twilio", Scheme::Native(vec![Secret::new("token")])).verify(&request, at(0))
}

proptest! {
    #[test]
    fn any_form_is_verified_as_documented(
        pairs in prop::collection::vec("[a-cA é+%&=]{0,3}|%[0-9a-fA-F]{2}=%e9|a=1", 0..40),
        flipped in any::<prop::sample::Index>(),
    ) {
        let body = pairs.join("&").into_bytes();
        prop_assert!(verify_form(&body, signature(&body)).is_ok());
        if !body.is_empty() {
            let mut changed = body.clone();
            changed[flipped.index(body.len())] ^= 1;
            let same = signature(&changed) == signature(&body);
            prop_assert_eq!(verify_form(&changed, signature(&body)).is_ok(), same);
        }
    }

    #[test]
    fn any_bytes_parse_as_a_form(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(verify_form(&body, signature(&body)).is_ok());
    }

    #[test]
    fn a_time_is_read_in_every_form(
        micros in -62_167_219_200_000_000_i64..253_402_300_799_999_999,
        minutes in -1_439_i64..1_440,
        form in 0_u8..4,
    ) {
        // Form 1 is an offset in whole hours.
        let minutes = if form == 1 { minutes / 60 * 60 } else { minutes };
        let moment = Timestamp::from_micros(micros).unwrap();
        prop_assert_eq!(moment.to_string().parse::<Timestamp>(), Ok(moment));
        let Some(local) = Timestamp::from_micros(micros + minutes * 60_000_000) else {
            return Ok(());
        };
        let (sign, hours, rest) =
            (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
        let offset = match form {
            0 => format!("{sign}{hours:02}:{rest:02}"),
            1 => format!("{sign}{hours:02}"),
            _ => format!("{sign}{hours:02}{rest:02}"),
        };
        let mut local = local.to_string().replace('Z', "");
        if form == 3 {
            local = local.replace(['-', ':'], "");
        }
        prop_assert_eq!(format!("{local}{offset}").parse::<Timestamp>(), Ok(moment));
        prop_assert!(local.parse::<Timestamp>().is_err(), "{} has no zone", local);
    }

    #[test]
    fn a_number_is_read_with_any_separators(
        number in 1_000_000_u64..=999_999_999_999_999,
        marks in prop::collection::vec("[-. ()\t\u{a0}\u{2011}\u{200e}\u{feff}]{0,2}", 17),
        start in "(rcs:|tel:|Sms:)?(\\+|00)?",
    ) {
        let digits = number.to_string();
        let mut text = start;
        for (digit, mark) in digits.chars().zip(&marks) {
            text.push_str(mark);
            text.push(digit);
        }
        text.push_str(&marks[16]);
        prop_assert_eq!(Destination::parse_lenient(&text), format!("+{digits}").parse().ok());
    }
}

#[test]
fn the_number_of_form_parameters_is_limited() {
    let form = |count: usize| vec!["a=1"; count].join("&").into_bytes();
    let verify = |body: &[u8]| verify_form(body, signature(body));
    assert!(verify(&form(1_000)).is_ok());
    assert_eq!(verify(&form(1_001)), Err(Unverified::Wrong));
    let blank = [form(1_000), vec![b'&'; 100_000]].concat();
    assert!(verify(&blank).is_ok(), "an empty text between two `&` is not a parameter");
}

#[test]
fn the_number_of_public_key_verifications_is_limited() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = format!("whpk_{}", STANDARD.encode(key.verifying_key().as_bytes()));
    let keys = StandardWebhooks::new(&[Secret::new(&public)]).unwrap();
    let source = source("gateway", Scheme::StandardWebhooks(keys));
    let valid = format!("v1a,{}", STANDARD.encode(key.sign(b"m1.100.{}").to_bytes()));
    let wrong = format!("v1a,{} ", STANDARD.encode([7; 64]));
    let verify = |signatures: String| {
        let headers = HeaderList(vec![
            ("webhook-id", "m1".to_owned()),
            ("webhook-timestamp", "100".to_owned()),
            ("webhook-signature", signatures),
        ]);
        let request = Request {
            method: "POST",
            query: None,
            content_type: None,
            headers: &headers,
            body: b"{}",
        };
        source.verify(&request, at(100)).is_ok()
    };
    for (wrong_count, is_accepted) in [(0, true), (3, true), (4, false), (40, false)] {
        assert_eq!(
            verify(format!("{}{valid}", wrong.repeat(wrong_count))),
            is_accepted,
            "{wrong_count}"
        );
    }
    // Signatures of the other kind cost only a hash, so only the limit of 32 signatures applies to them.
    assert!(verify(format!("{}{valid}", "v1,AAAA ".repeat(31))));
    assert!(!verify(format!("{}{valid}", "v1,AAAA ".repeat(32))));
}

#[test]
fn the_length_of_a_signature_list_is_limited() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"hmac\", secrets = [\"throw-away-hmac-secret\"], \
         header = \"X-Signature\", separator = \",\" }",
    );
    let valid = hmac_hex(b"throw-away-hmac-secret", EXAMPLE.as_bytes());
    let post = |wrong_count: usize| {
        let value = format!("{}{valid}", "00,".repeat(wrong_count));
        server.send("POST", "/webhooks/gateway", &[("X-Signature", &value)], EXAMPLE.as_bytes())
    };
    assert_eq!(post(31).status, 200);
    post(32).assert_problem(401);
    post(9_000).assert_problem(401);
}

#[test]
fn a_public_key_of_small_order_is_rejected() {
    // The points of order 1, 2, 4 and 8 in their usual encodings.
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ] {
        let pairs = point.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[api_keys.tests]\nkey = \"{KEY}\"\n[sources.gateway]\n\
             verify = {{ scheme = \"standard-webhooks\", secrets = [\"whpk_{}\"] }}\n",
            STANDARD.encode(bytes)
        );
        let path = folder.path().join("statusmirror.toml");
        std::fs::write(&path, config).unwrap();
        let arguments = ["--config", path.to_str().unwrap(), "check-config"];
        let output = run_program_in(folder.path(), &arguments, &[]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("small order"), "{stderr}");
    }
}

/// Times from before 1970 to after the end of 32-bit seconds, and up to the limits of `i64`.
#[test]
fn no_clock_and_no_signed_time_panics() {
    let times = [i64::MIN, -62_167_219_200, -1, 0, 1, 100_000_000_000, 253_402_300_799, i64::MAX];
    let clocks: Vec<i64> =
        times[1..7].iter().copied().chain([-1_577_000_000, 1_577_000_000]).collect();
    let shared = StandardWebhooks::new(&[Secret::new("whsec_c2VjcmV0")]).unwrap();
    let standard = source("gateway", Scheme::StandardWebhooks(shared));
    let signed = source("gateway", Scheme::SignedUrl(vec![Secret::new("secret")]));
    for clock in clocks {
        for time in times {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap();
            mac.update(format!("m1.{time}.").as_bytes());
            let headers = HeaderList(vec![
                ("webhook-id", "m1".to_owned()),
                ("webhook-timestamp", time.to_string()),
                (
                    "webhook-signature",
                    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())),
                ),
            ]);
            let signature = hmac_hex(b"secret", format!("it\n\n{time}").as_bytes());
            let query = format!("expires={time}&signature={signature}");
            let request = Request {
                method: "POST",
                query: Some(&query),
                content_type: None,
                headers: &headers,
                body: b"",
            };
            let age = i128::from(clock) - i128::from(time);
            let verified = standard.verify(&request, at(clock)).map(|verified| verified.too_old);
            let expected = match age {
                _ if time < 0 => Err(Unverified::Wrong),
                ..-300 => Err(Unverified::TooNew),
                age => Ok(age > 14 * 24 * 3_600),
            };
            assert_eq!(verified, expected, "{time} at {clock}");
            let verified = signed.verify(&request, at(clock)).is_ok();
            assert_eq!(verified, clock <= time, "{time} at {clock}");
        }
    }
}
