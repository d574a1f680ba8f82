//! Database file larger than memory. The server runs in a control group that limits its memory, including the
//! page cache of its files. Afterwards the same file is measured without the limit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::footprint::database_bytes;
use super::growing_store::GrowingStore;
use super::reads::{measure_idle, point_requests};
use super::sustained::ROUNDS;
use super::{Bench, interleaved};
use crate::figures::{Results, float};

/// Memory limit of the server.
const LIMIT_BYTES: u64 = 128 << 20;
/// Number of stored messages.
const MESSAGES: usize = 1_000_000;
/// Folder of the memory controller in version 1 of control groups.
const CGROUP_V1_MEMORY: &str = "/sys/fs/cgroup/memory";
/// Folder of all controllers in version 2.
const CGROUP_V2: &str = "/sys/fs/cgroup";

/// Control group of this program. When dropped, it is removed if it has no processes.
struct ControlGroup {
    folder: PathBuf,
    limit_file: &'static str,
    unlimited: &'static str,
}

impl ControlGroup {
    fn new() -> Result<Self> {
        let name = format!("statusmirror-bench-{}", std::process::id());
        let controllers = fs::read_to_string(Path::new(CGROUP_V2).join("cgroup.subtree_control"))
            .unwrap_or_default();
        let group = if controllers.split_whitespace().any(|controller| controller == "memory") {
            let folder = Path::new(CGROUP_V2).join(name);
            Self { folder, limit_file: "memory.max", unlimited: "max" }
        } else if Path::new(CGROUP_V1_MEMORY).exists() {
            let folder = Path::new(CGROUP_V1_MEMORY).join(name);
            Self { folder, limit_file: "memory.limit_in_bytes", unlimited: "-1" }
        } else {
            bail!("this machine has no memory controller of control groups");
        };
        fs::create_dir(&group.folder).context("cannot create a control group; run as root")?;
        Ok(group)
    }

    fn set_limit(&self, value: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(self.limit_file), value)?)
    }

    fn add_process(&self, process: u32) -> Result<()> {
        Ok(fs::write(self.folder.join("cgroup.procs"), process.to_string())?)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.folder).unwrap_or_default();
    }
}

/// Measures webhooks and queries with the limit and without.
pub(super) fn memory(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let group = ControlGroup::new()?;
    let mut store = GrowingStore::new(bench)?;
    group.set_limit(&LIMIT_BYTES.to_string())?;
    for process in &store.server.processes {
        group.add_process(*process)?;
    }
    let elapsed = store.grow(MESSAGES)?;
    let stored = database_bytes(&store.server.folder)?;
    ensure!(stored > 3 * LIMIT_BYTES, "the file has only {stored} bytes");
    results.add_values("memory", "limit", vec![float(LIMIT_BYTES)]);
    results.add_values("memory", "stored", vec![float(stored)]);
    results.add_values("memory", "seconds to fill", vec![elapsed.as_secs_f64()]);
    let mut rng = fastrand::Rng::with_seed(5);
    for is_limited in [true, false] {
        if !is_limited {
            group.set_limit(group.unlimited)?;
            store.read_back()?;
        }
        let rounds = interleaved(
            bench,
            &["ingest", "point"],
            ROUNDS,
            |subject| format!("{subject} {}", if is_limited { "limited" } else { "unlimited" }),
            |subject| match subject {
                "ingest" => store.round(),
                _ => measure_idle(&store.server, &point_requests(&store.corpus, &mut rng)?),
            },
        )?;
        results.add_rounds("memory", rounds);
    }
    store.finish()
}
