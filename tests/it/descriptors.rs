//! Clients that hold connections and memory without saying anything whole.

use std::fs;

use crate::faults::times;
use crate::raw::Raw;
use crate::support::*;

/// A server with so few descriptors that it knows, and these variables.
fn start(envs: &[(&str, String)]) -> Server {
    let mut server = Server::start_with(GATEWAY, envs);
    assert_eq!(server.terminate(), Some(0));
    let few = ["sh", "-c", "ulimit -n 300; exec \"$0\" \"$@\""].map(str::to_owned);
    server.start_under(&few).unwrap();
    server
}

fn slow_head(raw: &mut Raw) {
    raw.send("POST /webhooks/gateway HTTP/1.1\r\nHost");
}

fn slow_body(raw: &mut Raw) {
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\nx", webhook_path(""));
    raw.send(head);
}

#[test]
fn connections_that_wait_give_way_and_answers_do_not() {
    for wait in [slow_head, slow_body] {
        let server = start(&[]);
        let mut listener = Raw::to(server.port);
        listener.send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
        listener.until("retry: 1000\n");
        // A query that waits has no answer yet, and is older than all connections that follow.
        let waited_for = id(2_000);
        assert_eq!(server.post(&webhook(&waited_for, "SENT", 1).to_string()).outcome(), "applied");
        let mut query = Raw::to(server.port);
        query.send(format!(
            "GET /api/messagestatus/{waited_for}?wait=60 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"
        ));
        // A peer with few connections keeps them, although they have waited for longest.
        let mut few: Vec<_> = (0..3).map(|_| Raw::from([127, 0, 0, 2], server.port)).collect();
        few.iter_mut().for_each(wait);
        let mut many: Vec<_> = (0..400).map(|_| Raw::to(server.port)).collect();
        for (number, raw) in many.iter_mut().enumerate() {
            wait(raw);
            if number % 50 == 0 {
                let body = webhook(&id(number.try_into().unwrap()), "SENT", 1).to_string();
                assert_eq!(server.post(&body).outcome(), "applied");
            }
        }
        for number in 1_000..1_020 {
            let body = webhook(&id(number), "SENT", 1).to_string();
            assert_eq!(server.post(&body).outcome(), "applied");
        }
        assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1_000))).status, 200);
        // Judged at once: after five seconds they would be answered and closed anyhow.
        let closed = few.iter_mut().filter_map(|raw| raw.is_closed().then_some(())).count();
        let gone = many.iter_mut().filter_map(|raw| raw.is_closed().then_some(())).count();
        assert!(
            gone >= 100 && (closed == 0 || gone == many.len()),
            "{closed} of few, {gone} of many"
        );
        assert!(!listener.is_closed(), "it was in the middle of an answer");
        listener.until(&id(1_019));
        assert!(!query.is_closed(), "its request was under way");
        let delivered = webhook(&waited_for, "DELIVERED", 2).to_string();
        assert_eq!(server.post(&delivered).outcome(), "applied");
        query.until("DELIVERED");
    }
}

#[test]
fn the_internal_listener_has_connections_of_its_own() {
    let server = start(&[("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:0".to_owned())]);
    let internal = server.internal_port().unwrap();
    // Those that are answered for ever cannot be closed; there are as many as there may be.
    let mut listeners: Vec<_> = (0..300).map(|_| Raw::to(internal)).collect();
    for raw in &mut listeners {
        raw.send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
    }
    eventually(|| {
        let told = listeners.iter_mut().filter_map(|raw| raw.has("retry: 1000\n").then_some(()));
        (told.count() > 20).then_some(())
    });
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    drop(listeners);
    let mut many: Vec<_> = (0..400).map(|_| Raw::to(server.port)).collect();
    many.iter_mut().for_each(slow_head);
    let path = format!("/api/messagestatus/{EXAMPLE_ID}");
    let told = Connection::to(internal).send("GET", &path, &[("X-Api-Key", KEY)], b"");
    assert_eq!(told.status, 200);
}

/// A figure of `/proc/PID/status`, in MiB.
fn memory(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Memory of all TCP sockets of the machine, in MiB.
fn socket_memory() -> u64 {
    let stat = fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = stat.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages = line.split_whitespace().skip_while(|word| *word != "mem").nth(1).unwrap();
    (pages.parse::<u64>().unwrap() * 4_096) >> 20
}

#[test]
fn unfinished_heads_take_little_memory_in_the_process_and_in_the_kernel() {
    let many = usize::try_from(times(400, 2_500, 2_500)).unwrap();
    let server = Server::start(GATEWAY);
    let before = (memory(&server, "VmRSS"), socket_memory());
    let mut raws: Vec<_> = (0..many).map(|_| Raw::to(server.port)).collect();
    for raw in &mut raws {
        raw.send("GET /livez HTTP/1.1\r\nHost: t\r\nX: ").send("a".repeat(31_000));
    }
    // Whoever has a complete head needs none of that memory.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    for raw in &mut raws {
        raw.send("a".repeat(90_000));
    }
    let after = (memory(&server, "VmHWM"), socket_memory());
    assert!(after.0 - before.0 < 64, "{before:?} {after:?}");
    assert!(after.1.saturating_sub(before.1) < 128, "{before:?} {after:?}");
    for raw in &mut raws {
        let answer = String::from_utf8(raw.rest()).unwrap();
        let is_told = ["HTTP/1.1 431", "HTTP/1.1 503"].iter().any(|told| answer.starts_with(told));
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
}

#[test]
fn requests_ahead_of_their_turn_take_little_memory() {
    let server = Server::start(GATEWAY);
    let before = memory(&server, "VmRSS");
    let wait = format!(
        "GET /api/messagestatus/{}?wait=5 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n",
        id(1)
    );
    let mut raws: Vec<_> = (0..300).map(|_| Raw::to(server.port)).collect();
    for raw in &mut raws {
        raw.send(&wait);
    }
    // Far more than the kernel takes: who sends it waits.
    std::thread::scope(|scope| {
        for part in raws.chunks_mut(50) {
            scope.spawn(|| part.iter_mut().for_each(|raw| raw.flood(512 << 10)));
        }
    });
    let after = memory(&server, "VmHWM");
    assert!(after - before < 64, "{before} {after}");
}
