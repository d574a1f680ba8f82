//! Time to start, memory, and size on disk.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::fixture::{Fixture, MESSAGES};
use crate::corpus::Corpus;
use crate::figures::{Results, float};
use crate::load::{Pace, Span, Stream, run};
use crate::process::memory_of;
use crate::receiver::Receiver;
use crate::requests::Requests;
use crate::round::render_get;
use crate::server::Server;

/// Number of timed starts of each server.
const STARTS: usize = 15;
/// Idle time of a server before its memory is measured.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// Measures bytes on disk, times of starts, and idle memory.
pub(super) fn footprint(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let Fixture { mut server, corpus, acknowledged } =
        Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    acknowledged.read_back(&server, &corpus.ids)?;
    server.stop()?;
    let stored = database_bytes(&server.folder)?;
    results.add_values("footprint", "bytes a message", vec![float(stored) / float(MESSAGES)]);
    let binary = fs::metadata(bench.paths.product())?.len();
    results.add_values("footprint", "binary", vec![float(binary)]);

    let known_id = corpus.ids.first().context("no message")?;
    let known_path = format!("/api/messagestatus/{known_id}");
    let mut other_corpus = Corpus::new(3, None)?;
    other_corpus.fresh(1)?;
    let unknown_id = other_corpus.ids.first().context("no message")?;
    let unknown_path = format!("/api/messagestatus/{unknown_id}");

    let (mut noop, mut empty, mut existing) = (Vec::new(), Vec::new(), Vec::new());
    let (mut idle_noop, mut idle_empty, mut idle_existing) = (0, 0, 0);
    for start in 0..STARTS {
        let is_last = start + 1 == STARTS;
        for (receiver, path, status, times, idle) in [
            (Receiver::Noop, "/constant/2", 200, &mut noop, &mut idle_noop),
            (Receiver::Ours, &unknown_path, 404, &mut empty, &mut idle_empty),
        ] {
            let since = Instant::now();
            let mut new_server = Server::start(&bench.paths, receiver, &[])?;
            expect_answer(&new_server, path, status)?;
            times.push(since.elapsed().as_secs_f64() * 1e3);
            if is_last {
                *idle = idle_memory(&new_server)?;
            }
            new_server.stop()?;
        }
        let since = Instant::now();
        server.restart(&bench.paths)?;
        expect_answer(&server, &known_path, 200)?;
        existing.push(since.elapsed().as_secs_f64() * 1e3);
        if is_last {
            idle_existing = idle_memory(&server)?;
        }
        server.stop()?;
    }
    results.add_values("footprint", "start noop", noop);
    results.add_values("footprint", "start empty", empty);
    results.add_values("footprint", "start existing", existing);
    results.add_values("footprint", "idle noop", vec![float(idle_noop)]);
    results.add_values("footprint", "idle empty", vec![float(idle_empty)]);
    results.add_values("footprint", "idle existing", vec![float(idle_existing)]);
    Ok(())
}

/// Anonymous memory of an idle server, in bytes.
fn idle_memory(server: &Server) -> Result<u64> {
    thread::sleep(IDLE_TIME);
    memory_of(&server.processes)
}

/// Sends one query, and fails unless the answer has the expected status.
fn expect_answer(server: &Server, path: &str, expected: u16) -> Result<()> {
    let mut requests = Requests::default();
    requests.push(|bytes| render_get(bytes, path));
    let mut answered = None;
    let stream = Stream {
        requests: &requests,
        repeat: false,
        connections: 1,
        pace: Pace::Closed,
        on_answer: &mut |_, status, _| {
            answered = Some(status);
            Ok(())
        },
    };
    let tallies = run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(
        tallies.len() == 1 && answered == Some(expected),
        "{path} is answered with {answered:?} instead of {expected}"
    );
    Ok(())
}

/// Total size of the database's files, in bytes.
pub(super) fn database_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("mirror.db") {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}
