//! Temporary folder of the database.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Type of tmpfs in `statfs`.
const TMPFS_TYPE: u64 = 0x0102_1994;

/// Temporary folder among the build outputs of the bench.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates the folder, and removes what an interrupted run may have left in it. Fails if it is on a tmpfs,
    /// because nothing is written to a disk there.
    pub(crate) fn create() -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let benches = package.parent().context("the folder of the package has no parent")?;
        let folder = Self { path: benches.join("target/layouts-data") };
        if folder.path.exists() {
            fs::remove_dir_all(&folder.path)?;
        }
        fs::create_dir_all(&folder.path)?;
        let kind = rustix::fs::statfs(&folder.path)?.f_type;
        ensure!(
            u64::try_from(kind) != Ok(TMPFS_TYPE),
            "{} is on a tmpfs; a disk is needed",
            folder.path.display()
        );
        Ok(folder)
    }

    /// Path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("layout.db")
    }

    /// Removes the folder and what is in it.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}
