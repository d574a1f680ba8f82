//! A preloaded clock with an offset.

use std::fs;

use tempfile::TempDir;

use crate::support::faults::fault_disk::compile;

/// A clock that is as wrong as it is told to be; see `tests/preload/clock.c`.
pub(crate) struct WrongClock {
    folder: TempDir,
}

impl WrongClock {
    pub(crate) fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        compile("clock.c", &["-shared", "-fPIC"], &clock.folder.path().join("clock.so"));
        clock
    }

    /// What gives a server this clock.
    pub(crate) fn envs(&self) -> [(&'static str, String); 2] {
        let path = |name| self.folder.path().join(name).to_str().unwrap().to_owned();
        [("LD_PRELOAD", path("clock.so")), ("CLOCK_OFFSET", path("offset"))]
    }

    /// The same, of a clock that [fails](Self::fail_for) for a thread.
    pub(crate) fn failing_envs(&self) -> [(&'static str, String); 2] {
        let [library, _offset] = self.envs();
        let failure = self.folder.path().join("failure").to_str().unwrap().to_owned();
        [library, ("CLOCK_FAILURE", failure)]
    }

    /// It fails once for the thread of this name, which panics when it asks for the time.
    pub(crate) fn fail_for(&self, thread: &str) {
        fs::write(self.folder.path().join("failure"), thread).unwrap();
    }

    /// From now on it is off by so many seconds.
    pub(crate) fn jump(&self, offset: i64) {
        fs::write(self.folder.path().join("offset"), offset.to_string()).unwrap();
    }
}
