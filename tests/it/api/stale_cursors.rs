//! Event ids and cursors from before a restore: rejected with the reason, never skipped over.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::http::event_client::EventClient;
use crate::support::*;

/// Gives the stopped server's database another lineage, as a restore does.
fn set_lineage(server: &Server, lineage: u32) {
    let file = Connection::open(server.database()).unwrap();
    assert_eq!(file.execute("UPDATE progress SET lineage = ?", [lineage]).unwrap(), 1);
}

fn cursor(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    let link = answer.header("link").unwrap();
    link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned()
}

#[test]
fn cursors_and_event_ids_from_before_a_restore_are_400() {
    let mut server = Server::start(GATEWAY);
    for number in 1..=6 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": "s", "key": "k"});
        assert_eq!(server.post(&body.to_string()).outcome(), "applied");
    }
    let lists = ["/api/messages?count=2", "/api/messagestatus/reference/k?count=2"];
    let before = lists.map(|path| cursor(&server, path));
    for lineage in [1, 7, 8_191_u32] {
        assert_eq!(server.terminate(), Some(0));
        set_lineage(&server, lineage);
        server.start_again();
        let listen = |id: u64| {
            let headers = [("X-Api-Key", KEY), ("Last-Event-ID", &*id.to_string())];
            server.send("GET", "/api/events", &headers, b"")
        };
        for old in [1, 3, 6, 99, (u64::from(lineage) - 1) << 40 | 3] {
            let answer = listen(old);
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{old}: {}", answer.body);
        }
        for (path, cursor) in lists.iter().zip(&before) {
            let answer = server.get(&format!("{path}&cursor={cursor}"));
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{}", answer.body);
        }
        // All of it is told again, under names that are valid now.
        let first = u64::from(lineage) << 40;
        let mut listener = EventClient::to(&server, "", Some(0));
        assert_eq!(listener.begin(), first);
        let told: Vec<_> = listener.changes(6).iter().map(|event| event.id).collect();
        assert_eq!(told, (first + 1..=first + 6).collect::<Vec<_>>());
        let mut again = EventClient::to(&server, "", Some(told[3]));
        assert_eq!(again.begin(), told[3]);
        assert_eq!(again.changes(1)[0].id, told[4]);
        let beyond = listen(first + 7);
        beyond.assert_problem(400);
        assert!(beyond.body.contains("none that was given"), "{}", beyond.body);
        for path in lists {
            let next = cursor(&server, path);
            assert_eq!(server.get(&format!("{path}&cursor={next}")).status, 200);
        }
    }
}

/// The same cursor of another version, as a program that knows that version would write it.
fn of_version(cursor: &str, version: u8, list: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap();
    bytes.truncate(bytes.len() - 8);
    bytes[0] = version;
    let check = Sha256::new().chain_update(&bytes).chain_update(list).finalize();
    bytes.extend_from_slice(&check[..8]);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn a_cursor_of_a_later_version_is_rejected_with_words() {
    let server = Server::start(GATEWAY);
    for number in 1..=3 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": "s", "key": "k"});
        assert_eq!(server.post(&body.to_string()).outcome(), "applied");
    }
    let path = "/api/messagestatus/reference/k?count=2";
    let given = cursor(&server, path);
    let ask = |cursor: &str| server.get(&format!("{path}&cursor={cursor}"));
    let own = of_version(&given, 1, "reference\nk");
    assert_eq!(own, given, "this test writes cursors as the server does");
    assert_eq!(ask(&own).status, 200);
    for later in [2, 3, 255] {
        let answer = ask(&of_version(&given, later, "reference\nk"));
        answer.assert_problem(400);
        assert!(answer.body.contains("another version"), "{answer:?}");
    }
}
