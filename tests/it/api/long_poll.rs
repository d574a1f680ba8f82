//! `?wait=`: long polls.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::faults::amounts::repetitions;
use crate::support::raise_open_file_limit;
use crate::support::*;

/// Duration of `wait`, in seconds. It is longer than the read timeout of a test client, so that no answer
/// comes because the long poll timed out.
const WAIT_SECONDS: u64 = 60;
/// Time in which an answer that comes too early arrives.
const QUIET_WINDOW: Duration = Duration::from_millis(100);

/// Limit of concurrent long polls.
const MAX_LONG_POLLS: u64 = 4_000;

fn path(id: &str, parameters: &str) -> String {
    format!("/api/messagestatus/{id}?{parameters}")
}

/// Starts a long poll without reading its answer.
fn start_long_poll(server: &Server, id: &str, parameters: &str) -> Connection {
    let mut connection = server.connect();
    let path = path(id, parameters);
    connection
        .write(format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n").as_bytes());
    connection
}

fn post(server: &Server, id: &str, status: &str, second: u32) {
    assert_eq!(server.post(&webhook(id, status, second).to_string()).status, 200);
}

fn status(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["message"]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_long_poll_may_start_before_the_message_exists() {
    let server = Server::start(GATEWAY);
    for (number, final_status) in ["REJECTED", "UNDELIVERED", "DELIVERED"].into_iter().enumerate() {
        let id = id(u64::try_from(number).unwrap());
        let mut long_polls = [
            start_long_poll(&server, &id, "wait=60"),
            start_long_poll(&server, &id, "until=final&wait=600"),
        ];
        assert_eq!(server.put(&id, &json!({"destination": "+393331234567"})).status, 201);
        post(&server, &id, "SENT", 1);
        for long_poll in &mut long_polls {
            assert!(long_poll.read_within(QUIET_WINDOW).is_none(), "SENT is not final");
        }
        post(&server, &id, final_status, 2);
        for mut long_poll in long_polls {
            assert_eq!(status(&long_poll.read().unwrap()), final_status);
        }
        assert_eq!(
            status(&server.get(&path(&id, "wait=60"))),
            final_status,
            "a final status is answered at once"
        );
    }
}

#[test]
fn a_long_poll_waits_for_a_change_and_ignores_duplicates() {
    let server = Server::start(GATEWAY);
    let id = id(1);
    let mut long_poll = start_long_poll(&server, &id, "wait=60&until=change");
    post(&server, &id, "SENT", 1);
    assert_eq!(status(&long_poll.read().unwrap()), "SENT");
    let mut long_poll = start_long_poll(&server, &id, "wait=60&until=change");
    assert!(
        long_poll.read_within(QUIET_WINDOW).is_none(),
        "SENT is not a change: it was known before"
    );
    post(&server, &id, "SENT", 1);
    post(&server, &id, "SENT", 2);
    post(&server, &self::id(2), "DELIVERED", 3);
    assert!(
        long_poll.read_within(QUIET_WINDOW).is_none(),
        "a duplicate, a repeated status and another message are not changes"
    );
    assert_eq!(server.put(&id, &json!({"destination": "+393331234567"})).status, 200);
    assert_eq!(status(&long_poll.read().unwrap()), "SENT", "the destination is part of the record");
    let mut long_poll = start_long_poll(&server, &id, "wait=60&until=change");
    assert!(long_poll.read_within(QUIET_WINDOW).is_none());
    post(&server, &id, "UNDELIVERED", 4);
    assert_eq!(status(&long_poll.read().unwrap()), "UNDELIVERED");
    let mut long_poll = start_long_poll(&server, &id, "wait=60&until=change");
    assert!(
        long_poll.read_within(QUIET_WINDOW).is_none(),
        "the final status is not a change: it was known before"
    );
    post(&server, &id, "DELIVERED", 5);
    assert_eq!(status(&long_poll.read().unwrap()), "DELIVERED");
}

#[test]
fn a_head_request_waits_too() {
    let server = Server::start(GATEWAY);
    let path = path(&id(1), "wait=60");
    thread::scope(|scope| {
        let head = scope.spawn(|| server.send("HEAD", &path, &[("X-Api-Key", KEY)], b""));
        thread::sleep(QUIET_WINDOW);
        assert!(!head.is_finished(), "the message does not exist yet");
        post(&server, &id(1), "DELIVERED", 1);
        assert_eq!(head.join().unwrap().status, 200);
    });
}

#[test]
fn after_the_timeout_the_present_status_is_answered() {
    let server = Server::start(GATEWAY);
    let (unknown, sent) = (id(1), id(2));
    post(&server, &sent, "SENT", 1);
    for wait in ["0", "1"] {
        server.get(&path(&unknown, &format!("wait={wait}"))).assert_problem(404);
        assert_eq!(status(&server.get(&path(&sent, &format!("wait={wait}")))), "SENT");
    }
    for parameters in ["wait=", "wait=-1", "wait=1.5", "wait=x", "until=final", "wait=1&until=x"] {
        server.get(&path(&sent, parameters)).assert_problem(400);
    }
}

#[test]
fn many_long_polls_take_no_threads_and_are_answered_at_shutdown() {
    let count = repetitions(500, MAX_LONG_POLLS, MAX_LONG_POLLS).min(raise_open_file_limit() / 2);
    let mut server = Server::start(GATEWAY);
    let thread_count = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
        let line = status.lines().find(|line| line.starts_with("Threads:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    // Some threads start with the first long poll.
    assert_eq!(server.get(&path(&id(1), "wait=1")).status, 404);
    let before = thread_count();
    let wait = format!("wait={WAIT_SECONDS}");
    let mut long_polls: Vec<_> =
        (0..count).map(|n| start_long_poll(&server, &id(n % 100), &wait)).collect();
    for long_poll in long_polls.iter_mut().step_by(50) {
        assert!(long_poll.read_within(Duration::from_millis(5)).is_none());
    }
    assert_eq!(thread_count(), before);
    post(&server, &id(7), "DELIVERED", 1);
    for long_poll in long_polls.iter_mut().skip(7).step_by(100) {
        assert_eq!(status(&long_poll.read().unwrap()), "DELIVERED");
    }
    let started = std::time::Instant::now();
    server.signal("-TERM");
    for (number, long_poll) in long_polls.iter_mut().enumerate() {
        if number % 100 != 7 {
            long_poll.read().expect("an answer at shutdown").assert_problem(404);
        }
    }
    assert_eq!(server.wait(), Some(0));
    // Shutdown does not wait for the timeouts of the long polls.
    assert!(started.elapsed() < Duration::from_secs(WAIT_SECONDS), "{:?}", started.elapsed());
}

#[test]
fn long_polls_beyond_the_limit_are_503_and_the_others_go_on() {
    /// Number of long polls above the limit.
    const EXCESS: u64 = 10;
    /// Number of messages that the long polls wait for.
    const MESSAGES: u64 = 100;
    let limit = raise_open_file_limit();
    if limit < 2 * MAX_LONG_POLLS {
        eprintln!("NOT TESTED: {limit} descriptors are too few");
        return;
    }
    let server = Server::start(GATEWAY);
    let wait = format!("wait={WAIT_SECONDS}");
    let mut long_polls: Vec<_> = (0..MAX_LONG_POLLS + EXCESS)
        .map(|n| start_long_poll(&server, &id(n % MESSAGES), &wait))
        .collect();
    // A long poll with `wait=0` counts towards the limit, too.
    let mut connection = server.connect();
    let mut poll_without_waiting = || {
        let path = path(&id(MESSAGES), "wait=0");
        connection.send("GET", &path, &[("X-Api-Key", KEY)], b"")
    };
    let rejection = wait_for(|| Some(poll_without_waiting()).filter(|answer| answer.status == 503));
    rejection.assert_problem(503);
    assert!(rejection.header("retry-after").is_some(), "{rejection:?}");
    server.get(&format!("/api/messagestatus/{}", id(MESSAGES))).assert_problem(404);
    post(&server, &id(7), "DELIVERED", 1);
    let (mut answered, mut rejected) = (0, 0);
    for long_poll in long_polls.iter_mut().skip(7).step_by(usize::try_from(MESSAGES).unwrap()) {
        match long_poll.read().unwrap() {
            answer if answer.status == 503 => rejected += 1,
            answer => {
                assert_eq!(status(&answer), "DELIVERED");
                answered += 1;
            }
        }
    }
    assert!(answered > 0 && rejected <= EXCESS, "{answered} answered, {rejected} rejected");
    // The answered long polls no longer count towards the limit.
    wait_for(|| (poll_without_waiting().status == 404).then_some(()));
}
