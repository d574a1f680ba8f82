//! A large quarantine of an earlier version: the writer moves it after the start, which does not wait.

use std::fs;
use std::time::Instant;

use actix_web::rt::System;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use statusmirror::message::Timestamp;
use statusmirror::store::Store;
use statusmirror::store::sqlite::{Settings, SqliteStore};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::*;

/// How many bytes each body has.
const BODY: usize = 250_000;
/// The most bytes that the WAL may have: P10.
const WAL_BOUND: u64 = 64 << 20;

/// The body of this entry.
fn body(number: u64) -> Vec<u8> {
    let mut body = format!("{{\"number\":{number}}}").into_bytes();
    body.resize(BODY, b' ');
    body
}

/// The name of an entry, as every version computes it.
fn name(body: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for member in [b"gateway", b"POST".as_slice(), b"", b"application/json", body] {
        hash.update(u64::try_from(member.len()).unwrap().to_be_bytes());
        hash.update(member);
    }
    hash.update(0_u32.to_be_bytes());
    hash.finalize()[..16].to_vec()
}

/// Puts so many entries into the quarantine of a file of version 6, behind the one that is there.
fn fill(server: &Server, many: u64) {
    let file = Connection::open(server.database()).unwrap();
    file.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
    let insert = "INSERT INTO quarantine (id, source, entry, method, query, content_type, reason, \
        received_at, times, body) VALUES (?, 'gateway', 0, 'POST', '', 'application/json', \
        'type is missing', 1, 1, ?)";
    for number in 0..many {
        let body = body(number);
        file.execute(insert, params![name(&body), body]).unwrap();
    }
    file.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// How many entries have not been moved.
fn unmoved(server: &Server) -> u64 {
    let file = Connection::open(server.database()).unwrap();
    let select = "SELECT count(*) FROM quarantine_6";
    file.query_row(select, [], |row| row.get::<_, u32>(0)).unwrap().into()
}

fn ids(server: &Server) -> Vec<String> {
    let list = server.run(&["quarantine", "list"]);
    text(&list.stdout).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_large_old_quarantine_is_moved_after_the_start_and_can_be_used_meanwhile() {
    let chance = Chance::of("old quarantine");
    let many = times(60, 2_000, 20_000);
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    for name in ["mirror.db-wal", "mirror.db-shm"] {
        drop(fs::remove_file(server.folder.path().join(name)));
    }
    fs::write(server.database(), include_bytes!("../../fixtures/schema-6.db")).unwrap();
    fill(&server, many);
    let wal = server.folder.path().join("mirror.db-wal");
    let begun = Instant::now();
    server.start_again();
    let ready = begun.elapsed();
    let all = ids(&server);
    assert_eq!(all.len(), usize::try_from(many + 1).unwrap());
    // Each is found wherever it is: counted when it comes again, shown, read again, erased.
    let (mut kills, mut longest) = (0, 0);
    let mut round = 0;
    while unmoved(&server) > 0 && round < 1_000 {
        let number = round % many;
        let shown = || {
            let shown =
                server.run(&["quarantine", "show", &all[usize::try_from(number + 1).unwrap()]]);
            assert!(text(&shown.stdout).contains(&format!("{{\"number\":{number}}}")), "{number}");
            text(&shown.stdout).split_once("\n\n").unwrap().0.to_owned()
        };
        if round < many {
            assert!(shown().contains("assumed"), "{number}");
        }
        // A repeat says whether the URL is covered.
        let again = String::from_utf8(body(number)).unwrap();
        assert_eq!(server.post(&again).outcome(), "quarantined");
        assert!(shown().contains("url:          covered"), "{number}");
        assert_eq!(server.post(&webhook(&id(round + 10), "SENT", 1).to_string()).status, 200);
        longest = longest.max(fs::metadata(&wal).unwrap().len());
        if kills < times(2, 10, 10) {
            server.kill();
            server.start_again();
            kills += 1;
        }
        round += 1;
    }
    eventually_moved(&server);
    assert!(longest < WAL_BOUND, "{longest}");
    assert_eq!(ids(&server), all);
    assert_eq!(server.terminate(), Some(0));
    let file = Connection::open(server.database()).unwrap();
    let sum = "SELECT (SELECT count(*) FROM raw_payload), (SELECT sum(length(bytes)) FROM raw_payload), \
        entries, bytes, (SELECT count(*) FROM pragma_foreign_key_check) FROM quarantine_usage";
    let (payloads, length, entries, counted, broken) = file
        .query_row(sum, [], |row| {
            let number =
                |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap());
            Ok((number(0)?, number(1)?, number(2)?, number(3)?, number(4)?))
        })
        .unwrap();
    assert_eq!((payloads, entries, broken), (many + 1, many + 1, 0));
    assert!(counted > length && counted < length + (many + 1) * 512, "{counted} of {length}");
    let places = "SELECT count(*) FROM quarantine WHERE q = rowid AND q BETWEEN 1 AND ?";
    let last = i64::try_from(many + 1).unwrap();
    let kept: u32 = file.query_row(places, [last], |row| row.get(0)).unwrap();
    assert_eq!(u64::from(kept), many + 1);
    let ready = u64::try_from(ready.as_millis()).unwrap();
    let figures = [
        ("MiB of old quarantine", (many * 250_000) >> 20),
        ("ms until ready", ready),
        ("kills while it was moved", kills),
        ("MiB of WAL", longest >> 20),
    ];
    report("P13", &chance, &figures, begun);
}

/// Waits for as long as it goes on.
fn eventually_moved(server: &Server) {
    let mut left = unmoved(server);
    while left > 0 {
        let before = left;
        eventually(|| (unmoved(server) < before).then_some(()));
        left = unmoved(server);
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
            server.start_again();
            eventually_moved(&server);
            assert_eq!(server.terminate(), Some(0));
        }
        let before = ids(&server);
        assert_eq!(before.len(), 3);
        let (store, closing) = SqliteStore::open(&Settings::new(server.database())).unwrap();
        let end_of_time = Timestamp::from_micros(4_000_000_000_000_000).unwrap();
        let removed = System::new().block_on(store.prune(end_of_time)).unwrap();
        assert_eq!(removed.quarantined, 3);
        drop(store);
        assert!(closing.close());
        assert!(ids(&server).is_empty());
        let file = Connection::open(server.database()).unwrap();
        let left = "SELECT (SELECT count(*) FROM raw_payload) + (SELECT count(*) FROM quarantine_6) \
            + (SELECT sum(entries) + sum(bytes) FROM quarantine_usage)";
        assert_eq!(file.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
}
