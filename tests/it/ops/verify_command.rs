//! `verify`: the reason for a rejection, in one line.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::support::captured_requests::{
    ADDRESS_URL, CapturedRequest, ConfiguredFolder, QUERY, SIGNATURE, SIGNED_AT, SIGNED_AT_SECONDS,
    TWILIO_URL, address, signed, signed_url, standard, timed, token, twilio,
};
use crate::support::*;

#[test]
fn a_valid_request_is_accepted_with_its_outcome() {
    let folder = ConfiguredFolder::new();
    let delivered = format!("a notification of DELIVERED by SMS about the message {EXAMPLE_ID}");
    for (source, request) in [
        ("gateway", signed_url()),
        ("token", token()),
        ("signed", signed()),
        ("timed", timed()),
        ("address", address(ADDRESS_URL)),
        ("standard", standard()),
    ] {
        folder.verify(source, &request).assert_accepted(&delivered);
    }
    folder.verify("gateway", &signed_url()).assert_accepted(", with a phone number");
    folder.verify("signed", &signed()).assert_accepted(", without a phone number");
    folder.verify("twilio", &twilio(TWILIO_URL)).assert_accepted("a notification of SENT by SMS");
}

#[test]
fn an_accepted_request_without_a_status_is_reported() {
    let folder = ConfiguredFolder::new();
    let verify_body = |body: &str| folder.verify("token", &token().with_body(body));
    verify_body(&EXAMPLE.replace("DELIVERED", "LOST"))
        .assert_accepted("quarantined: message.status: unknown");
    verify_body(&EXAMPLE.replace("\"SMS\"", "\"WHATSAPP\""))
        .assert_accepted("ignored: the channel WHATSAPP");
    verify_body("{}").assert_accepted("quarantined: type is missing");
    verify_body("{").assert_mismatch(400, "body", &["the body is not JSON", "dialect is gateway"]);
}

#[test]
fn a_wrong_secret_is_named() {
    let folder = ConfiguredFolder::new();
    let wrong = |source: &str, request: &CapturedRequest| {
        let output = folder.verify(source, request);
        let secrets = format!("sources.{source}.verify.secrets");
        output.assert_mismatch(401, "secret", &[&secrets]);
        assert!(output.stdout.contains("as Content-Length states"), "{}", output.stdout);
    };
    let signature = hmac_hex(b"an-unknown-secret", b"gateway\n+393331234567\n\nkey=order 7");
    wrong(
        "gateway",
        &signed_url().with_path(format!("/webhooks/gateway?{QUERY}&signature={signature}")),
    );
    wrong("token", &token().with_path("/webhooks/token?token=an-unknown-token"));
    let with =
        |request: CapturedRequest, name: &str, value: &str| request.without(name).with(name, value);
    let signature = hmac_hex(b"an-unknown-secret", EXAMPLE.as_bytes());
    wrong("signed", &with(signed(), "X-Signature", &signature));
    wrong("timed", &with(timed(), "X-Sign", &signature));
    wrong("address", &with(address(ADDRESS_URL), "X-Url-Signature", &signature));
    let signature = format!("v1,{}", STANDARD.encode([7; 32]));
    wrong("standard", &with(standard(), "webhook-signature", &signature));
    wrong("twilio", &with(twilio(TWILIO_URL), "X-Twilio-Signature", &STANDARD.encode([7; 20])));
}

#[test]
fn the_secret_or_url_of_another_source_is_found() {
    let folder = ConfiguredFolder::new();
    let signature = hmac_hex(b"a-secret-of-another", EXAMPLE.as_bytes());
    let signed_by_another = signed().without("X-Signature").with("X-Signature", &signature);
    folder.verify("signed", &signed_by_another).assert_mismatch(
        401,
        "secret",
        &["source `another`"],
    );
    let signature = hmac_hex(b"a-secret-of-elsewhere", b"gateway\n\n");
    let signed_by_elsewhere =
        signed_url().with_path(format!("/webhooks/gateway?signature={signature}"));
    folder.verify("gateway", &signed_by_elsewhere).assert_mismatch(
        401,
        "secret",
        &["source `elsewhere`"],
    );
    let signature = hmac_hex(b"a-secret-of-elsewhere", b"elsewhere\n\n");
    let signed_for_elsewhere =
        signed_url().with_path(format!("/webhooks/gateway?signature={signature}"));
    let output = folder.verify("gateway", &signed_for_elsewhere);
    output.assert_mismatch(401, "source", &["the credential is valid for the source `elsewhere`"]);
    let output =
        folder.verify("gateway", &token().with_path(token().path.replace("/token", "/gateway")));
    output.assert_mismatch(401, "source", &["the credential is valid for the source `token`"]);
    let output = folder.verify("signed", &timed());
    output.assert_mismatch(401, "source", &["the path names the source `timed`"]);
    let output = folder.verify("signed", &signed().with_path("/webhooks/unknown"));
    output.assert_mismatch(404, "source", &["`unknown`", "no source has that name"]);
    let output = folder.verify("signed", &signed().with_path("/behind/a/proxy"));
    output.assert_accepted("DELIVERED");
    assert!(output.stdout.contains("a proxy changes it"), "{}", output.stdout);
}

#[test]
fn a_changed_body_is_found() {
    let folder = ConfiguredFolder::new();
    let compact = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap().to_string();
    for (source, request) in [("signed", signed()), ("timed", timed()), ("standard", standard())] {
        let changed = |body: String| folder.verify(source, &request.clone().with_body(body));
        for line_break in ["\n", "\r\n"] {
            let output = changed(format!("{}{line_break}", EXAMPLE.trim_end()));
            if EXAMPLE.ends_with(line_break) {
                output.assert_accepted("DELIVERED");
            } else {
                output.assert_mismatch(401, "body", &["line break"]);
            }
        }
        changed(EXAMPLE.replace('\n', "\r\n")).assert_mismatch(401, "body", &["line breaks"]);
        changed(format!("\u{feff}{EXAMPLE}")).assert_mismatch(401, "body", &["byte order mark"]);
        changed(String::new()).assert_mismatch(401, "body", &["the body is empty"]);
        let mut cut = request.clone().with_body(EXAMPLE.split_at(100).0);
        cut.length = Some(EXAMPLE.len());
        let lengths = format!("the body has 100 bytes of {}", EXAMPLE.len());
        folder.verify(source, &cut).assert_mismatch(401, "body", &[&lengths]);
    }
    // Libraries write the same JSON in different ways.
    for original in [
        compact(EXAMPLE).replace("\":", "\": ").replace(",\"", ", \""),
        compact(EXAMPLE).replace("DIGITALSIGN", "S\\/\\u00e4\\ud83d\\ude00"),
        compact(EXAMPLE).replace("DIGITALSIGN", "S/ä😀"),
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(EXAMPLE).unwrap())
            .unwrap(),
    ] {
        let signature = hmac_hex(b"a-secret-of-signed-1", original.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&original).unwrap();
        // Formatted in none of these ways.
        let reformatted = format!("  {value}");
        let request =
            signed().without("X-Signature").with("X-Signature", &signature).with_body(reformatted);
        folder.verify("signed", &request).assert_mismatch(401, "body", &["reformatted"]);
    }
    let mut cut = token().with_body(EXAMPLE.split_at(100).0);
    cut.length = Some(EXAMPLE.len());
    folder.verify("token", &cut).assert_mismatch(503, "body", &["the rest does not arrive"]);
    // The signature of a form does not match a part of the form either.
    let mut cut = twilio(TWILIO_URL).with_body("MessageSid=SM7");
    cut.length = Some(33);
    folder.verify("twilio", &cut).assert_mismatch(401, "body", &["14 bytes of 33"]);
}

#[test]
fn a_wrong_public_url_is_found_with_the_url_that_was_called() {
    let folder = ConfiguredFolder::new();
    for (called, forwarded) in [
        ("http://hooks.example.com/webhooks/address", None),
        ("https://hooks.example.com/webhooks/address/", None),
        (
            "https://other.example.com/webhooks/address",
            Some(("X-Forwarded-Host", "other.example.com")),
        ),
        ("https://hooks.example.com:8443/webhooks/address", Some(("X-Forwarded-Port", "8443"))),
        ("https://hooks.example.com/sms/webhooks/address", Some(("X-Forwarded-Prefix", "/sms"))),
    ] {
        let mut request = address(called);
        if let Some((name, value)) = forwarded {
            request = request.with(name, value);
        }
        let mismatch = format!("the sender called {called}, but public_url is {ADDRESS_URL}");
        let remedy = "set sources.address.public_url";
        folder.verify("address", &request).assert_mismatch(401, "URL", &[&mismatch, remedy]);
    }
    let called = "https://sms.example.com/webhooks/twilio";
    let request = twilio(called).with("X-Forwarded-Host", "sms.example.com");
    folder.verify("twilio", &request).assert_mismatch(401, "URL", &[called, TWILIO_URL]);
    // Twilio's libraries accept the URL with and without the default port.
    let called = "https://hooks.example.com:443/webhooks/twilio";
    folder.verify("twilio", &twilio(called)).assert_accepted("SENT");
}

#[test]
fn a_changed_query_is_found() {
    let folder = ConfiguredFolder::new();
    let changed = |query: String, words: &str| {
        let request = signed_url().with_path(format!("/webhooks/gateway?{query}"));
        folder.verify("gateway", &request).assert_mismatch(401, "URL", &[words]);
    };
    let query = format!("{QUERY}&signature={SIGNATURE}");
    changed(query.replace("%2B", "+"), "not encoded as %2B");
    changed(query.replace("%2B", "%252B"), "percent-encoded twice");
    changed(query.replace('&', "&amp;"), "escaped as HTML");
    changed(format!("{query}&service=x"), "`service` was added");
    changed(format!("{query}&key=order+7"), "`key` was added");
    changed(QUERY.to_owned(), "the parameter `signature` is missing");
    let request = twilio(&format!("{TWILIO_URL}?a=1")).with_path("/webhooks/twilio?a=1&b=2");
    folder.verify("twilio", &request).assert_mismatch(401, "URL", &["`b` was added"]);
    let request = twilio(TWILIO_URL).with_path("/webhooks/twilio?");
    // Twilio's library for Python drops the `?` of an empty query too.
    folder.verify("twilio", &request).assert_accepted("SENT");
    let request = token().with_path(format!("{}&token=another", token().path));
    folder.verify("token", &request).assert_mismatch(401, "URL", &["`token` occurs several times"]);
    let request = token().with_path("/webhooks/token");
    let remedy = "callback-url token";
    folder.verify("token", &request).assert_mismatch(401, "URL", &["`token` is missing", remedy]);
}

#[test]
fn a_wrong_clock_is_found_with_its_offset() {
    let folder = ConfiguredFolder::new();
    for (source, request) in [("timed", timed()), ("standard", standard())] {
        let at = |time: &str| folder.verify_at(time, source, &request);
        at("2026-02-12T14:48:20Z").assert_accepted("DELIVERED");
        let early = at("2026-02-12T14:48:19Z");
        early.assert_mismatch(
            401,
            "time",
            &["signed 5 min 1 s ahead of this machine's clock", "5 min are allowed"],
        );
        assert!(early.stdout.contains("signed at 2026-02-12T14:53:20Z"), "{}", early.stdout);
        at("2026-02-12T11:46:20Z").assert_mismatch(401, "time", &["signed 3 h 7 min ahead"]);
        at("2026-02-26T14:53:20Z").assert_accepted("DELIVERED");
        at("2026-02-26T14:53:21Z").assert_mismatch(401, "time", &["signed 14 days ago", "clock"]);
    }
    let milliseconds = format!("{SIGNED_AT_SECONDS}000");
    let signature =
        hmac_hex(b"a-secret-of-timed-1", format!("{milliseconds}.{EXAMPLE}").as_bytes());
    let request = timed().without("X-Time").without("X-Sign");
    let request = request.with("X-Time", &milliseconds).with("X-Sign", &signature);
    let output = folder.verify("timed", &request);
    output.assert_mismatch(401, "time", &["in milliseconds", "timestamp_unit"]);
    let signature = hmac_hex(b"s3cret", format!("gateway\n\n{SIGNED_AT_SECONDS}").as_bytes());
    let path = format!("/webhooks/gateway?expires={SIGNED_AT_SECONDS}&signature={signature}");
    let expiring = signed_url().with_path(path);
    folder.verify("gateway", &expiring).assert_accepted("DELIVERED");
    let late = folder.verify_at("2026-02-12T15:52:27Z", "gateway", &expiring);
    late.assert_mismatch(401, "time", &["the URL expired 59 min 7 s ago", "--expires-in"]);
    // Without `--at`, the current time applies, which is after the expiry.
    let now = folder.run(&["gateway"], expiring.text().as_bytes());
    now.assert_mismatch(401, "time", &["the URL expired"]);
}

#[test]
fn the_scheme_of_the_sender_is_found_with_its_settings() {
    let folder = ConfiguredFolder::new();
    let request_with = |name: &str, value: &str| signed().without("X-Signature").with(name, value);
    let verify = |request: &CapturedRequest, words: &[&str]| {
        folder.verify("signed", request).assert_mismatch(401, "scheme", words);
    };
    let valid_signature = hmac_hex(b"a-secret-of-signed-1", EXAMPLE.as_bytes());
    verify(
        &request_with("X-Signature", &format!("sha256={valid_signature}")),
        &["prefix = \"sha256=\""],
    );
    verify(
        &request_with("X-Hub-Signature", &valid_signature),
        &["header X-Signature is missing", "X-Hub-Signature"],
    );
    verify(
        &request_with("X-Other", &valid_signature),
        &["header X-Signature is missing", "no other header looks like"],
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(b"a-secret-of-signed-1").unwrap();
    mac.update(EXAMPLE.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    verify(
        &request_with("X-Signature", &signature),
        &["encoding = \"base64\", algorithm = \"sha1\""],
    );
    let signature = hmac_hex(b"a-secret-of-signed-1", format!("17.{EXAMPLE}").as_bytes());
    let with_time = request_with("X-Signature", &signature).with("X-Timestamp", "17");
    verify(&with_time, &["signed = \"{timestamp}.{body}\", timestamp = \"header:X-Timestamp\""]);
    verify(&signed().with("X-Signature", "another"), &["X-Signature occurs several times"]);
    let without_id = standard().without("webhook-id");
    let output = folder.verify("standard", &without_id);
    output.assert_mismatch(401, "scheme", &["the header webhook-id is missing"]);
    let mut mac =
        Hmac::<sha2::Sha256>::new_from_slice(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    mac.update(format!("m1.{SIGNED_AT_SECONDS}.{EXAMPLE}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = standard().without("webhook-signature").with("webhook-signature", &signature);
    let output = folder.verify("standard", &request);
    output.assert_mismatch(401, "secret", &["uses the text of the secret as the key"]);
}

#[test]
fn a_rejection_before_verification_is_reported() {
    let folder = ConfiguredFolder::new();
    let mut get = token();
    get.method = "GET";
    folder.verify("token", &get).assert_mismatch(405, "request", &["GET, and must be POST"]);
    let compressed = token().with("Content-Encoding", "gzip");
    folder.verify("token", &compressed).assert_mismatch(415, "body", &["Content-Encoding"]);
    let plain_text = twilio(TWILIO_URL).without("Content-Type").with("Content-Type", "text/plain");
    folder.verify("twilio", &plain_text).assert_mismatch(415, "body", &["text/plain"]);
    let large = signed().with_body("x".repeat(2001));
    let output = folder.verify("signed", &large);
    output.assert_mismatch(
        413,
        "body",
        &["2001 bytes, and at most 2000 are allowed", "max_body_bytes"],
    );
}

#[test]
fn requests_are_read_as_curl_and_shells_print_them() {
    let folder = ConfiguredFolder::new();
    let request = signed();
    let (head, body) = {
        let text = request.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    };
    let run = |arguments: &[&str], text: &str| {
        folder.run(&[&["signed", "--at", SIGNED_AT], arguments].concat(), text.as_bytes())
    };
    run(&[], &request.text().replace('\r', "")).assert_accepted("DELIVERED");
    let with_trailing_byte = run(&[], &format!("\r\n{}\n", request.text()));
    with_trailing_byte.assert_accepted("DELIVERED");
    assert!(
        with_trailing_byte.stdout.contains("further bytes ignored: 1"),
        "{}",
        with_trailing_byte.stdout
    );
    let chunked = format!(
        "{}\r\n\r\n5\r\n{}\r\n{:x};x\r\n{}\r\n0\r\n\r\n",
        head.split_once("Content-Length").unwrap().0.to_owned() + "Transfer-Encoding: chunked",
        body.split_at(5).0,
        body.len() - 5,
        body.split_at(5).1
    );
    run(&[], &chunked).assert_accepted("DELIVERED");
    let absolute = request.clone().with_path("https://hooks.example.com/webhooks/signed");
    folder.verify("signed", &absolute).assert_accepted("DELIVERED");
    let by_curl = format!("> {}\n", head.replace("\r\n", "\n> "));
    let by_curl = format!(
        "* Connected to hooks.example.com\n{by_curl}> \n* upload completely sent off\n\
         }} [5 bytes data]\n< HTTP/1.1 401 Unauthorized\n< \n{{\"status\":401}}\n"
    );
    run(&[], &by_curl).assert_mismatch(401, "body", &["does not show the body", "--body FILE"]);
    let file = folder.0.path().join("body");
    fs::write(&file, &body).unwrap();
    run(&["--body", file.to_str().unwrap()], &by_curl).assert_accepted("DELIVERED");
    let by_hand = by_curl.replace("> \n", &format!("> \n{body}"));
    run(&[], &by_hand).assert_accepted("DELIVERED");
    // A scheme that does not sign the body can be verified without it.
    let by_curl = by_curl.replace("/webhooks/signed", &token().path);
    let output = folder.run(&["token"], by_curl.as_bytes());
    output.assert(0, &["the credential is valid"]);
}

#[test]
fn an_invalid_request_is_a_usage_error() {
    let folder = ConfiguredFolder::new();
    for (arguments, text, code) in [
        (&["gateway"][..], "", 64),
        (&["gateway"], "hello", 64),
        (&["gateway"], "POST /webhooks/gateway HTTP/1.1\nno header\n", 64),
        (&["gateway", "--at", "noon"], "", 64),
        (&["gateway", "--body", "no-such-file"], "", 66),
        (&["unknown"], "", 78),
    ] {
        assert_eq!(folder.run(arguments, text.as_bytes()).code, Some(code), "{arguments:?}");
    }
}
