//! Clock jumps, at run time and between starts: nothing is lost.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::wrong_clock::WrongClock;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// How many connections post at a time.
const POSTING: u64 = 4;
/// A day in seconds.
const DAY: i64 = 24 * 3_600;
/// A source that is proven by a fresh signature.
const SIGNED: &str = r#"
[sources.standard]
verify = { scheme = "standard-webhooks", secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], max_age_seconds = 300 }
"#;

/// The right time, in seconds.
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
        let output = run_in(folder.path(), &["--config", config, command], &envs);
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("panicked"), "{command}: {told}");
        assert_eq!(told.contains("before 1970"), code != 0, "{command}: {told}");
    }
}

#[test]
fn a_clock_set_before_1970_at_run_time_changes_only_the_date() {
    let clock = WrongClock::new();
    let server = Server::start_with(GATEWAY, &clock.envs());
    let dated = |number: u64| {
        let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
        assert_eq!(answer.outcome(), "applied");
        answer.header("date").unwrap().to_owned()
    };
    for (number, (offset, year)) in (1..).zip([(-70 * 365 * DAY, " 19"), (0, " 20")]) {
        clock.jump(offset);
        // Longer than any task waits that looks at the clock.
        thread::sleep(Duration::from_millis(1_200));
        for worker in 0..8 {
            let date = dated(10 * number + worker);
            assert!(date.contains(year), "{date} with {offset}");
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_clock_jump_loses_nothing() {
    let mut chance = Chance::of("clock");
    let since = Instant::now();
    let rounds = times(4, 20, 400);
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
        deliveries.post(&server, POSTING, 1 + chance.below(50), || {
            for offset in [-DAY, DAY, offset] {
                clock.jump(offset);
                thread::sleep(Duration::from_millis(20));
            }
            server.signal(if round % 2 == 0 { "-TERM" } else { "-KILL" });
        });
        server.wait();
        server.start_again();
        deliveries.check(&server);
        // A message that nobody has heard of shows what time it is there.
        let message = id(1_000_000_000 + round);
        let body = webhook(&message, "SENT", 1).to_string();
        if offset != 0 {
            post_signed(&server, &body, now()).assert_problem(401);
        }
        assert_eq!(post_signed(&server, &body, now() + offset).outcome(), "applied");
        // Stopped with one time and started with another.
        assert_eq!(server.terminate(), Some(0));
        clock.jump(-offset);
        server.start_again();
        assert_eq!(server.history(&message).len(), 1);
        let again = post_signed(&server, &body, now() - offset);
        assert_eq!(again.outcome(), "duplicate");
    }
    deliveries.check_all(&mut server, &database);
    let figures = [("jumps", 4 * rounds), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P26", &chance, &figures, since);
}

#[test]
fn webhooks_are_stored_and_found_under_any_clock_of_a_hundred_years() {
    const YEAR: i64 = 365 * DAY;
    let mut chance = Chance::of("years");
    let since = Instant::now();
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    let rounds = times(8, 40, 400);
    let mut offsets = vec![-50 * YEAR, 50 * YEAR];
    let any_year = |chance: &mut Chance| i64::try_from(chance.below(101)).unwrap() - 50;
    offsets.extend((2..rounds).map(|_| any_year(&mut chance) * YEAR));
    for (number, offset) in (1..).zip(offsets) {
        clock.jump(offset);
        if number % 4 == 0 {
            assert_eq!(server.terminate(), Some(0), "{offset}");
            server.start_again();
        }
        // Without a time of its own it has that of its arrival.
        let body = serde_json::json!({"destination": "+393331234567"});
        assert_eq!(server.put(&id(number), &body).status, 201);
        let body = webhook(&id(number), "SENT", 1).to_string();
        assert_eq!(server.post(&body).status, 200);
        let found = server.get(&format!("/api/messagestatus/{}", id(number))).json();
        assert_eq!(found["message"]["status"], "SENT");
        let arrived = server.history(&id(number))[0]["receivedAt"].as_str().unwrap().to_owned();
        let year: i64 = arrived.split_once('-').unwrap().0.parse().unwrap();
        let expected = 1970 + (now() + offset) / (365 * DAY + DAY / 4);
        assert!((year - expected).abs() <= 1, "{arrived} with {offset}");
    }
    let list = server.get("/api/messagestatus/phonenumber/393331234567?count=100").json();
    assert!(list["messages"].as_array().unwrap().len() >= 8);
    assert!(!server.log().contains("panicked"));
    report("P26", &chance, &[("clocks", rounds), ("lost", 0)], since);
}
