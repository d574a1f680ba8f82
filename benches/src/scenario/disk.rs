//! How long this disk takes to sync.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::figures::median;

/// How many syncs are timed.
const SYNCS: usize = 500;
/// How much is written before each.
const WRITTEN: usize = 4 << 10;
/// The file system's own number in `statfs`.
const TMPFS: u64 = 0x0102_1994;

/// The median time of appending 4 KiB and syncing them, in microseconds.
pub(crate) fn sync_time(folder: &Path) -> Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let since = Instant::now();
        file.write_all(&[1; WRITTEN])?;
        file.sync_data()?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(path)?;
    median(times).context("no syncs")
}

/// Clears the folder that stores are kept in of what a run that was interrupted has left, and fails
/// if there is no disk behind it: a sync would cost nothing there.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let kind = rustix::fs::statfs(folder)?.f_type;
    ensure!(u64::try_from(kind) != Ok(TMPFS), "{} is in memory", folder.display());
    Ok(())
}
