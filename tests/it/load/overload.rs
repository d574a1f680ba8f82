//! Overload: a lack of space, time or memory is reported and loses nothing, and the service recovers.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::cgroup::{LIMIT_BYTES, peak_memory};
use crate::support::faults::fault_disk::{FaultyDisk, Volume};
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::raise_open_file_limit;
use crate::support::*;

/// Number of connections that post at a time.
const POSTERS: u64 = 4;
/// Timeout until webhooks are accepted again: more than the promised 5 seconds, for busy machines.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(1);
/// Number of deliveries that is never reached.
const UNREACHABLE_COUNT: u64 = u64::MAX >> 1;
/// Size of the WAL at which its index has to grow, in bytes.
const INDEX_GROWTH_BYTES: u64 = 32 + 4_062 * (24 + 4_096);

/// Fills a disk except for `free_bytes`.
fn fill(ballast: &Path, free_bytes: u64) {
    let mut file = OpenOptions::new().append(true).create(true).open(ballast).unwrap();
    let error = (0..).find_map(|_| file.write_all(&[0; 4096]).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(free_bytes)).unwrap();
}

/// Posts a webhook for this message until it is accepted.
fn post_until_accepted(server: &Server, message: &str) {
    let since = Instant::now();
    while server.post(&webhook(message, "SENT", 1).to_string()).status != 200 {
        assert!(since.elapsed() < RECOVERY_TIMEOUT, "no webhook is accepted");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn a_full_disk_loses_nothing_and_recovers() {
    let mut rng = SeededRng::for_test("full disk");
    let since = Instant::now();
    let rounds = repetitions(3, 9, 120);
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
            0 => deliveries.post(&server, POSTERS, 1 + rng.below(200), || fill(&ballast, 0)),
            // Filled by the growth of the database.
            1 => {
                fill(&ballast, rng.below(512 << 10));
                deliveries.post(&server, POSTERS, UNREACHABLE_COUNT, || ());
            }
            // Filled by the growth of a new WAL, when its index has to grow.
            _ => {
                assert_eq!(server.terminate(), Some(0));
                server.restart();
                fill(&ballast, INDEX_GROWTH_BYTES + rng.below(32 << 10));
                deliveries.post(&server, POSTERS, UNREACHABLE_COUNT, || ());
            }
        }
        // As long as the WAL is not empty, the service frees space itself.
        let mut messages = (1_000_000_000 + round * 1_000..).map(id);
        let (message, rejection) = loop {
            let message = messages.next().unwrap();
            fill(&ballast, 0);
            let answer = server.post(&webhook(&message, "SENT", 1).to_string());
            let ready = server.send("GET", "/readyz", &[], b"");
            if answer.status != 200 && ready.status != 200 {
                ready.assert_problem(503);
                break (message, answer);
            }
        };
        rejection.assert_problem(503);
        assert!(rejection.header("retry-after").is_some());
        assert!(
            rejection.json()["detail"].as_str().unwrap().contains("disk is full"),
            "{rejection:?}"
        );
        assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1))).status, 200);
        fs::remove_file(&ballast).unwrap();
        post_until_accepted(&server, &message);
        assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures =
        [("full disks", rounds), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P5", &rng, &figures, since);
}

#[test]
fn a_locked_database_is_503_with_the_reason_for_all_queued_webhooks() {
    let rng = SeededRng::for_test("locked database");
    let since = Instant::now();
    let locks = repetitions(1, 2, 50);
    let server =
        Server::start_with(GATEWAY, &[("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "16".to_owned())]);
    let slowest = Mutex::new(Duration::ZERO);
    let rejections = AtomicU64::new(0);
    let post = || {
        let mut connection = server.connect();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(2_500) {
            let sent_at = Instant::now();
            let answer = connection.send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes());
            let latency = sent_at.elapsed();
            answer.assert_problem(503);
            assert!(answer.header("retry-after").is_some());
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            let is_expected = detail.contains("locked") || detail.contains("in flight");
            assert!(is_expected, "{detail} after {latency:?}");
            let mut slowest = slowest.lock().unwrap();
            *slowest = latency.max(*slowest);
            rejections.fetch_add(1, Ordering::Relaxed);
        }
    };
    for _ in 0..locks {
        let lock = rusqlite::Connection::open(server.database()).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            // The webhooks arrive one after another, also while the first ones wait for the lock.
            for _ in 0..32 {
                scope.spawn(post);
                thread::sleep(Duration::from_millis(20));
            }
        });
        lock.execute_batch("ROLLBACK").unwrap();
        post_until_accepted(&server, EXAMPLE_ID);
    }
    let slowest = u64::try_from(slowest.into_inner().unwrap().as_millis()).unwrap();
    let figures = [
        ("locks", locks),
        ("rejections", rejections.into_inner()),
        ("ms for the slowest rejection", slowest),
    ];
    report("P6", &rng, &figures, since);
}

#[test]
fn accepted_requests_are_answered_at_shutdown() {
    let mut rng = SeededRng::for_test("stops");
    let since = Instant::now();
    let stops = repetitions(2, 10, 200);
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    let database = server.database();
    disk.set_fault("sync-20ms");
    let deliveries = PostedDeliveries::default();
    let (mut accepted, mut unanswered) = (0, 0);
    let mut slowest = Duration::ZERO;
    for stop in 0..stops {
        // Half of the requests have got `100 Continue`. The others are in any state.
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
        let mut signaled_at = Instant::now();
        deliveries.post(&server, 32, 32 + rng.below(200), || {
            server.signal("-TERM");
            signaled_at = Instant::now();
            thread::sleep(Duration::from_millis(400));
            for (connection, body) in &mut held {
                connection.write(body.as_bytes());
            }
        });
        let answers = held.into_iter().map(|(mut connection, _)| connection.read().unwrap());
        let statuses: Vec<_> = answers.map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        assert_eq!(server.wait(), Some(0));
        slowest = slowest.max(signaled_at.elapsed());
        server.restart();
        deliveries.check(&server);
        for (number, status) in (0..).zip(statuses) {
            let found = server.history(&id(1_000_000_000 + stop * 100 + number)).len();
            assert_eq!(found, usize::from(status == 200), "{status}");
            accepted += 1;
        }
        // A webhook without an answer was not stored.
        for number in deliveries.take_unanswered() {
            assert_eq!(server.history(&id(number)).len(), 0, "{number} was not answered");
            unanswered += 1;
        }
    }
    deliveries.check_all(&mut server, &database);
    let figures = [
        ("stops", stops),
        ("accepted and answered", accepted),
        ("acknowledged", deliveries.acknowledged()),
        ("neither stored nor answered", unanswered),
        ("lost", 0),
        ("ms for the slowest stop", u64::try_from(slowest.as_millis()).unwrap()),
    ];
    report("P14", &rng, &figures, since);
}

/// Number of webhooks above the limit of webhooks in flight.
const EXCESSIVE_WEBHOOKS: u64 = 1_100;

/// Webhook request for message `number`, with `padding` additional bytes.
fn request(number: u64, padding: usize) -> String {
    let mut body = webhook(&id(number), "SENT", 1);
    body["padding"] = "x".repeat(padding).into();
    let body = body.to_string();
    let path = webhook_path("");
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Posts webhooks until one is rejected at once, because too many are in flight; returns the latency of the
/// rejection. A server that is behind rejects before the limit is reached.
fn post_until_rejected(server: &Server, request: &str, waiting: &mut Vec<Connection>) -> Duration {
    for attempt in 0..EXCESSIVE_WEBHOOKS {
        let sent_at = Instant::now();
        let mut connection = server.connect();
        // The server may close the connection of a rejected webhook early.
        drop(connection.try_write(request.as_bytes()));
        // The last webhook exceeds the limit for certain.
        let timeout_ms = if attempt + 1 < EXCESSIVE_WEBHOOKS { 10 + attempt / 8 } else { 30_000 };
        let Some(answer) = connection.read_within(Duration::from_millis(timeout_ms)) else {
            waiting.push(connection);
            continue;
        };
        let latency = sent_at.elapsed();
        answer.assert_problem(503);
        assert!(answer.header("retry-after").is_some());
        assert!(answer.json()["detail"].as_str().unwrap().contains("in flight"), "{answer:?}");
        return latency;
    }
    panic!("no webhook gets 503");
}

#[test]
fn overload_is_rejected_at_once_within_the_memory_limit() {
    /// Number of large webhooks, together more than 64 MiB.
    const LARGE_WEBHOOKS: u64 = 300;
    let rng = SeededRng::for_test("overload");
    let since = Instant::now();
    let duration = Duration::from_secs(repetitions(1, 60, 300));
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    let mut slowest = Duration::ZERO;
    let (mut rounds, mut accepted, mut rejected) = (0, 0, 0);
    while rounds == 0 || since.elapsed() < duration {
        for (fault, count, padding) in [
            ("stuck", LARGE_WEBHOOKS, 250_000),
            ("stuck", EXCESSIVE_WEBHOOKS, 0),
            ("sync-20ms", LARGE_WEBHOOKS, 250_000),
        ] {
            disk.set_fault(fault);
            let mut waiting: Vec<_> = (0..count)
                .map(|number| {
                    let mut connection = server.connect();
                    drop(connection.try_write(
                        request(rounds * EXCESSIVE_WEBHOOKS + number, padding).as_bytes(),
                    ));
                    connection
                })
                .collect();
            if fault == "stuck" {
                slowest =
                    slowest.max(post_until_rejected(&server, &request(0, padding), &mut waiting));
                disk.set_fault("sync-20ms");
            }
            for answer in waiting.iter_mut().filter_map(Connection::read) {
                match answer.status {
                    200 => accepted += 1,
                    503 => rejected += 1,
                    _ => panic!("{answer:?}"),
                }
            }
        }
        rounds += 1;
    }
    post_until_accepted(&server, EXAMPLE_ID);
    let peak = peak_memory(&server);
    assert!(peak <= LIMIT_BYTES, "{peak} bytes");
    assert!(accepted > 0 && rejected > 0, "{accepted} accepted, {rejected} rejected");
    let slowest = u64::try_from(slowest.as_millis()).unwrap();
    let figures = [
        ("rounds", rounds),
        ("accepted", accepted),
        ("rejected", rejected),
        ("ms for the slowest rejection", slowest),
        ("MiB of peak memory", peak >> 20),
    ];
    report("P22", &rng, &figures, since);
}

#[test]
fn a_slow_wal_truncation_delays_a_commit_and_is_not_reported_as_a_lock() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    disk.set_fault("truncate-blocked");
    let delayed = (1..10)
        .map(|number| {
            let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
            // The WAL is truncated after five seconds without a delivery.
            thread::sleep(Duration::from_secs(6));
            answer
        })
        .find(|answer| answer.status != 200)
        .expect("the WAL is truncated");
    delayed.assert_problem(503);
    assert!(delayed.json()["detail"].as_str().unwrap().contains("takes too long"), "{delayed:?}");
    disk.clear_fault();
    post_until_accepted(&server, EXAMPLE_ID);
}

#[test]
fn a_flood_is_shed_at_once_and_accepted_webhooks_are_kept() {
    /// Number of connections that send at the same time.
    const CONNECTIONS: u64 = 1_500;
    /// Number of webhooks that each connection sends at once.
    const WEBHOOKS_PER_CONNECTION: u64 = 8;
    raise_open_file_limit();
    // The queue has room for all webhooks: only time is short.
    let queue = (CONNECTIONS * WEBHOOKS_PER_CONNECTION).to_string();
    let server = Server::start_with(GATEWAY, &[("STATUSMIRROR__STORE__MAX_IN_FLIGHT", queue)]);
    let mut accepted = Vec::new();
    let mut rejections = Vec::new();
    for round in 0..3 {
        // Pauses make time short on any machine. All webhooks arrive during a pause, and more pauses follow.
        server.pause();
        let mut flood: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let first = (round * CONNECTIONS + number) * WEBHOOKS_PER_CONNECTION;
                let requests =
                    (first..first + WEBHOOKS_PER_CONNECTION).map(|number| request(number, 0));
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
            for number in *first..*first + WEBHOOKS_PER_CONNECTION {
                let answer = connection.read().unwrap();
                if answer.status == 200 { accepted.push(number) } else { rejections.push(answer) }
            }
        }
        if !rejections.is_empty() {
            break;
        }
    }
    assert!(
        !rejections.is_empty() && !accepted.is_empty(),
        "{} accepted, {} rejected",
        accepted.len(),
        rejections.len()
    );
    for answer in rejections {
        answer.assert_problem(503);
        assert!(answer.header("retry-after").is_some());
        assert!(answer.json()["detail"].as_str().unwrap().contains("in flight"), "{answer:?}");
    }
    post_until_accepted(&server, EXAMPLE_ID);
    for number in accepted {
        assert_eq!(server.history(&id(number)).len(), 1, "{number} was acknowledged");
    }
}
