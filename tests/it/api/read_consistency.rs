//! Consistency of reads: a status never goes down, and an acknowledged webhook is visible on any connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

/// Statuses in their order of precedence.
const STATUSES: [&str; 6] =
    ["PROVIDER_ACCEPTANCE", "SENT", "REJECTED", "UNDELIVERED", "DELIVERED", "READ"];
/// Number of messages in a round.
const MESSAGES: usize = 20;
/// Number of connections that post at a time, and of connections that query.
const CONNECTIONS: usize = 4;

fn get(connection: &mut Connection, path: &str) -> Answer {
    connection.send("GET", path, &[("X-Api-Key", KEY)], b"")
}

/// Posts a webhook as senders do: retries it after a 503.
fn deliver(connection: &mut Connection, path: &str, body: &str) {
    let mut answers = (0..100).map(|_| connection.send("POST", path, JSON, body.as_bytes()));
    let last = answers
        .find(|answer| answer.status != 503)
        .expect("the webhook is accepted in at most 100 attempts");
    assert_eq!(last.status, 200, "{last:?}");
}

/// Decrements the number of posting threads when dropped, also by a panic, so that no thread waits for it.
struct PostingThread<'a>(&'a AtomicUsize);

impl Drop for PostingThread<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Index of the message's status in the order of precedence, from 1; 0 if there is no message.
fn rank(answer: &Answer) -> usize {
    if answer.status == 404 {
        return 0;
    }
    let status = answer.json()["message"]["status"].as_str().unwrap().to_owned();
    1 + STATUSES.iter().position(|known| *known == status).unwrap()
}

#[test]
fn no_reader_sees_a_status_go_down() {
    let mut rng = SeededRng::for_test("statuses");
    let since = Instant::now();
    let rounds = repetitions(4, 20, 1_000);
    let server = Server::start(GATEWAY);
    let queries = AtomicU64::new(0);
    for round in 0..rounds {
        let message_id = |index: usize| id(round * 100 + u64::try_from(index).unwrap());
        // Each status of each message twice, in random order.
        let mut deliveries: Vec<_> = (0..MESSAGES)
            .flat_map(|index| STATUSES.map(|status| (index, status)))
            .flat_map(|delivery| [delivery, delivery])
            .collect();
        for end in (1..deliveries.len()).rev() {
            let other = rng.below(u64::try_from(end).unwrap() + 1);
            deliveries.swap(end, usize::try_from(other).unwrap());
        }
        let (next, posting) = (AtomicUsize::new(0), AtomicUsize::new(CONNECTIONS));
        let seen: [AtomicUsize; MESSAGES] = Default::default();
        let post = || {
            let _thread = PostingThread(&posting);
            let mut connection = server.connect();
            while let Some((index, status)) = deliveries.get(next.fetch_add(1, Ordering::Relaxed)) {
                let body = webhook_on("RCS", &message_id(*index), status, 1).to_string();
                deliver(&mut connection, &webhook_path(""), &body);
            }
        };
        let watch = |suffix: &str| {
            let mut connection = server.connect();
            while posting.load(Ordering::Relaxed) > 0 {
                for (index, seen) in seen.iter().enumerate() {
                    let before = seen.load(Ordering::SeqCst);
                    let path = format!("/api/messagestatus/{}{suffix}", message_id(index));
                    let now = rank(&get(&mut connection, &path));
                    assert!(now >= before, "message {index}: {now} was seen after {before}");
                    seen.fetch_max(now, Ordering::SeqCst);
                    queries.fetch_add(1, Ordering::Relaxed);
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
    let queries = queries.into_inner();
    assert!(queries > rounds, "{queries} queries in {rounds} rounds");
    report(
        "P16",
        &rng,
        &[("rounds", rounds), ("queries", queries), ("statuses that went down", 0)],
        since,
    );
}

#[test]
fn an_acknowledged_webhook_is_visible_on_any_connection() {
    let rng = SeededRng::for_test("acknowledged webhooks");
    let since = Instant::now();
    let pairs = repetitions(200, 2_000, 100_000);
    let server = Server::start(GATEWAY);
    let (next, posting) = (AtomicU64::new(1), AtomicUsize::new(CONNECTIONS));
    let post_and_query = || {
        let _thread = PostingThread(&posting);
        let (mut posting_connection, mut querying_connection) =
            (server.connect(), server.connect());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > pairs {
                return;
            }
            for status in ["PROVIDER_ACCEPTANCE", "READ"] {
                let body = webhook_on("RCS", &id(number), status, 1).to_string();
                let path = webhook_path("&destination=%2B393331234567");
                deliver(&mut posting_connection, &path, &body);
                let path = format!("/api/messagestatus/{}", id(number));
                let answer = get(&mut querying_connection, &path);
                assert_eq!(answer.json()["message"]["status"], status, "message {number}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(post_and_query);
        }
        // Lists take longer than queries of one message.
        let mut connection = server.connect();
        while posting.load(Ordering::Relaxed) > 0 {
            let path = "/api/messagestatus/phonenumber/+393331234567";
            assert_eq!(get(&mut connection, path).status, 200);
        }
    });
    report("P18", &rng, &[("acknowledged and queried", 2 * pairs)], since);
}
