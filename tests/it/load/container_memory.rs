//! A server in a memory cgroup of 256 MiB, as in a container with this limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use statusmirror::memory_budget::Share;

use crate::support::faults::amounts::repetitions;
use crate::support::faults::cgroup::{
    LIMIT_BYTES, MemoryCgroup, memory, peak_memory, socket_memory,
};
use crate::support::history::{history_path, post_long_history};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::raise_open_file_limit;
use crate::support::*;

/// Webhook whose provider message has `bytes` bytes.
fn large_webhook(number: u64, bytes: usize) -> String {
    let mut body = webhook(&id(number), "SENT", 1);
    let text = "x".repeat(bytes);
    body["message"]["provider"] =
        serde_json::json!({"name": "N", "id": "p", "status": "s", "code": "0", "message": text});
    body["message"]["reference"] = serde_json::json!({"service": "S", "key": "k".repeat(500)});
    body.to_string()
}

/// Webhook with the longest texts that are stored, about 8 KB.
fn longest_webhook(number: u64) -> String {
    let mut body: serde_json::Value = serde_json::from_str(&large_webhook(number, 1_024)).unwrap();
    let text = "x".repeat(1_024);
    for member in ["name", "status"] {
        body["message"]["provider"][member] = serde_json::json!(text);
    }
    body.to_string()
}

/// Starts a server in a memory cgroup of this name, or without one if none can be created.
fn start_in_cgroup(name: &str) -> (Server, Option<MemoryCgroup>) {
    let cgroup = MemoryCgroup::new(name);
    let server = Server::start(GATEWAY);
    if let Some(cgroup) = &cgroup {
        cgroup.add(&server);
    }
    (server, cgroup)
}

/// Asserts that a server kept its memory limit, accepts a webhook and stops. Then its cgroup can be removed.
fn check_and_stop(mut server: Server) {
    let (peak, sockets) = (peak_memory(&server), socket_memory());
    assert!(peak <= LIMIT_BYTES, "{peak} bytes");
    assert!(sockets <= LIMIT_BYTES, "{sockets} bytes in sockets");
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn any_number_of_large_webhooks_fits_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("large");
    let large_webhooks = repetitions(250, 1_500, 5_000);
    let mut connection = server.connect();
    let mut post = |number, bytes| {
        let body = large_webhook(number, bytes);
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    (0..large_webhooks).for_each(|number| post(number, 250_000));
    // More webhooks with the longest stored text than the memory has room for.
    let long_texts = repetitions(500, 20_000, 60_000);
    (10_000..10_000 + long_texts).for_each(|number| post(number, 1_024));
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(0))).status, 200);
    check_and_stop(server);
}

/// Opens `count` connections with an unfinished head each, which has a header of `bytes` bytes.
fn unfinished_heads(server: &Server, count: u64, bytes: usize) -> Vec<Connection> {
    let head = format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}", "a".repeat(bytes));
    let open = |_| {
        let mut connection = server.connect();
        // The server may have answered and closed already.
        drop(connection.try_write(head.as_bytes()));
        connection
    };
    (0..count).map(open).collect()
}

/// Statuses of the answers on these connections, without connections that were closed without an answer.
fn statuses(connections: &mut [Connection]) -> Vec<u16> {
    connections.iter_mut().filter_map(Connection::read).map(|answer| answer.status).collect()
}

#[test]
fn any_number_of_unfinished_heads_fits_into_256_mib() {
    /// Size of the header in bytes, just below the limit of a head.
    const HEADER_BYTES: usize = 30_000;
    let (server, _cgroup) = start_in_cgroup("heads");
    let count = repetitions(2_500, 2_500, 5_000).min(raise_open_file_limit() / 2);
    let max_heads = Share::Heads.limit() / HEADER_BYTES;
    // The server sees all of them together, however long it takes to send them.
    server.pause();
    let mut unfinished = unfinished_heads(&server, count, HEADER_BYTES);
    server.resume();
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).status, 200);
    let statuses = statuses(&mut unfinished);
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 408), "{statuses:?}");
    assert!(
        statuses.len() <= max_heads,
        "{} heads were kept; there is room for {}",
        statuses.len(),
        max_heads
    );
    drop(unfinished);
    check_and_stop(server);
}

#[test]
fn a_connection_with_a_rejected_head_takes_little_memory_until_its_client_leaves() {
    /// Maximum memory of a connection, in bytes.
    const MAX_CONNECTION_BYTES: u64 = 16 << 10;
    let server = Server::start(GATEWAY);
    let count = 1_500.min(raise_open_file_limit() / 2);
    let before = peak_memory(&server);
    // The heads are above the limit.
    let mut rejected = unfinished_heads(&server, count, 60_000);
    let statuses = statuses(&mut rejected);
    assert!(statuses.iter().all(|status| *status == 431), "{statuses:?}");
    let growth = peak_memory(&server) - before;
    let bound = MAX_CONNECTION_BYTES * count;
    assert!(growth <= bound, "{count} connections took {growth} bytes");
}

/// Whether a request gets 503 and not 200. Reads the head of the answer and little of its body.
fn is_rejected(client: &mut RawClient) -> bool {
    let head = String::from_utf8(client.until("\r\n\r\n")).unwrap();
    let is_rejected = head.starts_with("HTTP/1.1 503 ");
    assert!(is_rejected || head.starts_with("HTTP/1.1 200 "), "{head}");
    is_rejected
}

/// Number of notifications of a large message.
fn notifications() -> u32 {
    u32::try_from(repetitions(300, 900, 900)).unwrap()
}

#[test]
fn any_number_of_large_histories_fits_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("histories");
    raise_open_file_limit();
    // A control character takes six bytes in JSON.
    let message = post_long_history(&server, notifications(), '\u{1}');
    let mut numbers = 10..;
    let mut post = || {
        let number = numbers.next().unwrap();
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).status, 200);
    };
    let mut readers: Vec<_> = (0..repetitions(500, 1_500, 3_000))
        .map(|_| {
            let mut reader = RawClient::with_small_buffer(server.port);
            reader.send(get(&history_path(&message)));
            reader
        })
        .collect();
    post();
    let mut rejected = 0;
    readers.retain_mut(|reader| {
        let is_rejected = is_rejected(reader);
        rejected += u32::from(is_rejected);
        !is_rejected
    });
    assert!(rejected > 0 && readers.len() > 100, "{rejected} rejected, {} accepted", readers.len());
    for _ in 0..repetitions(2, 10, 50) {
        for reader in &mut readers {
            reader.take(40_000);
        }
        post();
    }
    drop(readers);
    check_and_stop(server);
}

#[test]
fn listeners_and_others_who_wait_fit_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("listeners");
    let part = raise_open_file_limit() / 20;
    // No client reads its stream.
    let mut event_clients: Vec<_> = (0..1_900.min(2 * part))
        .map(|_| {
            let mut client = RawClient::with_small_buffer(server.port);
            client.send(format!(
                "GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\nLast-Event-ID: 0\r\n\r\n"
            ));
            client
        })
        .collect();
    let mut connection = server.connect();
    // Far more than the kernel buffers for each client. A control character takes six bytes.
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
    let mut other_clients = Vec::new();
    let mut open = |count: u64, request: &str| {
        other_clients.extend((0..count).map(|_| {
            let mut client = RawClient::to(server.port);
            client.send(request);
            client
        }));
    };
    open(4 * part, "GET /livez HTTP/1.1\r\nHost: t\r\n\r\nG");
    open(part, &get(&format!("/api/messagestatus/{}?wait=30", id(1_000))));
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 262144\r\n\r\n", webhook_path(""));
    open(part.min(300), &(head + &" ".repeat(100_000)));
    // Half of the share of answers has room for the latest events of about 500 clients.
    if event_clients.len() == 1_900 {
        wait_for(|| {
            let mut ended = event_clients.iter_mut().map(|client| client.has("\"unavailable\""));
            ended.any(|has_ended| has_ended).then_some(())
        });
        // The other half is left to queries: this answer takes more than a megabyte.
        assert_eq!(server.get("/api/messages?count=100").status, 200);
    }
    drop((event_clients, other_clients));
    check_and_stop(server);
}

#[test]
fn any_number_of_large_pages_fits_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("pages");
    raise_open_file_limit();
    // `<` takes five bytes in HTML.
    let message = post_long_history(&server, notifications(), '<');
    let path = format!("/ui/message/{message}");
    let mut readers: Vec<_> = (0..repetitions(400, 1_500, 3_000))
        .map(|_| {
            let mut reader = RawClient::with_small_buffer(server.port);
            reader.send(get(&path));
            reader
        })
        .collect();
    assert_eq!(server.post(&webhook(&id(2), "SENT", 1).to_string()).status, 200);
    let rejected = readers.iter_mut().map(is_rejected).filter(|is_rejected| *is_rejected).count();
    assert!(0 < rejected && rejected < readers.len(), "{rejected} rejected");
    drop(readers);
    wait_for(|| (server.get(&path).status == 200).then_some(()));
    check_and_stop(server);
}

#[test]
fn any_number_of_large_lists_fits_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("lists");
    raise_open_file_limit();
    let mut connection = server.connect();
    // A control character takes six bytes in JSON, and `<` takes five in HTML.
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
    let count = repetitions(200, 800, 1_200);
    let mut readers: Vec<_> = (0..count)
        .zip(paths.iter().cycle())
        .map(|(_, path)| {
            let mut reader = RawClient::with_small_buffer(server.port);
            reader.send(get(path));
            reader
        })
        .collect();
    assert_eq!(server.post(&webhook(&id(200), "SENT", 1).to_string()).status, 200);
    let rejected = readers.iter_mut().map(is_rejected).filter(|is_rejected| *is_rejected).count();
    assert!(0 < rejected && rejected < readers.len(), "{rejected} rejected");
    drop(readers);
    for path in paths {
        wait_for(|| (server.get(path).status == 200).then_some(()));
    }
    check_and_stop(server);
}

/// Posts requests, each a path and a body, on several connections at a time, so that they share commits.
fn post_together(server: &Server, count: u64, request: impl Fn(u64) -> (String, String) + Sync) {
    const CONNECTIONS: u8 = 32;
    let request = &request;
    thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in (u64::from(first)..count).step_by(CONNECTIONS.into()) {
                    let (path, body) = request(number);
                    let mut post = || connection.send("POST", &path, JSON, body.as_bytes()).status;
                    // A busy machine sheds load.
                    while post() == 503 {}
                }
            });
        }
    });
}

/// Peak of the anonymous memory of a server while `action` runs, in bytes, and the result of the action.
fn peak_memory_during<T>(server: &Server, action: impl FnOnce() -> T) -> (u64, T) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut peak = 0;
            while !is_done.load(Ordering::Relaxed) {
                peak = peak.max(memory(server, "RssAnon"));
                thread::sleep(std::time::Duration::from_millis(1));
            }
            peak
        });
        let result = action();
        is_done.store(true, Ordering::Relaxed);
        (sampling.join().unwrap(), result)
    })
}

#[test]
fn a_list_or_a_replay_of_a_large_quarantine_takes_little_memory() {
    const QUERY_BYTES: u64 = 25_000;
    let server = Server::start(GATEWAY);
    let entries = repetitions(1_200, 4_000, 10_000);
    let query = "q".repeat(usize::try_from(QUERY_BYTES).unwrap());
    post_together(&server, entries, |number| {
        (webhook_path(&format!("&x={query}")), format!(r#"{{"type": "{number}"}}"#))
    });
    let bound = entries * QUERY_BYTES / 2;
    // A replay prints its result after the entries.
    for (command, more) in [(&["list"][..], 0), (&["replay", "--all"], 1)] {
        let before = memory(&server, "RssAnon");
        let run = || server.run(&[&["quarantine"], command].concat());
        let (peak, output) = peak_memory_during(&server, run);
        let lines = text(&output.stdout).lines().count();
        assert_eq!(u64::try_from(lines).unwrap(), entries + more, "{command:?}");
        let growth = peak.saturating_sub(before);
        assert!(growth < bound, "{command:?} of {entries} entries took {growth} bytes");
    }
}

#[test]
fn any_large_export_fits_into_256_mib() {
    let (server, _cgroup) = start_in_cgroup("export");
    let count = repetitions(500, 40_000, 80_000);
    // The database becomes larger than the memory limit.
    post_together(&server, count, |number| (webhook_path(""), longest_webhook(number)));
    for _ in 0..3 {
        let export = server.get("/api/messages.csv?variant=plain");
        assert_eq!(export.status, 200);
        assert_eq!(u64::try_from(export.body.lines().count()).unwrap(), count + 1);
    }
    check_and_stop(server);
}
