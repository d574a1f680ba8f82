//! Files that are damaged, or removed under a running server.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::support::backups::backup_files;
use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::fault_disk::FaultyDisk;
use crate::support::*;

/// Length of a page of the database in bytes.
const PAGE: usize = 4_096;

fn wal(server: &Server) -> std::path::PathBuf {
    server.folder.path().join("mirror.db-wal")
}

/// Server with records and a quarantined entry.
fn filled() -> Server {
    let server = Server::start(GATEWAY);
    for number in 1..=60 {
        let path = webhook_path(&format!("&destination=%2B3933312345{number:02}&key=k{number}"));
        let body = webhook(&id(number), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).status, 200);
    }
    assert_eq!(server.post(&webhook(&id(1), "LOST", 1).to_string()).outcome(), "quarantined");
    server
}

#[test]
fn a_damaged_file_is_rejected_and_unchanged() {
    let mut rng = SeededRng::for_test("damage");
    let since = Instant::now();
    let rounds = repetitions(8, 60, 600);
    let mut server = filled();
    assert_eq!(server.terminate(), Some(0));
    let sound = fs::read(server.database()).unwrap();
    let pages = u64::try_from(sound.len() / PAGE).unwrap();
    assert!(pages > 10, "{pages}");
    for round in 0..rounds {
        let mut damaged = sound.clone();
        if round % 4 == 3 {
            let kept = usize::try_from(1 + rng.below(pages - 1)).unwrap();
            damaged.truncate(kept * PAGE);
        } else {
            let page = usize::try_from(rng.below(pages)).unwrap();
            let byte = u8::try_from(rng.below(256)).unwrap();
            damaged[page * PAGE..][..PAGE].fill(byte);
        }
        fs::write(server.database(), &damaged).unwrap();
        if damaged == sound {
            continue;
        }
        let started = server.run(&["serve"]);
        assert_eq!(started.status.code(), Some(65), "{started:?}");
        let stderr = text(&started.stderr);
        assert!(stderr.contains("is damaged") || stderr.contains("is not a database"), "{stderr}");
        assert!(!stderr.contains("serving"), "{stderr}");
        assert!(fs::read(server.database()).unwrap() == damaged, "round {round}");
        assert!(server.run(&["check"]).status.code() == Some(65));
    }
    fs::write(server.database(), &sound).unwrap();
    server.restart();
    assert_eq!(server.history(&id(60)).len(), 1);
    report("P7", &rng, &[("damaged files", rounds), ("accepted", 0)], since);
}

#[test]
fn a_wal_without_its_database_is_kept() {
    let mut server = filled();
    server.kill();
    let kept = fs::read(wal(&server)).unwrap();
    assert!(!kept.is_empty());
    let elsewhere = server.folder.path().join("elsewhere");
    fs::rename(server.database(), &elsewhere).unwrap();
    let started = server.run(&["serve"]);
    assert_eq!(started.status.code(), Some(65), "{started:?}");
    assert!(
        text(&started.stderr).contains("the file is missing or empty, but its -wal file exists"),
        "{started:?}"
    );
    assert!(fs::read(wal(&server)).unwrap() == kept);
    fs::rename(&elsewhere, server.database()).unwrap();
    server.restart();
    assert_eq!(server.history(&id(60)).len(), 1);
}

#[test]
fn a_removed_or_replaced_file_stops_the_server_without_another_200() {
    let rng = SeededRng::for_test("removed files");
    let since = Instant::now();
    let mut late = 0;
    let remove = |path: &std::path::Path| fs::remove_file(path).unwrap();
    let replace = |path: &std::path::Path| {
        let copy = path.with_extension("copy");
        fs::copy(path, &copy).unwrap();
        fs::rename(&copy, path).unwrap();
    };
    for change in [remove, replace] {
        for name in ["mirror.db", "mirror.db-wal", "mirror.db.lock"] {
            let mut server = filled();
            change(&server.folder.path().join(name));
            server.post(&webhook(&id(100), "SENT", 1).to_string()).assert_problem(503);
            let since = Instant::now();
            assert_eq!(server.wait(), Some(74));
            late += u64::from(since.elapsed() > Duration::from_secs(1));
            assert!(server.log().contains("removed or replaced"), "{}", server.log());
        }
    }
    let figures = [("files", 6), ("acknowledged afterwards", 0), ("ends later than 1 s", late)];
    report("P8", &rng, &figures, since);
}

#[test]
fn damage_found_after_the_start_stops_the_server() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    let mut connection = server.connect();
    for number in 1..=400 {
        let path = webhook_path(&format!("&key={number}&action={}", "a".repeat(500)));
        let body = webhook(&id(number), "SENT", 1).to_string();
        assert_eq!(connection.send("POST", &path, JSON, body.as_bytes()).status, 200);
    }
    assert_eq!(server.terminate(), Some(0));
    disk.set_fault("slow-read");
    // Rewritten, so that the start does not find a clean shutdown and checks the file.
    fs::write(server.database(), fs::read(server.database()).unwrap()).unwrap();
    server.restart();
    let wait_for_log = |message: &str| {
        let since = Instant::now();
        while !server.log().contains(message) {
            assert!(since.elapsed() < Duration::from_mins(1), "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for_log("the database check continues");
    disk.clear_fault();
    wait_for_log("the database is sound");
    assert_eq!(server.terminate(), Some(0));
    // A history lacks a notification. SQLite's check does not find that, the check in the background does.
    let db = Connection::open(server.database()).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
    db.execute_batch("DELETE FROM notification WHERE seq = 399; VACUUM").unwrap();
    drop(db);
    disk.set_fault("slow-read");
    server.restart();
    disk.clear_fault();
    assert_eq!(server.wait(), Some(65));
    assert!(server.log().contains("do not match their indexes or histories"), "{}", server.log());
}

#[test]
fn check_counts_the_rows_and_reports_a_sound_file() {
    let mut server = filled();
    let live = server.run(&["check"]);
    assert!(live.status.success(), "{live:?}");
    let summary = text(&live.stdout).to_owned();
    for line in ["records:     60  sha256 ", "history:     60  sha256 ", "quarantine:  1  sha256 "]
    {
        assert!(summary.contains(line), "{summary}");
    }
    assert!(summary.ends_with("\nsound\n"), "{summary}");
    assert_eq!(backup_files(server.folder.path()), Vec::<String>::new());
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(text(&server.run(&["check"]).stdout), summary, "the server is stopped");
    server.restart();
    assert_eq!(server.post(&webhook(&id(1), "DELIVERED", 2).to_string()).outcome(), "applied");
    assert_ne!(text(&server.run(&["check"]).stdout), summary);
    let missing = Command::new(PROGRAM).args(["check", "/nowhere/mirror.db"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(66), "{missing:?}");
}
