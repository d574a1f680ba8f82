//! A file that is larger than memory: the server in a control group whose memory, with the pages of
//! its files, is limited; and the same file afterwards without the limit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::footprint::database;
use super::growth::Growing;
use super::reads::{any_point, idle};
use super::{Bench, ROUNDS, interleaved};
use crate::figures::{Results, float};

/// What the server may use.
const LIMIT: u64 = 128 << 20;
/// How many messages are stored.
const MESSAGES: usize = 1_000_000;
/// The first version of control groups has a folder for each kind of limit.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";

/// A control group of our own; removed when dropped, if nobody is in it any more.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    unlimited: &'static str,
}

impl Group {
    fn new() -> Result<Self> {
        let name = format!("statusmirror-bench-{}", std::process::id());
        let offered = fs::read_to_string(Path::new(SECOND).join("cgroup.subtree_control"))
            .unwrap_or_default();
        let group = if offered.split_whitespace().any(|controller| controller == "memory") {
            let folder = Path::new(SECOND).join(name);
            Self { folder, limit: "memory.max", unlimited: "max" }
        } else if Path::new(FIRST).exists() {
            let folder = Path::new(FIRST).join(name);
            Self { folder, limit: "memory.limit_in_bytes", unlimited: "-1" }
        } else {
            bail!("control groups cannot limit memory here");
        };
        fs::create_dir(&group.folder).context("needs root: cannot make a control group")?;
        Ok(group)
    }

    fn limit(&self, value: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(self.limit), value)?)
    }

    fn take(&self, process: u32) -> Result<()> {
        Ok(fs::write(self.folder.join("cgroup.procs"), process.to_string())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.folder).unwrap_or_default();
    }
}

/// Webhooks and queries with the limit and without.
pub(super) fn memory(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let group = Group::new()?;
    let mut growing = Growing::new(bench)?;
    group.limit(&LIMIT.to_string())?;
    for process in &growing.server.processes {
        group.take(*process)?;
    }
    let taken = growing.grow(MESSAGES)?;
    let stored = database(&growing.server.folder)?;
    ensure!(stored > 3 * LIMIT, "the file has only {stored} bytes");
    results.values("memory", "limit", vec![float(LIMIT)]);
    results.values("memory", "stored", vec![float(stored)]);
    results.values("memory", "seconds to fill", vec![taken.as_secs_f64()]);
    let mut rng = fastrand::Rng::with_seed(5);
    for limited in [true, false] {
        if !limited {
            group.limit(group.unlimited)?;
            growing.read_back()?;
        }
        let rounds = interleaved(
            bench,
            &["ingest", "point"],
            ROUNDS,
            |subject| format!("{subject} {}", if limited { "limited" } else { "unlimited" }),
            |subject| match subject {
                "ingest" => growing.round(),
                _ => idle(&growing.server, &any_point(&growing.corpus, &mut rng)?),
            },
        )?;
        results.rounds("memory", rounds);
    }
    growing.read_back()?;
    growing.server.stop()
}
