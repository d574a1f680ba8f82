//! A memory cgroup of 256 MiB, and memory figures of a server and its sockets.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Server;

/// Memory limit of the cgroup, in bytes.
pub(crate) const LIMIT_BYTES: u64 = 256 << 20;

/// Memory cgroup with a limit of [`LIMIT_BYTES`] bytes; removed when dropped.
pub(crate) struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    /// Creates a cgroup of this name. Without the permission it prints a line and returns `None`.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let name = format!("statusmirror-{name}-{}", std::process::id());
        let (folder, limit) = if v1.is_dir() {
            (v1.join(name), "memory.limit_in_bytes")
        } else {
            (v2.join(name), "memory.max")
        };
        let created = fs::create_dir(&folder)
            .and_then(|()| fs::write(folder.join(limit), LIMIT_BYTES.to_string()));
        if let Err(error) = created {
            eprintln!("SKIPPED: no memory cgroup {}: {error}", folder.display());
            drop(fs::remove_dir(&folder));
            return None;
        }
        Some(Self(folder))
    }

    /// Moves a server into the cgroup.
    pub(crate) fn add(&self, server: &Server) {
        fs::write(self.0.join("cgroup.procs"), server.process().to_string()).unwrap();
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// Peak resident memory of a server, in bytes.
pub(crate) fn peak_memory(server: &Server) -> u64 {
    memory(server, "VmHWM")
}

/// Memory figure of a server, in bytes, by its name in `/proc/PID/status`, such as `RssAnon` or `RssFile`.
pub(crate) fn memory(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let value_of = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    let value = status.lines().find_map(value_of).unwrap();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Size of the kernel's buffers of all TCP sockets, in bytes. A cgroup of version 1 does not count them.
pub(crate) fn socket_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages = tcp.split_once(" mem ").unwrap().1;
    pages.trim().parse::<u64>().unwrap() * 4_096
}
