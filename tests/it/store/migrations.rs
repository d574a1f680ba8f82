//! Migrations of files of earlier versions. Each schema that was ever released is in `tests/fixtures`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::system_calls::run_killed_at;
use crate::support::*;

/// Every earlier version, with the same contents.
const EARLIER: [(i64, &[u8]); 7] = [
    (1, include_bytes!("../../fixtures/schema-1.db")),
    (2, include_bytes!("../../fixtures/schema-2.db")),
    (3, include_bytes!("../../fixtures/schema-3.db")),
    (4, include_bytes!("../../fixtures/schema-4.db")),
    (5, include_bytes!("../../fixtures/schema-5.db")),
    (6, include_bytes!("../../fixtures/schema-6.db")),
    (7, include_bytes!("../../fixtures/schema-7.db")),
];
/// The present version, and a file of it: the next version will have to migrate it.
const PRESENT: i64 = 8;
const PRESENT_FILE: &[u8] = include_bytes!("../../fixtures/schema-8.db");

/// The tables and indexes, each as it was made, without comments and blanks: a migration adds a column without
/// them.
fn schema(path: &Path) -> Vec<(String, Option<String>)> {
    let bare = |sql: String| -> String {
        let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(sql, _)| sql));
        lines.flat_map(str::chars).filter(|character| !character.is_whitespace()).collect()
    };
    let file = Connection::open(path).unwrap();
    let mut select =
        file.prepare("SELECT name, sql FROM sqlite_schema ORDER BY type, name").unwrap();
    let rows =
        select.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.map(bare))));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn version(path: &Path) -> i64 {
    let file = Connection::open(path).unwrap();
    file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// How many messages are in the sums of the hours.
fn counted(path: &Path) -> i64 {
    let file = Connection::open(path).unwrap();
    file.query_row("SELECT total(messages) FROM hourly WHERE kind < 6", [], |row| row.get(0))
        .map(|total: f64| total.to_string().parse().unwrap())
        .unwrap()
}

/// How many records there are.
fn records(path: &Path) -> i64 {
    let file = Connection::open(path).unwrap();
    let select = "SELECT count(*) FROM message WHERE status IS NOT NULL";
    file.query_row(select, [], |row| row.get(0)).unwrap()
}

/// A server that is not running, with an empty database.
fn stopped() -> Server {
    let mut server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    assert_eq!(server.terminate(), Some(0));
    server
}

fn put(server: &Server, file: &[u8]) {
    let kept = EARLIER.map(|(version, _)| format!("mirror.db.version-{version}"));
    for name in kept.iter().map(String::as_str).chain(["mirror.db-wal", "mirror.db-shm"]) {
        drop(fs::remove_file(server.folder.path().join(name)));
    }
    fs::write(server.database(), file).unwrap();
}

/// Asks for what is in every earlier file.
fn assert_all_is_there(server: &Server) {
    let shown = server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).json();
    assert_eq!(shown["message"]["status"], "DELIVERED");
    assert_eq!(shown["message"]["reference"]["key"], "order-7");
    assert_eq!(server.history(EXAMPLE_ID).len(), 3);
    assert_eq!(server.history(&id(1))[0]["outcome"], "invalid");
    let number = server.get("/api/messagestatus/phonenumber/+393331234567").json();
    assert_eq!(number["messages"].as_array().unwrap().len(), 2);
    let foreign = "/api/messagestatus/provider/twilio/SM1342fe1b2c904d1ab04f0fc7a58abca9";
    assert_eq!(server.get(foreign).json()["messages"].as_array().unwrap().len(), 1);
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
    let list = server.run(&["quarantine", "list"]);
    assert!(text(&list.stdout).contains("unknown word `LOST`"), "{list:?}");
}

#[test]
fn a_file_of_an_earlier_version_is_migrated_and_a_copy_of_it_kept() {
    let mut server = stopped();
    let fresh = schema(&server.database());
    for (earlier, file) in EARLIER {
        put(&server, file);
        server.start_again();
        assert_all_is_there(&server);
        assert_eq!(server.terminate(), Some(0));
        assert_eq!(version(&server.database()), PRESENT);
        assert_eq!(schema(&server.database()), fresh);
        assert_eq!(counted(&server.database()), records(&server.database()), "by the hour");
        let kept = server.folder.path().join(format!("mirror.db.version-{earlier}"));
        assert_eq!(version(&kept), earlier);
    }
}

#[test]
fn the_schema_equals_the_fixture_of_its_version() {
    let mut server = stopped();
    let fresh = schema(&server.database());
    put(&server, PRESENT_FILE);
    assert_eq!(version(&server.database()), PRESENT);
    assert!(schema(&server.database()) == fresh, "a changed schema needs another version");
    server.start_again();
    assert_all_is_there(&server);
    assert!(!server.folder.path().join(format!("mirror.db.version-{PRESENT}")).exists());
}

#[test]
fn hourly_counts_include_records_that_are_only_in_the_log() {
    let mut server = Server::start(GATEWAY);
    for number in 0..20_u64 {
        let status = if number % 3 == 0 { "UNDELIVERED" } else { "DELIVERED" };
        server.post(&webhook(&id(number), status, 7).to_string());
    }
    // So that nothing is in its table yet.
    server.kill();
    let sums = |server: &Server| {
        let file = Connection::open(server.database()).unwrap();
        let mut select = file.prepare("SELECT * FROM hourly ORDER BY kind").unwrap();
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?));
        let rows = select.query_map([], row).unwrap().map(Result::unwrap);
        rows.collect::<Vec<(i64, i64, String, i64)>>()
    };
    let before = sums(&server);
    assert_eq!(before.len(), 3, "{before:?}");
    // As the migration leaves it.
    let file = Connection::open(server.database()).unwrap();
    file.execute_batch("DELETE FROM hourly; UPDATE progress SET summed = 0").unwrap();
    drop(file);
    server.start_again();
    assert_eq!(sums(&server), before);
    // They are made once.
    server.post(&webhook(&id(99), "DELIVERED", 7).to_string());
    server.kill();
    server.start_again();
    assert_eq!(counted(&server.database()), 21);
}

#[test]
fn the_rarest_codes_of_an_hour_become_other() {
    let mut server = stopped();
    let (_, version_6) = EARLIER[5];
    put(&server, version_6);
    let file = Connection::open(server.database()).unwrap();
    let mut insert = file.prepare("INSERT INTO hourly VALUES (?, 0, ?, ?, ?)").unwrap();
    for (hour, codes) in [(1, 200), (2, 300)] {
        for code in 1..=codes {
            // Rejected and undelivered take their turns; the codes of great numbers are frequent.
            insert.execute((hour, 2 + code % 2, format!("code {code}"), code)).unwrap();
        }
    }
    drop(insert);
    drop(file);
    let before = counted(&server.database());
    server.start_again();
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(counted(&server.database()), before);
    let file = Connection::open(server.database()).unwrap();
    let codes = |hour: i64| -> (i64, i64) {
        let select =
            "SELECT count(*), min(messages) FROM hourly WHERE hour = ? AND detail <> 'other'";
        file.query_row(select, [hour], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(codes(1), (200, 1));
    assert_eq!(codes(2), (200, 101));
    let select = "SELECT sum(messages) FROM hourly WHERE hour = 2 AND detail = 'other'";
    let others: i64 = file.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(others, (1..=100).sum::<i64>());
}

#[test]
fn a_kill_at_any_system_call_of_a_migration_leaves_the_old_version_or_the_new() {
    if !is_installed("strace") {
        return;
    }
    let chance = Chance::of("migration");
    let since = Instant::now();
    let every = usize::try_from(times(3, 1, 1)).unwrap();
    let mut server = stopped();
    let (mut kills, mut old) = (0, 0);
    for (earlier, file) in EARLIER {
        // One kind at a time, because each kind is counted by itself.
        for kind in ["pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate"] {
            for call in (1..).step_by(every) {
                put(&server, file);
                // A command that opens the database, migrates it and ends.
                let killed = run_killed_at(&server, kind, call, &["quarantine", "list"]);
                let left = version(&server.database());
                if killed.status.success() {
                    assert_eq!(left, PRESENT);
                    break;
                }
                assert!(left == earlier || left == PRESENT, "{kind} {call}: {left}");
                old += u64::from(left == earlier);
                kills += 1;
                server.start_again();
                assert_all_is_there(&server);
                assert_eq!(server.terminate(), Some(0));
            }
        }
    }
    assert!(kills > 5 && old > 0 && old < kills, "{kills} kills, {old} before the change");
    let figures = [("kills", kills), ("old version left", old), ("new version left", kills - old)];
    report("P12", &chance, &figures, since);
}
