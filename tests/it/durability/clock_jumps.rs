//! Clock jumps, at run time and between starts: nothing is lost.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::wrong_clock::WrongClock;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// Number of connections that post at the same time.
const CONNECTIONS: u64 = 4;
/// Length of a day in seconds.
const DAY: i64 = 24 * 3_600;
/// Source that verifies a signature and its age.
const SIGNED: &str = r#"
[sources.standard]
verify = { scheme = "standard-webhooks", secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], max_age_seconds = 300 }
"#;

/// Right time, in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn a_clock_before_1970_is_rejected_without_a_panic() {
    let clock = WrongClock::new();
    for years in [-50, -30, 11, 50] {
        clock.jump(years * 365 * DAY);
        let mut server = Server::start_with(&format!("{GATEWAY}{SIGNED}"), &clock.envs());
        let body = webhook(&id(1), "SENT", 1).to_string();
        assert_eq!(server.post(&body).outcome(), "applied", "{years}");
        let headers = standard_webhooks(&body, now() + years * 365 * DAY);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let signed = server.send("POST", "/webhooks/standard", &headers, body.as_bytes());
        assert_eq!(signed.outcome(), "duplicate", "{years}");
        assert_eq!(server.history(&id(1)).len(), 1);
        assert_eq!(server.terminate(), Some(0));
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
    clock.jump(-60 * 365 * DAY);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("it.toml");
    let text = format!("[api_keys.tests]\nkey = \"{KEY}\"\n{GATEWAY}");
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let envs = clock.envs();
    let envs = envs.each_ref().map(|(name, value)| (*name, value.as_str()));
    for (command, code) in [("check-config", 0), ("serve", 75)] {
        let output = run_program_in(folder.path(), &["--config", config, command], &envs);
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{command}: {stderr}");
        assert_eq!(stderr.contains("before 1970"), code != 0, "{command}: {stderr}");
    }
}

#[test]
fn a_clock_set_before_1970_at_run_time_changes_only_the_date() {
    let clock = WrongClock::new();
    let server = Server::start_with(GATEWAY, &clock.envs());
    let date_of_answer = |number: u64| {
        let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
        assert_eq!(answer.outcome(), "applied");
        answer.header("date").unwrap().to_owned()
    };
    for (number, (offset, year)) in (1..).zip([(-70 * 365 * DAY, " 19"), (0, " 20")]) {
        clock.jump(offset);
        // Longer than any task waits between two readings of the clock.
        thread::sleep(Duration::from_millis(1_200));
        for worker in 0..8 {
            let date = date_of_answer(10 * number + worker);
            assert!(date.contains(year), "{date} with {offset}");
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_clock_jump_loses_nothing() {
    let mut rng = SeededRng::for_test("clock");
    let since = Instant::now();
    let rounds = repetitions(4, 20, 400);
    let clock = WrongClock::new();
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(&format!("{GATEWAY}{SIGNED}"), &clock.envs());
    let database = server.database();
    let post_signed = |server: &Server, body: &str, second| {
        let headers = standard_webhooks(body, second);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        server.send("POST", "/webhooks/standard", &headers, body.as_bytes())
    };
    for round in 0..rounds {
        let offset = [DAY, -DAY, 0, DAY][usize::try_from(round).unwrap() % 4];
        deliveries.post(&server, CONNECTIONS, 1 + rng.below(50), || {
            for offset in [-DAY, DAY, offset] {
                clock.jump(offset);
                thread::sleep(Duration::from_millis(20));
            }
            server.signal(if round % 2 == 0 { "-TERM" } else { "-KILL" });
        });
        server.wait();
        server.restart();
        deliveries.check(&server);
        // A signature is accepted only if it is recent by the server's clock.
        let message = id(1_000_000_000 + round);
        let body = webhook(&message, "SENT", 1).to_string();
        if offset != 0 {
            post_signed(&server, &body, now()).assert_problem(401);
        }
        assert_eq!(post_signed(&server, &body, now() + offset).outcome(), "applied");
        // The clock jumps while the server is stopped.
        assert_eq!(server.terminate(), Some(0));
        clock.jump(-offset);
        server.restart();
        assert_eq!(server.history(&message).len(), 1);
        let retry = post_signed(&server, &body, now() - offset);
        assert_eq!(retry.outcome(), "duplicate");
    }
    deliveries.check_all(&mut server, &database);
    let figures = [("jumps", 4 * rounds), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P26", &rng, &figures, since);
}

#[test]
fn webhooks_are_stored_and_found_under_any_clock_of_a_hundred_years() {
    const YEAR: i64 = 365 * DAY;
    let mut rng = SeededRng::for_test("years");
    let since = Instant::now();
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    let rounds = repetitions(8, 40, 400);
    let mut offsets = vec![-50 * YEAR, 50 * YEAR];
    let any_year = |rng: &mut SeededRng| i64::try_from(rng.below(101)).unwrap() - 50;
    offsets.extend((2..rounds).map(|_| any_year(&mut rng) * YEAR));
    for (number, offset) in (1..).zip(offsets) {
        clock.jump(offset);
        if number % 4 == 0 {
            assert_eq!(server.terminate(), Some(0), "{offset}");
            server.restart();
        }
        // A registration without a time of acceptance gets the time of its arrival.
        let body = serde_json::json!({"destination": "+393331234567"});
        assert_eq!(server.put(&id(number), &body).status, 201);
        let body = webhook(&id(number), "SENT", 1).to_string();
        assert_eq!(server.post(&body).status, 200);
        let found = server.get(&format!("/api/messagestatus/{}", id(number))).json();
        assert_eq!(found["message"]["status"], "SENT");
        let received_at = server.history(&id(number))[0]["receivedAt"].as_str().unwrap().to_owned();
        let year: i64 = received_at.split_once('-').unwrap().0.parse().unwrap();
        let expected = 1970 + (now() + offset) / (365 * DAY + DAY / 4);
        assert!((year - expected).abs() <= 1, "{received_at} with {offset}");
    }
    let list = server.get("/api/messagestatus/phonenumber/393331234567?count=100").json();
    assert!(list["messages"].as_array().unwrap().len() >= 8);
    assert!(!server.log().contains("panicked"));
    report("P26", &rng, &[("clocks", rounds), ("lost", 0)], since);
}
