//! A server without a configuration file.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::*;

/// A server without a configuration file in this folder.
pub(crate) struct UnconfiguredServer(pub(crate) Child, pub(crate) u16);

impl UnconfiguredServer {
    pub(crate) fn start(folder: &Path) -> Self {
        let log = folder.join("log");
        let child = Command::new(PROGRAM)
            .current_dir(folder)
            .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")
            .stdout(fs::File::create(folder.join("shown")).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let port = eventually(|| listening(&fs::read_to_string(&log).unwrap()));
        Self(child, port)
    }
}

impl Drop for UnconfiguredServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
