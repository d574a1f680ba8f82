//! Consistency of reads: a status never goes down, and an acknowledged webhook is visible on any connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::*;

/// In their order of precedence.
const STATUSES: [&str; 6] =
    ["PROVIDER_ACCEPTANCE", "SENT", "REJECTED", "UNDELIVERED", "DELIVERED", "READ"];
/// How many messages are told of at a time.
const MESSAGES: usize = 20;
/// How many connections post at a time, and how many ask.
const CONNECTIONS: usize = 4;

fn ask(connection: &mut Connection, path: &str) -> Answer {
    connection.send("GET", path, &[("X-Api-Key", KEY)], b"")
}

/// Posts a webhook as senders do: again, where that is asked for.
fn deliver(connection: &mut Connection, path: &str, body: &str) {
    let mut answers = (0..100).map(|_| connection.send("POST", path, JSON, body.as_bytes()));
    let last = answers.find(|answer| answer.status != 503).expect("it is never taken");
    assert_eq!(last.status, 200, "{last:?}");
}

/// Counts one fewer when dropped, also by a panic: whoever waits for all is not left waiting.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of the message's status in the order of precedence, from 1; 0 if there is no message.
fn rank(shown: &Answer) -> usize {
    if shown.status == 404 {
        return 0;
    }
    let status = shown.json()["message"]["status"].as_str().unwrap().to_owned();
    1 + STATUSES.iter().position(|known| *known == status).unwrap()
}

#[test]
fn no_reader_sees_a_status_go_down() {
    let mut chance = Chance::of("statuses");
    let since = Instant::now();
    let rounds = times(4, 20, 1_000);
    let server = Server::start(GATEWAY);
    let asked = AtomicU64::new(0);
    for round in 0..rounds {
        let message = |place: usize| id(round * 100 + u64::try_from(place).unwrap());
        // Each status of each message twice, in random order.
        let mut said: Vec<_> = (0..MESSAGES)
            .flat_map(|place| STATUSES.map(|status| (place, status)))
            .flat_map(|one| [one, one])
            .collect();
        for end in (1..said.len()).rev() {
            let other = chance.below(u64::try_from(end).unwrap() + 1);
            said.swap(end, usize::try_from(other).unwrap());
        }
        let (next, posting) = (AtomicUsize::new(0), AtomicUsize::new(CONNECTIONS));
        let seen: [AtomicUsize; MESSAGES] = Default::default();
        let post = || {
            let _ended = Ended(&posting);
            let mut connection = server.connect();
            while let Some((place, status)) = said.get(next.fetch_add(1, Ordering::Relaxed)) {
                let body = webhook_on("RCS", &message(*place), status, 1).to_string();
                deliver(&mut connection, &webhook_path(""), &body);
            }
        };
        let watch = |detail: &str| {
            let mut connection = server.connect();
            while posting.load(Ordering::Relaxed) > 0 {
                for (place, seen) in seen.iter().enumerate() {
                    let before = seen.load(Ordering::SeqCst);
                    let path = format!("/api/messagestatus/{}{detail}", message(place));
                    let now = rank(&ask(&mut connection, &path));
                    assert!(now >= before, "message {place}: {now} was seen after {before}");
                    seen.fetch_max(now, Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for number in 0..CONNECTIONS {
                scope.spawn(post);
                scope.spawn(move || watch(if number % 2 == 0 { "" } else { "/history" }));
            }
        });
    }
    let looks = asked.into_inner();
    assert!(looks > rounds, "nobody looked");
    report("P16", &chance, &[("rounds", rounds), ("looks", looks), ("steps back", 0)], since);
}

#[test]
fn an_acknowledged_webhook_is_visible_on_any_connection() {
    let chance = Chance::of("what was acknowledged");
    let since = Instant::now();
    let pairs = times(200, 2_000, 100_000);
    let server = Server::start(GATEWAY);
    let (next, posting) = (AtomicU64::new(1), AtomicUsize::new(CONNECTIONS));
    let post_and_ask = || {
        let _ended = Ended(&posting);
        let (mut saying, mut asking) = (server.connect(), server.connect());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > pairs {
                return;
            }
            for status in ["PROVIDER_ACCEPTANCE", "READ"] {
                let body = webhook_on("RCS", &id(number), status, 1).to_string();
                let path = webhook_path("&destination=%2B393331234567");
                deliver(&mut saying, &path, &body);
                let path = format!("/api/messagestatus/{}", id(number));
                let shown = ask(&mut asking, &path);
                assert_eq!(shown.json()["message"]["status"], status, "message {number}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(post_and_ask);
        }
        // Another asks for what takes longer.
        let mut connection = server.connect();
        while posting.load(Ordering::Relaxed) > 0 {
            let path = "/api/messagestatus/phonenumber/+393331234567";
            assert_eq!(ask(&mut connection, path).status, 200);
        }
    });
    report("P18", &chance, &[("acknowledged and asked for", 2 * pairs)], since);
}
