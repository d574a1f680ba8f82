//! Hourly counts of error codes: at most 200 codes per hour and channel have counts of their own.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use serde_json::json;

use crate::support::*;

/// Maximum number of codes per hour and channel that have counts of their own.
const COUNTED_CODES: usize = 200;

/// Webhook of a message with this status and provider code.
fn webhook_with_code(number: u64, code: &str, status: &str, second: u32) -> String {
    let mut webhook = webhook_on("RCS", &id(number), status, second);
    webhook["message"]["providerAcceptanceAt"] = "2026-02-12T14:00:00Z".into();
    webhook["message"]["provider"] = json!({ "code": code });
    webhook.to_string()
}

/// Hourly counts of statuses: kind, code and number of messages.
fn counts(server: &Server) -> Vec<(i64, String, i64)> {
    let db = Connection::open(server.database()).unwrap();
    let select = "SELECT kind, detail, messages FROM hourly WHERE kind < 6 ORDER BY kind, detail";
    let mut select = db.prepare(select).unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn assert_valid(counts: &[(i64, String, i64)], messages: usize) {
    assert!(counts.iter().all(|(.., messages)| *messages >= 0), "{counts:?}");
    let total: i64 = counts.iter().map(|(.., messages)| messages).sum();
    assert_eq!(usize::try_from(total).unwrap(), messages);
    let counted_codes =
        counts.iter().filter(|(_, code, _)| !code.is_empty() && code != "other").count();
    assert!(counted_codes <= COUNTED_CODES, "{counted_codes} codes");
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
        let body = webhook_with_code(message, &format!("c{code}"), status, second % 3_000);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
        known.insert(message);
    }
    let before = counts(&server);
    assert_valid(&before, known.len());
    assert!(before.iter().any(|(_, code, _)| code == "other"), "{before:?}");
    // All messages become READ, which has no codes, so every count of a code must return to 0.
    for message in 0..300 {
        let body = webhook_with_code(message, "c1", "READ", 3_001);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
        known.insert(message);
    }
    let moved = counts(&server);
    assert_valid(&moved, known.len());
    assert!(moved.iter().all(|(kind, _, messages)| *kind == 5 || *messages == 0), "{moved:?}");
    // More codes than have counts; then all counts are rebuilt, as after a migration.
    for message in 300..800 {
        let body = webhook_with_code(message, &format!("d{}", message % 250), "REJECTED", 1);
        assert_eq!(connection.send("POST", &webhook_path(""), JSON, body.as_bytes()).status, 200);
    }
    assert_valid(&counts(&server), known.len() + 500);
    server.kill();
    let db = Connection::open(server.database()).unwrap();
    db.execute_batch("DELETE FROM hourly; UPDATE progress SET summed = 0").unwrap();
    drop(db);
    server.restart();
    let rebuilt = counts(&server);
    assert_valid(&rebuilt, known.len() + 500);
    let other = rebuilt.iter().find(|(_, code, _)| code == "other").map(|(.., messages)| *messages);
    assert_eq!(other, Some(100), "{rebuilt:?}");
}
