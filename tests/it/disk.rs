//! A disk that has faults when it is told to.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// A disk that has faults when it is told to; see `tests/faults/disk.c`.
pub(crate) struct FaultyDisk {
    folder: TempDir,
}

impl FaultyDisk {
    /// A disk that is well.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("disk.so"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/disk.c"))
            .status()
            .unwrap();
        assert!(built.success());
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// What puts a server on this disk.
    pub(crate) fn envs(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.path("disk.so")), ("DISK_FAULT", self.path("fault"))]
    }

    /// From now on it has this fault.
    pub(crate) fn is(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// From now on it has none.
    pub(crate) fn is_well(&self) {
        fs::remove_file(self.path("fault")).unwrap();
    }
}
