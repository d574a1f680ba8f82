//! Settings of the store.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::memory_budget::{MemoryBudget, Share};
use crate::metrics::Commits;

/// Default maximum number of cached messages: those that most senders report on within half a minute, at a
/// thousand messages a second.
const CACHE_MAX_MESSAGES: usize = 1 << 15;

/// Default numbers of runs of the index at which they are merged. With 64 runs of a quarter of the cache, half a
/// million messages move to the base together, and the filters take two megabytes.
const INDEX_RUNS: RangeInclusive<usize> = 1..=64;

/// Default time limit of a search part for the cache, and again for the table; other queries wait for the
/// thread meanwhile.
const SEARCH_PART_TIME: Duration = Duration::from_millis(25);

/// Settings of the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of the database; its directory is created if it does not exist.
    pub path: PathBuf,
    /// Maximum number of commands queued for the writer, deliveries among them.
    pub max_in_flight: usize,
    /// Maximum number of rows in quarantine.
    pub quarantine_max_rows: u64,
    /// Maximum size of the quarantine, in bytes.
    pub quarantine_max_bytes: u64,
    /// Maximum number of cached messages; above it the oldest are written back to the table.
    pub cache_max_messages: usize,
    /// Maximum size of the cached messages, in bytes.
    pub cache_max_bytes: usize,
    /// Number of runs of the index at which they are merged: the first for a small file, the last for a large one.
    pub index_runs: RangeInclusive<usize>,
    /// Time limit of a search part for the cache, and again for the table.
    pub search_part: Duration,
    /// Time to wait for another process to release the database.
    pub lock_wait: Duration,
    /// Whether to accept a file system with unreliable locks or syncs.
    pub allow_network_filesystem: bool,
    /// Whether another program checkpoints the WAL, and this one does not.
    pub external_checkpoints: bool,
    /// Directory for a second fail-stop mark for the next start of this boot, besides the database's
    /// directory.
    pub runtime_directory: Option<PathBuf>,
    /// Commit metrics.
    pub commits: Commits,
    /// Memory budget of the service, in which the cache has its share.
    pub budget: MemoryBudget,
    /// Whether hourly counts are kept; set to false only to measure their cost.
    pub hourly_counts: bool,
}

impl Settings {
    /// Settings for the database at this path, with the defaults of the configuration.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_in_flight: 1_024,
            quarantine_max_rows: 100_000,
            quarantine_max_bytes: 1 << 30,
            cache_max_messages: CACHE_MAX_MESSAGES,
            cache_max_bytes: Share::Cache.limit(),
            index_runs: INDEX_RUNS,
            search_part: SEARCH_PART_TIME,
            lock_wait: Duration::ZERO,
            allow_network_filesystem: false,
            external_checkpoints: false,
            runtime_directory: None,
            commits: Commits::default(),
            budget: MemoryBudget::default(),
            hourly_counts: true,
        }
    }
}
