//! Process exit does not wait for a reader of the log.

use std::fs::File;
use std::io::{Read, pipe};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

use crate::support::faults::wrong_clock::WrongClock;
use crate::support::*;

/// Maximum duration of an exit. An exit that waits for a reader of the log never ends.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Server whose standard error is a full pipe that is never read.
struct UnreadServer {
    folder: TempDir,
    port: u16,
    child: Child,
    _reader: std::io::PipeReader,
}

impl UnreadServer {
    /// Starts a server on a free port that is at least `first_port`.
    fn start(first_port: u16) -> Self {
        Self::start_with(first_port, &[])
    }

    /// Starts a server with these environment variables.
    fn start_with(first_port: u16, envs: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port(first_port);
        let (reader, writer) = pipe().unwrap();
        fill(&writer);
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\nurl = \"sqlite:{}\"\n\
             [api_keys.tests]\nkey = \"{KEY}\"\n{GATEWAY}",
            folder.path().join("mirror.db").display()
        );
        canaries::configuration(&config);
        fs::write(folder.path().join("statusmirror.toml"), config).unwrap();
        let child = Command::new(PROGRAM)
            .arg("--config")
            .arg(folder.path().join("statusmirror.toml"))
            .envs(envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        Self { folder, port, child, _reader: reader }
    }

    /// Posts 300 webhooks. Each is a line of the log.
    fn post_many(&self) {
        let mut connection = wait_for(|| Connection::try_to(self.port).ok());
        for number in 1..=300 {
            let body = webhook(&id(number), "SENT", 1).to_string();
            let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
            assert_eq!(answer.outcome(), "applied");
        }
    }

    /// Waits for the exit; returns the exit code.
    fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < EXIT_TIMEOUT {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("the process has not exited; it waits for a reader of the log");
    }
}

impl Drop for UnreadServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Fills a pipe up to its last byte.
fn fill(writer: &std::io::PipeWriter) {
    // `dd` opens the pipe again, so that only its own file description becomes non-blocking.
    let dd = "dd if=/dev/zero of=/dev/stdout bs=1 count=1000000 oflag=nonblock";
    let mut filling = Command::new("sh");
    filling.args(["-c", dd]).stdout(writer.try_clone().unwrap()).stderr(Stdio::null());
    assert!(!filling.status().unwrap().success(), "the pipe is not full");
}

#[test]
fn a_failed_store_stops_the_process_although_the_log_is_not_read() {
    let mut server = UnreadServer::start(26_000);
    server.post_many();
    fs::rename(server.folder.path().join("mirror.db-wal"), server.folder.path().join("gone"))
        .unwrap();
    let mut connection = Connection::to(server.port);
    let body = webhook(&id(1_000), "SENT", 1).to_string();
    if let Some(answer) = connection.try_send("POST", &webhook_path(""), JSON, body.as_bytes()) {
        answer.assert_problem(503);
    }
    assert_eq!(server.wait(), Some(74));
}

#[test]
fn a_shutdown_ends_although_the_log_is_not_read() {
    let mut server = UnreadServer::start(26_200);
    server.post_many();
    assert!(kill("-TERM", server.child.id()));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_panic_stops_the_process_although_the_log_is_not_read() {
    let clock = WrongClock::new();
    let mut server = UnreadServer::start_with(26_600, &clock.failing_envs());
    server.post_many();
    clock.fail_for("reader-0");
    // One of two consecutive queries goes to this thread.
    for _ in 0..2 {
        let mut connection = Connection::to(server.port);
        drop(connection.try_send("GET", "/api/messages", &[("X-Api-Key", KEY)], b""));
    }
    assert_eq!(server.wait(), Some(70));
}

#[test]
fn a_rejected_start_exits_although_standard_error_is_not_read() {
    let mut server = UnreadServer::start(26_400);
    server.post_many();
    let (_reader, writer) = pipe().unwrap();
    fill(&writer);
    let second = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.folder.path().join("statusmirror.toml"))
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let first = std::mem::replace(&mut server.child, second);
    assert_eq!(server.wait(), Some(75));
    server.child = first;
}

#[test]
fn the_last_lines_of_a_failure_are_in_the_log() {
    let mut server = Server::start(GATEWAY);
    fs::remove_file(server.folder.path().join("mirror.db-wal")).unwrap();
    server.post(EXAMPLE).assert_problem(503);
    assert_eq!(server.wait(), Some(74));
    let mut log = String::new();
    File::open(server.folder.path().join("log")).unwrap().read_to_string(&mut log).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("statusmirror: the database, its -wal or its .lock"), "{log}");
}
