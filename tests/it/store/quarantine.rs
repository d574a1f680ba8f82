//! The quarantine: bounded in rows, bytes and WAL. Raw payloads are stored once, and a replay uses only a verified URL.

use std::fs;
use std::sync::Arc;

use actix_web::rt::System;
use rusqlite::Connection;
use statusmirror::message::{Outcome, Status};
use statusmirror::payload::RawPayload;
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, Store, StoredEntry};
use tempfile::TempDir;

use crate::support::store::deliveries::{about, entry};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

/// The most bytes that the WAL may have: P10.
const WAL_BOUND: u64 = 64 << 20;

/// A store with room for so many entries and bytes in quarantine.
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

/// A delivery of so many entries that cannot be read, with a body of so many bytes.
fn unreadable(source: &str, number: u8, entries: u32, bytes: usize) -> Delivery {
    Delivery {
        source: source.to_owned(),
        received_at: at(1),
        content: Some(RawPayload {
            method: "POST".to_owned(),
            query: String::new(),
            content_type: None,
            body: vec![number; bytes],
        }),
        url_covered: false,
        entries: (0..entries)
            .map(|index| Entry::Unreadable { index, reason: "a test".to_owned() })
            .collect(),
        replay_of: None,
    }
}

fn count(folder: &TempDir, table: &str) -> i64 {
    let file = Connection::open(folder.path().join("mirror.db")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn kept(stored: &[StoredEntry]) -> usize {
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
            assert_eq!(kept(&stored), 100);
            longest = longest.max(fs::metadata(&wal).unwrap().len());
        }
        assert!(longest < WAL_BOUND / 8, "{longest}");
        assert_eq!((count(&folder, "quarantine"), count(&folder, "raw_payload")), (800, 8));
        let before = store.stats().await.unwrap();
        assert!((2_000_000..2_300_000).contains(&before.quarantined_bytes), "{before:?}");
        assert_eq!(before.quarantined, 800);
        let rows = store.quarantine(0, 1_000).await.unwrap();
        let whole = store.quarantined(rows[150].id).await.unwrap().unwrap();
        assert_eq!((whole.entry, whole.content.body), (50, vec![1; 250_000]));
        // All of the first delivery but its last entry are understood now.
        for row in &rows[..99] {
            let said = about(id(1).parse().unwrap(), &notification(statement(Status::Sent, None)));
            let replay = Delivery {
                entries: vec![entry(row.entry, said)],
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
        assert_eq!(kept(&store.ingest(unreadable("one", 1, 7, 10)).await.unwrap()), 5);
        assert_eq!(kept(&store.ingest(unreadable("other", 1, 7, 10)).await.unwrap()), 5);
        assert_eq!(kept(&store.ingest(unreadable("third", 1, 1, 10)).await.unwrap()), 0);
    });
    drop(store);
    assert!(closing.close());
    // The same after a start, and for bytes.
    let settings = Settings {
        quarantine_max_rows: 1_000,
        quarantine_max_bytes: 100_000,
        ..Settings::new(folder.path().join("mirror.db"))
    };
    let (store, _closing) = SqliteStore::open(&settings).unwrap();
    System::new().block_on(async {
        let vitals = store.stats().await.unwrap();
        assert_eq!(vitals.quarantined, 10);
        assert_eq!(kept(&store.ingest(unreadable("one", 2, 1, 40_000)).await.unwrap()), 1);
        assert_eq!(kept(&store.ingest(unreadable("one", 3, 1, 10_000)).await.unwrap()), 0);
        // Another entry of a payload that is there needs little.
        assert_eq!(kept(&store.ingest(unreadable("one", 2, 2, 40_000)).await.unwrap()), 2);
        assert_eq!(kept(&store.ingest(unreadable("other", 3, 1, 40_000)).await.unwrap()), 1);
        assert_eq!(kept(&store.ingest(unreadable("third", 3, 1, 40_000)).await.unwrap()), 0);
        assert!(store.stats().await.unwrap().quarantined_bytes <= 100_000);
    });
}

#[test]
fn a_full_quarantine_does_not_block_readable_entries() {
    let (store, _closing, _folder) = open(2, 1 << 30);
    let said = |number: u64| {
        about(id(number).parse().unwrap(), &notification(statement(Status::Sent, None)))
    };
    System::new().block_on(async {
        assert_eq!(kept(&store.ingest(unreadable("one", 1, 1, 10)).await.unwrap()), 1);
        let mut mixed = unreadable("one", 2, 3, 10);
        mixed.entries.push(entry(3, said(1)));
        let stored = store.ingest(mixed).await.unwrap();
        assert!(matches!(
            stored[..3],
            [StoredEntry::QuarantineFull, StoredEntry::QuarantineFull, StoredEntry::QuarantineFull]
        ));
        assert!(matches!(stored[3], StoredEntry::Judged { outcome: Outcome::Applied, .. }));
        let message = store.message(id(1).parse().unwrap()).await.unwrap();
        assert_eq!(message.unwrap().record.status, Status::Sent);
        // A repeat is counted.
        assert_eq!(kept(&store.ingest(unreadable("one", 1, 1, 10)).await.unwrap()), 1);
        assert_eq!(store.quarantine(0, 10).await.unwrap()[0].times, 2);
    });
}

/// A source whose dialect is not right yet, with this scheme.
fn source(scheme: &str) -> String {
    let header = if scheme == "hmac" { r#", header = "X-Signature""# } else { "" };
    format!(
        "[sources.later]\ndialect = \"gateway\"\npublic_url = \"https://t.example/webhooks/later\"\n\
         verify = {{ scheme = \"{scheme}\", secrets = [\"{TOKEN}\"]{header} }}\n"
    )
}

/// Posts a form that the wrong dialect cannot read; the URL speaks of the example's message.
fn post(server: &Server, query: &str, number: u32) {
    let body = format!("MessageSid=SM{number}&MessageStatus=delivered");
    let path = format!("/webhooks/later?{query}messageid={EXAMPLE_ID}&destination=%2B393331234567");
    let signature = hmac_hex(TOKEN.as_bytes(), body.as_bytes());
    let headers = [FORM[0], ("X-Signature", signature.as_str())];
    server.send("POST", &path, &headers, body.as_bytes()).assert_problem(400);
}

#[test]
fn a_replay_uses_only_a_url_covered_by_verification() {
    for (before, after, query, is_believed) in [
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
        server.start_again();
        let list = server.run(&["quarantine", "list"]);
        let shown = text(&list.stdout).split(' ').next().unwrap().to_owned();
        let shown = server.run(&["quarantine", "show", &shown]);
        let words = if is_believed { "url:          covered" } else { "url:          not covered" };
        assert!(text(&shown.stdout).contains(words), "{before}: {shown:?}");
        let replayed = server.run(&["quarantine", "replay", "--all"]);
        assert!(text(&replayed.stdout).contains("  applied"), "{replayed:?}");
        let known = server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status;
        assert_eq!(known == 200, is_believed, "{before}, then {after}");
        let number = server.get("/api/messagestatus/phonenumber/+393331234567").json();
        assert_eq!(!number["messages"].as_array().unwrap().is_empty(), is_believed);
    }
}
