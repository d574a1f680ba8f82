//! A server without a configuration file, or with the file of its working directory.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::*;

/// Running server; killed when dropped.
pub(crate) struct UnconfiguredServer {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl UnconfiguredServer {
    /// Starts a server with this working directory; its standard output goes to the file `stdout` there.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::spawn(folder, &[("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")])
    }

    /// Starts a server with the configuration file of this working directory.
    pub(crate) fn start_with_file(folder: &Path) -> Self {
        Self::spawn(folder, &[])
    }

    fn spawn(folder: &Path, envs: &[(&str, &str)]) -> Self {
        let log = folder.join("log");
        let child = Command::new(PROGRAM)
            .current_dir(folder)
            .envs(envs.iter().copied())
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let port = wait_for(|| listen_port(&fs::read_to_string(&log).unwrap()));
        Self { child, port }
    }
}

impl Drop for UnconfiguredServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
