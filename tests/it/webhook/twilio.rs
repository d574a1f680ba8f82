//! Twilio's dialect, except its signature, which has test vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::support::*;

const SID: &str = "SM1342fe1b2c904d1ab04f0fc7a58abca9";
const OWN_ID: &str = "620d8626-4243-5a65-915a-f198f7c03350";

/// Posts a form with these fields besides the SID; returns the entry of the answer.
fn post(server: &Server, query: &str, fields: &str) -> Value {
    let path = format!("/webhooks/twilio?token={TOKEN}{query}");
    let body = format!("MessageSid={SID}&{fields}");
    let answer = server.send("POST", &path, FORM, body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["results"][0].clone()
}

fn last(server: &Server, id: &str) -> Value {
    server.history(id).last().unwrap().clone()
}

#[test]
fn each_twilio_status_is_mapped() {
    for (word, status) in [
        ("accepted", "PROVIDER_ACCEPTANCE"),
        ("scheduled", "PROVIDER_ACCEPTANCE"),
        ("queued", "PROVIDER_ACCEPTANCE"),
        ("sent", "SENT"),
        ("Delivered", "DELIVERED"),
        ("undelivered", "UNDELIVERED"),
        ("failed", "REJECTED"),
        ("canceled", "REJECTED"),
    ] {
        let server = Server::start(TWILIO_BY_TOKEN);
        let entry = post(&server, "", &format!("MessageStatus={word}"));
        assert_eq!((&entry["outcome"], &entry["status"]), (&json!("applied"), &json!(status)));
        assert_eq!(entry["messageId"], OWN_ID);
        assert_eq!(last(&server, OWN_ID)["provider"]["status"], word);
        assert_eq!(last(&server, OWN_ID)["statusChangedAt"], Value::Null);
    }
    let server = Server::start(TWILIO_BY_TOKEN);
    for word in ["sending", "receiving", "received", "partially_delivered"] {
        assert_eq!(post(&server, "", &format!("MessageStatus={word}"))["outcome"], "ignored");
    }
    assert_eq!(post(&server, "", "MessageStatus=lost")["outcome"], "quarantined");
    assert_eq!(post(&server, "", "SmsStatus=sent")["outcome"], "quarantined");
    let path = format!("/webhooks/twilio?token={TOKEN}");
    let without_sid = server.send("POST", &path, FORM, b"MessageStatus=sent");
    assert_eq!(without_sid.outcome(), "quarantined");
    assert!(server.history(OWN_ID).is_empty());
}

#[test]
fn the_channel_is_the_one_that_carried_the_message() {
    let rcs = "MessageStatus=delivered&To=rcs%3A%2B15558675310";
    for (fields, outcome, channel) in [
        ("MessageStatus=delivered&To=%2B15558675310", "applied", "SMS"),
        ("MessageStatus=delivered&To=rcs%3A%2B15558675310&From=rcs%3Abrand", "applied", "RCS"),
        (rcs, "applied", "RCS"),
        // Fallback to SMS: the sender is then a phone number.
        ("MessageStatus=delivered&To=rcs%3A%2B15558675310&From=%2B15017250604", "applied", "SMS"),
        ("MessageStatus=delivered&ChannelPrefix=rcs&EventType=READ", "applied", "RCS"),
        ("MessageStatus=sent&ChannelPrefix=whatsapp", "ignored", ""),
        ("MessageStatus=sent&From=whatsapp%3A%2B15017250604", "ignored", ""),
        ("MessageStatus=sent&ChannelPrefix=pigeon", "quarantined", ""),
    ] {
        let server = Server::start(TWILIO_BY_TOKEN);
        assert_eq!(post(&server, "", fields)["outcome"], outcome, "{fields}");
        if outcome == "applied" {
            assert_eq!(last(&server, OWN_ID)["channel"], channel, "{fields}");
        }
        if fields.contains("To=") {
            assert_eq!(last(&server, OWN_ID)["destination"], "+15558675310", "{fields}");
        }
        if fields.contains("EventType=READ") {
            assert_eq!(last(&server, OWN_ID)["status"], "READ");
        }
    }
}

#[test]
fn the_callback_url_gives_message_destination_and_reference() {
    let server = Server::start(TWILIO_BY_TOKEN);
    let query = format!("&messageid={}&destination=%2B393331234567&action=A", id(7));
    let entry = post(&server, &query, "MessageStatus=sent&To=%2B15558675310");
    assert_eq!(entry["messageId"], id(7));
    let history_entry = last(&server, &id(7));
    assert_eq!(history_entry["destination"], "+393331234567");
    assert_eq!(history_entry["reference"], json!({"service": "twilio", "action": "A"}));
    let entry = post(&server, "&messageid=no-uuid", "MessageStatus=sent");
    assert_eq!(entry["messageId"], OWN_ID, "an invalid UUID is ignored");
}

#[test]
fn a_code_is_explained_unless_the_provider_does() {
    let server = Server::start(TWILIO_BY_TOKEN);
    post(&server, "", "MessageStatus=undelivered&ErrorCode=30003");
    let provider = &last(&server, OWN_ID)["provider"];
    assert_eq!(provider["code"], "30003");
    assert!(provider["message"].as_str().unwrap().contains("unreachable"));
    assert_eq!(provider["name"], "twilio");
    post(&server, "", "MessageStatus=failed&ErrorCode=30003&ChannelStatusMessage=own+words");
    assert_eq!(last(&server, OWN_ID)["provider"]["message"], "own words");
    post(&server, "", "MessageStatus=failed&ErrorCode=99999");
    assert_eq!(last(&server, OWN_ID)["provider"].get("message"), None);
    post(&server, "", "MessageStatus=delivered&ErrorCode=30003");
    assert_eq!(
        last(&server, OWN_ID)["provider"].get("message"),
        None,
        "a delivered message needs no explanation"
    );
    post(&server, "", "MessageStatus=canceled");
    assert_eq!(last(&server, OWN_ID)["provider"]["message"], "cancelled before it was sent");
}

#[test]
fn statuses_without_a_time_take_the_arrival_and_repetitions_are_duplicates() {
    let server = Server::start(TWILIO_BY_TOKEN);
    assert_eq!(post(&server, "", "MessageStatus=delivered")["outcome"], "applied");
    let before = server.get(&format!("/api/messagestatus/{OWN_ID}")).body;
    assert_eq!(post(&server, "", "MessageStatus=delivered&SmsSid=x")["outcome"], "duplicate");
    assert_eq!(server.get(&format!("/api/messagestatus/{OWN_ID}")).body, before);
    assert_eq!(post(&server, "", "MessageStatus=sent")["outcome"], "superseded");
}

#[test]
fn a_url_with_an_empty_query_differs_from_one_without() {
    let server = Server::start(TWILIO);
    let body = format!("MessageSid={SID}&MessageStatus=sent");
    let mut mac = Hmac::<Sha1>::new_from_slice(b"9f1c0a7be2d84e0fb36a5d1c2e7a4f80").unwrap();
    let parameters = format!("MessageSid{SID}MessageStatussent");
    mac.update(format!("https://hooks.example.com/webhooks/twilio?{parameters}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let headers = [FORM[0], ("X-Twilio-Signature", signature.as_str())];
    let post_to = |path: &str| server.send("POST", path, &headers, body.as_bytes());
    post_to("/webhooks/twilio").assert_problem(401);
    assert_eq!(post_to("/webhooks/twilio?").outcome(), "applied");
}

#[test]
fn a_body_that_is_json_or_no_text_is_400_and_quarantined() {
    let server = Server::start(TWILIO_BY_TOKEN);
    let path = format!("/webhooks/twilio?token={TOKEN}");
    server.send("POST", &path, JSON, b"{}").assert_problem(400);
    server.send("POST", &path, FORM, b"\xff").assert_problem(400);
    let listed = server.run(&["quarantine", "list"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 2);
}

/// Without this limit, a form longer than any of Twilio's would be hashed a dozen times for each secret.
#[test]
fn only_a_form_of_ordinary_length_is_tried_under_every_written_form_of_its_url() {
    let server = Server::start(&TWILIO.replace("example.com/", "example.com:8443/"));
    let post = |signed: &str, bytes: usize| {
        let pad = "x".repeat(bytes);
        let body = format!("MessageSid={SID}&MessageStatus=sent&Pad={pad}");
        let mut mac = Hmac::<Sha1>::new_from_slice(b"9f1c0a7be2d84e0fb36a5d1c2e7a4f80").unwrap();
        mac.update(format!("{signed}MessageSid{SID}MessageStatussentPad{pad}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let headers = [FORM[0], ("X-Twilio-Signature", signature.as_str())];
        server.send("POST", "/webhooks/twilio?a=it's", &headers, body.as_bytes()).status
    };
    let url = |port: &str, query: &str| {
        format!("https://hooks.example.com{port}/webhooks/twilio?{query}")
    };
    for (port, query, is_tried_at_any_length) in [
        ("", "a=it's", true),
        (":8443", "a=it's", true),
        (":443", "a=it's", false),
        ("", "a=it%27s", false),
        (":8443", "a=it%27s", false),
    ] {
        let signed = url(port, query);
        assert_eq!(post(&signed, 15_000), 200, "{signed}");
        assert_eq!(
            post(&signed, 17_000),
            if is_tried_at_any_length { 200 } else { 401 },
            "{signed}"
        );
    }
    assert_eq!(post(&url(":80", "a=it's"), 100), 401);
}
