//! `verify`: the reason for a rejection, in one line.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::support::captured_requests::{
    ADDRESS_URL, Installed, QUERY, SECOND, SIGNATURE, Sent, TIME, TWILIO_URL, address, signed,
    signed_url, standard, timed, token, twilio,
};
use crate::support::*;

#[test]
fn a_valid_request_is_accepted_with_its_outcome() {
    let installed = Installed::new();
    let delivered = format!("a notification of DELIVERED by SMS about the message {EXAMPLE_ID}");
    for (source, sent) in [
        ("gateway", signed_url()),
        ("token", token()),
        ("signed", signed()),
        ("timed", timed()),
        ("address", address(ADDRESS_URL)),
        ("standard", standard()),
    ] {
        installed.verify(source, &sent).assert_taken(&delivered);
    }
    installed.verify("gateway", &signed_url()).assert_taken(", with a phone number");
    installed.verify("signed", &signed()).assert_taken(", without a phone number");
    installed.verify("twilio", &twilio(TWILIO_URL)).assert_taken("a notification of SENT by SMS");
}

#[test]
fn an_accepted_request_without_a_status_is_reported() {
    let installed = Installed::new();
    let taken = |body: &str| installed.verify("token", &token().of_body(body));
    taken(&EXAMPLE.replace("DELIVERED", "LOST"))
        .assert_taken("quarantined: message.status: unknown");
    taken(&EXAMPLE.replace("\"SMS\"", "\"WHATSAPP\""))
        .assert_taken("ignored: the channel WHATSAPP");
    taken("{}").assert_taken("quarantined: type is missing");
    taken("{").assert_misfit(400, "body", &["the body is not JSON", "dialect is gateway"]);
}

#[test]
fn a_wrong_secret_is_named() {
    let installed = Installed::new();
    let wrong = |source: &str, sent: &Sent| {
        let answer = installed.verify(source, sent);
        let secrets = format!("sources.{source}.verify.secrets");
        answer.assert_misfit(401, "secret", &[&secrets]);
        assert!(answer.printed.contains("as Content-Length says"), "{}", answer.printed);
    };
    let signature = hmac_hex(b"a-secret-of-nobody", b"gateway\n+393331234567\n\nkey=order 7");
    wrong("gateway", &signed_url().at(format!("/webhooks/gateway?{QUERY}&signature={signature}")));
    wrong("token", &token().at("/webhooks/token?token=a-token-of-nobody"));
    let with = |sent: Sent, name: &str, value: &str| sent.without(name).with(name, value);
    let signature = hmac_hex(b"a-secret-of-nobody", EXAMPLE.as_bytes());
    wrong("signed", &with(signed(), "X-Signature", &signature));
    wrong("timed", &with(timed(), "X-Sign", &signature));
    wrong("address", &with(address(ADDRESS_URL), "X-Url-Signature", &signature));
    let signature = format!("v1,{}", STANDARD.encode([7; 32]));
    wrong("standard", &with(standard(), "webhook-signature", &signature));
    wrong("twilio", &with(twilio(TWILIO_URL), "X-Twilio-Signature", &STANDARD.encode([7; 20])));
}

#[test]
fn the_secret_or_url_of_another_source_is_found() {
    let installed = Installed::new();
    let signature = hmac_hex(b"a-secret-of-another", EXAMPLE.as_bytes());
    let of_another = signed().without("X-Signature").with("X-Signature", &signature);
    installed.verify("signed", &of_another).assert_misfit(401, "secret", &["source `another`"]);
    let signature = hmac_hex(b"a-secret-of-elsewhere", b"gateway\n\n");
    let of_elsewhere = signed_url().at(format!("/webhooks/gateway?signature={signature}"));
    installed.verify("gateway", &of_elsewhere).assert_misfit(
        401,
        "secret",
        &["source `elsewhere`"],
    );
    let signature = hmac_hex(b"a-secret-of-elsewhere", b"elsewhere\n\n");
    let for_elsewhere = signed_url().at(format!("/webhooks/gateway?signature={signature}"));
    let answer = installed.verify("gateway", &for_elsewhere);
    answer.assert_misfit(401, "source", &["made for the source `elsewhere`"]);
    let answer =
        installed.verify("gateway", &token().at(token().path.replace("/token", "/gateway")));
    answer.assert_misfit(401, "source", &["made for the source `token`"]);
    let answer = installed.verify("signed", &timed());
    answer.assert_misfit(401, "source", &["the path leads to the source `timed`"]);
    let answer = installed.verify("signed", &signed().at("/webhooks/nobody"));
    answer.assert_misfit(404, "source", &["`nobody`", "none of this name is configured"]);
    let answer = installed.verify("signed", &signed().at("/behind/a/proxy"));
    answer.assert_taken("DELIVERED");
    assert!(answer.printed.contains("a proxy changes it"), "{}", answer.printed);
}

#[test]
fn a_changed_body_is_found() {
    let installed = Installed::new();
    let compact = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap().to_string();
    for (source, sent) in [("signed", signed()), ("timed", timed()), ("standard", standard())] {
        let changed = |body: String| installed.verify(source, &sent.clone().of_body(body));
        for line_break in ["\n", "\r\n"] {
            let answer = changed(format!("{}{line_break}", EXAMPLE.trim_end()));
            if EXAMPLE.ends_with(line_break) {
                answer.assert_taken("DELIVERED");
            } else {
                answer.assert_misfit(401, "body", &["line break"]);
            }
        }
        changed(EXAMPLE.replace('\n', "\r\n")).assert_misfit(401, "body", &["line breaks"]);
        changed(format!("\u{feff}{EXAMPLE}")).assert_misfit(401, "body", &["byte order mark"]);
        changed(String::new()).assert_misfit(401, "body", &["it is empty"]);
        let mut cut = sent.clone().of_body(EXAMPLE.split_at(100).0);
        cut.length = Some(EXAMPLE.len());
        let said = format!("it has 100 bytes of {}", EXAMPLE.len());
        installed.verify(source, &cut).assert_misfit(401, "body", &[&said]);
    }
    // What was signed is written in as many ways as there are libraries.
    for original in [
        compact(EXAMPLE).replace("\":", "\": ").replace(",\"", ", \""),
        compact(EXAMPLE).replace("DIGITALSIGN", "S\\/\\u00e4\\ud83d\\ude00"),
        compact(EXAMPLE).replace("DIGITALSIGN", "S/ä😀"),
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(EXAMPLE).unwrap())
            .unwrap(),
    ] {
        let signature = hmac_hex(b"a-secret-of-signed-1", original.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&original).unwrap();
        // In no way that is signed here.
        let anew = format!("  {value}");
        let sent = signed().without("X-Signature").with("X-Signature", &signature).of_body(anew);
        installed.verify("signed", &sent).assert_misfit(401, "body", &["reformatted"]);
    }
    let mut cut = token().of_body(EXAMPLE.split_at(100).0);
    cut.length = Some(EXAMPLE.len());
    installed.verify("token", &cut).assert_misfit(503, "body", &["waited for in vain"]);
    // A form that was changed is not what its sender signed either.
    let mut cut = twilio(TWILIO_URL).of_body("MessageSid=SM7");
    cut.length = Some(33);
    installed.verify("twilio", &cut).assert_misfit(401, "body", &["14 bytes of 33"]);
}

#[test]
fn a_wrong_public_url_is_found_with_the_url_that_was_called() {
    let installed = Installed::new();
    for (called, more) in [
        ("http://hooks.example.com/webhooks/address", None),
        ("https://hooks.example.com/webhooks/address/", None),
        (
            "https://other.example.com/webhooks/address",
            Some(("X-Forwarded-Host", "other.example.com")),
        ),
        ("https://hooks.example.com:8443/webhooks/address", Some(("X-Forwarded-Port", "8443"))),
        ("https://hooks.example.com/sms/webhooks/address", Some(("X-Forwarded-Prefix", "/sms"))),
    ] {
        let mut sent = address(called);
        if let Some((name, value)) = more {
            sent = sent.with(name, value);
        }
        let said = format!("the sender called {called}, but public_url says {ADDRESS_URL}");
        let mend = "set sources.address.public_url";
        installed.verify("address", &sent).assert_misfit(401, "URL", &[&said, mend]);
    }
    let called = "https://sms.example.com/webhooks/twilio";
    let sent = twilio(called).with("X-Forwarded-Host", "sms.example.com");
    installed.verify("twilio", &sent).assert_misfit(401, "URL", &[called, TWILIO_URL]);
    // Twilio's own libraries do not mind the port.
    let called = "https://hooks.example.com:443/webhooks/twilio";
    installed.verify("twilio", &twilio(called)).assert_taken("SENT");
}

#[test]
fn a_changed_query_is_found() {
    let installed = Installed::new();
    let changed = |query: String, words: &str| {
        let sent = signed_url().at(format!("/webhooks/gateway?{query}"));
        installed.verify("gateway", &sent).assert_misfit(401, "URL", &[words]);
    };
    let query = format!("{QUERY}&signature={SIGNATURE}");
    changed(query.replace("%2B", "+"), "not written as %2B");
    changed(query.replace("%2B", "%252B"), "percent-encoded twice");
    changed(query.replace('&', "&amp;"), "escaped as HTML");
    changed(format!("{query}&service=x"), "`service` was added");
    changed(format!("{query}&key=order+7"), "`key` was added");
    changed(QUERY.to_owned(), "the parameter `signature` is missing");
    let sent = twilio(&format!("{TWILIO_URL}?a=1")).at("/webhooks/twilio?a=1&b=2");
    installed.verify("twilio", &sent).assert_misfit(401, "URL", &["`b` was added"]);
    let sent = twilio(TWILIO_URL).at("/webhooks/twilio?");
    // Twilio's own library for Python drops it too.
    installed.verify("twilio", &sent).assert_taken("SENT");
    let sent = token().at(format!("{}&token=another", token().path));
    installed.verify("token", &sent).assert_misfit(401, "URL", &["`token` is there several times"]);
    let sent = token().at("/webhooks/token");
    let mend = "callback-url token";
    installed.verify("token", &sent).assert_misfit(401, "URL", &["`token` is missing", mend]);
}

#[test]
fn a_wrong_clock_is_found_with_its_offset() {
    let installed = Installed::new();
    for (source, sent) in [("timed", timed()), ("standard", standard())] {
        let at = |time: &str| installed.at(time, source, &sent);
        at("2026-02-12T14:48:20Z").assert_taken("DELIVERED");
        let early = at("2026-02-12T14:48:19Z");
        early.assert_misfit(
            401,
            "time",
            &["signed 301 s ahead of the clock here", "300 s are allowed"],
        );
        assert!(early.printed.contains("signed at 2026-02-12T14:53:20Z"), "{}", early.printed);
        at("2026-02-26T14:53:20Z").assert_taken("DELIVERED");
        at("2026-02-26T14:53:21Z").assert_misfit(401, "time", &["signed 14 days ago", "clock"]);
    }
    let milliseconds = format!("{SECOND}000");
    let signature =
        hmac_hex(b"a-secret-of-timed-1", format!("{milliseconds}.{EXAMPLE}").as_bytes());
    let sent = timed().without("X-Time").without("X-Sign");
    let sent = sent.with("X-Time", &milliseconds).with("X-Sign", &signature);
    let answer = installed.verify("timed", &sent);
    answer.assert_misfit(401, "time", &["in milliseconds", "timestamp_unit"]);
    let signature = hmac_hex(b"s3cret", format!("gateway\n\n{SECOND}").as_bytes());
    let path = format!("/webhooks/gateway?expires={SECOND}&signature={signature}");
    let expiring = signed_url().at(path);
    installed.verify("gateway", &expiring).assert_taken("DELIVERED");
    let late = installed.at("2026-02-12T15:53:20Z", "gateway", &expiring);
    late.assert_misfit(401, "time", &["valid until 3600 s ago", "--expires-in"]);
    // Without --at it is judged now, which is later than any of these.
    let now = installed.run(&["gateway"], expiring.text().as_bytes());
    now.assert_misfit(401, "time", &["valid until"]);
}

#[test]
fn the_scheme_of_the_sender_is_found_with_its_settings() {
    let installed = Installed::new();
    let sent = |name: &str, value: &str| signed().without("X-Signature").with(name, value);
    let verify = |sent: &Sent, words: &[&str]| {
        installed.verify("signed", sent).assert_misfit(401, "scheme", words);
    };
    let right = hmac_hex(b"a-secret-of-signed-1", EXAMPLE.as_bytes());
    verify(&sent("X-Signature", &format!("sha256={right}")), &["prefix = \"sha256=\""]);
    verify(&sent("X-Hub-Signature", &right), &["header X-Signature is missing", "X-Hub-Signature"]);
    verify(&sent("X-Other", &right), &["header X-Signature is missing", "no other looks like"]);
    let mut mac = Hmac::<Sha1>::new_from_slice(b"a-secret-of-signed-1").unwrap();
    mac.update(EXAMPLE.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    verify(&sent("X-Signature", &signature), &["encoding = \"base64\", algorithm = \"sha1\""]);
    let signature = hmac_hex(b"a-secret-of-signed-1", format!("17.{EXAMPLE}").as_bytes());
    let with_time = sent("X-Signature", &signature).with("X-Timestamp", "17");
    verify(&with_time, &["signed = \"{timestamp}.{body}\", timestamp = \"header:X-Timestamp\""]);
    verify(&signed().with("X-Signature", "another"), &["X-Signature is there several times"]);
    let half = standard().without("webhook-id");
    let answer = installed.verify("standard", &half);
    answer.assert_misfit(401, "scheme", &["the header webhook-id is missing"]);
    let mut mac =
        Hmac::<sha2::Sha256>::new_from_slice(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    mac.update(format!("m1.{SECOND}.{EXAMPLE}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let sent = standard().without("webhook-signature").with("webhook-signature", &signature);
    let answer = installed.verify("standard", &sent);
    answer.assert_misfit(401, "secret", &["takes the text of the secret for the key"]);
}

#[test]
fn a_rejection_before_verification_is_reported() {
    let installed = Installed::new();
    let mut get = token();
    get.method = "GET";
    installed.verify("token", &get).assert_misfit(405, "request", &["GET, and must be POST"]);
    let packed = token().with("Content-Encoding", "gzip");
    installed.verify("token", &packed).assert_misfit(415, "body", &["Content-Encoding"]);
    let json = twilio(TWILIO_URL).without("Content-Type").with("Content-Type", "text/plain");
    installed.verify("twilio", &json).assert_misfit(415, "body", &["text/plain"]);
    let large = signed().of_body("x".repeat(2001));
    let answer = installed.verify("signed", &large);
    answer.assert_misfit(413, "body", &["2001 bytes, and may have 2000", "max_body_bytes"]);
}

#[test]
fn requests_are_read_as_curl_and_shells_print_them() {
    let installed = Installed::new();
    let sent = signed();
    let (head, body) = {
        let text = sent.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    };
    let run = |arguments: &[&str], text: &str| {
        installed.run(&[&["signed", "--at", TIME], arguments].concat(), text.as_bytes())
    };
    run(&[], &sent.text().replace('\r', "")).assert_taken("DELIVERED");
    let more = run(&[], &format!("\r\n{}\n", sent.text()));
    more.assert_taken("DELIVERED");
    assert!(more.printed.contains("1 more left out"), "{}", more.printed);
    let chunks = format!(
        "{}\r\n\r\n5\r\n{}\r\n{:x};x\r\n{}\r\n0\r\n\r\n",
        head.split_once("Content-Length").unwrap().0.to_owned() + "Transfer-Encoding: chunked",
        body.split_at(5).0,
        body.len() - 5,
        body.split_at(5).1
    );
    run(&[], &chunks).assert_taken("DELIVERED");
    let absolute = sent.clone().at("https://hooks.example.com/webhooks/signed");
    installed.verify("signed", &absolute).assert_taken("DELIVERED");
    let by_curl = format!("> {}\n", head.replace("\r\n", "\n> "));
    let by_curl = format!(
        "* Connected to hooks.example.com\n{by_curl}> \n* upload completely sent off\n\
         }} [5 bytes data]\n< HTTP/1.1 401 Unauthorized\n< \n{{\"status\":401}}\n"
    );
    run(&[], &by_curl).assert_misfit(401, "body", &["is not shown", "--body FILE"]);
    let file = installed.0.path().join("body");
    fs::write(&file, &body).unwrap();
    run(&["--body", file.to_str().unwrap()], &by_curl).assert_taken("DELIVERED");
    let by_hand = by_curl.replace("> \n", &format!("> \n{body}"));
    run(&[], &by_hand).assert_taken("DELIVERED");
    // Where the body is not what was signed, the proof can be judged without it.
    let by_curl = by_curl.replace("/webhooks/signed", &token().path);
    let answer = installed.run(&["token"], by_curl.as_bytes());
    answer.assert(0, &["its credential is right"]);
}

#[test]
fn an_invalid_request_is_a_usage_error() {
    let installed = Installed::new();
    for (arguments, text, code) in [
        (&["gateway"][..], "", 64),
        (&["gateway"], "hello", 64),
        (&["gateway"], "POST /webhooks/gateway HTTP/1.1\nno header\n", 64),
        (&["gateway", "--at", "noon"], "", 64),
        (&["gateway", "--body", "no-such-file"], "", 66),
        (&["nobody"], "", 78),
    ] {
        assert_eq!(installed.run(arguments, text.as_bytes()).code, Some(code), "{arguments:?}");
    }
}
