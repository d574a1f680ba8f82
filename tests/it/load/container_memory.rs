//! A server in a memory cgroup of 256 MiB, as a container limits it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use statusmirror::memory_budget::Share;

use crate::support::faults::amounts::times;
use crate::support::faults::cgroup::{LIMIT, MemoryCgroup, memory, peak_memory, socket_memory};
use crate::support::history::{fill_with, history_path};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::raised_limit;
use crate::support::*;

/// A webhook with texts that have so many bytes.
fn large(number: u64, bytes: usize) -> String {
    let mut body = webhook(&id(number), "SENT", 1);
    let text = "x".repeat(bytes);
    body["message"]["provider"] =
        serde_json::json!({"name": "N", "id": "p", "status": "s", "code": "0", "message": text});
    body["message"]["reference"] = serde_json::json!({"service": "S", "key": "k".repeat(500)});
    body.to_string()
}

/// A webhook with the longest texts that are kept, about 8 KB.
fn long(number: u64) -> String {
    let mut body: serde_json::Value = serde_json::from_str(&large(number, 1_024)).unwrap();
    let text = "x".repeat(1_024);
    for word in ["name", "status"] {
        body["message"]["provider"][word] = serde_json::json!(text);
    }
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
    /// Just below the limit of a head.
    const BYTES: usize = 30_000;
    let (server, _cgroup) = bounded("heads");
    let many = times(2_500, 2_500, 5_000).min(raised_limit() / 2);
    let room = Share::Heads.limit() / BYTES;
    // The server sees all of them together, however long it takes to send them.
    server.pause();
    let mut unfinished = unfinished_heads(&server, many, BYTES);
    server.resume();
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).status, 200);
    let told = statuses(&mut unfinished);
    assert!(!told.is_empty() && told.iter().all(|status| *status == 408), "{told:?}");
    assert!(told.len() <= room, "{} had room, of {} at most", told.len(), room);
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
    assert!(told.iter().all(|status| *status == 431), "{told:?}");
    let grown = peak_memory(&server) - before;
    let bound = EACH * many;
    assert!(grown <= bound, "{many} connections took {grown} bytes");
}

/// Whether a request is refused, or else answered; reads the head of the answer and little of its body.
fn is_refused(raw: &mut RawClient) -> bool {
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
            let mut raw = RawClient::with_small_buffer(server.port);
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
fn listeners_and_others_who_wait_fit_into_256_mib() {
    let (server, _cgroup) = bounded("listeners");
    let part = raised_limit() / 20;
    // None of them reads.
    let mut listeners: Vec<_> = (0..1_900.min(2 * part))
        .map(|_| {
            let mut raw = RawClient::with_small_buffer(server.port);
            raw.send(format!(
                "GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\nLast-Event-ID: 0\r\n\r\n"
            ));
            raw
        })
        .collect();
    let mut connection = server.connect();
    // Far more than the kernel keeps for each; a control character takes six bytes.
    let text = "\u{1}".repeat(1_000);
    for number in 0..100 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] = serde_json::json!({
            "name": text, "id": "p", "status": text, "code": "0", "message": text,
        });
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let mut others = Vec::new();
    let mut open = |many: u64, said: &str| {
        others.extend((0..many).map(|_| {
            let mut raw = RawClient::to(server.port);
            raw.send(said);
            raw
        }));
    };
    open(4 * part, "GET /livez HTTP/1.1\r\nHost: t\r\n\r\nG");
    open(part, &get(&format!("/api/messagestatus/{}?wait=30", id(1_000))));
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 262144\r\n\r\n", webhook_path(""));
    open(part.min(300), &(head + &" ".repeat(100_000)));
    // Half of the share of answers has room for what about 500 of them were sent last.
    if listeners.len() == 1_900 {
        eventually(|| {
            let mut ended = listeners.iter_mut().map(|raw| raw.has("\"unavailable\""));
            ended.any(|ended| ended).then_some(())
        });
        // The other half is left to queries: this answer takes more than a megabyte.
        assert_eq!(server.get("/api/messages?count=100").status, 200);
    }
    drop((listeners, others));
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
            let mut raw = RawClient::with_small_buffer(server.port);
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
            let mut raw = RawClient::with_small_buffer(server.port);
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

/// Posts requests, each a path and a body, on several connections at a time, so that they share commits.
fn post_together(server: &Server, many: u64, request: impl Fn(u64) -> (String, String) + Sync) {
    const TOGETHER: u8 = 32;
    let request = &request;
    thread::scope(|scope| {
        for first in 0..TOGETHER {
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in (u64::from(first)..many).step_by(TOGETHER.into()) {
                    let (path, body) = request(number);
                    let mut post = || connection.send("POST", &path, JSON, body.as_bytes()).status;
                    // A busy machine sheds load.
                    while post() == 503 {}
                }
            });
        }
    });
}

/// The most bytes of anonymous memory that a server has while this is done.
fn most_memory_while<T>(server: &Server, done: impl FnOnce() -> T) -> (u64, T) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(memory(server, "RssAnon"));
                thread::sleep(std::time::Duration::from_millis(1));
            }
            most
        });
        let done = done();
        ended.store(true, Ordering::Relaxed);
        (looking.join().unwrap(), done)
    })
}

#[test]
fn a_list_or_a_replay_of_a_large_quarantine_takes_little_memory() {
    const QUERY_BYTES: u64 = 25_000;
    let server = Server::start(GATEWAY);
    let entries = times(1_200, 4_000, 10_000);
    let query = "q".repeat(usize::try_from(QUERY_BYTES).unwrap());
    post_together(&server, entries, |number| {
        (webhook_path(&format!("&x={query}")), format!(r#"{{"type": "{number}"}}"#))
    });
    let bound = entries * QUERY_BYTES / 2;
    for command in [&["list"][..], &["replay", "--all"]] {
        let before = memory(&server, "RssAnon");
        let run = || server.run(&[&["quarantine"], command].concat());
        let (most, output) = most_memory_while(&server, run);
        let lines = text(&output.stdout).lines().count();
        assert_eq!(u64::try_from(lines).unwrap(), entries, "{command:?}");
        let grown = most.saturating_sub(before);
        assert!(grown < bound, "{command:?} of {entries} entries took {grown} bytes");
    }
}

#[test]
fn any_large_export_fits_into_256_mib() {
    let (server, _cgroup) = bounded("export");
    let many = times(500, 40_000, 80_000);
    // The database gets larger than the memory.
    post_together(&server, many, |number| (webhook_path(""), long(number)));
    for _ in 0..3 {
        let exported = server.get("/api/messages?format=csv-plain");
        assert_eq!(exported.status, 200);
        assert_eq!(u64::try_from(exported.body.lines().count()).unwrap(), many + 1);
    }
    end(server);
}
