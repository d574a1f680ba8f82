//! Connections that post until something happens, and a check that everything acknowledged is stored.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::*;

/// What was posted, and what of it was acknowledged: one notification for each message.
#[derive(Default)]
pub(crate) struct PostedDeliveries {
    posted: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    checked: AtomicUsize,
    unanswered: Mutex<Vec<u64>>,
    refused: Mutex<Vec<u64>>,
}

impl PostedDeliveries {
    /// Posts on so many connections until each of them breaks or is asked to come again. Does
    /// something meanwhile, once so many more are acknowledged.
    pub(crate) fn post(&self, server: &Server, connections: u64, more: u64, act: impl FnOnce()) {
        let enough = self.acknowledged() + more;
        thread::scope(|scope| {
            let posting: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| self.post_on(server.port))).collect();
            while self.acknowledged() < enough && posting.iter().any(|one| !one.is_finished()) {
                thread::sleep(Duration::from_micros(100));
            }
            act();
        });
    }

    /// Posts on one connection until it breaks, ends, or is asked to come again.
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
                self.refused.lock().unwrap().push(number);
                return;
            }
            assert_eq!(answer.outcome(), "applied");
            self.acknowledged.lock().unwrap().push(number);
            if answer.header("connection") == Some("close") {
                return;
            }
        }
    }

    /// How many were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        u64::try_from(self.acknowledged.lock().unwrap().len()).unwrap()
    }

    /// What was posted and not answered, since this was last asked.
    pub(crate) fn unanswered(&self) -> Vec<u64> {
        std::mem::take(&mut self.unanswered.lock().unwrap())
    }

    /// What was asked to come again, or was not answered, since this was last asked.
    pub(crate) fn refused(&self) -> Vec<u64> {
        let mut refused = std::mem::take(&mut *self.refused.lock().unwrap());
        refused.extend(self.unanswered());
        refused
    }

    /// Notes that one of them was acknowledged when it came again.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.acknowledged.lock().unwrap().push(number);
    }

    /// Strikes out what was acknowledged after so many.
    pub(crate) fn only_first(&self, many: u64) {
        self.acknowledged.lock().unwrap().truncate(usize::try_from(many).unwrap());
    }

    /// Reads back what was acknowledged since the last check.
    pub(crate) fn check(&self, server: &Server) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let before = self.checked.swap(acknowledged.len(), Ordering::Relaxed);
        let mut asking = server.connect();
        for number in &acknowledged[before..] {
            let path = format!("/api/messagestatus/{}/history", id(*number));
            let mut shown = asking.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            // On a machine that stands still for long, the question itself is too slow.
            while shown.status == 408 {
                asking = server.connect();
                shown = asking.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            }
            assert_eq!(shown.status, 200, "message {number} is lost");
            assert_eq!(shown.json()["message"]["status"], "SENT", "message {number}");
            assert_eq!(shown.json()["history"].as_array().unwrap().len(), 1, "message {number}");
        }
    }

    /// Reads back all that was ever acknowledged, ends the server, and looks at its file: it is
    /// sound, and of each notification the record follows or none of it is there.
    pub(crate) fn check_all(&self, server: &mut Server, database: &Path) {
        self.checked.store(0, Ordering::Relaxed);
        self.check(server);
        server.kill();
        server.start_again();
        assert_eq!(server.terminate(), Some(0));
        let file = rusqlite::Connection::open(database).unwrap();
        let ask = |query: &str| -> String { file.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        let said = ask("SELECT count(*) || ' messages' FROM message WHERE status IS NOT NULL");
        for table in ["message", "notification", "notification WHERE changed_from = -1"] {
            assert_eq!(ask(&format!("SELECT count(*) || ' messages' FROM {table}")), said);
        }
    }
}
