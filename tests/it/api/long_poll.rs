//! `?wait=`: long polls.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::faults::amounts::times;
use crate::support::raised_limit;
use crate::support::*;

/// Longer than a client of these tests has patience for, so that no answer comes because time is over.
const WAIT: u64 = 60;
/// Long enough to see an answer that comes too early.
const A_WHILE: Duration = Duration::from_millis(100);

/// Requests that may wait at a time.
const MAX_LONG_POLLS: u64 = 4_000;

fn path(id: &str, parameters: &str) -> String {
    format!("/api/messagestatus/{id}?{parameters}")
}

/// Asks, and does not read the answer.
fn ask(server: &Server, id: &str, parameters: &str) -> Connection {
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
    for (number, last) in ["REJECTED", "UNDELIVERED", "DELIVERED"].into_iter().enumerate() {
        let id = id(u64::try_from(number).unwrap());
        let mut waiting = [ask(&server, &id, "wait=60"), ask(&server, &id, "until=final&wait=600")];
        assert_eq!(server.put(&id, &json!({"destination": "+393331234567"})).status, 201);
        post(&server, &id, "SENT", 1);
        for connection in &mut waiting {
            assert!(connection.read_within(A_WHILE).is_none(), "SENT is not final");
        }
        post(&server, &id, last, 2);
        for mut connection in waiting {
            assert_eq!(status(&connection.read().unwrap()), last);
        }
        assert_eq!(status(&server.get(&path(&id, "wait=60"))), last, "at once, as it has come");
    }
}

#[test]
fn a_long_poll_waits_for_a_change_and_ignores_duplicates() {
    let server = Server::start(GATEWAY);
    let id = id(1);
    let mut waiting = ask(&server, &id, "wait=60&until=change");
    post(&server, &id, "SENT", 1);
    assert_eq!(status(&waiting.read().unwrap()), "SENT");
    let mut waiting = ask(&server, &id, "wait=60&until=change");
    assert!(waiting.read_within(A_WHILE).is_none(), "it is known already");
    post(&server, &id, "SENT", 1);
    post(&server, &id, "SENT", 2);
    post(&server, &self::id(2), "DELIVERED", 3);
    assert!(waiting.read_within(A_WHILE).is_none(), "a duplicate, a late one, another message");
    assert_eq!(server.put(&id, &json!({"destination": "+393331234567"})).status, 200);
    assert_eq!(status(&waiting.read().unwrap()), "SENT", "the recipient is a part of the record");
    let mut waiting = ask(&server, &id, "wait=60&until=change");
    assert!(waiting.read_within(A_WHILE).is_none());
    post(&server, &id, "UNDELIVERED", 4);
    assert_eq!(status(&waiting.read().unwrap()), "UNDELIVERED");
    let mut waiting = ask(&server, &id, "wait=60&until=change");
    assert!(waiting.read_within(A_WHILE).is_none(), "a final status is not a change");
    post(&server, &id, "DELIVERED", 5);
    assert_eq!(status(&waiting.read().unwrap()), "DELIVERED");
}

#[test]
fn a_head_request_waits_too() {
    let server = Server::start(GATEWAY);
    let path = path(&id(1), "wait=60");
    thread::scope(|scope| {
        let head = scope.spawn(|| server.send("HEAD", &path, &[("X-Api-Key", KEY)], b""));
        thread::sleep(A_WHILE);
        assert!(!head.is_finished(), "nothing is known of it yet");
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
    let many = times(500, MAX_LONG_POLLS, MAX_LONG_POLLS).min(raised_limit() / 2);
    let mut server = Server::start(GATEWAY);
    let threads = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
        let line = status.lines().find(|line| line.starts_with("Threads:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    // Some start with the first that comes.
    assert_eq!(server.get(&path(&id(1), "wait=1")).status, 404);
    let before = threads();
    let wait = format!("wait={WAIT}");
    let mut waiting: Vec<_> = (0..many).map(|n| ask(&server, &id(n % 100), &wait)).collect();
    for connection in waiting.iter_mut().step_by(50) {
        assert!(connection.read_within(Duration::from_millis(5)).is_none());
    }
    assert_eq!(threads(), before);
    post(&server, &id(7), "DELIVERED", 1);
    for connection in waiting.iter_mut().skip(7).step_by(100) {
        assert_eq!(status(&connection.read().unwrap()), "DELIVERED");
    }
    let started = std::time::Instant::now();
    server.signal("-TERM");
    for (number, connection) in waiting.iter_mut().enumerate() {
        if number % 100 != 7 {
            connection.read().expect("an answer").assert_problem(404);
        }
    }
    assert_eq!(server.wait(), Some(0));
    // Far less than they would have waited.
    assert!(started.elapsed() < Duration::from_secs(WAIT), "{:?}", started.elapsed());
}

#[test]
fn long_polls_beyond_the_limit_are_503_and_the_others_go_on() {
    /// Requests that are refused at least.
    const BEYOND: u64 = 10;
    /// Messages that are waited for in turn.
    const MESSAGES: u64 = 100;
    let limit = raised_limit();
    if limit < 2 * MAX_LONG_POLLS {
        eprintln!("NOT TESTED: {limit} descriptors are too few");
        return;
    }
    let server = Server::start(GATEWAY);
    let wait = format!("wait={WAIT}");
    let mut waiting: Vec<_> =
        (0..MAX_LONG_POLLS + BEYOND).map(|n| ask(&server, &id(n % MESSAGES), &wait)).collect();
    // Waits for nothing, but needs a place too.
    let mut connection = server.connect();
    let mut briefly = || {
        let path = path(&id(MESSAGES), "wait=0");
        connection.send("GET", &path, &[("X-Api-Key", KEY)], b"")
    };
    let refused = eventually(|| Some(briefly()).filter(|answer| answer.status == 503));
    refused.assert_problem(503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    server.get(&format!("/api/messagestatus/{}", id(MESSAGES))).assert_problem(404);
    post(&server, &id(7), "DELIVERED", 1);
    let (mut told, mut beyond) = (0, 0);
    for connection in waiting.iter_mut().skip(7).step_by(usize::try_from(MESSAGES).unwrap()) {
        match connection.read().unwrap() {
            answer if answer.status == 503 => beyond += 1,
            answer => {
                assert_eq!(status(&answer), "DELIVERED");
                told += 1;
            }
        }
    }
    assert!(told > 0 && beyond <= BEYOND, "{told} told, {beyond} refused");
    // Their places are free.
    eventually(|| (briefly().status == 404).then_some(()));
}
