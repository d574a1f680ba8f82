//! Large quarantine of an earlier version: the writer moves it to the new tables after the start, which does
//! not wait.

use std::fs;
use std::time::Instant;

use actix_web::rt::System;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use statusmirror::message::Timestamp;
use statusmirror::store::Store;
use statusmirror::store::sqlite::{Settings, SqliteStore};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

/// Length of each body in bytes.
const BODY_BYTES: usize = 250_000;
/// Maximum length of the WAL in bytes: P10 in `docs/reliability.md`.
const WAL_BOUND: u64 = 64 << 20;

/// Body of the entry of this number.
fn body(number: u64) -> Vec<u8> {
    let mut body = format!("{{\"number\":{number}}}").into_bytes();
    body.resize(BODY_BYTES, b' ');
    body
}

/// Id of an entry, as every version computes it.
fn entry_id(body: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [b"gateway", b"POST".as_slice(), b"", b"application/json", body] {
        hash.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        hash.update(part);
    }
    hash.update(0_u32.to_be_bytes());
    hash.finalize()[..16].to_vec()
}

/// Adds entries to the quarantine of a file of schema version 6, after the one that it has.
fn fill(server: &Server, entries: u64) {
    let db = Connection::open(server.database()).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
    let insert = "INSERT INTO quarantine (id, source, entry, method, query, content_type, reason, \
        received_at, times, body) VALUES (?, 'gateway', 0, 'POST', '', 'application/json', \
        'type is missing', 1, 1, ?)";
    for number in 0..entries {
        let body = body(number);
        db.execute(insert, params![entry_id(&body), body]).unwrap();
    }
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Number of entries that have not been moved.
fn count_unmoved(server: &Server) -> u64 {
    let db = Connection::open(server.database()).unwrap();
    let select = "SELECT count(*) FROM quarantine_6";
    db.query_row(select, [], |row| row.get::<_, u32>(0)).unwrap().into()
}

fn entry_ids(server: &Server) -> Vec<String> {
    let list = server.run(&["quarantine", "list"]);
    text(&list.stdout).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_large_old_quarantine_is_moved_after_the_start_and_can_be_used_meanwhile() {
    let rng = SeededRng::for_test("old quarantine");
    let entries = repetitions(60, 2_000, 20_000);
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    for name in ["mirror.db-wal", "mirror.db-shm"] {
        drop(fs::remove_file(server.folder.path().join(name)));
    }
    fs::write(server.database(), include_bytes!("../../fixtures/schema-6.db")).unwrap();
    fill(&server, entries);
    let wal = server.folder.path().join("mirror.db-wal");
    let since = Instant::now();
    server.restart();
    let ready = since.elapsed();
    let ids = entry_ids(&server);
    assert_eq!(ids.len(), usize::try_from(entries + 1).unwrap());
    // Each entry, moved or not, is shown, and counted when it is repeated.
    let (mut kills, mut max_wal) = (0, 0);
    let mut round = 0;
    while count_unmoved(&server) > 0 && round < 1_000 {
        let number = round % entries;
        let shown = || {
            let shown =
                server.run(&["quarantine", "show", &ids[usize::try_from(number + 1).unwrap()]]);
            assert!(text(&shown.stdout).contains(&format!("{{\"number\":{number}}}")), "{number}");
            text(&shown.stdout).split_once("\n\n").unwrap().0.to_owned()
        };
        if round < entries {
            assert!(shown().contains("assumed"), "{number}");
        }
        // A repetition records whether verification covered the URL.
        let repetition = String::from_utf8(body(number)).unwrap();
        assert_eq!(server.post(&repetition).outcome(), "quarantined");
        assert!(shown().contains("url:          covered"), "{number}");
        assert_eq!(server.post(&webhook(&id(round + 10), "SENT", 1).to_string()).status, 200);
        max_wal = max_wal.max(fs::metadata(&wal).unwrap().len());
        if kills < repetitions(2, 10, 10) {
            server.kill();
            server.restart();
            kills += 1;
        }
        round += 1;
    }
    wait_until_moved(&server);
    assert!(max_wal < WAL_BOUND, "{max_wal} bytes");
    assert_eq!(entry_ids(&server), ids);
    assert_eq!(server.terminate(), Some(0));
    let db = Connection::open(server.database()).unwrap();
    let select = "SELECT (SELECT count(*) FROM raw_payload), (SELECT sum(length(bytes)) FROM raw_payload), \
        entries, bytes, (SELECT count(*) FROM pragma_foreign_key_check) FROM quarantine_usage";
    let (payloads, payload_bytes, counted, counted_bytes, violations) = db
        .query_row(select, [], |row| {
            let number =
                |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap());
            Ok((number(0)?, number(1)?, number(2)?, number(3)?, number(4)?))
        })
        .unwrap();
    assert_eq!((payloads, counted, violations), (entries + 1, entries + 1, 0));
    assert!(
        counted_bytes > payload_bytes && counted_bytes < payload_bytes + (entries + 1) * 512,
        "{counted_bytes} bytes counted for {payload_bytes} bytes of payloads"
    );
    let in_sequence = "SELECT count(*) FROM quarantine WHERE q = rowid AND q BETWEEN 1 AND ?";
    let last = i64::try_from(entries + 1).unwrap();
    let rows: u32 = db.query_row(in_sequence, [last], |row| row.get(0)).unwrap();
    assert_eq!(u64::from(rows), entries + 1);
    let ready = u64::try_from(ready.as_millis()).unwrap();
    let figures = [
        ("MiB of old quarantine", (entries * 250_000) >> 20),
        ("ms until ready", ready),
        ("kills while it was moved", kills),
        ("MiB of WAL", max_wal >> 20),
    ];
    report("P13", &rng, &figures, since);
}

/// Waits until all entries are moved; fails if none is moved for a while.
fn wait_until_moved(server: &Server) {
    let mut left = count_unmoved(server);
    while left > 0 {
        let before = left;
        wait_for(|| (count_unmoved(server) < before).then_some(()));
        left = count_unmoved(server);
    }
}

#[test]
fn entries_of_an_earlier_version_are_removed_before_and_after_they_were_moved() {
    for is_moved in [false, true] {
        let mut server = Server::start(GATEWAY);
        assert_eq!(server.terminate(), Some(0));
        fs::write(server.database(), include_bytes!("../../fixtures/schema-8.db")).unwrap();
        drop(fs::remove_file(server.folder.path().join("mirror.db-wal")));
        if is_moved {
            server.restart();
            wait_until_moved(&server);
            assert_eq!(server.terminate(), Some(0));
        }
        let before = entry_ids(&server);
        assert_eq!(before.len(), 3);
        let (store, closing) = SqliteStore::open(&Settings::new(server.database())).unwrap();
        let end_of_time = Timestamp::from_micros(4_000_000_000_000_000).unwrap();
        let removed = System::new().block_on(store.prune(end_of_time)).unwrap();
        assert_eq!(removed.quarantined, 3);
        drop(store);
        assert!(closing.close());
        assert!(entry_ids(&server).is_empty());
        let db = Connection::open(server.database()).unwrap();
        let rest = "SELECT (SELECT count(*) FROM raw_payload) + (SELECT count(*) FROM quarantine_6) \
            + (SELECT sum(entries) + sum(bytes) FROM quarantine_usage)";
        assert_eq!(db.query_row(rest, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
}
