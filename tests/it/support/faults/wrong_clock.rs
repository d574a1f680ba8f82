//! A preloaded clock with an offset, or with a failure.

use std::fs;

use tempfile::TempDir;

use crate::support::faults::fault_disk::compile;

/// Clock with an adjustable offset, from the preloaded library `tests/preload/clock.c`.
pub(crate) struct WrongClock {
    folder: TempDir,
}

impl WrongClock {
    pub(crate) fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        compile("clock.c", &["-shared", "-fPIC"], &clock.folder.path().join("clock.so"));
        clock
    }

    /// Environment variables that give a server this clock.
    pub(crate) fn envs(&self) -> [(&'static str, String); 2] {
        let path = |name| self.folder.path().join(name).to_str().unwrap().to_owned();
        [("LD_PRELOAD", path("clock.so")), ("CLOCK_OFFSET", path("offset"))]
    }

    /// Environment variables of a clock that [fails](Self::fail_for) for a thread.
    pub(crate) fn failing_envs(&self) -> [(&'static str, String); 2] {
        let [library, _offset] = self.envs();
        let failure = self.folder.path().join("failure").to_str().unwrap().to_owned();
        [library, ("CLOCK_FAILURE", failure)]
    }

    /// Makes the clock fail once for the thread of this name, which then panics.
    pub(crate) fn fail_for(&self, thread: &str) {
        fs::write(self.folder.path().join("failure"), thread).unwrap();
    }

    /// Sets the clock's offset, in seconds.
    pub(crate) fn jump(&self, offset: i64) {
        fs::write(self.folder.path().join("offset"), offset.to_string()).unwrap();
    }
}
