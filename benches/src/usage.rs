//! Resource use of a server during a round: CPU by thread, memory, bytes written, and WAL frames.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::{cpu, cpu_of, machine_cpu, memory_of, written_by};
use crate::server::Server;
use crate::wal::FrameCounter;

/// Groups of threads, each with the beginning of its threads' names. All other threads are [`OTHERS`].
const GROUPS: [(&str, &str); 4] = [
    ("writer", "writer"),
    ("checkpoints", "checkpoints"),
    ("readers", "reader-"),
    // The workers of actix, which serve HTTP.
    ("workers", "actix-"),
];
/// Group of the threads that belong to no other.
pub(crate) const OTHERS: &str = "others";

/// Counters of the measured server, of this program, and of the whole machine, at the begin of a window.
pub(crate) struct Counters {
    at: Instant,
    threads: BTreeMap<String, Duration>,
    generator: Duration,
    machine: Duration,
    written: u64,
    frames: Option<FrameCounter>,
}

/// Use of resources in a window.
pub(crate) struct Usage {
    /// Length of the window.
    pub(crate) elapsed: Duration,
    /// CPU time of the server.
    pub(crate) server: Duration,
    /// CPU time of the server by group of threads.
    pub(crate) threads: BTreeMap<&'static str, Duration>,
    /// CPU time of this program.
    pub(crate) generator: Duration,
    /// CPU use of all other processes, in cores.
    pub(crate) others: f64,
    /// Anonymous memory of the server at the end of the window, in bytes.
    pub(crate) memory: u64,
    /// Bytes that the server caused to be written to the disk.
    pub(crate) written: u64,
    /// Frames that the server appended to the WAL of its database; `None` if they could not be counted.
    pub(crate) wal_frames: Option<u64>,
}

impl Counters {
    /// Reads the counters, and starts to count the frames of statusmirror's WAL.
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let frames = FrameCounter::start(&server.folder.join("mirror.db"))?;
        let machine = machine_cpu()?;
        let written = written_by(&server.processes)?;
        let threads = cpu_of(&server.processes)?;
        let generator = cpu(std::process::id())?;
        Ok(Self { at: Instant::now(), threads, generator, machine, written, frames })
    }

    /// Use of resources since the start.
    pub(crate) fn stop(self, server: &Server) -> Result<Usage> {
        let elapsed = self.at.elapsed();
        let generator = cpu(std::process::id())?.saturating_sub(self.generator);
        let mut threads = BTreeMap::<_, Duration>::new();
        for (name, time) in cpu_of(&server.processes)? {
            let before = self.threads.get(&name).copied().unwrap_or_default();
            *threads.entry(group(&name)).or_default() += time.saturating_sub(before);
        }
        let server_cpu = threads.values().sum();
        let written = written_by(&server.processes)?.saturating_sub(self.written);
        let machine = machine_cpu()?.saturating_sub(self.machine);
        let others = machine.saturating_sub(server_cpu + generator);
        Ok(Usage {
            elapsed,
            server: server_cpu,
            threads,
            generator,
            others: others.as_secs_f64() / elapsed.as_secs_f64(),
            memory: memory_of(&server.processes)?,
            written,
            wal_frames: self.frames.map(FrameCounter::stop).transpose()?.flatten(),
        })
    }
}

/// Group of the threads of this name.
fn group(name: &str) -> &'static str {
    let found = GROUPS.into_iter().find(|(_, begin)| name.starts_with(begin));
    found.map_or(OTHERS, |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_grouped_by_the_begin_of_their_names() {
        // The kernel keeps 15 characters of a name.
        let names = ["writer", "reader-1", "actix-server wo", "checkpoints", "log"];
        assert_eq!(names.map(group), ["writer", "readers", "workers", "checkpoints", OTHERS]);
    }
}
