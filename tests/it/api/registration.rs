//! `PUT /api/messages/{messageid}`: registration by the sender.

use serde_json::{Value, json};

use crate::support::*;

const DESTINATION: &str = "+393331234567";

fn message(server: &Server, number: u64) -> Value {
    server.get(&format!("/api/messagestatus/{}", id(number))).json()["message"].clone()
}

#[test]
fn a_registration_creates_a_record_that_webhooks_update() {
    let server = Server::start(GATEWAY);
    let answer = server.put(
        &id(1),
        &json!({
            "destination": DESTINATION,
            "reference": {"service": "S", "action": "A", "key": "k"},
            "channel": "RCS",
            "providerAcceptanceAt": "2026-02-12T14:00:00+01:00",
            "provider": {"name": "MITTO", "id": "p1", "status": "Accepted", "code": "0"},
        }),
    );
    assert_eq!(answer.status, 201);
    let expected = concat!(
        r#"{"outcome":"applied","message":{"id":"00000000-0000-4000-8000-000000000001","#,
        r#""providerAcceptanceAt":"2026-02-12T13:00:00Z","statusChangedAt":"2026-02-12T13:00:00Z","#,
        r#""reference":{"service":"S","action":"A","key":"k"},"channel":"RCS","#,
        r#""status":"PROVIDER_ACCEPTANCE","#,
        r#""provider":{"name":"MITTO","id":"p1","status":"Accepted","code":"0"}}}"#
    );
    assert_eq!(answer.body, expected);
    assert_eq!(server.post(&webhook(&id(1), "DELIVERED", 5).to_string()).outcome(), "applied");
    let list = server.get(&format!("/api/messagestatus/phonenumber/{DESTINATION}")).json();
    assert_eq!(list["messages"][0]["message"]["status"], "DELIVERED");
    assert_eq!(list["messages"][0]["message"]["reference"]["key"], "k");
    let history = server.history(&id(1));
    assert_eq!(history[0]["source"], "api:tests");
    assert_eq!(history[0]["status"], "PROVIDER_ACCEPTANCE");
}

#[test]
fn the_defaults_are_sms_and_the_time_of_arrival() {
    let server = Server::start(GATEWAY);
    let body = server.put(&id(1), &json!({"destination": DESTINATION})).json();
    assert_eq!(body["message"]["channel"], "SMS");
    assert_eq!(body["message"]["providerAcceptanceAt"], body["message"]["statusChangedAt"]);
    assert_eq!(server.history(&id(1))[0]["statusChangedAt"], Value::Null);
}

#[test]
fn a_known_message_is_200_and_the_registration_wins() {
    let server = Server::start(GATEWAY);
    let mut reported = webhook(&id(1), "DELIVERED", 5);
    reported["message"]["destination"] = json!("+393330000000");
    reported["message"]["reference"] = json!({"key": "theirs"});
    server.post(&reported.to_string());
    let body = json!({"destination": DESTINATION, "reference": {"key": "ours"}});
    let answer = server.put(&id(1), &body);
    assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("applied")));
    assert_eq!(message(&server, 1)["reference"], json!({"key": "ours"}));
    assert_eq!(message(&server, 1)["status"], "DELIVERED");
    let list_length = |destination: &str| {
        let list = server.get(&format!("/api/messagestatus/phonenumber/{destination}")).json();
        list["messages"].as_array().unwrap().len()
    };
    assert_eq!((list_length(DESTINATION), list_length("+393330000000")), (1, 0));
}

#[test]
fn a_repetition_is_a_duplicate_unless_another_came_between() {
    let server = Server::start(GATEWAY);
    let (first, second) =
        (json!({"destination": DESTINATION}), json!({"destination": "+393337654321"}));
    let outcome = |body: &Value| {
        let answer = server.put(&id(1), body);
        (answer.status, answer.json()["outcome"].as_str().unwrap().to_owned())
    };
    let expected = |status, outcome: &str| (status, outcome.to_owned());
    assert_eq!(outcome(&first), expected(201, "applied"));
    let before = message(&server, 1);
    assert_eq!(outcome(&first), expected(200, "duplicate"));
    assert_eq!(message(&server, 1), before);
    assert_eq!(outcome(&second), expected(200, "applied"));
    assert_eq!(outcome(&first), expected(200, "applied"), "the latest registration wins");
    assert_eq!(outcome(&first), expected(200, "duplicate"));
    let list = server.get(&format!("/api/messagestatus/phonenumber/{DESTINATION}")).json();
    assert_eq!(list["messages"].as_array().unwrap().len(), 1);
    assert_eq!(server.history(&id(1)).len(), 2);
}

#[test]
fn a_registration_without_news_is_superseded() {
    let server = Server::start(GATEWAY);
    let mut body =
        json!({"destination": DESTINATION, "providerAcceptanceAt": "2026-02-12T10:00:00Z"});
    server.put(&id(1), &body);
    server.post(&webhook(&id(1), "DELIVERED", 5).to_string());
    body["providerAcceptanceAt"] = json!("2026-02-12T11:00:00Z");
    assert_eq!(server.put(&id(1), &body).json()["outcome"], "superseded");
}

#[test]
fn a_whole_number_may_be_written_as_a_fraction() {
    let server = Server::start(GATEWAY);
    for (written, segments) in [("2.0", 2), ("3e0", 3), ("-0.0", 0), ("4294967295.0", u32::MAX)] {
        let path = format!("/api/messages/{}", id(u64::from(segments)));
        let body = format!(r#"{{"destination":"{DESTINATION}","sms":{{"segments":{written}}}}}"#);
        let answer = server.send("PUT", &path, &[("X-Api-Key", KEY)], body.as_bytes());
        assert_eq!(answer.json()["message"]["sms"]["segments"], segments, "{written}");
    }
}

#[test]
fn an_invalid_registration_is_400_with_the_reason() {
    let server = Server::start(GATEWAY);
    let with = |name: &str, value: Value| {
        let mut body = json!({"destination": DESTINATION});
        body[name] = value;
        body
    };
    for (body, reason) in [
        (json!({}), "destination"),
        (json!({"destination": "393331234567"}), "E.164"),
        (json!({"destination": "+12345"}), "E.164"),
        (json!({"destination": null}), "null"),
        (json!([DESTINATION]), "sequence"),
        (json!("x"), "string"),
        (with("destinaton", json!("x")), "destinaton"),
        (with("channel", json!("FAX")), "FAX"),
        (with("providerAcceptanceAt", json!("2026-02-12T10:00:00")), "without a zone"),
        (with("providerAcceptanceAt", json!("soon")), "not a time"),
        (with("reference", json!({"kee": "x"})), "kee"),
        (with("reference", json!({"key": "k".repeat(513)})), "513 bytes"),
        (with("reference", json!(["a", "b", "c"])), "sequence"),
        (with("provider", json!({"nam": "x"})), "nam"),
        (with("sms", json!({"segments": -1})), "-1"),
        (with("sms", json!({"segments": 1.5})), "1.5"),
        (with("sms", json!({"segments": 4_294_967_296_u64})), "4294967296"),
    ] {
        let answer = server.put(&id(1), &body);
        answer.assert_problem(400);
        assert!(answer.json()["detail"].as_str().unwrap().contains(reason), "{body}: {answer:?}");
    }
    let path = format!("/api/messages/{}", id(1));
    server.send("PUT", &path, &[("X-Api-Key", KEY)], b"{").assert_problem(400);
    server.send("PUT", &path, &[("X-Api-Key", KEY)], &vec![b' '; 70_000]).assert_problem(413);
    server.put("x", &json!({"destination": DESTINATION})).assert_problem(400);
    server.send("GET", &path, &[("X-Api-Key", KEY)], b"").assert_problem(405);
    assert!(server.history(&id(1)).is_empty());
}
