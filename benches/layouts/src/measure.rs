//! CPU time and bytes written, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread, which writes, checkpoints and reads.
pub(crate) fn cpu() -> Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// CPU time of this thread, and bytes that this process wrote to the disk.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    cpu: Duration,
    /// Bytes written.
    pub(crate) written: u64,
}

impl Meter {
    /// Reads the current counts.
    pub(crate) fn now() -> Result<Self> {
        let io = fs::read_to_string("/proc/self/io")?;
        let written = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "))
            .context("no write_bytes in /proc/self/io")?;
        Ok(Self { cpu: cpu()?, written: written.parse()? })
    }

    /// CPU time and bytes since an earlier moment.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), written: self.written - before.written }
    }

    /// CPU time of each of so many messages, in microseconds.
    pub(crate) fn cpu_of_each(self, messages: u64) -> Result<f64> {
        Ok(self.cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(messages)?))
    }
}
