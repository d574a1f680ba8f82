//! Clients that hold connections and memory with unfinished requests.

use std::thread;
use std::time::Duration;

use super::connections::{counted_rejections, logged_rejections};
use crate::support::faults::amounts::repetitions;
use crate::support::faults::cgroup::{memory, peak_memory, socket_memory};
use crate::support::history::{history_path, post_long_history};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::raise_open_file_limit;
use crate::support::*;

/// Starts a server with these variables and a limit of 300 file descriptors.
fn start(envs: &[(&str, String)]) -> Server {
    let mut server = Server::start_with(GATEWAY, envs);
    assert_eq!(server.terminate(), Some(0));
    let command = ["sh", "-c", "ulimit -n 300; exec \"$0\" \"$@\""].map(str::to_owned);
    server.start_with_command(&command).unwrap();
    server
}

/// Sends the first bytes of a head.
fn send_partial_head(client: &mut RawClient) {
    client.send("POST /webhooks/gateway HTTP/1.1\r\nHost");
}

/// Sends the head and the first byte of a webhook with a valid token.
fn send_partial_body(client: &mut RawClient) {
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\nx", webhook_path(""));
    client.send(head);
}

#[test]
fn waiting_connections_are_closed_for_new_ones_and_responses_are_not() {
    for send_partial in [send_partial_head, send_partial_body] {
        let server = start(&[]);
        let mut event_client = RawClient::to(server.port);
        event_client
            .send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
        event_client.until("retry: 1000\n");
        // The long poll has no answer yet, and is older than all connections that follow.
        let polled = id(2_000);
        assert_eq!(server.post(&webhook(&polled, "SENT", 1).to_string()).outcome(), "applied");
        let mut long_poll = RawClient::to(server.port);
        long_poll.send(format!(
            "GET /api/messagestatus/{polled}?wait=60 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"
        ));
        // A peer with few connections keeps them, although they have waited longest.
        let mut few: Vec<_> =
            (0..3).map(|_| RawClient::from([127, 0, 0, 2], server.port)).collect();
        few.iter_mut().for_each(send_partial);
        let mut many: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
        for (number, client) in many.iter_mut().enumerate() {
            send_partial(client);
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
        // Checked at once, because after five seconds all of them are answered and closed anyway.
        let closed_few =
            few.iter_mut().filter_map(|client| client.is_closed().then_some(())).count();
        let closed_many =
            many.iter_mut().filter_map(|client| client.is_closed().then_some(())).count();
        assert!(
            closed_many >= 100 && (closed_few == 0 || closed_many == many.len()),
            "{closed_few} of few and {closed_many} of many were closed"
        );
        assert!(!event_client.is_closed(), "its response was in progress");
        event_client.until(&id(1_019));
        assert!(!long_poll.is_closed(), "its request was in progress");
        let delivered = webhook(&polled, "DELIVERED", 2).to_string();
        assert_eq!(server.post(&delivered).outcome(), "applied");
        long_poll.until("DELIVERED");
    }
}

#[test]
fn the_internal_listener_has_connections_of_its_own() {
    let server = start(&[("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:0".to_owned())]);
    let internal = server.internal_port().unwrap();
    // Event streams are not closed for new connections. Here they take all connections of the listener.
    let mut event_clients: Vec<_> = (0..300).map(|_| RawClient::to(internal)).collect();
    for client in &mut event_clients {
        client.send(format!("GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
    }
    wait_for(|| {
        let answered =
            event_clients.iter_mut().filter_map(|client| client.has("retry: 1000\n").then_some(()));
        (answered.count() > 20).then_some(())
    });
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    drop(event_clients);
    let mut many: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
    many.iter_mut().for_each(send_partial_head);
    let path = format!("/api/messagestatus/{EXAMPLE_ID}");
    let answer = Connection::to(internal).send("GET", &path, &[("X-Api-Key", KEY)], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn unfinished_heads_take_little_memory_in_the_process_and_in_the_kernel() {
    let count = usize::try_from(repetitions(1_500, 2_500, 2_500)).unwrap();
    let server = Server::start(GATEWAY);
    let before = (memory(&server, "VmRSS"), socket_memory());
    let mut clients: Vec<_> = (0..count).map(|_| RawClient::to(server.port)).collect();
    for client in &mut clients {
        client.send("GET /livez HTTP/1.1\r\nHost: t\r\nX: ").send("a".repeat(31_000));
    }
    // A request with a complete head needs none of this memory.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    for client in &mut clients {
        client.send("a".repeat(90_000));
    }
    let after = (peak_memory(&server), socket_memory());
    let connections = u64::try_from(count).unwrap();
    // The share of heads, a little for each connection, and as much as is being given back.
    let process_limit = (24 << 20) + connections * (8 << 10);
    assert!(after.0 - before.0 < process_limit, "{before:?} {after:?}");
    // The receive buffer, which the kernel doubles, and the client's own send buffer.
    let kernel_limit = connections * (160 << 10);
    assert!(after.1.saturating_sub(before.1) < kernel_limit, "{before:?} {after:?}");
    for client in &mut clients {
        let answer = String::from_utf8(client.rest()).unwrap();
        let is_rejected =
            ["HTTP/1.1 431", "HTTP/1.1 408"].iter().any(|line| answer.starts_with(line));
        assert!(is_rejected || answer.is_empty(), "{answer}");
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
}

/// Number of these connections that the server has closed.
fn closed(clients: &mut [RawClient]) -> usize {
    clients.iter_mut().filter_map(|client| client.is_closed().then_some(())).count()
}

/// Waits until the server has closed these connections; returns the number of those without an answer.
fn unanswered(clients: &mut [RawClient]) -> usize {
    clients.iter_mut().filter_map(|client| client.rest().is_empty().then_some(())).count()
}

#[test]
fn a_byte_now_and_then_does_not_renew_the_place_of_a_connection() {
    let cases = [
        ("head", "POST /webhooks/gateway HTTP/1.1\r\nX: a".to_owned()),
        // Without a credential, a body is read to its end before it is rejected.
        (
            "body",
            "POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n".to_owned(),
        ),
    ];
    for (name, partial_request) in cases {
        let server = start(&[]);
        let mut dripping: Vec<_> = (0..120).map(|_| RawClient::to(server.port)).collect();
        for client in &mut dripping {
            client.send(&partial_request);
        }
        let wait_until_read = || {
            for _ in 0..4 {
                assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
            }
            thread::sleep(Duration::from_millis(200));
        };
        wait_until_read();
        let mut younger: Vec<_> = (0..20).map(|_| RawClient::to(server.port)).collect();
        for client in &mut younger {
            client.send(&partial_request);
        }
        for _ in 0..3 {
            for client in &mut dripping {
                client.send("a");
            }
            wait_until_read();
        }
        // More connections than there are descriptors.
        let mut newest: Vec<_> = (0..100).map(|_| RawClient::to(server.port)).collect();
        for client in &mut newest {
            client.send(&partial_request);
        }
        wait_for(|| (closed(&mut dripping) >= 20).then_some(()));
        // Each of the younger connections is answered when it times out.
        assert_eq!(unanswered(&mut younger), 0, "{name}");
    }
}

#[test]
fn the_body_of_a_verified_sender_does_not_give_way_to_strangers() {
    let server = start(&[]);
    let body = webhook(&id(1), "SENT", 1).to_string();
    let (first_half, second_half) = body.split_at(body.len() / 2);
    let mut verified = RawClient::to(server.port);
    let (path, length) = (webhook_path(""), body.len());
    verified.send(format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{first_half}"
    ));
    // All of these connections are younger.
    let mut strangers: Vec<_> = (0..400).map(|_| RawClient::to(server.port)).collect();
    for client in &mut strangers {
        client.send("POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n");
    }
    wait_for(|| (closed(&mut strangers) >= 100).then_some(()));
    assert_eq!(verified.send(second_half).answer("POST").status, 200);
}

#[test]
fn a_webhook_whose_connection_is_closed_for_its_descriptor_is_counted_and_logged() {
    for reason in ["body", "no_credential"] {
        let server = start(&[]);
        let mut clients: Vec<_> = (0..400)
            .map(|_| {
                let mut client = RawClient::to(server.port);
                if reason == "body" {
                    send_partial_body(&mut client);
                } else {
                    send_unverified_head(&mut client);
                }
                client
            })
            .collect();
        // Each connection is closed for its descriptor, or answered when it times out.
        wait_for(|| (closed(&mut clients) == clients.len()).then_some(()));
        assert!(unanswered(&mut clients) >= 100);
        let counted = counted_rejections(&server, "gateway", reason);
        // A few may have been closed before their heads were read.
        assert!((350..=400).contains(&counted), "{counted}");
        wait_for(|| (logged_rejections(&server, reason) == counted).then_some(()));
    }
}

/// Sends the head of a webhook without a credential. The server rejects it after reading the whole body.
fn send_unverified_head(client: &mut RawClient) {
    client.send("POST /webhooks/gateway HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n");
}

#[test]
fn a_public_answer_that_is_not_read_is_closed_last() {
    let server = start(&[]);
    let message = post_long_history(&server, 100, '\u{1}');
    let mut with_key = RawClient::with_small_buffer(server.port);
    with_key.send(get(&history_path(&message)));
    with_key.until("HTTP/1.1 200 OK\r\n");
    let file = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut readers: Vec<_> = (0..400)
        .map(|_| {
            let mut client = RawClient::with_small_buffer(server.port);
            client.send(file);
            client
        })
        .collect();
    for number in 200..220 {
        let mut client = RawClient::to(server.port);
        let body = webhook(&id(number), "SENT", 1).to_string();
        let (path, length) = (webhook_path(""), body.len());
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(client.answer("POST").status, 200);
    }
    let still_open =
        readers.iter_mut().rev().find_map(|client| (!client.is_closed()).then_some(client));
    assert_eq!(still_open.expect("not all connections are closed").answer("GET").status, 200);
    // More than the kernel buffers, so the response was in progress all the time.
    let bytes = with_key.rest_of_answer();
    assert!(bytes > 300_000, "{bytes}");
}

#[test]
fn unfinished_heads_that_have_waited_longest_give_way_when_their_memory_is_full() {
    let server = Server::start(GATEWAY);
    let send_large_head = |client: &mut RawClient| {
        client.send(format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}", "a".repeat(30_000)));
    };
    // The oldest connection is that of a verified sender, whose body is awaited.
    let body = webhook(&id(100), "SENT", 1).to_string();
    let (path, length) = (webhook_path(""), body.len());
    let mut verified = RawClient::to(server.port);
    verified.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n"));
    // A peer with few bytes keeps them.
    let mut few: Vec<_> = (0..3).map(|_| RawClient::from([127, 0, 0, 2], server.port)).collect();
    few.iter_mut().for_each(send_large_head);
    let mut many: Vec<_> = (0..800).map(|_| RawClient::to(server.port)).collect();
    many.iter_mut().for_each(send_large_head);
    for number in 0..20 {
        let body = webhook(&id(number), "SENT", 1).to_string();
        let (path, length) = (webhook_path(""), body.len());
        let mut client = RawClient::to(server.port);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-L"));
        many.extend((0..2).map(|_| RawClient::to(server.port)));
        many.iter_mut().rev().take(2).for_each(send_large_head);
        let answer = client.send(format!("ength: {length}\r\n\r\n{body}")).answer("POST");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // 503: on a slow machine, the body has timed out.
    assert!([200, 503].contains(&verified.send(body).answer("POST").status));
    // Heads that had room are answered when they time out. 16 MiB have room for about 550.
    assert_eq!(unanswered(&mut few), 0);
    let without_answer = unanswered(&mut many);
    assert!(without_answer >= 200, "{without_answer}");
}

#[test]
fn a_connection_that_waits_takes_little_memory() {
    /// Maximum memory of a waiting connection, in bytes: 200 MiB for 50,000 connections, the limit.
    const MAX_CONNECTION_BYTES: u64 = 4 << 10;
    let count = 4_000.min(raise_open_file_limit() / 2);
    for answered in ["", "GET /livez HTTP/1.1\r\nHost: t\r\nX: a\r\n\r\n"] {
        let server = Server::start(GATEWAY);
        assert_eq!(server.post(EXAMPLE).status, 200);
        let before = memory(&server, "VmRSS");
        let mut clients: Vec<_> = (0..count).map(|_| RawClient::to(server.port)).collect();
        for client in &mut clients {
            client.send(format!("{answered}G"));
        }
        assert_eq!(server.post(EXAMPLE).status, 200);
        let bytes = (memory(&server, "VmRSS") - before) / count;
        assert!(bytes <= MAX_CONNECTION_BYTES, "{bytes} bytes per connection, after {answered:?}");
    }
}

#[test]
fn pipelined_requests_take_little_memory() {
    let server = Server::start(GATEWAY);
    let before = memory(&server, "VmRSS");
    let long_poll = format!(
        "GET /api/messagestatus/{}?wait=5 HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n",
        id(1)
    );
    let mut clients: Vec<_> = (0..300).map(|_| RawClient::to(server.port)).collect();
    for client in &mut clients {
        client.send(&long_poll);
    }
    // Far more than the kernel buffers.
    thread::scope(|scope| {
        for chunk in clients.chunks_mut(50) {
            scope.spawn(|| {
                for client in chunk {
                    client.flood(512 << 10);
                }
            });
        }
    });
    let after = peak_memory(&server);
    assert!(after - before < 64 << 20, "{before} {after}");
}

/// Posts a webhook in two pieces, with an action between them; returns whether the webhook is accepted.
fn is_accepted_in_pieces(server: &Server, number: u64, meanwhile: impl FnOnce()) -> bool {
    let body = webhook(&id(number), "SENT", 1).to_string();
    let (path, length) = (webhook_path(""), body.len());
    let mut client = RawClient::to(server.port);
    client.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"));
    meanwhile();
    thread::sleep(Duration::from_millis(20));
    client.send(format!("Content-Length: {length}\r\n\r\n{body}"));
    client.rest().starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn unfinished_requests_of_one_callback_url_give_way_to_others() {
    raise_open_file_limit();
    let large = format!("X: {}\r\n", "a".repeat(30_000));
    // Few descriptors and small heads, then enough descriptors and heads that fill the memory for heads.
    for (server, filler, first) in [(start(&[]), "", 300), (Server::start(GATEWAY), &*large, 600)] {
        let path = webhook_path("");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: t\r\n{filler}Content-Length: 99\r\n\r\nx");
        let mut holders = Vec::new();
        let mut hold = |count| {
            for _ in 0..count {
                let mut client = RawClient::to(server.port);
                client.send(&head);
                holders.push(client);
            }
        };
        hold(first);
        // More than the part of the limit that the server frees at once.
        let accepted =
            (0..20).filter(|number| is_accepted_in_pieces(&server, *number, || hold(20))).count();
        assert_eq!(accepted, 20, "{} bytes", head.len());
    }
}
