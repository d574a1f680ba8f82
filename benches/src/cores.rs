//! Cores of their own for what is measured and for what measures it.
//!
//! A generator that competes with the server for a core is late on its schedule, counts that too, and gives
//! the server an easier time the harder it is to be fast. So where requests follow a schedule it has the last
//! core to itself, and the server all others.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores, divided; this thread has all of them again when it is dropped.
pub(crate) struct Divided {
    all: CpuSet,
    generator: CpuSet,
}

impl Divided {
    /// Calls `start`, whose processes get all cores but one, and leaves that one to this thread. Where there is
    /// only one, both use it.
    pub(crate) fn start<T>(start: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let all = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rfind(|core| all.is_set(*core)).context("no core")?;
        let mut servers = all;
        if all.count() > 1 {
            servers.unset(last);
        }
        let mut generator = CpuSet::new();
        generator.set(last);
        let divided = Self { all, generator };
        sched_setaffinity(None, &servers)?;
        let started = start()?;
        sched_setaffinity(None, &divided.generator)?;
        Ok((divided, started))
    }
}

impl Drop for Divided {
    #[expect(clippy::print_stderr, reason = "whoever runs the bench learns what went wrong")]
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.all) {
            eprintln!("the generator stays on one core: {error}");
        }
    }
}
