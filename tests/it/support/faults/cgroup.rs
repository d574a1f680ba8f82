//! A memory cgroup of 256 MiB, and the memory that a server and its sockets take.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Server;

/// The memory that a server may use.
pub(crate) const LIMIT: u64 = 256 << 20;

/// A memory cgroup with that limit; removed when dropped.
pub(crate) struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    /// A cgroup of this name; none where this takes a permission that we lack, which is said.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let name = format!("statusmirror-{name}-{}", std::process::id());
        let (folder, limit) = if v1.is_dir() {
            (v1.join(name), "memory.limit_in_bytes")
        } else {
            (v2.join(name), "memory.max")
        };
        let made =
            fs::create_dir(&folder).and_then(|()| fs::write(folder.join(limit), LIMIT.to_string()));
        if let Err(error) = made {
            eprintln!("SKIPPED: no memory cgroup {}: {error}", folder.display());
            drop(fs::remove_dir(&folder));
            return None;
        }
        Some(Self(folder))
    }

    /// From now on this server is in it.
    pub(crate) fn hold(&self, server: &Server) {
        fs::write(self.0.join("cgroup.procs"), server.process().to_string()).unwrap();
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// The most memory that a server has had, in bytes.
pub(crate) fn peak_memory(server: &Server) -> u64 {
    memory(server, "VmHWM")
}

/// Bytes of a server's memory by this name in `/proc/PID/status`, such as `RssAnon` or `RssFile`.
pub(crate) fn memory(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    let line = status.lines().find_map(of_name).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Bytes of all TCP sockets' buffers in the kernel, which a cgroup of version 1 does not count.
pub(crate) fn socket_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages = tcp.split_once(" mem ").unwrap().1;
    pages.trim().parse::<u64>().unwrap() * 4_096
}
