//! Notations that differ from the contract's examples and are accepted.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::*;

const HMAC: &str = r#"
[sources.signed]
verify = { scheme = "hmac", secrets = ["throw-away-hmac-secret"], header = "X-Signature" }
"#;

/// Posts this body, which must be applied; returns the message.
fn applied(server: &Server, id: &str, body: &[u8]) -> Value {
    let answer = server.send("POST", &webhook_path(""), JSON, body);
    assert_eq!(answer.outcome(), "applied", "{}: {answer:?}", String::from_utf8_lossy(body));
    server.get(&format!("/api/messagestatus/{id}")).json()["message"].clone()
}

/// The webhook of a message with one member changed.
fn with(number: u64, member: &str, value: &Value) -> Vec<u8> {
    let mut body = webhook(&id(number), "DELIVERED", 1);
    body["message"][member] = value.clone();
    body.to_string().into_bytes()
}

/// Every way to write the time 2026-02-12T14:50:00Z.
const TIMES: [&str; 10] = [
    "2026-02-12T14:50:00Z",
    "2026-02-12T14:50Z",
    "2026-02-12T15:50+01",
    "2026-02-12T15:50+0100",
    "2026-02-12T15:50+01:00",
    "2026-02-12T15:50:00.0+01",
    "2026-02-12T09:20-05:30",
    "2026-02-12 15:50:00+01",
    "20260212T155000+0100",
    "2026-02-12T14:50:00.0000009Z",
];

#[test]
fn a_time_is_read_in_every_form_with_a_zone() {
    let server = Server::start(GATEWAY);
    for (number, time) in (0..).zip(TIMES) {
        let body = with(number, "statusChangedAt", &json!(time));
        assert_eq!(applied(&server, &id(number), &body)["statusChangedAt"], TIMES[0], "{time}");
        // The same time in a registration, and as the bound of a list.
        let (number, key) = (number + 100, format!("key-{number}"));
        let registration = json!({
            "destination": "+393331234567",
            "reference": {"key": key},
            "providerAcceptanceAt": time,
        });
        let answer = server.put(&id(number), &registration);
        assert_eq!(answer.status, 201, "{time}: {answer:?}");
        assert_eq!(answer.json()["message"]["providerAcceptanceAt"], TIMES[0], "{time}");
        let listed_before = |bound: &str| {
            let path = format!("/api/messagestatus/reference/{key}?sendDate={bound}");
            let answer = server.get(&path);
            assert_eq!(answer.status, 200, "{bound}: {answer:?}");
            answer.json()["messages"].as_array().unwrap().len()
        };
        let escaped = time.replace('+', "%2B").replace(' ', "%20");
        assert_eq!(listed_before(&escaped), 0, "{escaped}");
        assert_eq!(listed_before(&time.replace(' ', "%20")), 0, "{time}");
        let later = escaped.replacen("2026", "2027", 1);
        assert_eq!(listed_before(&later), 1, "{later}");
    }
    for time in ["2026-02-12T14:50", "2026-02-12 14:50", "2026-02-12T14:50:00"] {
        let entry =
            server.post(&String::from_utf8(with(9, "statusChangedAt", &json!(time))).unwrap());
        assert!(entry.json()["results"][0]["reason"].as_str().unwrap().contains("without a zone"));
        let escaped = time.replace(' ', "%20");
        let path = format!("/api/messagestatus/reference/key-0?sendDate={escaped}");
        server.get(&path).assert_problem(400);
    }
}

#[test]
fn a_byte_order_mark_before_a_body_is_skipped_and_signed() {
    let server = Server::start(&format!("{GATEWAY}{HMAC}{TWILIO_BY_TOKEN}"));
    let with_mark = |body: &[u8]| [b"\xef\xbb\xbf", body].concat();
    let body = with_mark(&with(1, "status", &json!("SENT")));
    assert_eq!(applied(&server, &id(1), &body)["status"], "SENT");
    let body = with_mark(&with(2, "status", &json!("SENT")));
    let signature = hmac_hex(b"throw-away-hmac-secret", &body);
    let signature_without_mark = hmac_hex(b"throw-away-hmac-secret", &body[3..]);
    let post_signed = |signature: &str| {
        server.send("POST", "/webhooks/signed", &[("X-Signature", signature)], &body)
    };
    post_signed(&signature_without_mark).assert_problem(401);
    assert_eq!(post_signed(&signature).outcome(), "applied");
    let path = format!("/webhooks/twilio?token={TOKEN}");
    let form = with_mark(b"MessageSid=SM1&MessageStatus=sent");
    assert_eq!(server.send("POST", &path, FORM, &form).outcome(), "applied");
    let headers = [("X-Api-Key", KEY)];
    let registration = with_mark(br#"{"destination":"+393331234567"}"#);
    let path = format!("/api/messages/{}", id(3));
    assert_eq!(server.send("PUT", &path, &headers, &registration).status, 201);
    // Only one byte order mark is skipped.
    let twice = with_mark(&with_mark(&with(4, "status", &json!("SENT"))));
    server.send("POST", &webhook_path(""), JSON, &twice).assert_problem(400);
}

#[test]
fn an_invalid_text_does_not_lose_the_status() {
    let server = Server::start(GATEWAY);
    let body = |number: u64, text: &[u8]| {
        let body = with(number, "provider", &json!({"name": "N", "message": "TEXT"}));
        let start = body.windows(4).position(|window| window == b"TEXT").unwrap();
        [&body[..start], text, &body[start + 4..]].concat()
    };
    let cases: [(&[u8], &str); 6] = [
        (b"Grazie \\ud83d", "Grazie \u{fffd}"),
        (b"\\udc4d!", "\u{fffd}!"),
        (b"\\ud83d\\ud83d\\udc4d", "\u{fffd}\u{1f44d}"),
        (b"\\ud83d\\udc4d\\\\ud83d", "\u{1f44d}\\ud83d"),
        (b"cut \xf0\x9f\x91", "cut \u{fffd}"),
        (b"caff\xe8", "caff\u{fffd}"),
    ];
    for (number, (text, stored)) in (0..).zip(cases) {
        let message = applied(&server, &id(number), &body(number, text));
        assert_eq!(
            (&message["status"], &message["provider"]["message"]),
            (&json!("DELIVERED"), &json!(stored))
        );
    }
    // In the name of an unknown member, and in a registration.
    let mut with_unknown_member = with(10, "x", &json!(1));
    let start = with_unknown_member.windows(3).position(|window| window == b"\"x\"").unwrap();
    with_unknown_member.splice(start + 1..start + 2, *b"\\ud83d");
    assert_eq!(applied(&server, &id(10), &with_unknown_member)["status"], "DELIVERED");
    let registration = br#"{"destination":"+393331234567","provider":{"name":"\ud83d"}}"#;
    let path = format!("/api/messages/{}", id(11));
    let answer = server.send("PUT", &path, &[("X-Api-Key", KEY)], registration);
    assert_eq!(answer.json()["message"]["provider"]["name"], "\u{fffd}");
}

#[test]
fn a_whole_number_may_be_written_as_a_float() {
    let server = Server::start(GATEWAY);
    for (number, segments) in (0..).zip(["2", "2.0", "2e0", "\"2\"", "\"2.0\""]) {
        let body = with(number, "sms", &json!({"segments": "XX"}));
        let body = String::from_utf8(body).unwrap().replace("\"XX\"", segments);
        assert_eq!(applied(&server, &id(number), body.as_bytes())["sms"], json!({"segments": 2}));
    }
    for segments in ["2.5", "-1", "1e400", "\"two\"", "4294967296"] {
        let body = String::from_utf8(with(9, "sms", &json!({"segments": "XX"}))).unwrap();
        let answer = server.post(&body.replace("\"XX\"", segments));
        assert_eq!(answer.outcome(), "quarantined", "{segments}");
    }
}

#[test]
fn a_number_of_a_provider_or_callback_url_may_be_formatted() {
    let server = Server::start(GATEWAY);
    let destination = "+393331234567";
    for (number, text) in (0..).zip([
        "00393331234567",
        "+39 333 123 4567",
        " +39-333-123.45.67",
        "tel:+39 (333) 1234567",
        "393331234567",
        "rcs:0039 333 1234567",
        "+39\u{a0}333\u{2011}1234567\u{200e}",
        "\u{202a}+39 333 1234567\u{202c}",
    ]) {
        applied(&server, &id(number), &with(number, "destination", &json!(text)));
        assert_eq!(server.history(&id(number))[0]["destination"], destination, "{text:?}");
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("destination", text).finish();
        let body = webhook(&id(number + 100), "SENT", 1).to_string();
        let path = webhook_path(&format!("&{query}"));
        let answer = server.send("POST", &path, JSON, body.as_bytes());
        assert_eq!(answer.outcome(), "applied", "{query}");
        assert_eq!(server.history(&id(number + 100))[0]["destination"], destination, "{query}");
        // A registration must use E.164.
        if !text.starts_with('3') {
            let registration = json!({"destination": text});
            server.put(&id(number + 200), &registration).assert_problem(400);
        }
    }
    for (number, text) in (20..).zip(["12345", "+39 333 1234567 ext. 8", "brand", "+", "0", "(00)"])
    {
        applied(&server, &id(number), &with(number, "destination", &json!(text)));
        assert_eq!(server.history(&id(number))[0]["destination"], Value::Null, "{text}");
    }
    let path = format!("/api/messagestatus/phonenumber/{}", "0039333%201234567");
    server.get(&path).assert_problem(400);
}

#[test]
fn a_phone_number_may_be_a_json_number() {
    let server = Server::start(GATEWAY);
    let destination = |number: u64, json: &str| {
        let body = String::from_utf8(with(number, "destination", &json!("XX"))).unwrap();
        applied(&server, &id(number), body.replace("\"XX\"", json).as_bytes());
        server.history(&id(number))[0]["destination"].clone()
    };
    for (number, json) in (0..).zip(["393331234567", "393331234567.0", "3.93331234567e11"]) {
        assert_eq!(destination(number, json), "+393331234567", "{json}");
    }
    assert_eq!(destination(10, "999999999999999.0"), "+999999999999999");
    for (number, json) in
        (20..).zip(["12345", "393331234567.5", "-393331234567", "9999999999999999", "1e400"])
    {
        assert_eq!(destination(number, json), Value::Null, "{json}");
    }
}

/// Phone number as somebody may write it, and texts that are nearly one.
fn written_number() -> impl Strategy<Value = String> {
    let prefix = prop::sample::select(vec![
        "", "+", "00", " +", "tel:", "Tel: +", "rcs:", "SMS: 00", " rcs :+", ":", "x1:", "+1:",
    ]);
    let separator = prop::sample::select(vec![
        "", "", " ", "-", ".", ") ", " (", "\u{a0}", "\u{2011}", "\u{200b}", "\t", "/", "x",
    ]);
    let groups = prop::collection::vec((separator, "[0-9]{1,4}"), 1..5);
    (prefix, "[0-9]{2,6}", groups).prop_map(|(prefix, first, groups)| {
        let rest = groups.into_iter().map(|(separator, digits)| format!("{separator}{digits}"));
        format!("{prefix}{first}{}", rest.collect::<String>())
    })
}

#[test]
fn bodies_are_as_lenient_about_phone_numbers_as_callback_urls() {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    let mut runner = TestRunner::deterministic();
    let (mut read, mut omitted) = (0, 0);
    for number in 0..300 {
        let written = written_number().new_tree(&mut runner).unwrap().current();
        let parameter = |name: &str| {
            form_urlencoded::Serializer::new(String::new()).append_pair(name, &written).finish()
        };
        applied(&server, &id(number), &with(number, "destination", &json!(written)));
        let body = webhook(&id(number + 1_000), "SENT", 1).to_string();
        let path = webhook_path(&format!("&{}", parameter("destination")));
        let by_url = server.send("POST", &path, JSON, body.as_bytes());
        assert_eq!(by_url.outcome(), "applied", "{written:?}");
        let form = format!("MessageSid=SM{number}&MessageStatus=sent&{}", parameter("To"));
        let path = format!("/webhooks/twilio?token={TOKEN}");
        let twilio = server.send("POST", &path, FORM, form.as_bytes());
        assert_eq!(twilio.outcome(), "applied", "{written:?}");
        let twilio = twilio.json()["results"][0]["messageId"].as_str().unwrap().to_owned();
        let destination = |id: &str| server.history(id)[0]["destination"].clone();
        let expected = destination(&id(number + 1_000));
        assert_eq!(destination(&id(number)), expected, "{written:?}");
        assert_eq!(destination(&twilio), expected, "{written:?}");
        if expected.is_null() { omitted += 1 } else { read += 1 }
    }
    assert!(read > 50 && omitted > 50, "{read} read, {omitted} omitted");
}

#[test]
fn content_encoding_identity_is_accepted() {
    let server = Server::start(GATEWAY);
    let post = |coding: &str| {
        let headers = [JSON[0], ("Content-Encoding", coding)];
        server.send("POST", &webhook_path(""), &headers, EXAMPLE.as_bytes())
    };
    for coding in ["identity", "Identity", "utf-8", "UTF-8", "utf8", "", "identity, utf-8", ","] {
        assert_eq!(post(coding).status, 200, "{coding:?}");
    }
    for coding in ["gzip", "br", "identity, gzip", "deflate", "x", "utf-16"] {
        post(coding).assert_problem(415);
    }
}

#[test]
fn slashes_around_a_source_are_ignored_and_every_rejection_is_counted_and_logged() {
    let server = Server::start(GATEWAY);
    for path in ["/webhooks/gateway/", "/webhooks/gateway//", "/webhooks//gateway"] {
        let path = format!("{path}?token={TOKEN}");
        assert_eq!(server.send("POST", &path, JSON, EXAMPLE.as_bytes()).status, 200, "{path}");
    }
    let rejections = || {
        let metrics = server.get("/metrics").body;
        let is_rejection = |line: &&str| line.starts_with("statusmirror_webhooks_rejected_total");
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap();
        let counted: usize = metrics.lines().filter(is_rejection).map(value).sum();
        (counted, server.log().matches("rejected a webhook").count())
    };
    let paths =
        ["/webhooks", "/webhooks/", "/webhooks/unknown", "/webhooks/gateway/x", "/webhooks/x/y/"];
    for (number, path) in (1..).zip(paths) {
        server.send("POST", path, JSON, EXAMPLE.as_bytes()).assert_problem(404);
        wait_for(|| Some(rejections()).filter(|counts| *counts == (number, number)));
    }
}

#[test]
fn a_callback_url_is_printed_with_its_parameters_in_order() {
    let server = Server::start(&format!(
        "{GATEWAY}{TWILIO}{}",
        r#"
[sources.su]
verify = { scheme = "signed-url", secrets = ["throw-away-url-secret"] }
"#
    ));
    for source in ["gateway", "twilio", "su"] {
        let output = server.run(&[
            "callback-url",
            source,
            "--service",
            "S",
            "--key",
            "order 7",
            "--action",
            "A",
            "--destination",
            "+393331234567",
            "--messageid",
            EXAMPLE_ID,
        ]);
        let url = String::from_utf8(output.stdout).unwrap();
        let (_, query) = url.trim().split_once('?').unwrap();
        let names: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert!(names.is_sorted() && names.len() >= 5, "{query}");
        assert!(!query.contains("%20"), "{query}");
    }
}
