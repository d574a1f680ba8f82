//! A server in a memory cgroup of 256 MiB, as a container limits it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crowd::raised_limit;
use crate::faults::times;
use crate::histories::{fill_with, history_path};
use crate::raw::{Raw, get};
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

/// A server in a memory cgroup of this name, if there can be one.
fn bounded(name: &str) -> (Server, Option<MemoryCgroup>) {
    let cgroup = MemoryCgroup::new(name);
    let server = Server::start(GATEWAY);
    if let Some(cgroup) = &cgroup {
        cgroup.hold(&server);
    }
    (server, cgroup)
}

/// Asserts that a server has kept its bounds, takes a webhook and ends: only then the cgroup can be removed.
fn end(mut server: Server) {
    let (peak, sockets) = (peak_memory(&server), socket_memory());
    assert!(peak <= LIMIT, "{peak} bytes");
    assert!(sockets <= LIMIT, "{sockets} bytes in sockets");
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn any_number_of_large_webhooks_fits_into_256_mib() {
    let (server, _cgroup) = bounded("large");
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
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(0))).status, 200);
    end(server);
}

/// Connections with an unfinished head each, which has a header of so many bytes.
fn unfinished_heads(server: &Server, many: u64, bytes: usize) -> Vec<Connection> {
    let head = format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}", "a".repeat(bytes));
    let open = |_| {
        let mut connection = server.connect();
        // The server may have answered and closed already.
        drop(connection.try_write(head.as_bytes()));
        connection
    };
    (0..many).map(open).collect()
}

/// Statuses of the answers on these connections; none of a connection that was closed without one.
fn statuses(connections: &mut [Connection]) -> Vec<u16> {
    connections.iter_mut().filter_map(Connection::read).map(|answer| answer.status).collect()
}

#[test]
fn any_number_of_unfinished_heads_fits_into_256_mib() {
    let (server, _cgroup) = bounded("heads");
    let many = times(2_500, 2_500, 5_000).min(raised_limit() / 2);
    // Just below the limit of a head.
    let mut unfinished = unfinished_heads(&server, many, 30_000);
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).status, 200);
    let told = statuses(&mut unfinished);
    assert!(told.iter().all(|status| [408, 503].contains(status)), "{told:?}");
    assert!(told.contains(&503), "all of them had room");
    drop(unfinished);
    end(server);
}

#[test]
fn a_connection_with_a_rejected_head_takes_little_memory_until_its_client_leaves() {
    const EACH: u64 = 16 << 10;
    let server = Server::start(GATEWAY);
    let many = 1_500.min(raised_limit() / 2);
    let before = peak_memory(&server);
    // Above the limit of a head.
    let mut rejected = unfinished_heads(&server, many, 60_000);
    let told = statuses(&mut rejected);
    assert!(told.iter().all(|status| [431, 503].contains(status)), "{told:?}");
    let grown = peak_memory(&server) - before;
    let bound = EACH * many;
    assert!(grown <= bound, "{many} connections took {grown} bytes");
}

/// Whether a request is refused, or else answered; reads the head of the answer and little of its body.
fn is_refused(raw: &mut Raw) -> bool {
    let head = String::from_utf8(raw.until("\r\n\r\n")).unwrap();
    let is_refused = head.starts_with("HTTP/1.1 503 ");
    assert!(is_refused || head.starts_with("HTTP/1.1 200 "), "{head}");
    is_refused
}

/// Notifications of a large message.
fn notifications() -> u32 {
    u32::try_from(times(300, 900, 900)).unwrap()
}

#[test]
fn any_number_of_large_histories_fits_into_256_mib() {
    let (server, _cgroup) = bounded("histories");
    raised_limit();
    // A control character takes six bytes in JSON.
    let message = fill_with(&server, notifications(), '\u{1}');
    let mut numbers = 10..;
    let mut post = || {
        let number = numbers.next().unwrap();
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).status, 200);
    };
    let mut readers: Vec<_> = (0..times(500, 1_500, 3_000))
        .map(|_| {
            let mut raw = Raw::with_small_buffer(server.port);
            raw.send(get(&history_path(&message)));
            raw
        })
        .collect();
    post();
    let mut refused = 0;
    readers.retain_mut(|raw| {
        let is_refused = is_refused(raw);
        refused += u32::from(is_refused);
        !is_refused
    });
    assert!(refused > 0 && readers.len() > 100, "{refused} refused, {} not", readers.len());
    for _ in 0..times(2, 10, 50) {
        for reader in &mut readers {
            reader.take(40_000);
        }
        post();
    }
    drop(readers);
    end(server);
}

#[test]
fn any_number_of_large_pages_fits_into_256_mib() {
    let (server, _cgroup) = bounded("pages");
    raised_limit();
    // It takes five bytes in HTML.
    let message = fill_with(&server, notifications(), '<');
    let path = format!("/ui/message/{message}");
    let mut readers: Vec<_> = (0..times(400, 1_500, 3_000))
        .map(|_| {
            let mut raw = Raw::with_small_buffer(server.port);
            raw.send(get(&path));
            raw
        })
        .collect();
    assert_eq!(server.post(&webhook(&id(2), "SENT", 1).to_string()).status, 200);
    let refused = readers.iter_mut().map(is_refused).filter(|refused| *refused).count();
    assert!(0 < refused && refused < readers.len(), "{refused} refused");
    drop(readers);
    eventually(|| (server.get(&path).status == 200).then_some(()));
    end(server);
}

#[test]
fn any_number_of_large_lists_fits_into_256_mib() {
    let (server, _cgroup) = bounded("lists");
    raised_limit();
    let mut connection = server.connect();
    // The one takes six bytes in JSON, the other five in HTML.
    let (in_json, in_html) = ("\u{1}".repeat(1_024), "<".repeat(1_024));
    for number in 0..100 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] = serde_json::json!({
            "name": in_json, "id": "p", "status": in_json, "code": in_html, "message": in_html,
        });
        body["message"]["reference"] = serde_json::json!({"service": "S", "key": "k"});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let paths = [
        "/api/messagestatus/reference/k?count=100",
        "/api/messages?count=100",
        "/ui/messages?count=100",
    ];
    let many = times(200, 800, 1_200);
    let mut readers: Vec<_> = (0..many)
        .zip(paths.iter().cycle())
        .map(|(_, path)| {
            let mut raw = Raw::with_small_buffer(server.port);
            raw.send(get(path));
            raw
        })
        .collect();
    assert_eq!(server.post(&webhook(&id(200), "SENT", 1).to_string()).status, 200);
    let refused = readers.iter_mut().map(is_refused).filter(|refused| *refused).count();
    assert!(0 < refused && refused < readers.len(), "{refused} refused");
    drop(readers);
    for path in paths {
        eventually(|| (server.get(path).status == 200).then_some(()));
    }
    end(server);
}
