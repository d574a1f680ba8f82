//! A server in a memory cgroup of 256 MiB, as a container limits it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::faults::times;
use crate::support::*;

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
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Bytes of all TCP sockets' buffers in the kernel, which a cgroup of version 1 does not count.
pub(crate) fn socket_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages = tcp.split_once(" mem ").unwrap().1;
    pages.trim().parse::<u64>().unwrap() * 4_096
}

/// A webhook with texts that have so many bytes.
fn large(number: u64, bytes: usize) -> String {
    let mut body = webhook(&id(number), "SENT", 1);
    let text = "x".repeat(bytes);
    body["message"]["provider"] =
        serde_json::json!({"name": "N", "id": "p", "status": "s", "code": "0", "message": text});
    body["message"]["reference"] = serde_json::json!({"service": "S", "key": "k".repeat(500)});
    body.to_string()
}

#[test]
fn any_number_of_large_webhooks_fits_into_256_mib() {
    let cgroup = MemoryCgroup::new("large");
    let mut server = Server::start(GATEWAY);
    if let Some(cgroup) = &cgroup {
        cgroup.hold(&server);
    }
    let large_webhooks = times(250, 1_500, 5_000);
    let mut connection = server.connect();
    let mut post = |number, bytes| {
        let body = large(number, bytes);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    (0..large_webhooks).for_each(|number| post(number, 250_000));
    // As many of the longest texts that are kept as have room, and more.
    let long_texts = times(500, 20_000, 60_000);
    (10_000..10_000 + long_texts).for_each(|number| post(number, 1_024));
    let (peak, sockets) = (peak_memory(&server), socket_memory());
    assert!(peak <= LIMIT, "{peak} bytes");
    assert!(sockets <= LIMIT, "{sockets} bytes in sockets");
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(0))).status, 200);
    // The cgroup can be removed once nothing is in it.
    assert_eq!(server.terminate(), Some(0));
}
