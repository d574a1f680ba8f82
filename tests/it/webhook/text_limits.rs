//! Limits of a notification's texts, also for texts that earlier versions stored.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::support::*;

/// Maximum length of a provider's text, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;
const DESTINATION: &str = "+393331234567";

/// Webhook with these provider fields.
fn with_provider(number: u64, provider: &Value) -> String {
    let mut webhook = webhook(&id(number), "UNDELIVERED", 1);
    webhook["message"]["provider"] = provider.clone();
    webhook["message"]["destination"] = DESTINATION.into();
    webhook.to_string()
}

/// Stored part of a long text of two-byte letters.
fn truncated() -> String {
    format!("{}…", "é".repeat((MAX_TEXT_BYTES - 3) / 2))
}

fn provider_of(server: &Server, number: u64) -> Value {
    server.get(&format!("/api/messagestatus/{}", id(number))).json()["message"]["provider"].clone()
}

#[test]
fn texts_are_truncated_at_the_limit_and_compared_whole() {
    let server = Server::start(GATEWAY);
    for (index, member) in (0..).zip(["name", "status", "code", "message"]) {
        for (number, length, is_truncated) in
            [(1, MAX_TEXT_BYTES, false), (2, MAX_TEXT_BYTES + 2, true), (3, 200_000, true)]
        {
            let number: u64 = number + 10 * (index + 1);
            let text = "é".repeat(length / 2);
            let body = with_provider(number, &json!({ member: text }));
            assert_eq!(server.post(&body).outcome(), "applied");
            let expected = if is_truncated { truncated() } else { text };
            assert_eq!(provider_of(&server, number)[member], expected, "{member} {length}");
            assert_eq!(server.history(&id(number))[0]["provider"][member], expected);
            assert_eq!(server.post(&body).outcome(), "duplicate");
        }
    }
    // Two texts with the same stored part are different notifications.
    let long = |end: &str| with_provider(1, &json!({ "message": "x".repeat(2_000) + end }));
    assert_eq!(server.post(&long("a")).outcome(), "applied");
    assert_ne!(server.post(&long("b")).outcome(), "duplicate");
    assert_eq!(server.history(&id(1)).len(), 2);
}

#[test]
fn an_id_or_reference_that_is_too_long_is_quarantined() {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    let assert_quarantined = |body: &str, words: &str| {
        let answer = server.post(body);
        assert_eq!(answer.outcome(), "quarantined");
        let reason = answer.json()["results"][0]["reason"].clone();
        assert!(reason.as_str().unwrap().contains(words), "{reason}");
    };
    let with_id = |length| with_provider(1, &json!({ "id": "i".repeat(length) }));
    assert_eq!(server.post(&with_id(256)).outcome(), "applied");
    assert_quarantined(&with_id(257), "id has 257 bytes");
    for member in ["service", "action", "key"] {
        let with_length = |length| {
            let mut webhook = webhook(&id(2), "SENT", 1);
            webhook["message"]["reference"] = json!({ "service": "S" });
            webhook["message"]["reference"][member] = "r".repeat(length).into();
            webhook.to_string()
        };
        assert_ne!(server.post(&with_length(512)).outcome(), "quarantined", "{member}");
        assert_quarantined(&with_length(513), &format!("message.reference.{member}: "));
        // The same limit applies to the callback URL.
        let path = webhook_path(&format!("&{member}={}", "r".repeat(513)));
        let body = webhook(&id(3), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "quarantined");
        // The same limit applies to a registration.
        let mut body = json!({ "destination": DESTINATION, "reference": { "service": "S" } });
        body["reference"][member] = "r".repeat(513).into();
        server.put(&id(4), &body).assert_problem(400);
    }
    let long = json!({ "destination": DESTINATION, "provider": { "id": "i".repeat(257) } });
    server.put(&id(4), &long).assert_problem(400);
    let path = format!("/webhooks/twilio?token={TOKEN}");
    let form = |length| format!("MessageStatus=sent&MessageSid={}", "S".repeat(length));
    assert_eq!(server.send("POST", &path, FORM, form(256).as_bytes()).outcome(), "applied");
    assert_eq!(server.send("POST", &path, FORM, form(257).as_bytes()).outcome(), "quarantined");
}

/// Writes the untruncated text to the notification and the record, as a version without limits stored it.
fn store_untruncated(server: &Server, text: &str) {
    let database = Connection::open(server.database()).unwrap();
    let changed = database
        .execute(
            "UPDATE notification SET provider_message = ?1, provider_name = ?1, \
             reference_service = ?1 WHERE provider_code = '7'",
            [text],
        )
        .unwrap();
    assert_eq!(changed, 1);
    let packed = |text: &str| format!("{}:{text}", text.len());
    let row =
        database.query_row("SELECT texts FROM message WHERE provider_code = '7'", [], |row| {
            row.get::<_, String>(0)
        });
    // The record has no row until it is written back.
    if let Ok(texts) = row {
        let service = packed("S");
        let untruncated = texts.replace(&packed(&truncated()), &packed(text));
        let untruncated = untruncated.replacen(&service, &packed(text), 1);
        assert!(untruncated.len() > 3 * text.len(), "{texts}");
        let update = "UPDATE message SET texts = ? WHERE provider_code = '7'";
        database.execute(update, params![untruncated]).unwrap();
    }
}

#[test]
fn a_retry_of_a_long_text_that_an_earlier_version_stored_is_a_duplicate() {
    let text = "é".repeat(5_000);
    for is_killed in [false, true] {
        let mut server = Server::start(GATEWAY);
        let mut long: Value = serde_json::from_str(&with_provider(
            1,
            &json!({ "message": text, "name": text, "code": "7" }),
        ))
        .unwrap();
        long["message"]["reference"] = json!({ "service": "S", "key": "long" });
        let long = long.to_string();
        assert_eq!(server.post(&long).outcome(), "applied");
        if is_killed {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        store_untruncated(&server, &text);
        server.restart();
        let assert_truncated = |message: &Value| {
            assert_eq!(message["provider"]["message"], truncated());
            assert_eq!(message["provider"]["name"], truncated());
            let service = message["reference"]["service"].as_str().unwrap();
            assert!(service.len() <= 512 && service.ends_with('…'), "{}", service.len());
        };
        assert_truncated(&server.get(&format!("/api/messagestatus/{}", id(1))).json()["message"]);
        for list in ["phonenumber/393331234567", "reference/long"] {
            let list = server.get(&format!("/api/messagestatus/{list}")).json();
            assert_truncated(&list["messages"][0]["message"]);
        }
        assert_truncated(&server.history(&id(1))[0]);
        assert_eq!(server.post(&long).outcome(), "duplicate");
        assert_eq!(server.history(&id(1)).len(), 1);
        let database = Connection::open(server.database()).unwrap();
        let stored_length: i64 = database
            .query_row("SELECT length(provider_message) FROM notification", [], |row| row.get(0))
            .unwrap();
        assert_eq!(stored_length, 5_000, "the stored text is not rewritten");
    }
}
