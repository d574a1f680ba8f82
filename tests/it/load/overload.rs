//! Overload: too little space, time or memory is reported, loses nothing and ends by itself.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::cgroup::{LIMIT, peak_memory};
use crate::support::faults::fault_disk::{FaultyDisk, Volume};
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::raised_limit;
use crate::support::*;

/// How many connections post at a time.
const POSTING: u64 = 4;
/// How long this waits until webhooks are accepted again. 5 seconds are promised, but a busy machine must
/// not decide.
const PATIENCE: Duration = Duration::from_mins(1);
/// A number that is never reached.
const FOR_EVER: u64 = u64::MAX >> 1;
/// How long the WAL is when its index has to grow.
const INDEXED: u64 = 32 + 4_062 * (24 + 4_096);

/// Fills what is left of a disk, but for so many bytes.
fn fill(ballast: &Path, but: u64) {
    let mut file = OpenOptions::new().append(true).create(true).open(ballast).unwrap();
    let full = (0..).find_map(|_| file.write_all(&[0; 4096]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(but)).unwrap();
}

/// Posts about this message until that is taken.
fn post_until_taken(server: &Server, message: &str) {
    let since = Instant::now();
    while server.post(&webhook(message, "SENT", 1).to_string()).status != 200 {
        assert!(since.elapsed() < PATIENCE, "there is space, and it is not used");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn a_full_disk_loses_nothing_and_recovers() {
    let mut chance = Chance::of("full disk");
    let since = Instant::now();
    let rounds = times(3, 9, 120);
    let volume = Volume::tmpfs(128);
    let database = volume.path().join("mirror.db");
    let ballast = volume.path().join("ballast");
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    for round in 0..rounds {
        match round % 3 {
            // Filled under traffic.
            0 => deliveries.post(&server, POSTING, 1 + chance.below(200), || fill(&ballast, 0)),
            // Filled by the database's own growth,
            1 => {
                fill(&ballast, chance.below(512 << 10));
                deliveries.post(&server, POSTING, FOR_EVER, || ());
            }
            // just when the index of a WAL that began at nothing has to grow.
            _ => {
                assert_eq!(server.terminate(), Some(0));
                server.start_again();
                fill(&ballast, INDEXED + chance.below(32 << 10));
                deliveries.post(&server, POSTING, FOR_EVER, || ());
            }
        }
        // The service makes space itself as long as there is anything in the WAL.
        let mut others = (1_000_000_000 + round * 1_000..).map(id);
        let (other, refused) = loop {
            let other = others.next().unwrap();
            fill(&ballast, 0);
            let answer = server.post(&webhook(&other, "SENT", 1).to_string());
            let ready = server.send("GET", "/readyz", &[], b"");
            if answer.status != 200 && ready.status != 200 {
                ready.assert_problem(503);
                break (other, answer);
            }
        };
        refused.assert_problem(503);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.json()["detail"].as_str().unwrap().contains("disk is full"), "{refused:?}");
        assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1))).status, 200);
        fs::remove_file(&ballast).unwrap();
        post_until_taken(&server, &other);
        assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures =
        [("full disks", rounds), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P5", &chance, &figures, since);
}

#[test]
fn a_locked_database_is_503_with_the_reason_for_all_queued_webhooks() {
    let chance = Chance::of("locked database");
    let since = Instant::now();
    let locks = times(1, 2, 50);
    let server =
        Server::start_with(GATEWAY, &[("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "16".to_owned())]);
    let slowest = Mutex::new(Duration::ZERO);
    let refusals = AtomicU64::new(0);
    let post = || {
        let mut connection = server.connect();
        let locked = Instant::now();
        while locked.elapsed() < Duration::from_millis(2_500) {
            let asked = Instant::now();
            let refused = connection.send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes());
            let took = asked.elapsed();
            refused.assert_problem(503);
            assert!(refused.header("retry-after").is_some());
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            let known = detail.contains("locked") || detail.contains("in flight");
            assert!(known, "{detail} after {took:?}");
            let mut slowest = slowest.lock().unwrap();
            *slowest = took.max(*slowest);
            refusals.fetch_add(1, Ordering::Relaxed);
        }
    };
    for _ in 0..locks {
        let other = rusqlite::Connection::open(server.database()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            // They come one after another, also while the first of them is waited with.
            for _ in 0..32 {
                scope.spawn(post);
                thread::sleep(Duration::from_millis(20));
            }
        });
        other.execute_batch("ROLLBACK").unwrap();
        post_until_taken(&server, EXAMPLE_ID);
    }
    let slowest = u64::try_from(slowest.into_inner().unwrap().as_millis()).unwrap();
    let figures =
        [("locks", locks), ("refusals", refusals.into_inner()), ("ms the slowest", slowest)];
    report("P6", &chance, &figures, since);
}

#[test]
fn accepted_requests_are_answered_at_shutdown() {
    let mut chance = Chance::of("stops");
    let since = Instant::now();
    let stops = times(2, 10, 200);
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    let database = server.database();
    disk.is("slowish");
    let deliveries = PostedDeliveries::default();
    let (mut accepted, mut unanswered) = (0, 0);
    let mut slowest = Duration::ZERO;
    for stop in 0..stops {
        // Half of them have been told to go on with their bodies; the others are anywhere.
        let mut held: Vec<_> = (0..32)
            .map(|number| {
                let body = webhook(&id(1_000_000_000 + stop * 100 + number), "SENT", 1).to_string();
                let mut connection = server.connect();
                let head = format!(
                    "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
                    webhook_path(""),
                    body.len()
                );
                connection.write(head.as_bytes());
                assert_eq!(connection.read().unwrap().status, 100);
                (connection, body)
            })
            .collect();
        let mut told = Instant::now();
        deliveries.post(&server, 32, 32 + chance.below(200), || {
            server.signal("-TERM");
            told = Instant::now();
            thread::sleep(Duration::from_millis(400));
            for (connection, body) in &mut held {
                connection.write(body.as_bytes());
            }
        });
        let answers = held.into_iter().map(|(mut connection, _)| connection.read().unwrap().status);
        let answers: Vec<_> = answers.collect();
        assert!(answers.iter().all(|status| [200, 503].contains(status)), "{answers:?}");
        assert_eq!(server.wait(), Some(0));
        slowest = slowest.max(told.elapsed());
        server.start_again();
        deliveries.check(&server);
        for (number, status) in (0..).zip(answers) {
            let found = server.history(&id(1_000_000_000 + stop * 100 + number)).len();
            assert_eq!(found, usize::from(status == 200), "{status}");
            accepted += 1;
        }
        // Whom nobody answered nobody has heard.
        for number in deliveries.unanswered() {
            assert_eq!(server.history(&id(number)).len(), 0, "{number} was not answered");
            unanswered += 1;
        }
    }
    deliveries.check_all(&mut server, &database);
    let figures = [
        ("stops", stops),
        ("let in and answered", accepted),
        ("acknowledged", deliveries.acknowledged()),
        ("neither heard nor answered", unanswered),
        ("lost", 0),
        ("ms the slowest", u64::try_from(slowest.as_millis()).unwrap()),
    ];
    report("P14", &chance, &figures, since);
}

/// More than may be under way.
const MANY: u64 = 1_100;

/// A webhook about this message with so many bytes more than it needs.
fn request(number: u64, padding: usize) -> String {
    let mut body = webhook(&id(number), "SENT", 1);
    body["padding"] = "x".repeat(padding).into();
    let body = body.to_string();
    let path = webhook_path("");
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Asks for places until one is refused at once, as all of them are taken; returns after what time. Few
/// of them may be taken yet: a server that is late refuses before.
fn fill_up(server: &Server, request: &str, waiting: &mut Vec<Connection>) -> Duration {
    for attempt in 0..MANY {
        let asked = Instant::now();
        let mut connection = server.connect();
        // Who is refused may be cut short.
        drop(connection.try_write(request.as_bytes()));
        // The last one is one too many for certain.
        let patience = if attempt + 1 < MANY { 10 + attempt / 8 } else { 30_000 };
        let Some(refused) = connection.read_within(Duration::from_millis(patience)) else {
            waiting.push(connection);
            continue;
        };
        let took = asked.elapsed();
        refused.assert_problem(503);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.json()["detail"].as_str().unwrap().contains("in flight"), "{refused:?}");
        return took;
    }
    panic!("no webhook gets 503");
}

#[test]
fn overload_is_rejected_at_once_within_the_memory_limit() {
    /// Together more than 64 MiB.
    const LARGE: u64 = 300;
    let chance = Chance::of("overload");
    let since = Instant::now();
    let time = Duration::from_secs(times(1, 60, 300));
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    let mut slowest = Duration::ZERO;
    let (mut rounds, mut taken, mut refused) = (0, 0, 0);
    while rounds == 0 || since.elapsed() < time {
        for (fault, count, padding) in
            [("stuck", LARGE, 250_000), ("stuck", MANY, 0), ("slowish", LARGE, 250_000)]
        {
            disk.is(fault);
            let mut waiting: Vec<_> = (0..count)
                .map(|number| {
                    let mut connection = server.connect();
                    drop(connection.try_write(request(rounds * MANY + number, padding).as_bytes()));
                    connection
                })
                .collect();
            if fault == "stuck" {
                slowest = slowest.max(fill_up(&server, &request(0, padding), &mut waiting));
                disk.is("slowish");
            }
            for answer in waiting.iter_mut().filter_map(Connection::read) {
                match answer.status {
                    200 => taken += 1,
                    503 => refused += 1,
                    _ => panic!("{answer:?}"),
                }
            }
        }
        rounds += 1;
    }
    post_until_taken(&server, EXAMPLE_ID);
    let peak = peak_memory(&server);
    assert!(peak <= LIMIT, "{peak} bytes");
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    let slowest = u64::try_from(slowest.as_millis()).unwrap();
    let figures = [
        ("rounds", rounds),
        ("taken", taken),
        ("refused", refused),
        ("ms the slowest refusal", slowest),
        ("MiB of memory at most", peak >> 20),
    ];
    report("P22", &chance, &figures, since);
}

#[test]
fn a_slow_wal_truncation_delays_a_commit_and_is_not_reported_as_a_lock() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    disk.is("uncut");
    let late = (1..10)
        .map(|number| {
            let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
            // It is cut when nothing has come for five seconds.
            thread::sleep(Duration::from_secs(6));
            answer
        })
        .find(|answer| answer.status != 200)
        .expect("the WAL is cut");
    late.assert_problem(503);
    assert!(late.json()["detail"].as_str().unwrap().contains("takes too long"), "{late:?}");
    disk.is_well();
    post_until_taken(&server, EXAMPLE_ID);
}

#[test]
fn a_flood_is_shed_at_once_and_accepted_webhooks_are_kept() {
    /// So many connections send so many webhooks each, all at once.
    const CONNECTIONS: u64 = 1_500;
    const EACH: u64 = 8;
    raised_limit();
    // The queue has room for all of them: what is short is time.
    let queue = (CONNECTIONS * EACH).to_string();
    let server = Server::start_with(GATEWAY, &[("STATUSMIRROR__STORE__MAX_IN_FLIGHT", queue)]);
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    for round in 0..3 {
        // Time is short on any machine: all of them come while the server stands still, and it stands
        // still again and again while it answers.
        server.pause();
        let mut flood: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let first = (round * CONNECTIONS + number) * EACH;
                let requests = (first..first + EACH).map(|number| request(number, 0));
                let mut connection = server.connect();
                connection.write(requests.collect::<String>().as_bytes());
                (connection, first)
            })
            .collect();
        for _ in 0..4 {
            server.resume();
            thread::sleep(Duration::from_millis(20));
            server.pause();
            thread::sleep(Duration::from_millis(150));
        }
        server.resume();
        for (connection, first) in &mut flood {
            for number in *first..*first + EACH {
                let answer = connection.read().unwrap();
                if answer.status == 200 { taken.push(number) } else { refused.push(answer) }
            }
        }
        if !refused.is_empty() {
            break;
        }
    }
    assert!(!refused.is_empty() && !taken.is_empty(), "{} taken, none refused", taken.len());
    for refused in refused {
        refused.assert_problem(503);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.json()["detail"].as_str().unwrap().contains("in flight"), "{refused:?}");
    }
    post_until_taken(&server, EXAMPLE_ID);
    for number in taken {
        assert_eq!(server.history(&id(number)).len(), 1, "{number} was acknowledged");
    }
}
