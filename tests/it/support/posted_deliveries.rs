//! Connections that post until they are closed, and a check that every acknowledged delivery is stored.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::*;

/// Posted and acknowledged deliveries, each with one notification of a message of its own. The number in
/// the message's id identifies a delivery.
#[derive(Default)]
pub(crate) struct PostedDeliveries {
    /// Number of posted deliveries.
    posted: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    /// Number of acknowledged deliveries that were checked.
    checked: AtomicUsize,
    unanswered: Mutex<Vec<u64>>,
    /// Deliveries answered with 503 and `Retry-After`.
    rejected: Mutex<Vec<u64>>,
}

impl PostedDeliveries {
    /// Posts on this many connections until each of them is closed or gets a 503. Calls `act` meanwhile,
    /// after `more` further acknowledgements or when no connection posts any more.
    pub(crate) fn post(&self, server: &Server, connections: u64, more: u64, act: impl FnOnce()) {
        let target = self.acknowledged() + more;
        thread::scope(|scope| {
            let posting: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| self.post_on(server.port))).collect();
            while self.acknowledged() < target && posting.iter().any(|task| !task.is_finished()) {
                thread::sleep(Duration::from_micros(100));
            }
            act();
        });
    }

    /// Posts on one connection until it is closed or gets a 503.
    fn post_on(&self, port: u16) {
        let Ok(mut connection) = Connection::try_to(port) else { return };
        loop {
            let number = 1 + self.posted.fetch_add(1, Ordering::Relaxed);
            let body = webhook(&id(number), "SENT", 1).to_string();
            let answer = connection.try_send("POST", &webhook_path(""), JSON, body.as_bytes());
            let Some(answer) = answer else {
                self.unanswered.lock().unwrap().push(number);
                return;
            };
            if answer.status == 503 {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                self.rejected.lock().unwrap().push(number);
                return;
            }
            assert_eq!(answer.outcome(), "applied");
            self.acknowledged.lock().unwrap().push(number);
            if answer.header("connection") == Some("close") {
                return;
            }
        }
    }

    /// Number of acknowledged deliveries.
    pub(crate) fn acknowledged(&self) -> u64 {
        u64::try_from(self.acknowledged.lock().unwrap().len()).unwrap()
    }

    /// Takes the deliveries that were posted and not answered.
    pub(crate) fn take_unanswered(&self) -> Vec<u64> {
        std::mem::take(&mut self.unanswered.lock().unwrap())
    }

    /// Takes the deliveries that the sender has to retry: those answered with 503, and the unanswered ones.
    pub(crate) fn take_retriable(&self) -> Vec<u64> {
        let mut retriable = std::mem::take(&mut *self.rejected.lock().unwrap());
        retriable.extend(self.take_unanswered());
        retriable
    }

    /// Records that a retry of this delivery was acknowledged.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.acknowledged.lock().unwrap().push(number);
    }

    /// Keeps the first `count` acknowledged deliveries and forgets the later ones.
    pub(crate) fn keep_first(&self, count: u64) {
        self.acknowledged.lock().unwrap().truncate(usize::try_from(count).unwrap());
    }

    /// Checks that the server has each delivery that was acknowledged since the last check.
    pub(crate) fn check(&self, server: &Server) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let before = self.checked.swap(acknowledged.len(), Ordering::Relaxed);
        let mut connection = server.connect();
        for number in &acknowledged[before..] {
            let path = format!("/api/messagestatus/{}/history", id(*number));
            let mut answer = connection.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            // On an overloaded machine the request itself may arrive too slowly for the server.
            while answer.status == 408 {
                connection = server.connect();
                answer = connection.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            }
            assert_eq!(answer.status, 200, "message {number} is lost");
            assert_eq!(answer.json()["message"]["status"], "SENT", "message {number}");
            assert_eq!(answer.json()["history"].as_array().unwrap().len(), 1, "message {number}");
        }
    }

    /// Checks all acknowledged deliveries, then stops the server and checks its database: its integrity, and
    /// that each message has both a notification and a record.
    pub(crate) fn check_all(&self, server: &mut Server, database: &Path) {
        self.checked.store(0, Ordering::Relaxed);
        self.check(server);
        server.kill();
        server.restart();
        assert_eq!(server.terminate(), Some(0));
        let db = rusqlite::Connection::open(database).unwrap();
        let text_of =
            |query: &str| -> String { db.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(text_of("PRAGMA integrity_check"), "ok");
        let records =
            text_of("SELECT count(*) || ' messages' FROM message WHERE status IS NOT NULL");
        for table in ["message", "notification", "notification WHERE changed_from = -1"] {
            assert_eq!(text_of(&format!("SELECT count(*) || ' messages' FROM {table}")), records);
        }
    }
}
