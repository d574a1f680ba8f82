//! Clients that hold connections and memory with unfinished requests.

use std::thread;
use std::time::Duration;

use super::connections::{logged, rejected};
use crate::support::faults::amounts::times;
use crate::support::faults::cgroup::{memory, peak_memory, socket_memory};
use crate::support::history::{fill_with, history_path};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::raised_limit;
use crate::support::*;

/// A server with so few descriptors that it knows, and these variables.
fn start(envs: &[(&str, String)]) -> Server {
    let mut server = Server::start_with(GATEWAY, envs);
    assert_eq!(server.terminate(), Some(0));
    let few = ["sh", "-c", "ulimit -n 300; exec \"$0\" \"$@\""].map(str::to_owned);
    server.start_under(&few).unwrap();
    server
}

fn slow_head(raw: &mut RawClient) {
    raw.send("POST /webhooks/gateway HTTP/1.1\r\nHost");
}

fn slow_body(raw: &mut RawClient) {
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\nx", webhook_path(""));
    raw.send(head);
}

#[test]
fn waiting_connections_are_closed_for_new_ones_and_responses_are_not() {
    for wait in [slow_head, slow_body] {
        let server = start(&[]);
        let mut listener = RawClient::to(server.port);
        listener.send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
        listener.until("retry: 1000\n");
        // A query that waits has no answer yet, and is older than all connections that follow.
        let waited_for = id(2_000);
        assert_eq!(server.post(&webhook(&waited_for, "SENT", 1).to_string()).outcome(), "applied");
        let mut query = RawClient::to(server.port);
        query.send(format!(
            "GET /api/messagestatus/{waited_for}?wait=60 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"
        ));
        // A peer with few connections keeps them, although they have waited for longest.
        let mut few: Vec<_> =
            (0..3).map(|_| RawClient::from([127, 0, 0, 2], server.port)).collect();
        few.iter_mut().for_each(wait);
        let mut many: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
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
    let mut listeners: Vec<_> = (0..300).map(|_| RawClient::to(internal)).collect();
    for raw in &mut listeners {
        raw.send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
    }
    eventually(|| {
        let told = listeners.iter_mut().filter_map(|raw| raw.has("retry: 1000\n").then_some(()));
        (told.count() > 20).then_some(())
    });
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    drop(listeners);
    let mut many: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
    many.iter_mut().for_each(slow_head);
    let path = format!("/api/messagestatus/{EXAMPLE_ID}");
    let told = Connection::to(internal).send("GET", &path, &[("X-Api-Key", KEY)], b"");
    assert_eq!(told.status, 200);
}

#[test]
fn unfinished_heads_take_little_memory_in_the_process_and_in_the_kernel() {
    let many = usize::try_from(times(400, 2_500, 2_500)).unwrap();
    let server = Server::start(GATEWAY);
    let before = (memory(&server, "VmRSS"), socket_memory());
    let mut raws: Vec<_> = (0..many).map(|_| RawClient::to(server.port)).collect();
    for raw in &mut raws {
        raw.send("GET /livez HTTP/1.1\r\nHost: t\r\nX: ").send("a".repeat(31_000));
    }
    // Whoever has a complete head needs none of that memory.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    for raw in &mut raws {
        raw.send("a".repeat(90_000));
    }
    let after = (peak_memory(&server), socket_memory());
    assert!(after.0 - before.0 < 64 << 20, "{before:?} {after:?}");
    assert!(after.1.saturating_sub(before.1) < 128 << 20, "{before:?} {after:?}");
    for raw in &mut raws {
        let answer = String::from_utf8(raw.rest()).unwrap();
        let is_told = ["HTTP/1.1 431", "HTTP/1.1 408"].iter().any(|told| answer.starts_with(told));
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
}

/// How many of these connections the server has closed by now.
fn closed(raws: &mut [RawClient]) -> usize {
    raws.iter_mut().filter_map(|raw| raw.is_closed().then_some(())).count()
}

/// Waits until the server has closed these connections, and counts those without an answer.
fn unanswered(raws: &mut [RawClient]) -> usize {
    raws.iter_mut().filter_map(|raw| raw.rest().is_empty().then_some(())).count()
}

#[test]
fn a_byte_now_and_then_does_not_renew_the_place_of_a_connection() {
    let cases = [
        ("head", "POST /webhooks/gateway HTTP/1.1\r\nX: a".to_owned()),
        // It proves nothing, and is read to its end before it is rejected.
        (
            "body",
            "POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n".to_owned(),
        ),
    ];
    for (name, begun) in cases {
        let server = start(&[]);
        let mut dripping: Vec<_> = (0..120).map(|_| RawClient::to(server.port)).collect();
        for raw in &mut dripping {
            raw.send(&begun);
        }
        let seen = || {
            for _ in 0..4 {
                assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
            }
            thread::sleep(Duration::from_millis(200));
        };
        seen();
        let mut younger: Vec<_> = (0..20).map(|_| RawClient::to(server.port)).collect();
        for raw in &mut younger {
            raw.send(&begun);
        }
        for _ in 0..3 {
            for raw in &mut dripping {
                raw.send("a");
            }
            seen();
        }
        // More than there are descriptors for.
        let mut many: Vec<_> = (0..100).map(|_| RawClient::to(server.port)).collect();
        for raw in &mut many {
            raw.send(&begun);
        }
        eventually(|| (closed(&mut dripping) >= 20).then_some(()));
        // Each is answered when its time is over.
        assert_eq!(unanswered(&mut younger), 0, "{name}");
    }
}

#[test]
fn the_body_of_a_verified_sender_does_not_give_way_to_strangers() {
    let server = start(&[]);
    let body = webhook(&id(1), "SENT", 1).to_string();
    let (begin, end) = body.split_at(body.len() / 2);
    let mut verified = RawClient::to(server.port);
    let (path, length) = (webhook_path(""), body.len());
    verified.send(format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{begin}"
    ));
    // Each of them is younger.
    let mut strangers: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
    for raw in &mut strangers {
        raw.send("POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n");
    }
    eventually(|| (closed(&mut strangers) >= 100).then_some(()));
    assert_eq!(verified.send(end).answer("POST").status, 200);
}

#[test]
fn a_webhook_whose_connection_is_closed_for_its_descriptor_is_counted_and_logged() {
    for cause in ["body", "no_credential"] {
        let server = start(&[]);
        let mut raws: Vec<_> = (0..400)
            .map(|_| {
                let mut raw = RawClient::to(server.port);
                if cause == "body" {
                    slow_body(&mut raw);
                } else {
                    unproven_body(&mut raw);
                }
                raw
            })
            .collect();
        // In the end all of them have been closed, or answered for their time.
        eventually(|| (closed(&mut raws) == raws.len()).then_some(()));
        assert!(unanswered(&mut raws) >= 100);
        let counted = rejected(&server, "gateway", cause);
        // A few may have been closed before their heads were read.
        assert!((350..=400).contains(&counted), "{counted}");
        eventually(|| (logged(&server, cause) == counted).then_some(()));
    }
}

/// A body whose sender has no credential: it is read to its end before it is rejected.
fn unproven_body(raw: &mut RawClient) {
    raw.send("POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n");
}

#[test]
fn a_public_answer_that_is_not_read_is_closed_last() {
    let server = start(&[]);
    let message = fill_with(&server, 100, '\u{1}');
    let mut with_key = RawClient::with_small_buffer(server.port);
    with_key.send(get(&history_path(&message)));
    with_key.until("HTTP/1.1 200 OK\r\n");
    let file = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut readers: Vec<_> = (0..400)
        .map(|_| {
            let mut raw = RawClient::with_small_buffer(server.port);
            raw.send(file);
            raw
        })
        .collect();
    for number in 200..220 {
        let mut raw = RawClient::to(server.port);
        let body = webhook(&id(number), "SENT", 1).to_string();
        let (path, length) = (webhook_path(""), body.len());
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(raw.answer("POST").status, 200);
    }
    let still_open = readers.iter_mut().rev().find_map(|raw| (!raw.is_closed()).then_some(raw));
    assert_eq!(still_open.expect("all were closed").answer("GET").status, 200);
    // More than the kernel keeps for it: it was in the middle of it all the time.
    let bytes = with_key.rest_of_answer();
    assert!(bytes > 300_000, "{bytes}");
}

#[test]
fn unfinished_heads_that_have_waited_longest_give_way_when_their_memory_is_full() {
    let server = Server::start(GATEWAY);
    let large = |raw: &mut RawClient| {
        raw.send(format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}", "a".repeat(30_000)));
    };
    // A verified sender is the oldest, and its body is awaited.
    let body = webhook(&id(100), "SENT", 1).to_string();
    let (path, length) = (webhook_path(""), body.len());
    let mut verified = RawClient::to(server.port);
    verified.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n"));
    // A peer with few bytes keeps them.
    let mut few: Vec<_> = (0..3).map(|_| RawClient::from([127, 0, 0, 2], server.port)).collect();
    few.iter_mut().for_each(large);
    let mut many: Vec<_> = (0..800).map(|_| RawClient::to(server.port)).collect();
    many.iter_mut().for_each(large);
    for number in 0..20 {
        let body = webhook(&id(number), "SENT", 1).to_string();
        let (path, length) = (webhook_path(""), body.len());
        let mut raw = RawClient::to(server.port);
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-L"));
        many.extend((0..2).map(|_| RawClient::to(server.port)));
        many.iter_mut().rev().take(2).for_each(large);
        let answer = raw.send(format!("ength: {length}\r\n\r\n{body}")).answer("POST");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // On a slow machine it has had its time.
    assert!([200, 503].contains(&verified.send(body).answer("POST").status));
    // Those that had room are answered when their time is over. 16 MiB have room for about 550.
    assert_eq!(unanswered(&mut few), 0);
    let gone = unanswered(&mut many);
    assert!(gone >= 200, "{gone}");
}

#[test]
fn a_connection_that_waits_takes_little_memory() {
    /// 50,000 connections, which is the most, take 200 MiB at most.
    const EACH: u64 = 4 << 10;
    let many = 4_000.min(raised_limit() / 2);
    for first in ["", "GET /livez HTTP/1.1\r\nHost: t\r\nX: a\r\n\r\n"] {
        let server = Server::start(GATEWAY);
        assert_eq!(server.post(EXAMPLE).status, 200);
        let before = memory(&server, "VmRSS");
        let mut raws: Vec<_> = (0..many).map(|_| RawClient::to(server.port)).collect();
        for raw in &mut raws {
            raw.send(format!("{first}G"));
        }
        assert_eq!(server.post(EXAMPLE).status, 200);
        let each = (memory(&server, "VmRSS") - before) / many;
        assert!(each <= EACH, "{each} bytes for each connection, behind {first:?}");
    }
}

#[test]
fn pipelined_requests_take_little_memory() {
    let server = Server::start(GATEWAY);
    let before = memory(&server, "VmRSS");
    let wait = format!(
        "GET /api/messagestatus/{}?wait=5 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n",
        id(1)
    );
    let mut raws: Vec<_> = (0..300).map(|_| RawClient::to(server.port)).collect();
    for raw in &mut raws {
        raw.send(&wait);
    }
    // Far more than the kernel takes: who sends it waits.
    thread::scope(|scope| {
        for part in raws.chunks_mut(50) {
            scope.spawn(|| {
                for raw in part {
                    raw.flood(512 << 10);
                }
            });
        }
    });
    let after = peak_memory(&server);
    assert!(after - before < 64 << 20, "{before} {after}");
}

/// Posts a webhook in two pieces and lets something happen between them; says whether it is accepted.
fn is_accepted_in_pieces(server: &Server, number: u64, meanwhile: impl FnOnce()) -> bool {
    let body = webhook(&id(number), "SENT", 1).to_string();
    let (path, length) = (webhook_path(""), body.len());
    let mut raw = RawClient::to(server.port);
    raw.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"));
    meanwhile();
    thread::sleep(Duration::from_millis(20));
    raw.send(format!("Content-Length: {length}\r\n\r\n{body}"));
    raw.rest().starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn unfinished_requests_of_one_callback_url_give_way_to_others() {
    raised_limit();
    let large = format!("X: {}\r\n", "a".repeat(30_000));
    // Few descriptors and small heads, then enough descriptors and heads that take all of their memory.
    for (server, filler, first) in [(start(&[]), "", 300), (Server::start(GATEWAY), &*large, 600)] {
        let path = webhook_path("");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: t\r\n{filler}Content-Length: 99\r\n\r\nx");
        let mut holders = Vec::new();
        let mut hold = |count| {
            for _ in 0..count {
                let mut raw = RawClient::to(server.port);
                raw.send(&head);
                holders.push(raw);
            }
        };
        hold(first);
        // More than a part of the limit that is given back at once.
        let accepted =
            (0..20).filter(|number| is_accepted_in_pieces(&server, *number, || hold(20))).count();
        assert_eq!(accepted, 20, "{} bytes", head.len());
    }
}
