//! CPU time and memory of processes and CPU time of the machine, as the kernel counts them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::figures::float;

/// CPU time of all running threads of a process. The time of a thread that has ended is not included; threads
/// of the servers here end only after seconds without work.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end before its file is read.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanoseconds = text.split_ascii_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

/// Ids of a process and its descendants.
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

/// CPU time of these processes and their descendants.
pub(crate) fn cpu_of(roots: &[u32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for root in roots {
        for process in tree(*root)? {
            total += cpu(process).unwrap_or_default();
        }
    }
    Ok(total)
}

/// Anonymous memory of these processes and their descendants, in bytes.
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

/// Number that follows a name at the start of a line, in a file of the kernel.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// CPU times at one moment: of the measured servers, of this program, and of the whole machine.
#[derive(Clone, Copy)]
pub(crate) struct CpuTimes {
    at: Instant,
    server: Duration,
    generator: Duration,
    machine: Duration,
}

impl CpuTimes {
    /// Reads the current CPU times.
    pub(crate) fn now(servers: &[u32]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_of(servers)?,
            generator: cpu(std::process::id())?,
            machine: machine_cpu()?,
        })
    }

    /// CPU usage since an earlier moment.
    pub(crate) fn since(self, before: Self) -> CpuUsage {
        let elapsed = self.at - before.at;
        let server = self.server.saturating_sub(before.server);
        let generator = self.generator.saturating_sub(before.generator);
        let machine = self.machine.saturating_sub(before.machine);
        let others = machine.saturating_sub(server + generator);
        let others = others.as_secs_f64() / elapsed.as_secs_f64();
        CpuUsage { elapsed, server, generator, others }
    }
}

/// CPU usage over a period.
#[derive(Clone, Copy)]
pub(crate) struct CpuUsage {
    /// Length of the period.
    pub(crate) elapsed: Duration,
    /// CPU time of the servers.
    pub(crate) server: Duration,
    /// CPU time of this program.
    pub(crate) generator: Duration,
    /// CPU use of all other processes, in cores.
    pub(crate) others: f64,
}

/// CPU time of the machine, summed over its cores.
fn machine_cpu() -> Result<Duration> {
    let ticks = busy_ticks(&fs::read_to_string(Path::new("/proc/stat"))?)
        .context("cannot parse /proc/stat")?;
    Ok(Duration::from_secs_f64(float(ticks) / float(rustix::param::clock_ticks_per_second())))
}

/// Ticks in the first line of `/proc/stat` that are neither `idle` nor `iowait`. The time of guests is part
/// of `user`.
fn busy_ticks(stat: &str) -> Option<u64> {
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
        assert_eq!(busy_ticks("cpu  10 20 30 1000 500 1 2 3 10 0\ncpu0 1 1 1"), Some(66));
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
