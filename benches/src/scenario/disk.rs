//! Sync time of the disk that holds the stores.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::figures::median;

/// Number of timed syncs.
const SYNCS: usize = 500;
/// Bytes written before each sync.
const WRITE_BYTES: usize = 4 << 10;
/// Type of tmpfs in `statfs`.
const TMPFS_TYPE: u64 = 0x0102_1994;

/// Median time to append 4 KiB and sync them, in microseconds.
pub(crate) fn sync_time(folder: &Path) -> Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let since = Instant::now();
        file.write_all(&[1; WRITE_BYTES])?;
        file.sync_data()?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(path)?;
    median(times).context("no syncs")
}

/// Empties the folder of the stores, in which an interrupted run may have left files. Fails if the folder is
/// on a tmpfs, because a sync costs nothing there.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let kind = rustix::fs::statfs(folder)?.f_type;
    ensure!(
        u64::try_from(kind) != Ok(TMPFS_TYPE),
        "{} is on a tmpfs; a disk is needed",
        folder.display()
    );
    Ok(())
}
