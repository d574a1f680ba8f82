//! Quarantine: bounded in rows, bytes and WAL. A raw payload is stored once, and a replay uses only a
//! verified URL.

use std::fs;
use std::sync::Arc;

use actix_web::rt::System;
use rusqlite::Connection;
use statusmirror::message::{Outcome, Status};
use statusmirror::payload::RawPayload;
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, Store, StoredEntry};
use tempfile::TempDir;

use crate::support::store::deliveries::{entry, with_message};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

/// Maximum length of the WAL in bytes: P10 in `docs/reliability.md`.
const WAL_BOUND: u64 = 64 << 20;

/// Store with at most this many rows and bytes in quarantine.
fn open(rows: u64, bytes: u64) -> (Arc<dyn Store>, Closing, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, closing) = SqliteStore::open(&Settings {
        quarantine_max_rows: rows,
        quarantine_max_bytes: bytes,
        ..Settings::new(folder.path().join("mirror.db"))
    })
    .unwrap();
    (Arc::new(store), closing, folder)
}

/// Delivery of unreadable entries, with a body of `bytes` times the byte `fill`.
fn unreadable(source: &str, fill: u8, entries: u32, bytes: usize) -> Delivery {
    Delivery {
        source: source.to_owned(),
        received_at: at(1),
        content: Some(RawPayload {
            method: "POST".to_owned(),
            query: String::new(),
            content_type: None,
            body: vec![fill; bytes],
        }),
        url_covered: false,
        entries: (0..entries)
            .map(|index| Entry::Unreadable { index, reason: "a test".to_owned() })
            .collect(),
        replay_of: None,
    }
}

fn count(folder: &TempDir, table: &str) -> i64 {
    let db = Connection::open(folder.path().join("mirror.db")).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Number of entries that were quarantined.
fn quarantined(stored: &[StoredEntry]) -> usize {
    stored.iter().filter(|stored| matches!(stored, StoredEntry::Quarantined { .. })).count()
}

#[test]
fn a_raw_payload_is_stored_once_and_goes_with_its_last_entry() {
    let (store, _closing, folder) = open(100_000, 1 << 30);
    let wal = folder.path().join("mirror.db-wal");
    System::new().block_on(async {
        let mut longest = 0;
        for number in 0..8 {
            let stored = store.ingest(unreadable("batch", number, 100, 250_000)).await.unwrap();
            assert_eq!(quarantined(&stored), 100);
            longest = longest.max(fs::metadata(&wal).unwrap().len());
        }
        assert!(longest < WAL_BOUND / 8, "{longest}");
        assert_eq!((count(&folder, "quarantine"), count(&folder, "raw_payload")), (800, 8));
        let before = store.stats().await.unwrap();
        assert!((2_000_000..2_300_000).contains(&before.quarantined_bytes), "{before:?}");
        assert_eq!(before.quarantined, 800);
        let rows = store.quarantine(0, 1_000).await.unwrap();
        let quarantined_entry = store.quarantined(rows[150].id).await.unwrap().unwrap();
        assert_eq!(
            (quarantined_entry.entry, quarantined_entry.content.body),
            (50, vec![1; 250_000])
        );
        // Replays read all entries of the first delivery but the last.
        for row in &rows[..99] {
            let message = id(1).parse().unwrap();
            let notification = with_message(message, &notification(statement(Status::Sent, None)));
            let replay = Delivery {
                entries: vec![entry(row.entry, notification)],
                replay_of: Some(row.id),
                ..unreadable("batch", 0, 0, 250_000)
            };
            store.ingest(replay).await.unwrap();
        }
        assert_eq!((count(&folder, "quarantine"), count(&folder, "raw_payload")), (701, 8));
        store.prune(at(2)).await.unwrap();
        assert_eq!((count(&folder, "quarantine"), count(&folder, "raw_payload")), (0, 0));
        let after = store.stats().await.unwrap();
        assert_eq!((after.quarantined, after.quarantined_bytes), (0, 0));
    });
}

#[test]
fn one_source_has_at_most_half_of_the_rows_and_of_the_bytes() {
    let (store, closing, folder) = open(10, 1 << 30);
    System::new().block_on(async {
        assert_eq!(quarantined(&store.ingest(unreadable("one", 1, 7, 10)).await.unwrap()), 5);
        assert_eq!(quarantined(&store.ingest(unreadable("other", 1, 7, 10)).await.unwrap()), 5);
        assert_eq!(quarantined(&store.ingest(unreadable("third", 1, 1, 10)).await.unwrap()), 0);
    });
    drop(store);
    assert!(closing.close());
    // The limits hold after a restart, and for bytes.
    let settings = Settings {
        quarantine_max_rows: 1_000,
        quarantine_max_bytes: 100_000,
        ..Settings::new(folder.path().join("mirror.db"))
    };
    let (store, _closing) = SqliteStore::open(&settings).unwrap();
    System::new().block_on(async {
        let stats = store.stats().await.unwrap();
        assert_eq!(stats.quarantined, 10);
        assert_eq!(quarantined(&store.ingest(unreadable("one", 2, 1, 40_000)).await.unwrap()), 1);
        assert_eq!(quarantined(&store.ingest(unreadable("one", 3, 1, 10_000)).await.unwrap()), 0);
        // Another entry of a stored payload needs few bytes.
        assert_eq!(quarantined(&store.ingest(unreadable("one", 2, 2, 40_000)).await.unwrap()), 2);
        assert_eq!(quarantined(&store.ingest(unreadable("other", 3, 1, 40_000)).await.unwrap()), 1);
        assert_eq!(quarantined(&store.ingest(unreadable("third", 3, 1, 40_000)).await.unwrap()), 0);
        assert!(store.stats().await.unwrap().quarantined_bytes <= 100_000);
    });
}

#[test]
fn dropped_entries_make_room_and_leave_no_tombstone() {
    let (store, closing, folder) = open(10, 1 << 30);
    let counts = |folder: &TempDir| (count(folder, "quarantine"), count(folder, "raw_payload"));
    System::new().block_on(async {
        assert_eq!(quarantined(&store.ingest(unreadable("one", 1, 3, 1_000)).await.unwrap()), 3);
        assert_eq!(quarantined(&store.ingest(unreadable("one", 2, 3, 1_000)).await.unwrap()), 2);
        let rows = store.quarantine(0, 10).await.unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        // The first payload still has an entry.
        assert_eq!(store.drop_quarantined(ids[..2].to_vec()).await.unwrap(), 2);
        assert_eq!(counts(&folder), (3, 2));
        // Entries that are gone already are not counted.
        assert_eq!(store.drop_quarantined(ids[..3].to_vec()).await.unwrap(), 1);
        assert_eq!(counts(&folder), (2, 1));
        assert_eq!(count(&folder, "erased"), 0);
        let stats = store.stats().await.unwrap();
        assert_eq!(stats.quarantined, 2);
        assert!((1_500..1_600).contains(&stats.quarantined_bytes), "{stats:?}");
        assert_eq!(quarantined(&store.ingest(unreadable("one", 1, 3, 1_000)).await.unwrap()), 3);
        assert_eq!(store.drop_quarantined(ids).await.unwrap(), 5);
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.quarantined, stats.quarantined_bytes), (0, 0));
    });
    drop(store);
    assert!(closing.close());
    assert_eq!(counts(&folder), (0, 0));
}

#[test]
fn more_entries_than_one_command_names_are_dropped() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let (store, closing) = SqliteStore::open(&Settings::new(server.database())).unwrap();
    let stored = System::new().block_on(store.ingest(unreadable("gateway", 1, 12_000, 10)));
    assert_eq!(quarantined(&stored.unwrap()), 12_000);
    drop(store);
    assert!(closing.close());
    server.restart();
    let dropped = server.run(&["quarantine", "drop", "--all", "--reason", "A TEST", "--yes"]);
    let expected = "to drop: 12000 quarantined entries\n12000  gateway  a test\n\
                    dropped: 12000 quarantined entries\n";
    assert_eq!(text(&dropped.stdout), expected, "{dropped:?}");
    assert_eq!((count(&server.folder, "quarantine"), count(&server.folder, "raw_payload")), (0, 0));
}

#[test]
fn a_full_quarantine_does_not_block_readable_entries() {
    let (store, _closing, _folder) = open(2, 1 << 30);
    let sent = |number: u64| {
        with_message(id(number).parse().unwrap(), &notification(statement(Status::Sent, None)))
    };
    System::new().block_on(async {
        assert_eq!(quarantined(&store.ingest(unreadable("one", 1, 1, 10)).await.unwrap()), 1);
        let mut mixed = unreadable("one", 2, 3, 10);
        mixed.entries.push(entry(3, sent(1)));
        let stored = store.ingest(mixed).await.unwrap();
        assert!(matches!(
            stored[..3],
            [StoredEntry::QuarantineFull, StoredEntry::QuarantineFull, StoredEntry::QuarantineFull]
        ));
        assert!(matches!(stored[3], StoredEntry::Judged { outcome: Outcome::Applied, .. }));
        let message = store.message(id(1).parse().unwrap()).await.unwrap();
        assert_eq!(message.unwrap().record.status, Status::Sent);
        // The full quarantine still counts repetitions.
        assert_eq!(quarantined(&store.ingest(unreadable("one", 1, 1, 10)).await.unwrap()), 1);
        assert_eq!(store.quarantine(0, 10).await.unwrap()[0].times, 2);
    });
}

/// Source with this scheme and a wrong dialect, which is corrected later.
fn source(scheme: &str) -> String {
    let header = if scheme == "hmac" { r#", header = "X-Signature""# } else { "" };
    format!(
        "[sources.later]\ndialect = \"gateway\"\npublic_url = \"https://t.example/webhooks/later\"\n\
         verify = {{ scheme = \"{scheme}\", secrets = [\"{TOKEN}\"]{header} }}\n"
    )
}

/// Posts a form that the wrong dialect cannot read. The URL names the example's message.
fn post(server: &Server, query: &str, number: u32) {
    let body = format!("MessageSid=SM{number}&MessageStatus=delivered");
    let path = format!("/webhooks/later?{query}messageid={EXAMPLE_ID}&destination=%2B393331234567");
    let signature = hmac_hex(TOKEN.as_bytes(), body.as_bytes());
    let headers = [FORM[0], ("X-Signature", signature.as_str())];
    server.send("POST", &path, &headers, body.as_bytes()).assert_problem(400);
}

#[test]
fn a_replay_uses_only_a_url_covered_by_verification() {
    for (before, after, query, is_url_used) in [
        ("hmac", "url-token", String::new(), false),
        ("url-token", "hmac", format!("token={TOKEN}&"), true),
        ("url-token", "url-token", format!("token={TOKEN}&"), true),
        ("hmac", "hmac", String::new(), false),
    ] {
        let mut server = Server::start(&source(before));
        post(&server, &query, 1);
        assert_eq!(server.terminate(), Some(0));
        server.configure(|config| {
            config.replace(&source(before), &source(after)).replace("\"gateway\"", "\"twilio\"")
        });
        server.restart();
        let list = server.run(&["quarantine", "list"]);
        let entry_id = text(&list.stdout).split(' ').next().unwrap().to_owned();
        let shown = server.run(&["quarantine", "show", &entry_id]);
        let line = if is_url_used { "url:          covered" } else { "url:          not covered" };
        assert!(text(&shown.stdout).contains(line), "{before}: {shown:?}");
        let replayed = server.run(&["quarantine", "replay", "--all"]);
        assert!(text(&replayed.stdout).contains("  applied"), "{replayed:?}");
        let status = server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status;
        assert_eq!(status == 200, is_url_used, "{before}, then {after}");
        let list = server.get("/api/messagestatus/phonenumber/+393331234567").json();
        assert_eq!(!list["messages"].as_array().unwrap().is_empty(), is_url_used);
    }
}
