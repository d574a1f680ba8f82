//! What processes and the machine have used, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::figures::float;

/// The CPU time of a process, of all its threads. A thread that ends takes its share with it; those
/// of the servers here end only after seconds without work.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may be gone before it is read.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanoseconds = text.split_ascii_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

/// A process and all that come from it.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace() {
                found.push(child.parse()?);
            }
        }
    }
    Ok(found)
}

/// The CPU time of these processes and all that come from them.
pub(crate) fn cpu_of(roots: &[u32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for root in roots {
        for process in tree(*root)? {
            total += cpu(process).unwrap_or_default();
        }
    }
    Ok(total)
}

/// The anonymous memory of these processes and all that come from them, in bytes.
pub(crate) fn memory_of(roots: &[u32]) -> Result<u64> {
    let mut total = 0;
    for root in roots {
        for process in tree(*root)? {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            total += field(&status, "RssAnon:").unwrap_or_default() << 10;
        }
    }
    Ok(total)
}

/// The number behind a name in one of the kernel's files.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// What everybody has used up to a moment: these servers, this program, and all together.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    server: Duration,
    generator: Duration,
    machine: Duration,
}

impl Usage {
    /// Up to now.
    pub(crate) fn now(servers: &[u32]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_of(servers)?,
            generator: cpu(std::process::id())?,
            machine: machine()?,
        })
    }

    /// What was used since another moment.
    pub(crate) fn since(self, before: Self) -> Used {
        let elapsed = self.at - before.at;
        let server = self.server.saturating_sub(before.server);
        let generator = self.generator.saturating_sub(before.generator);
        let machine = self.machine.saturating_sub(before.machine);
        let others = machine.saturating_sub(server + generator);
        let others = others.as_secs_f64() / elapsed.as_secs_f64();
        Used { elapsed, server, generator, others }
    }
}

/// What was used in some time.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    /// The time.
    pub(crate) elapsed: Duration,
    /// CPU time of the servers.
    pub(crate) server: Duration,
    /// CPU time of this program.
    pub(crate) generator: Duration,
    /// How many cores anything else used.
    pub(crate) others: f64,
}

/// The time that all cores have worked.
fn machine() -> Result<Duration> {
    let ticks = busy(&fs::read_to_string(Path::new("/proc/stat"))?).context("no /proc/stat")?;
    Ok(Duration::from_secs_f64(float(ticks) / float(rustix::param::clock_ticks_per_second())))
}

/// The ticks in the kernel's first line that are neither idle nor waiting. What guests use is in
/// `user` already.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let all: u64 = ticks.iter().take(8).sum();
    Some(all - ticks.get(3)? - ticks.get(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_work() {
        assert_eq!(busy("cpu  10 20 30 1000 500 1 2 3 10 0\ncpu0 1 1 1"), Some(66));
    }

    #[test]
    fn a_process_is_seen_to_work_and_to_hold_memory() {
        let own = std::process::id();
        let before = cpu(own).unwrap();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(50) {}
        assert!(cpu(own).unwrap() >= before + Duration::from_millis(20));
        assert!(memory_of(&[own]).unwrap() > 100_000);
    }

    #[test]
    fn children_belong_to_the_tree() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let found = tree(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }
}
