//! Kills lose nothing acknowledged, and one process at a time has the file.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::json;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// How often the server is killed while a simulation runs.
const KILLS: u64 = 20;
/// How many connections post at a time.
const POSTING: u64 = 4;

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let mut chance = Chance::of("kill -9");
    let since = Instant::now();
    let kills = times(20, 1_000, 10_000);
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start(GATEWAY);
    for _ in 0..kills {
        let enough = 1 + chance.below(100);
        deliveries.post(&server, POSTING, enough, || server.signal("-KILL"));
        assert_eq!(server.wait(), None, "it was killed");
        server.start_again();
        deliveries.check(&server);
    }
    let database = server.database();
    deliveries.check_all(&mut server, &database);
    let figures = [("kills", kills), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P1, P3", &chance, &figures, since);
}

#[test]
fn a_simulation_finds_no_difference_although_the_server_is_killed() {
    let mut server = Server::start(GATEWAY);
    // The simulation must find it again.
    let port = free_port(20_000);
    server.terminate();
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")))
        .unwrap();
    server.start_again();
    let mut kills = 0;
    while kills < KILLS {
        server.kill();
        let mut simulation = Command::new(PROGRAM)
            .arg("--config")
            .arg(server.config())
            .args(["simulate", "--messages", "2000", "--api-key-env", "SIMULATION_KEY"])
            .env("SIMULATION_KEY", KEY)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It looks for the server already, which is not there.
        let mut output = BufReader::new(simulation.stdout.take().unwrap());
        let mut report = String::new();
        output.read_line(&mut report).unwrap();
        server.start_again();
        kills += 1;
        while simulation.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(100));
            server.kill();
            server.start_again();
            kills += 1;
        }
        output.read_to_string(&mut report).unwrap();
        let status = simulation.wait().unwrap();
        assert!(status.success() && report.contains("\n0 differences"), "{report}");
    }
}

#[test]
fn the_wal_stays_bounded_under_load() {
    const LONGEST: u64 = 64 << 20;
    const MESSAGES: u64 = 20_000;
    /// So many webhooks write at least 96 MiB of texts. All of them are in the WAL once, so that one which
    /// is never restarted gets longer than it may, however fast the machine is.
    const ENOUGH: u64 = (LONGEST + LONGEST / 2) / (4 * LONG + 2 * SHORT);
    const LONG: u64 = 1_000;
    const SHORT: u64 = 500;
    let chance = Chance::of("WAL");
    let since = Instant::now();
    let time = Duration::from_secs(times(0, 20, 600));
    let server = Server::start(GATEWAY);
    let wal = server.folder.path().join("mirror.db-wal");
    let (next, posting, stored) = (AtomicU64::new(1), AtomicU64::new(16), AtomicU64::new(0));
    let [long, short] = [LONG, SHORT].map(|length| "a".repeat(usize::try_from(length).unwrap()));
    let post = || {
        let mut connection = server.connect();
        while stored.load(Ordering::Relaxed) < ENOUGH || since.elapsed() < time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut body = webhook(&id(number * 7_919 % MESSAGES), "SENT", 1);
            body["message"]["provider"] =
                json!({"name": long, "status": long, "code": long, "message": long});
            let about = format!("&key={number}&service={short}&action={short}");
            let path =
                webhook_path(&format!("&destination=%2B3933312345{:02}{about}", number % 50));
            let answer = connection.send("POST", &path, JSON, body.to_string().as_bytes());
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            stored.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
        }
        posting.fetch_sub(1, Ordering::Relaxed);
    };
    // Lists and histories, in the large sizes without a pause.
    let pause = Duration::from_millis(times(20, 0, 0));
    let read = |number: u64| {
        let mut connection = server.connect();
        while posting.load(Ordering::Relaxed) > 0 {
            let message = id(next.load(Ordering::Relaxed) * (number + 1) % MESSAGES);
            for path in [
                format!("/api/messagestatus/{message}/history"),
                format!("/api/messagestatus/phonenumber/+3933312345{number:02}?count=5"),
            ] {
                let answer = connection.send("GET", &path, &[("X-Api-Key", KEY)], b"");
                assert!([200, 404].contains(&answer.status), "{answer:?}");
            }
            thread::sleep(pause);
        }
    };
    let mut longest = 0;
    thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(post);
            if number % 8 == 0 {
                scope.spawn(move || read(number));
            }
        }
        while posting.load(Ordering::Relaxed) > 0 {
            longest = longest.max(fs::metadata(&wal).unwrap().len());
            assert!(longest <= LONGEST, "{longest} bytes");
            thread::sleep(Duration::from_millis(5));
        }
    });
    let stored = stored.into_inner();
    report("P10", &chance, &[("webhooks", stored), ("MiB of WAL at most", longest >> 20)], since);
}

#[test]
fn a_read_without_end_lets_the_wal_grow_and_blocks_nothing() {
    const LONG: u64 = 56 << 20;
    let server = Server::start(GATEWAY);
    let wal = || fs::metadata(server.folder.path().join("mirror.db-wal")).unwrap().len();
    // Of another process, because the server's own queries are ended after two seconds.
    let other = Connection::open(server.database()).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM message").unwrap();
    let mut connection = server.connect();
    let mut post = |number: u64| {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] = json!({"name": "a", "message": "a".repeat(120_000)});
        let answer = connection.send("POST", &webhook_path(""), JSON, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let mut number = 0;
    while wal() < LONG {
        number += 1;
        post(number);
    }
    assert!(server.log().contains("the WAL grows"), "{}", server.log());
    other.execute_batch("COMMIT").unwrap();
    // Some pages later it is tried again.
    let before = number;
    while wal() >= LONG {
        number += 1;
        post(number);
        assert!(number < before + 100, "it is not cut");
    }
    assert_eq!(server.history(&id(1)).len(), 1);
}

#[test]
fn a_second_process_is_rejected_at_once_or_waits_for_the_first() {
    let mut server = Server::start(GATEWAY);
    let second = server.run(&["serve"]);
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.contains("another process holds") && words.contains("--lock-wait"), "{words}");
    let (mut waiting, log) = server.begin_successor();
    assert_eq!(server.terminate(), Some(0));
    let patience = Instant::now();
    while listening(&fs::read_to_string(&log).unwrap()).is_none() {
        assert!(patience.elapsed() < Duration::from_secs(30), "the successor does not serve");
        thread::sleep(Duration::from_millis(10));
    }
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn a_foreign_or_newer_file_is_rejected_and_unchanged() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let wal = server.folder.path().join("mirror.db-wal");
    let refused = |words: &str| {
        let files = || (fs::read(server.database()).unwrap(), fs::read(&wal).ok());
        let before = files();
        let started = server.run(&["serve"]);
        let told = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(65), "{told}");
        assert!(told.contains(words), "{told}");
        assert!(files() == before, "{words}");
    };
    // Each with a WAL that a crash has left.
    let left = |change: &str| {
        let file = Connection::open(server.database()).unwrap();
        file.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        file.execute_batch(change).unwrap();
        drop(file);
        assert!(fs::metadata(&wal).unwrap().len() > 0);
    };
    left("PRAGMA user_version = 99");
    refused("schema version 99");
    fs::remove_file(server.database()).unwrap();
    fs::remove_file(&wal).unwrap();
    left("PRAGMA journal_mode = WAL; CREATE TABLE other (x)");
    refused("not a database of statusmirror");
    fs::remove_file(&wal).unwrap();
    fs::write(server.database(), "a letter to my grandmother, which is no database").unwrap();
    refused("not a database of statusmirror");
}

#[test]
fn a_database_may_have_a_long_path() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("d".repeat(120)).join("mirror.db");
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    server.post("{").assert_problem(400);
    let mut list = Command::new(PROGRAM);
    list.arg("--config").arg(server.config()).args(["quarantine", "list"]);
    list.env("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()));
    let listed = list.output().unwrap();
    assert!(listed.status.success() && !listed.stdout.is_empty(), "{listed:?}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(GATEWAY);
    for name in ["mirror.db", "mirror.db-wal", "mirror.db.lock", "mirror.db.sock"] {
        let mode = fs::metadata(server.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
