//! Kills lose nothing acknowledged, and one process at a time uses the database.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::json;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// Minimum number of kills while simulations run.
const KILLS: u64 = 20;
/// Number of connections that post at the same time.
const CONNECTIONS: u64 = 4;

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let mut rng = SeededRng::for_test("kill -9");
    let since = Instant::now();
    let kills = repetitions(20, 1_000, 10_000);
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start(GATEWAY);
    for _ in 0..kills {
        let acknowledged = 1 + rng.below(100);
        deliveries.post(&server, CONNECTIONS, acknowledged, || server.signal("-KILL"));
        assert_eq!(server.wait(), None, "expected a kill");
        server.restart();
        deliveries.check(&server);
    }
    let database = server.database();
    deliveries.check_all(&mut server, &database);
    let figures = [("kills", kills), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P1, P3", &rng, &figures, since);
}

#[test]
fn a_simulation_finds_no_difference_although_the_server_is_killed() {
    let mut server = Server::start(GATEWAY);
    // A fixed port, at which the simulation finds the server after each kill.
    let port = free_port(20_000);
    server.terminate();
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")))
        .unwrap();
    server.restart();
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
        // The first line shows that the simulation already tries to reach the server, which does not run.
        let mut output = BufReader::new(simulation.stdout.take().unwrap());
        let mut report = String::new();
        output.read_line(&mut report).unwrap();
        server.restart();
        kills += 1;
        while simulation.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(100));
            server.kill();
            server.restart();
            kills += 1;
        }
        output.read_to_string(&mut report).unwrap();
        let status = simulation.wait().unwrap();
        assert!(status.success() && report.contains("\n0 differences"), "{report}");
    }
}

#[test]
fn the_wal_stays_bounded_under_load() {
    const WAL_BOUND: u64 = 64 << 20;
    const MESSAGES: u64 = 20_000;
    /// Number of webhooks with at least 96 MiB of texts. All texts are in the WAL once, so a WAL that is
    /// never restarted exceeds the bound on any machine.
    const WEBHOOKS: u64 = (WAL_BOUND + WAL_BOUND / 2) / (4 * LONG_TEXT + 2 * SHORT_TEXT);
    const LONG_TEXT: u64 = 1_000;
    const SHORT_TEXT: u64 = 500;
    let rng = SeededRng::for_test("WAL");
    let since = Instant::now();
    let min_time = Duration::from_secs(repetitions(0, 20, 600));
    let server = Server::start(GATEWAY);
    let wal = server.folder.path().join("mirror.db-wal");
    let (next, posting, stored) = (AtomicU64::new(1), AtomicU64::new(16), AtomicU64::new(0));
    let [long, short] =
        [LONG_TEXT, SHORT_TEXT].map(|length| "a".repeat(usize::try_from(length).unwrap()));
    let post = || {
        let mut connection = server.connect();
        while stored.load(Ordering::Relaxed) < WEBHOOKS || since.elapsed() < min_time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut body = webhook(&id(number * 7_919 % MESSAGES), "SENT", 1);
            body["message"]["provider"] =
                json!({"name": long, "status": long, "code": long, "message": long});
            let parameters = format!("&key={number}&service={short}&action={short}");
            let path =
                webhook_path(&format!("&destination=%2B3933312345{:02}{parameters}", number % 50));
            let answer = connection.send("POST", &path, JSON, body.to_string().as_bytes());
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            stored.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
        }
        posting.fetch_sub(1, Ordering::Relaxed);
    };
    // Reads lists and histories; in the large sizes without a pause.
    let pause = Duration::from_millis(repetitions(20, 0, 0));
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
    let mut max_wal = 0;
    thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(post);
            if number % 8 == 0 {
                scope.spawn(move || read(number));
            }
        }
        while posting.load(Ordering::Relaxed) > 0 {
            max_wal = max_wal.max(fs::metadata(&wal).unwrap().len());
            assert!(max_wal <= WAL_BOUND, "{max_wal} bytes");
            thread::sleep(Duration::from_millis(5));
        }
    });
    let stored = stored.into_inner();
    report("P10", &rng, &[("webhooks", stored), ("MiB of WAL at most", max_wal >> 20)], since);
}

#[test]
fn a_read_without_end_lets_the_wal_grow_and_blocks_nothing() {
    const LONG_WAL: u64 = 56 << 20;
    let server = Server::start(GATEWAY);
    let wal = || fs::metadata(server.folder.path().join("mirror.db-wal")).unwrap().len();
    // A reader outside of the server, because the server ends its own queries after two seconds.
    let reader = Connection::open(server.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM message").unwrap();
    let mut connection = server.connect();
    let mut post = |number: u64| {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] = json!({"name": "a", "message": "a".repeat(120_000)});
        let answer = connection.send("POST", &webhook_path(""), JSON, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let mut number = 0;
    while wal() < LONG_WAL {
        number += 1;
        post(number);
    }
    assert!(server.log().contains("the WAL grows"), "{}", server.log());
    reader.execute_batch("COMMIT").unwrap();
    // The server retries the restart of the WAL after some more pages.
    let before = number;
    while wal() >= LONG_WAL {
        number += 1;
        post(number);
        assert!(number < before + 100, "the WAL must be truncated");
    }
    assert_eq!(server.history(&id(1)).len(), 1);
}

#[test]
fn a_second_process_is_rejected_at_once_or_waits_for_the_first() {
    let mut server = Server::start(GATEWAY);
    let second = server.run(&["serve"]);
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("another process holds") && stderr.contains("--lock-wait"), "{stderr}");
    let (mut waiting, log) = server.start_successor();
    assert_eq!(server.terminate(), Some(0));
    let since = Instant::now();
    while listen_port(&fs::read_to_string(&log).unwrap()).is_none() {
        assert!(since.elapsed() < Duration::from_secs(30), "the successor does not serve");
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
    let assert_rejected = |error: &str| {
        let files = || (fs::read(server.database()).unwrap(), fs::read(&wal).ok());
        let before = files();
        let started = server.run(&["serve"]);
        let stderr = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(65), "{stderr}");
        assert!(stderr.contains(error), "{stderr}");
        assert!(files() == before, "{error}");
    };
    // Leaves the change in the WAL, as a crash does.
    let change_in_wal = |change: &str| {
        let db = Connection::open(server.database()).unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        db.execute_batch(change).unwrap();
        drop(db);
        assert!(fs::metadata(&wal).unwrap().len() > 0);
    };
    change_in_wal("PRAGMA user_version = 99");
    assert_rejected("schema version 99");
    fs::remove_file(server.database()).unwrap();
    fs::remove_file(&wal).unwrap();
    change_in_wal("PRAGMA journal_mode = WAL; CREATE TABLE other (x)");
    assert_rejected("not a database of statusmirror");
    fs::remove_file(&wal).unwrap();
    fs::write(server.database(), "a letter to my grandmother, which is no database").unwrap();
    assert_rejected("not a database of statusmirror");
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
