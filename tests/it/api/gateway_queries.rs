//! The three queries of the gateway, and the additions of statusmirror.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::http::list_page::{next, numbers};
use crate::support::*;

/// Posts a DELIVERED webhook for message `number`, with these additional members.
fn post(server: &Server, number: u64, members: &Value) {
    let mut webhook = webhook(&id(number), "DELIVERED", 30);
    for (name, value) in members.as_object().unwrap() {
        webhook["message"][name] = value.clone();
    }
    assert_eq!(server.post(&webhook.to_string()).outcome(), "applied");
}

#[test]
fn without_a_valid_key_every_api_path_is_403_before_anything_else() {
    let paths = [
        "/api/messagestatus/no-uuid",
        "/api/messagestatus/phonenumber/x?count=0",
        "/api/messagestatus/reference/x",
        "/api/messagestatus/provider/unknown/x",
        "/api/messages/x",
        "/api/nothing",
        "/api/",
    ];
    for method in ["GET", "PUT", "POST", "DELETE"] {
        // One server per method, because failed attempts are rate-limited.
        let server = Server::start(GATEWAY);
        for path in paths {
            server.send(method, path, &[], b"").assert_problem(403);
            server.send(method, path, &[("X-Api-Key", "wrong")], b"").assert_problem(403);
            server.send(method, path, &[("X-Api-Key", "")], b"").assert_problem(403);
        }
    }
}

#[test]
fn scopes_do_not_imply_one_another() {
    let server = Server::start(
        "[api_keys.reader]\nkey = \"the-key-of-the-reader\"\n\
         [api_keys.registrar]\nsha256 = \"63FD26F477B745868A90A35C9AE19A1CD29C4DF7FB9508B9C14E77E407163EE2\"\n\
         scopes = \"register\"\n",
    );
    let registration_path = format!("/api/messages/{}", id(1));
    let body = br#"{"destination":"+393331234567"}"#;
    let message_path = format!("/api/messagestatus/{}", id(1));
    let reader = [("X-Api-Key", "the-key-of-the-reader")];
    server.send("PUT", &registration_path, &reader, body).assert_problem(403);
    server.send("GET", &message_path, &reader, b"").assert_problem(404);
    let registrar = [("X-Api-Key", "the-key-of-the-registrar")];
    server.send("GET", &message_path, &registrar, b"").assert_problem(403);
    assert_eq!(server.send("PUT", &registration_path, &registrar, body).status, 201);
    assert_eq!(server.send("GET", &message_path, &reader, b"").status, 200);
}

#[test]
fn a_message_is_found_by_its_hyphenated_uuid_in_any_case() {
    let server = Server::start(GATEWAY);
    server.post(EXAMPLE);
    let path = |id: &str| format!("/api/messagestatus/{id}");
    assert_eq!(server.get(&path(&EXAMPLE_ID.to_uppercase())).status, 200);
    server.get(&path("00000000-0000-4000-8000-000000000000")).assert_problem(404);
    for invalid in ["x", &EXAMPLE_ID.replace('-', ""), "%7B%7D", &format!("{EXAMPLE_ID}0"), "%FF"] {
        server.get(&path(invalid)).assert_problem(400);
    }
    let answer = server.send("HEAD", &path(EXAMPLE_ID), &[("X-Api-Key", KEY)], b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let answer = server.send("POST", &path(EXAMPLE_ID), &[("X-Api-Key", KEY)], b"");
    answer.assert_problem(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_phone_number_may_be_written_in_four_ways() {
    let server = Server::start(GATEWAY);
    post(&server, 1, &json!({"destination": "+393331234567"}));
    for written in ["+393331234567", "%2B393331234567", "%20393331234567", "393331234567"] {
        let answer = server.get(&format!("/api/messagestatus/phonenumber/{written}"));
        assert_eq!(numbers(&answer), [1], "{written}");
    }
    let none = server.get("/api/messagestatus/phonenumber/+393330000000");
    assert_eq!(none.body, r#"{"messages":[]}"#);
    for invalid in
        ["", "12345", "+0393331234567", "++393331234567", "+39%20333", "+39a3331234567", "1/2"]
    {
        server.get(&format!("/api/messagestatus/phonenumber/{invalid}")).assert_problem(400);
    }
}

#[test]
fn letters_that_need_no_percent_encoding_may_have_one_in_a_name_and_not_in_a_route() {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    post(&server, 1, &json!({"destination": "+393331234567", "reference": {"key": "k"}}));
    let form = b"MessageSid=SM1&MessageStatus=sent";
    let twilio = format!("/webhooks/twilio?token={TOKEN}&messageid={}", id(2));
    assert_eq!(server.send("POST", &twilio, FORM, form).outcome(), "applied");
    for (number, path) in [
        (1, "/api/messagestatus/phonenumber/%2B39333123456%37"),
        (1, "/api/messagestatus/reference/%6b"),
        (2, "/api/messagestatus/provider/t%77ilio/SM%31"),
    ] {
        assert_eq!(numbers(&server.get(path)), [number], "{path}");
    }
    let encoded = format!("/api/messagestatus/%30{}", id(1).get(1..).unwrap());
    assert_eq!(server.get(&encoded).json()["message"]["id"], id(1));
    for path in [
        "/%61pi/messagestatus/phonenumber/+393331234567",
        "/api/%6Dessagestatus/reference/k",
        "/api/messagestatus/phonenumb%65r/+393331234567",
        "/api/messagestatus/r%65ference/%6b",
        "/api/messagestatus/provide%72/twilio/SM1",
        &format!("/api/messagestatus/{}/histor%79", id(1)),
    ] {
        server.get(path).assert_problem(400);
    }
}

#[test]
fn a_reference_key_may_hold_any_characters() {
    let server = Server::start(GATEWAY);
    let longest = "k".repeat(512);
    let keys =
        ["a/b", "a%2Fb", "..", ".", "history", "order 7", "a+b", "100%", "?x=1#y", "💌", &longest];
    for (number, key) in (1..).zip(keys) {
        post(&server, number, &json!({"reference": {"key": key}}));
    }
    for (number, key) in (1..).zip(keys) {
        let encoded = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let answer = server.get(&format!("/api/messagestatus/reference/{encoded}"));
        assert_eq!(numbers(&answer), [number], "{key}");
    }
    // Keys without percent-encoding.
    for (number, path) in [(1, "a/b"), (3, ".."), (5, "history"), (7, "a+b")] {
        let answer = server.get(&format!("/api/messagestatus/reference/{path}"));
        assert_eq!(numbers(&answer), [number], "{path}");
    }
    for path in ["", "%FF", "a%2", &"k".repeat(513)] {
        let answer = server.get(&format!("/api/messagestatus/reference/{path}"));
        match path {
            // An incomplete percent-encoding is taken literally.
            "a%2" => assert_eq!(numbers(&answer), Vec::<u64>::new()),
            _ => answer.assert_problem(400),
        }
    }
}

#[test]
fn count_is_one_to_a_hundred_and_fifty_by_default() {
    let server = Server::start(GATEWAY);
    for number in 1..=101 {
        post(&server, number, &json!({"reference": {"key": "many"}}));
    }
    let list = |query: &str| server.get(&format!("/api/messagestatus/reference/many{query}"));
    for (query, length) in [
        ("", 50),
        ("?count=1", 1),
        ("?count=100", 100),
        ("?count=101", 100),
        ("?count=99999999999999999999999", 100),
    ] {
        assert_eq!(numbers(&list(query)).len(), length, "{query}");
    }
    for invalid in ["0", "-1", "", "x", "1.5", "+1", "%2B1", "1e2", "00"] {
        list(&format!("?count={invalid}")).assert_problem(400);
    }
}

#[test]
fn send_date_is_an_exclusive_bound() {
    let server = Server::start(GATEWAY);
    for (number, time) in [(1, "2026-02-12T10:00:00Z"), (2, "2026-02-12T12:00:00.000001+01:00")] {
        let members = json!({"reference": {"key": "k"}, "providerAcceptanceAt": time});
        post(&server, number, &members);
    }
    let list = |date: &str| server.get(&format!("/api/messagestatus/reference/k?sendDate={date}"));
    assert_eq!(numbers(&server.get("/api/messagestatus/reference/k")), [2, 1]);
    for (date, expected) in [
        ("2026-02-12T10:00:00Z", vec![]),
        ("2026-02-12T10:00:00.000001Z", vec![1]),
        ("2026-02-12T11:00:00.000001Z", vec![1]),
        ("2026-02-12T11:00:00.000002Z", vec![2, 1]),
        ("2026-02-12T11:00:00+01:00", vec![]),
        ("2026-02-12T12:00:01%2B01:00", vec![2, 1]),
        ("2026-02-12T12:00:01%2B0100", vec![2, 1]),
        ("2026-12-31T23:59:59Z", vec![2, 1]),
    ] {
        assert_eq!(numbers(&list(date)), expected, "{date}");
    }
    for invalid in ["2026-02-12T10:00:00", "2026-02-12", "now", "", "1770000000"] {
        list(invalid).assert_problem(400);
    }
}

#[test]
fn lists_are_newest_first_and_pages_lose_nothing_at_equal_times() {
    let server = Server::start(GATEWAY);
    for number in 1..=23 {
        let time = format!("2026-02-12T10:00:{:02}Z", number / 9);
        let members = json!({
            "destination": "+393331234567",
            "reference": {"key": "é/k"},
            "providerAcceptanceAt": time,
        });
        post(&server, number, &members);
    }
    let expected: Vec<u64> = (18..=23).chain(9..=17).chain(1..=8).collect();
    for first in [
        "/api/messagestatus/phonenumber/+393331234567?count=4",
        "/api/messagestatus/reference/%C3%A9%2Fk?count=4",
        "/api/messagestatus/reference/%C3%A9/k?count=4",
    ] {
        let mut seen = Vec::new();
        let mut path = Some(first.to_owned());
        while let Some(page) = path {
            let answer = server.get(&page);
            seen.extend(numbers(&answer));
            path = next(&answer);
        }
        assert_eq!(seen, expected, "{first}");
    }
    let bounded =
        "/api/messagestatus/phonenumber/+393331234567?count=5&sendDate=2026-02-12T10:00:01Z";
    let page = server.get(bounded);
    assert_eq!(numbers(&page), [1, 2, 3, 4, 5]);
    let last = server.get(&next(&page).unwrap());
    assert_eq!(numbers(&last), [6, 7, 8]);
    assert_eq!(next(&last), None);
    assert_eq!(next(&server.get("/api/messagestatus/phonenumber/+393331234567?count=23")), None);
}

#[test]
fn a_cursor_of_another_list_is_400() {
    let server = Server::start(GATEWAY);
    for number in 1..=3 {
        let members = json!({"destination": "+393331234567", "reference": {"key": "k"}});
        post(&server, number, &members);
    }
    let link = next(&server.get("/api/messagestatus/reference/k?count=1")).unwrap();
    let (_, cursor) = link.split_once("cursor=").unwrap();
    let list =
        |cursor: &str| server.get(&format!("/api/messagestatus/reference/k?cursor={cursor}"));
    assert_eq!(numbers(&list(cursor)), [2, 3]);
    let (first, rest) = cursor.split_at(1);
    let changed = format!("{}{rest}", if first == "A" { "B" } else { "A" });
    for invalid in ["", "x", "AAAA", &changed, rest, &format!("{cursor}A")] {
        list(invalid).assert_problem(400);
    }
    let other_list = "/api/messagestatus/phonenumber/+393331234567?cursor=";
    server.get(&format!("{other_list}{cursor}")).assert_problem(400);
}

#[test]
fn the_history_shows_every_notification_in_the_order_of_arrival() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut sent: Value = serde_json::from_str(EXAMPLE).unwrap();
    sent["message"]["status"] = json!("SENT");
    sent["message"]["statusChangedAt"] = json!("2026-02-12T14:50:00.5Z");
    sent["message"]["destination"] = json!("+393331234567");
    assert_eq!(server.post(&sent.to_string()).outcome(), "applied");
    let answer = server.get(&format!("/api/messagestatus/{EXAMPLE_ID}/history"));
    let body = answer.json();
    assert_eq!(body["message"]["status"], "DELIVERED");
    let history = body["history"].as_array().unwrap();
    let column = |name: &str| history.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("status"), ["DELIVERED", "SENT"]);
    assert_eq!(column("outcome"), ["applied", "applied"]);
    assert_eq!(column("statusChangedAt"), ["2026-02-12T14:50:35Z", "2026-02-12T14:50:00.500Z"]);
    assert_eq!(column("source"), ["gateway", "gateway"]);
    assert_eq!(column("destination"), [Value::Null, json!("+393331234567")]);
    assert_eq!(
        column("reference")[0],
        json!({"service": "DIGITALSIGN", "action": "AUTH", "key": "webhook_3"})
    );
    let members: Vec<_> = history[0].as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "source",
            "status",
            "statusChangedAt",
            "receivedAt",
            "outcome",
            "channel",
            "destination",
            "reference",
            "provider"
        ]
    );
    server.get(&format!("/api/messagestatus/{}/history", id(1))).assert_problem(404);
    server.get("/api/messagestatus/x/history").assert_problem(400);
}

#[test]
fn segments_are_shown_only_for_sms() {
    let server = Server::start(GATEWAY);
    post(&server, 1, &json!({"sms": {"segments": 3}}));
    post(&server, 2, &json!({"sms": {"segments": 3}, "channel": "RCS"}));
    let body = |number| server.get(&format!("/api/messagestatus/{}", id(number))).json();
    assert_eq!(body(1)["message"]["sms"], json!({"segments": 3}));
    assert_eq!(body(2)["message"].get("sms"), None);
}

#[test]
fn every_other_path_is_a_404_problem() {
    let server = Server::start(GATEWAY);
    for path in ["/x", "/webhooks", "/webhooks/", "/api/x", "/api/messagestatus", "/livez/x"] {
        server.get(path).assert_problem(404);
    }
    server.send("POST", "/livez", &[], b"").assert_problem(405);
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
}

#[test]
fn a_message_of_a_provider_is_found_by_its_own_id() {
    let server = Server::start(TWILIO_BY_TOKEN);
    let sid = "SM1342fe1b2c904d1ab04f0fc7a58abca9";
    let post_callback = |number: u64, query: &str| {
        let path = format!("/webhooks/twilio?token={TOKEN}{query}");
        let body = format!("MessageSid={sid}&MessageStatus=sent&To=%2B1555867531{number}");
        server.send("POST", &path, FORM, body.as_bytes())
    };
    let derived = "620d8626-4243-5a65-915a-f198f7c03350";
    assert_eq!(post_callback(0, "").json()["results"][0]["messageId"], derived);
    assert_eq!(
        post_callback(1, &format!("&messageid={}", id(1))).json()["results"][0]["messageId"],
        id(1)
    );
    let found = server.get(&format!("/api/messagestatus/provider/twilio/{sid}"));
    let ids: BTreeSet<_> = found.json()["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["message"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, BTreeSet::from([derived.to_owned(), id(1)]));
    let page = server.get(&format!("/api/messagestatus/provider/twilio/{sid}?count=1"));
    let rest = server.get(&next(&page).unwrap());
    assert_ne!(page.body, rest.body);
    assert_eq!(next(&rest), None);
    let none = server.get("/api/messagestatus/provider/twilio/SM0");
    assert_eq!(none.body, r#"{"messages":[]}"#);
    server.get(&format!("/api/messagestatus/provider/unknown/{sid}")).assert_problem(404);
}
