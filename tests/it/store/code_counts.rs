//! Hourly counts of error codes: at most 200 codes of an hour and channel have counts of their own.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use serde_json::json;

use crate::support::*;

/// How many codes of an hour and channel are counted by themselves.
const MOST: usize = 200;

/// A webhook that says that a message failed with this code.
fn failed(number: u64, code: &str, status: &str, second: u32) -> String {
    let mut webhook = webhook_on("RCS", &id(number), status, second);
    webhook["message"]["providerAcceptanceAt"] = "2026-02-12T14:00:00Z".into();
    webhook["message"]["provider"] = json!({ "code": code });
    webhook.to_string()
}

/// The counts: kind, code and messages.
fn counts(server: &Server) -> Vec<(i64, String, i64)> {
    let file = Connection::open(server.database()).unwrap();
    let select = "SELECT kind, detail, messages FROM hourly WHERE kind < 6 ORDER BY kind, detail";
    let mut select = file.prepare(select).unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn assert_valid(counts: &[(i64, String, i64)], messages: usize) {
    assert!(counts.iter().all(|(.., messages)| *messages >= 0), "{counts:?}");
    let all: i64 = counts.iter().map(|(.., messages)| messages).sum();
    assert_eq!(usize::try_from(all).unwrap(), messages);
    let by_themselves =
        counts.iter().filter(|(_, code, _)| !code.is_empty() && code != "other").count();
    assert!(by_themselves <= MOST, "{by_themselves}");
}

#[test]
fn codes_beyond_the_limit_are_counted_together_and_moved_without_loss() {
    let mut server = Server::start(GATEWAY);
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec((0..300_u64, 0..400_u64, 0..3_usize), 1_500);
    let steps = steps.new_tree(&mut runner).unwrap().current();
    let mut connection = server.connect();
    let mut known = BTreeSet::new();
    for (second, (message, code, status)) in (1..).zip(steps) {
        let status = ["UNDELIVERED", "REJECTED", "DELIVERED"][status];
        let body = failed(message, &format!("c{code}"), status, second % 3_000);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
        known.insert(message);
    }
    let before = counts(&server);
    assert_valid(&before, known.len());
    assert!(before.iter().any(|(_, code, _)| code == "other"), "{before:?}");
    // Every message goes where it was counted neither before: nothing may be left in a code's count.
    for message in 0..300 {
        let body = failed(message, "c1", "READ", 3_001);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
        known.insert(message);
    }
    let moved = counts(&server);
    assert_valid(&moved, known.len());
    assert!(moved.iter().all(|(kind, _, messages)| *kind == 5 || *messages == 0), "{moved:?}");
    // Made anew, as after a migration.
    for message in 300..800 {
        let body = failed(message, &format!("d{}", message % 250), "REJECTED", 1);
        assert_eq!(connection.send("POST", &webhook_path(""), JSON, body.as_bytes()).status, 200);
    }
    assert_valid(&counts(&server), known.len() + 500);
    server.kill();
    let file = Connection::open(server.database()).unwrap();
    file.execute_batch("DELETE FROM hourly; UPDATE progress SET summed = 0").unwrap();
    drop(file);
    server.start_again();
    let rebuilt = counts(&server);
    assert_valid(&rebuilt, known.len() + 500);
    let other = rebuilt.iter().find(|(_, code, _)| code == "other").map(|(.., messages)| *messages);
    assert_eq!(other, Some(100), "{rebuilt:?}");
}
