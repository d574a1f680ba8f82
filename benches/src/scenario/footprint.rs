//! What it takes besides time: to start, in memory, on disk.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::fixture::{Fixture, MESSAGES};
use crate::corpus::Corpus;
use crate::figures::{Results, float};
use crate::load::{Pace, Requests, Span, Stream, run};
use crate::process::memory_of;
use crate::receiver::Receiver;
use crate::round::get;
use crate::server::Server;

/// How many starts of each.
const STARTS: usize = 15;
/// How long a server is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(2);

/// Starts, memory, and bytes.
pub(super) fn footprint(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let Fixture { mut server, corpus, acknowledged } =
        Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    acknowledged.read_back(&server, &corpus.ids)?;
    server.stop()?;
    let stored = database(&server.folder)?;
    results.values("footprint", "bytes a message", vec![float(stored) / float(MESSAGES)]);
    let binary = fs::metadata(bench.places.product())?.len();
    results.values("footprint", "binary", vec![float(binary)]);

    let known = corpus.ids.first().context("no message")?;
    let known = format!("/api/messagestatus/{known}");
    let mut unknown = Corpus::new(3, None)?;
    unknown.fresh(1)?;
    let unknown = unknown.ids.first().context("no message")?;
    let unknown = format!("/api/messagestatus/{unknown}");

    let (mut noop, mut empty, mut existing) = (Vec::new(), Vec::new(), Vec::new());
    let (mut idle_noop, mut idle_empty, mut idle_existing) = (0, 0, 0);
    for start in 0..STARTS {
        let last = start + 1 == STARTS;
        for (receiver, path, status, times, idle) in [
            (Receiver::Noop, "/constant/2", 200, &mut noop, &mut idle_noop),
            (Receiver::Ours, &unknown, 404, &mut empty, &mut idle_empty),
        ] {
            let since = Instant::now();
            let mut fresh = Server::start(&bench.places, receiver, &[])?;
            first_answer(&fresh, path, status)?;
            times.push(since.elapsed().as_secs_f64() * 1e3);
            if last {
                *idle = rested(&fresh)?;
            }
            fresh.stop()?;
        }
        let since = Instant::now();
        server.start_again(&bench.places)?;
        first_answer(&server, &known, 200)?;
        existing.push(since.elapsed().as_secs_f64() * 1e3);
        if last {
            idle_existing = rested(&server)?;
        }
        server.stop()?;
    }
    results.values("footprint", "start noop", noop);
    results.values("footprint", "start empty", empty);
    results.values("footprint", "start existing", existing);
    results.values("footprint", "idle noop", vec![float(idle_noop)]);
    results.values("footprint", "idle empty", vec![float(idle_empty)]);
    results.values("footprint", "idle existing", vec![float(idle_existing)]);
    Ok(())
}

fn rested(server: &Server) -> Result<u64> {
    thread::sleep(REST);
    memory_of(&server.processes)
}

/// Asks once, and fails unless this is the status.
fn first_answer(server: &Server, path: &str, expected: u16) -> Result<()> {
    let mut requests = Requests::default();
    requests.push(|bytes| get(bytes, path));
    let mut found = None;
    let stream = Stream {
        requests: &requests,
        again: false,
        connections: 1,
        pace: Pace::Closed,
        answered: &mut |_, status, _| {
            found = Some(status);
            Ok(())
        },
    };
    let tallies = run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(tallies.len() == 1 && found == Some(expected), "{path} is answered by {found:?}");
    Ok(())
}

/// The size of everything that the store has made.
pub(super) fn database(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("mirror.db") {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}
