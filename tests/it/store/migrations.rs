//! Migrations of files of earlier schema versions. `tests/fixtures` has a file of each released version.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::system_calls::run_killed_at;
use crate::support::*;

/// Earlier versions, each with a file of it. All files have the same contents.
const EARLIER: [(i64, &[u8]); 9] = [
    (1, include_bytes!("../../fixtures/schema-1.db")),
    (2, include_bytes!("../../fixtures/schema-2.db")),
    (3, include_bytes!("../../fixtures/schema-3.db")),
    (4, include_bytes!("../../fixtures/schema-4.db")),
    (5, include_bytes!("../../fixtures/schema-5.db")),
    (6, include_bytes!("../../fixtures/schema-6.db")),
    (7, include_bytes!("../../fixtures/schema-7.db")),
    (8, include_bytes!("../../fixtures/schema-8.db")),
    (9, include_bytes!("../../fixtures/schema-9.db")),
];
/// Current version, and a file of it, which the next version will have to migrate.
const CURRENT: i64 = 10;
const CURRENT_FILE: &[u8] = include_bytes!("../../fixtures/schema-10.db");

/// Name and SQL of each table and index, without comments and blanks: a column that a migration added has
/// none.
fn schema(path: &Path) -> Vec<(String, Option<String>)> {
    let bare = |sql: String| -> String {
        let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(sql, _)| sql));
        lines.flat_map(str::chars).filter(|character| !character.is_whitespace()).collect()
    };
    let db = Connection::open(path).unwrap();
    let mut select = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY type, name").unwrap();
    let rows =
        select.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.map(bare))));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn version(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// Number of messages in the hourly counts.
fn count_hourly(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT total(messages) FROM hourly WHERE kind < 6", [], |row| row.get(0))
        .map(|total: f64| total.to_string().parse().unwrap())
        .unwrap()
}

/// Number of records in the table `message`.
fn count_records(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    let select = "SELECT count(*) FROM message WHERE status IS NOT NULL";
    db.query_row(select, [], |row| row.get(0)).unwrap()
}

/// Stopped server with an empty database.
fn stopped() -> Server {
    let mut server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    assert_eq!(server.terminate(), Some(0));
    server
}

/// Replaces the database of a stopped server by this file, and removes the old WAL and copies.
fn install(server: &Server, file: &[u8]) {
    let copies = EARLIER.map(|(version, _)| format!("mirror.db.version-{version}"));
    for name in copies.iter().map(String::as_str).chain(["mirror.db-wal", "mirror.db-shm"]) {
        drop(fs::remove_file(server.folder.path().join(name)));
    }
    fs::write(server.database(), file).unwrap();
}

/// Asserts that the server answers with the contents of the fixtures.
fn assert_contents_served(server: &Server) {
    let shown = server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).json();
    assert_eq!(shown["message"]["status"], "DELIVERED");
    assert_eq!(shown["message"]["reference"]["key"], "order-7");
    assert_eq!(server.history(EXAMPLE_ID).len(), 3);
    assert_eq!(server.history(&id(1))[0]["outcome"], "invalid");
    let by_destination = server.get("/api/messagestatus/phonenumber/+393331234567").json();
    assert_eq!(by_destination["messages"].as_array().unwrap().len(), 2);
    let by_provider_id = "/api/messagestatus/provider/twilio/SM1342fe1b2c904d1ab04f0fc7a58abca9";
    assert_eq!(server.get(by_provider_id).json()["messages"].as_array().unwrap().len(), 1);
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
    let list = server.run(&["quarantine", "list"]);
    assert!(text(&list.stdout).contains("unknown word `LOST`"), "{list:?}");
}

#[test]
fn a_file_of_an_earlier_version_is_migrated_and_a_copy_of_it_kept() {
    let mut server = stopped();
    let fresh = schema(&server.database());
    for (earlier, file) in EARLIER {
        install(&server, file);
        server.restart();
        assert_contents_served(&server);
        assert_eq!(server.terminate(), Some(0));
        assert_eq!(version(&server.database()), CURRENT);
        assert_eq!(schema(&server.database()), fresh);
        assert_eq!(count_hourly(&server.database()), count_records(&server.database()));
        let copy = server.folder.path().join(format!("mirror.db.version-{earlier}"));
        assert_eq!(version(&copy), earlier);
    }
}

#[test]
fn the_schema_equals_the_fixture_of_its_version() {
    let mut server = stopped();
    let fresh = schema(&server.database());
    install(&server, CURRENT_FILE);
    assert_eq!(version(&server.database()), CURRENT);
    assert!(schema(&server.database()) == fresh, "a changed schema needs a new version");
    server.restart();
    assert_contents_served(&server);
    assert!(!server.folder.path().join(format!("mirror.db.version-{CURRENT}")).exists());
}

#[test]
fn hourly_counts_include_records_that_are_only_in_the_log() {
    let mut server = Server::start(GATEWAY);
    for number in 0..20_u64 {
        let status = if number % 3 == 0 { "UNDELIVERED" } else { "DELIVERED" };
        server.post(&webhook(&id(number), status, 7).to_string());
    }
    // After the kill, the records are only in the notification log.
    server.kill();
    let hourly_counts = |server: &Server| {
        let db = Connection::open(server.database()).unwrap();
        let mut select = db.prepare("SELECT * FROM hourly ORDER BY kind").unwrap();
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?));
        let rows = select.query_map([], row).unwrap().map(Result::unwrap);
        rows.collect::<Vec<(i64, i64, String, i64)>>()
    };
    let before = hourly_counts(&server);
    assert_eq!(before.len(), 3, "{before:?}");
    // The migration leaves the counts to be made at the start.
    let db = Connection::open(server.database()).unwrap();
    db.execute_batch("DELETE FROM hourly; UPDATE progress SET summed = 0").unwrap();
    drop(db);
    server.restart();
    assert_eq!(hourly_counts(&server), before);
    // The next start must not make them again.
    server.post(&webhook(&id(99), "DELIVERED", 7).to_string());
    server.kill();
    server.restart();
    assert_eq!(count_hourly(&server.database()), 21);
}

#[test]
fn the_rarest_codes_of_an_hour_become_other() {
    let mut server = stopped();
    let (_, version_6) = EARLIER[5];
    install(&server, version_6);
    let db = Connection::open(server.database()).unwrap();
    let mut insert = db.prepare("INSERT INTO hourly VALUES (?, 0, ?, ?, ?)").unwrap();
    for (hour, codes) in [(1, 200), (2, 300)] {
        for code in 1..=codes {
            // Rejected and undelivered alternate. The number of a code is its number of messages.
            insert.execute((hour, 2 + code % 2, format!("code {code}"), code)).unwrap();
        }
    }
    drop(insert);
    drop(db);
    let before = count_hourly(&server.database());
    server.restart();
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(count_hourly(&server.database()), before);
    let db = Connection::open(server.database()).unwrap();
    let codes = |hour: i64| -> (i64, i64) {
        let select =
            "SELECT count(*), min(messages) FROM hourly WHERE hour = ? AND detail <> 'other'";
        db.query_row(select, [hour], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(codes(1), (200, 1));
    assert_eq!(codes(2), (200, 101));
    let select = "SELECT sum(messages) FROM hourly WHERE hour = 2 AND detail = 'other'";
    let others: i64 = db.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(others, (1..=100).sum::<i64>());
}

#[test]
fn a_kill_at_any_system_call_of_a_migration_leaves_the_old_version_or_the_new() {
    if !is_installed("strace") {
        return;
    }
    let rng = SeededRng::for_test("migration");
    let since = Instant::now();
    let step = usize::try_from(repetitions(3, 1, 1)).unwrap();
    let mut server = stopped();
    let (mut kills, mut old) = (0, 0);
    for (earlier, file) in EARLIER {
        // `strace` counts each system call separately.
        for call in ["pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate"] {
            for n in (1..).step_by(step) {
                install(&server, file);
                // A command that opens the database, migrates it and ends.
                let killed = run_killed_at(&server, call, n, &["quarantine", "list"]);
                let version_left = version(&server.database());
                if killed.status.success() {
                    assert_eq!(version_left, CURRENT);
                    break;
                }
                assert!(
                    version_left == earlier || version_left == CURRENT,
                    "{call} {n}: version {version_left}"
                );
                old += u64::from(version_left == earlier);
                kills += 1;
                server.restart();
                assert_contents_served(&server);
                assert_eq!(server.terminate(), Some(0));
            }
        }
    }
    assert!(kills > 5 && old > 0 && old < kills, "{kills} kills, {old} before the change");
    let figures = [("kills", kills), ("old version left", old), ("new version left", kills - old)];
    report("P12", &rng, &figures, since);
}
