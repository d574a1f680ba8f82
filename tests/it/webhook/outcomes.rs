//! Every row of the tables of outcomes and transitions, through the real server.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};

use crate::support::*;

const STATUSES: [&str; 6] =
    ["PROVIDER_ACCEPTANCE", "SENT", "REJECTED", "UNDELIVERED", "DELIVERED", "READ"];

/// The contract's table of transitions: the status of the record, and a column for each arriving status in
/// the order of [`STATUSES`]. `=`: superseded. `+`: applied. `!`: conflict, the status stays. `>`: conflict,
/// the status changes.
const TRANSITIONS: [(Option<&str>, &str); 7] = [
    (None, "++++++"),
    (Some("PROVIDER_ACCEPTANCE"), "=+++++"),
    (Some("SENT"), "==>+++"),
    (Some("REJECTED"), "=!=>>>"),
    (Some("UNDELIVERED"), "==!=>>"),
    (Some("DELIVERED"), "==!!=+"),
    (Some("READ"), "==!!=="),
];

/// Posts a webhook about this message on RCS; returns the entry of the answer.
fn post(server: &Server, number: u64, status: &str, second: u32) -> Value {
    let answer = server.post(&webhook_on("RCS", &id(number), status, second).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["results"][0].clone()
}

#[test]
fn each_transition_follows_the_contract() {
    let server = Server::start(GATEWAY);
    let mut number = 0;
    for (before, row) in TRANSITIONS {
        for (arriving, expected) in STATUSES.into_iter().zip(row.chars()) {
            number += 1;
            if let Some(before) = before {
                post(&server, number, before, 10);
            }
            // Later than the stored time, so that only the status can change.
            let entry = post(&server, number, arriving, 20);
            let unchanged = before.unwrap_or(arriving);
            let (outcome, status) = match expected {
                '+' => ("applied", arriving),
                '>' => ("conflict", arriving),
                '!' => ("conflict", unchanged),
                _ => ("superseded", unchanged),
            };
            let transition = format!("{arriving} on {before:?}");
            assert_eq!(entry["outcome"], outcome, "{transition}");
            assert_eq!(entry["status"], status, "{transition}");
            let answer = server.get(&format!("/api/messagestatus/{}", id(number))).json();
            assert_eq!(answer["message"]["status"], status, "{transition}");
        }
    }
}

#[test]
fn an_unchanged_status_with_other_changes_is_applied() {
    let server = Server::start(GATEWAY);
    post(&server, 1, "DELIVERED", 20);
    assert_eq!(post(&server, 1, "SENT", 10)["outcome"], "applied", "an earlier time of acceptance");
    assert_eq!(
        post(&server, 1, "DELIVERED", 15)["outcome"],
        "applied",
        "an earlier time of the status"
    );
    let mut with_destination = webhook_on("RCS", &id(1), "SENT", 30);
    with_destination["message"]["destination"] = json!("+393331234567");
    assert_eq!(
        server.post(&with_destination.to_string()).outcome(),
        "applied",
        "a destination is added"
    );
    with_destination["message"]["statusChangedAt"] = json!("2026-02-12T15:00:00Z");
    assert_eq!(server.post(&with_destination.to_string()).outcome(), "superseded");
    let message = server.get(&format!("/api/messagestatus/{}", id(1))).json();
    assert_eq!(message["message"]["providerAcceptanceAt"], "2026-02-12T14:00:10Z");
    assert_eq!(message["message"]["statusChangedAt"], "2026-02-12T14:00:15Z");
}

#[test]
fn the_same_notification_in_another_envelope_is_a_duplicate() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut other_envelope: Value = serde_json::from_str(EXAMPLE).unwrap();
    other_envelope["id"] = json!("another");
    other_envelope["createdAt"] = json!("2027-01-01T00:00:00Z");
    other_envelope["unknown"] = json!({"member": [1, 2]});
    other_envelope["message"]["statusChangedAt"] = json!("2026-02-12T15:50:35.000+01:00");
    other_envelope["message"]["provider"]["code"] = json!(0);
    let answer = server.post(&serde_json::to_string_pretty(&other_envelope).unwrap());
    assert_eq!(answer.outcome(), "duplicate");
    assert_eq!(answer.json()["results"][0]["status"], "DELIVERED");
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}

#[test]
fn a_number_is_stored_digit_by_digit() {
    let server = Server::start(GATEWAY);
    let webhook = |key: &str, provider_id: &str, code: &str| {
        format!(
            r#"{{"type":"STATUS_UPDATE","message":{{"id":"{}","status":"SENT","channel":"SMS",
             "statusChangedAt":"2026-02-12T14:50:35Z","reference":{{"key":{key}}},
             "provider":{{"id":{provider_id},"code":{code}}},"sms":{{"segments":"2"}}}}}}"#,
            id(1)
        )
    };
    let key = "12345678901234567890123";
    assert_eq!(server.post(&webhook(key, "20000000000000000001", "1.0")).outcome(), "applied");
    let as_strings = webhook(&format!("\"{key}\""), "\"20000000000000000001\"", "\"1.0\"");
    assert_eq!(server.post(&as_strings).outcome(), "duplicate");
    let message_list = server.get(&format!("/api/messagestatus/reference/{key}")).json();
    let message = &message_list["messages"][0]["message"];
    assert_eq!(message["provider"]["id"], "20000000000000000001");
    assert_eq!(message["provider"]["code"], "1.0");
    assert_eq!(message["sms"]["segments"], 2);
    for bad in ["true", "{}", "[1]"] {
        assert_eq!(server.post(&webhook(bad, "1", "1")).outcome(), "quarantined", "{bad}");
    }
}

#[test]
fn fifty_concurrent_deliveries_of_one_notification_are_stored_once() {
    let server = Server::start(GATEWAY);
    let outcomes: Vec<String> = thread::scope(|scope| {
        let handles: Vec<_> =
            (0..50).map(|_| scope.spawn(|| server.post(EXAMPLE).outcome())).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let count = |wanted: &str| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    assert_eq!((count("applied"), count("duplicate")), (1, 49), "{outcomes:?}");
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}

#[test]
fn a_read_sms_is_invalid_and_only_in_the_history() {
    let server = Server::start(GATEWAY);
    let read = webhook(&id(1), "READ", 1).to_string();
    let answer = server.post(&read);
    assert_eq!(answer.outcome(), "invalid");
    assert!(answer.json()["results"][0].get("status").is_none(), "{answer:?}");
    server.get(&format!("/api/messagestatus/{}", id(1))).assert_problem(404);
    let history = server.get(&format!("/api/messagestatus/{}/history", id(1))).json();
    assert_eq!(history["message"], Value::Null);
    assert_eq!(history["history"][0]["outcome"], "invalid");
    assert_eq!(server.post(&read).outcome(), "duplicate");
    assert_eq!(server.post(&webhook(&id(1), "DELIVERED", 2).to_string()).outcome(), "applied");
    let later = server.post(&webhook(&id(1), "READ", 3).to_string());
    assert_eq!(later.outcome(), "invalid");
    assert_eq!(later.json()["results"][0]["status"], "DELIVERED");
}

#[test]
fn another_channel_is_ignored_and_nothing_is_stored() {
    let server = Server::start(GATEWAY);
    let answer = server.post(&webhook_on("WHATSAPP", &id(1), "SENT", 1).to_string());
    assert_eq!(answer.outcome(), "ignored");
    assert!(answer.json()["results"][0]["reason"].as_str().unwrap().contains("WHATSAPP"));
    assert!(server.history(&id(1)).is_empty());
    assert!(server.run(&["quarantine", "list"]).stdout.is_empty());
}

#[test]
fn an_unreadable_webhook_is_quarantined_with_its_reason() {
    let server = Server::start(GATEWAY);
    let good = webhook(&id(1), "SENT", 1);
    let without = |member: &str| {
        let mut bad = good.clone();
        bad["message"].as_object_mut().unwrap().remove(member);
        bad
    };
    let with = |member: &str, value: Value| {
        let mut bad = good.clone();
        bad["message"][member] = value;
        bad
    };
    let other_type = |value: Value| {
        let mut bad = good.clone();
        bad["type"] = value;
        bad
    };
    let cases = [
        (without("id"), "message.id is missing"),
        (without("status"), "message.status is missing"),
        (without("channel"), "message.channel is missing"),
        (without("statusChangedAt"), "message.statusChangedAt is missing"),
        (json!({"type": "STATUS_UPDATE"}), "message is missing"),
        (json!({"message": good["message"]}), "type is missing"),
        (other_type(json!("PING")), "unknown word `PING`"),
        (with("status", json!("LOST")), "unknown word `LOST`"),
        (with("status", json!("sent")), "unknown word `sent`"),
        (with("channel", json!("PIGEON")), "unknown word `PIGEON`"),
        (with("channel", json!("sms")), "unknown word `sms`"),
        (with("id", json!("b31b66079c5548bab1453f40b809d2d2")), "message.id is not a UUID"),
        (with("statusChangedAt", json!("2026-02-12T14:51:00")), "without a zone"),
        (with("statusChangedAt", json!("yesterday")), "not a time"),
        (with("providerAcceptanceAt", json!("yesterday")), "providerAcceptanceAt is not a time"),
        (with("reference", json!({"key": "k".repeat(513)})), "513 bytes"),
        (with("reference", json!(["a", "b", "c"])), "invalid type: sequence"),
        (with("provider", json!("MITTO")), "message.provider: invalid type: string"),
        (with("sms", json!({"segments": "many"})), "segments"),
        (json!(["STATUS_UPDATE", good["message"]]), "invalid type: sequence"),
        (json!(null), "invalid type: null"),
    ];
    for (bad, reason) in &cases {
        let entry = server.post(&bad.to_string()).json()["results"][0].clone();
        assert_eq!(entry["outcome"], "quarantined", "{bad}");
        assert!(entry["reason"].as_str().unwrap().contains(reason), "{bad}: {entry}");
        let quarantine_id = entry["quarantineId"].as_str().unwrap();
        let output = server.run(&["quarantine", "show", quarantine_id]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(&bad.to_string()), "{stdout}");
    }
    assert!(server.history(&id(1)).is_empty());
    let listed = String::from_utf8(server.run(&["quarantine", "list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), cases.len());
}

#[test]
fn optional_members_may_be_missing_null_or_invalid() {
    let server = Server::start(GATEWAY);
    let mut bare = webhook(&id(1), "SENT", 1);
    let message = bare["message"].as_object_mut().unwrap();
    for member in ["providerAcceptanceAt", "reference", "provider", "sms", "destination"] {
        message.insert(member.to_owned(), Value::Null);
    }
    message.insert("reference".to_owned(), json!({}));
    message.insert("providerAcceptanceAt".to_owned(), json!("2026-02-12T13:00:00"));
    message.insert("destination".to_owned(), json!("12345"));
    assert_eq!(server.post(&bare.to_string()).outcome(), "applied");
    let body = server.get(&format!("/api/messagestatus/{}", id(1))).body;
    let expected = concat!(
        r#"{"message":{"id":"00000000-0000-4000-8000-000000000001","#,
        r#""providerAcceptanceAt":"2026-02-12T14:00:01Z","statusChangedAt":"2026-02-12T14:00:01Z","#,
        r#""reference":{},"channel":"SMS","status":"SENT","#,
        r#""provider":{"name":"gateway","id":"","status":"","code":""}}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(server.history(&id(1))[0]["destination"], Value::Null);
}

#[test]
fn beyond_a_thousand_notifications_further_ones_are_quarantined_but_duplicates_known() {
    let server = Server::start(GATEWAY);
    let body = |second: u32| webhook_on("RCS", &id(1), "SENT", second).to_string();
    let mut connection = server.connect();
    let mut post = |second| {
        connection.send("POST", &webhook_path(""), JSON, body(second).as_bytes()).outcome()
    };
    let mut outcomes = BTreeMap::new();
    for second in (0..1_000).rev() {
        *outcomes.entry(post(second)).or_insert(0) += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("applied".to_owned(), 1_000)]));
    assert_eq!(post(1_000), "quarantined");
    assert_eq!(post(999), "duplicate");
    assert_eq!(server.history(&id(1)).len(), 1_000);
    let registered = server.put(&id(1), &json!({"destination": "+393331234567"}));
    registered.assert_problem(409);
}
