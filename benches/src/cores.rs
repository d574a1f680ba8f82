//! Separate cores for the server and for the load generator.
//!
//! A generator that competes with the server for a core falls behind its schedule. The delay is counted as
//! latency, and the server gets less load than intended. So for requests on a schedule the generator has the
//! last core to itself, and the server has all others.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores divided between servers and this thread. When dropped, this thread may use all of them again.
pub(crate) struct CoreSplit {
    all: CpuSet,
    generator: CpuSet,
}

impl CoreSplit {
    /// Calls `start`, whose processes get all cores but the last, and then moves this thread to the last one.
    /// On a machine with a single core both use it.
    pub(crate) fn start<T>(start: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let all = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rfind(|core| all.is_set(*core)).context("no core")?;
        let mut servers = all;
        if all.count() > 1 {
            servers.unset(last);
        }
        let mut generator = CpuSet::new();
        generator.set(last);
        let split = Self { all, generator };
        sched_setaffinity(None, &servers)?;
        let started = start()?;
        sched_setaffinity(None, &split.generator)?;
        Ok((split, started))
    }
}

impl Drop for CoreSplit {
    #[expect(clippy::print_stderr, reason = "a destructor cannot return its error")]
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.all) {
            eprintln!("the load generator stays on one core: {error}");
        }
    }
}
