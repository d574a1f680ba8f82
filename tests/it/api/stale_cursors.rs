//! Event ids and cursors from before a restore: rejected with the reason, so that no change is skipped.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::http::event_client::EventClient;
use crate::support::http::list_page;
use crate::support::*;

/// Sets the lineage of the stopped server's database, as a restore does.
fn set_lineage(server: &Server, lineage: u32) {
    let file = Connection::open(server.database()).unwrap();
    assert_eq!(file.execute("UPDATE progress SET lineage = ?", [lineage]).unwrap(), 1);
}

/// Cursor of the next page, from the `Link` header.
fn cursor(server: &Server, path: &str) -> String {
    let next_path = list_page::next(&server.get(path)).unwrap();
    next_path.split_once("cursor=").unwrap().1.to_owned()
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
        server.restart();
        let resume_from = |id: u64| {
            let headers = [("X-Api-Key", KEY), ("Last-Event-ID", &*id.to_string())];
            server.send("GET", "/api/events", &headers, b"")
        };
        for old in [1, 3, 6, 99, (u64::from(lineage) - 1) << 40 | 3] {
            let answer = resume_from(old);
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{old}: {}", answer.body);
        }
        for (path, cursor) in lists.iter().zip(&before) {
            let answer = server.get(&format!("{path}&cursor={cursor}"));
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{}", answer.body);
        }
        // All changes are streamed again, with ids of the new lineage.
        let first = u64::from(lineage) << 40;
        let mut client = EventClient::to(&server, "", Some(0));
        assert_eq!(client.read_start(), first);
        let ids: Vec<_> = client.changes(6).iter().map(|event| event.id).collect();
        assert_eq!(ids, (first + 1..=first + 6).collect::<Vec<_>>());
        let mut resumed = EventClient::to(&server, "", Some(ids[3]));
        assert_eq!(resumed.read_start(), ids[3]);
        assert_eq!(resumed.changes(1)[0].id, ids[4]);
        let ahead = resume_from(first + 7);
        ahead.assert_problem(400);
        assert!(ahead.body.contains("is greater than the id of the last event"), "{}", ahead.body);
        for path in lists {
            let next = cursor(&server, path);
            assert_eq!(server.get(&format!("{path}&cursor={next}")).status, 200);
        }
    }
}

/// Changes the version of a cursor and its checksum, as a program of that version would write it.
fn with_version(cursor: &str, version: u8, list: &str) -> String {
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
    let current = cursor(&server, path);
    let list = |cursor: &str| server.get(&format!("{path}&cursor={cursor}"));
    let rewritten = with_version(&current, 1, "reference\nk");
    assert_eq!(rewritten, current, "this test writes cursors as the server does");
    assert_eq!(list(&rewritten).status, 200);
    for later in [2, 3, 255] {
        let answer = list(&with_version(&current, later, "reference\nk"));
        answer.assert_problem(400);
        assert!(answer.body.contains("another version"), "{answer:?}");
    }
}
