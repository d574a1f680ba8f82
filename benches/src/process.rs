//! CPU time, written bytes and memory of processes, and CPU time of the machine, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::figures::float;

/// CPU time of all running threads of a process. The time of a thread that has ended is not included; threads
/// of the servers here end only after seconds without work.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    Ok(cpu_by_thread(process)?.values().sum())
}

/// CPU time of the running threads of a process, by the threads' names. Threads of the same name are added up.
fn cpu_by_thread(process: u32) -> Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::<_, Duration>::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let folder = task?.path();
        // A thread may end before its files are read.
        let (Ok(name), Ok(text)) =
            (fs::read_to_string(folder.join("comm")), fs::read_to_string(folder.join("schedstat")))
        else {
            continue;
        };
        let nanoseconds = text.split_ascii_whitespace().next().context("an empty schedstat")?;
        *times.entry(name.trim().to_owned()).or_default() +=
            Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(times)
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

/// CPU time of these processes and their descendants, by the names of their threads.
pub(crate) fn cpu_of(roots: &[u32]) -> Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::<_, Duration>::new();
    for root in roots {
        for process in tree(*root)? {
            for (name, time) in cpu_by_thread(process).unwrap_or_default() {
                *times.entry(name).or_default() += time;
            }
        }
    }
    Ok(times)
}

/// Bytes that these processes and their running descendants have caused to be written to a disk. The kernel
/// counts a page when it becomes dirty, so a page that is written again before it has reached the disk counts
/// once.
pub(crate) fn written_by(roots: &[u32]) -> Result<u64> {
    let mut total = 0;
    for root in roots {
        for process in tree(*root)? {
            let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
            total += field(&io, "write_bytes:").unwrap_or_default();
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

/// CPU time of the machine, summed over its cores.
pub(crate) fn machine_cpu() -> Result<Duration> {
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
    use std::time::Instant;

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
        // On a busy machine it takes longer until this process has worked for so long.
        while cpu(own).unwrap() < before + Duration::from_millis(20) {
            assert!(since.elapsed() < Duration::from_mins(1), "no work was seen");
        }
        assert!(memory_of(&[own]).unwrap() > 100_000);
    }

    #[test]
    fn bytes_written_to_the_disk_are_counted() {
        let own = [std::process::id()];
        let path = std::env::temp_dir().join(format!("bench-written-{}", own[0]));
        let before = written_by(&own).unwrap();
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let written = written_by(&own).unwrap() - before;
        fs::remove_file(path).unwrap();
        // On a tmpfs nothing is written.
        assert!(written == 0 || written >= 1 << 20, "{written}");
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
