//! Clients in every state of a connection: slow, silent, too many, or with invalid HTTP.

use std::thread;
use std::time::Duration;

use crate::support::faults::amounts::repetitions;
use crate::support::http::raw_client::{RawClient, RawResponse};
use crate::support::*;

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

/// Webhook request with additional headers.
fn webhook_request(body: &str, headers: &str) -> String {
    let (path, length) = (webhook_path(""), body.len());
    format!("POST {path} HTTP/1.1\r\nHost: t\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Statuses of the responses in `bytes`.
fn statuses(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let numbers = text.split("HTTP/1.1 ").skip(1).filter_map(|response| response.get(..3));
    numbers.filter(|number| number.parse::<u16>().is_ok()).map(str::to_owned).collect()
}

#[test]
fn every_wait_for_a_client_times_out() {
    let server = Server::start(GATEWAY);
    let webhook = format!("POST {} HTTP/1.1\r\nHost: t\r\n", webhook_path(""));
    let half = "GET /livez HTTP/1.1\r\nX: ";
    let mut cases: Vec<(&str, String, &[u8], &[&str])> = vec![
        ("nothing", String::new(), b"", &[]),
        ("half a head", half.to_owned(), b"", &["408"]),
        ("a slow head", half.to_owned(), b"a", &["408"]),
        ("half a second head", format!("{LIVEZ}{half}"), b"", &["200", "408"]),
        ("a slow second head", format!("{LIVEZ}{half}"), b"a", &["200", "408"]),
        ("half a body", format!("{webhook}Content-Length: 99\r\n\r\nx"), b"", &["503"]),
        ("a slow body", format!("{webhook}Content-Length: 99\r\n\r\nx"), b"a", &["503"]),
        (
            "slow chunks",
            format!("{webhook}Transfer-Encoding: chunked\r\n\r\n"),
            b"1\r\na\r\n",
            &["503"],
        ),
        (
            "a slow body of an unknown path",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n".to_owned(),
            b"a",
            &["404"],
        ),
        (
            "slow chunks of an unknown path",
            "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            b"1\r\na\r\n",
            &["404"],
        ),
        (
            "another protocol",
            "GET /livez HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                .to_owned(),
            b"a",
            &["200", "408"],
        ),
        ("a tunnel", "CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(), b"a", &["404"]),
        ("no HTTP", "nonsense\r\n\r\n".to_owned(), b"a", &["400"]),
    ];
    // These take the 15 seconds of an idle connection.
    if repetitions(0, 1, 1) == 1 {
        cases.push(("nothing after an answer", LIVEZ.to_owned(), b"", &["200"]));
        cases.push(("line breaks after an answer", LIVEZ.to_owned(), b"\r\n", &["200"]));
    }
    thread::scope(|scope| {
        for (name, request, drip, expected) in &cases {
            let port = server.port;
            scope.spawn(move || {
                let mut client = RawClient::to(port);
                let received = client.send(request).drip(drip);
                assert_eq!(statuses(&received), *expected, "{name}: {}", received.escape_ascii());
            });
        }
    });
}

#[test]
fn an_upgrade_is_declined_and_the_connection_kept() {
    let server = Server::start(GATEWAY);
    for headers in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n",
        "Connection: upgrade\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let mut client = RawClient::to(server.port);
        let check = |answer: RawResponse| {
            assert_eq!(answer.status, 200, "{headers}: {answer:?}");
            for header in ["connection", "upgrade", "http2-settings"] {
                assert_eq!(answer.header(header), None, "{headers}: {answer:?}");
            }
        };
        let request = webhook_request(EXAMPLE, headers);
        for _ in 0..2 {
            check(client.send(&request).answer("POST"));
        }
        // Pipelined, with chunks, and without a body.
        client.send(request.repeat(3));
        (0..3).for_each(|_| check(client.answer("POST")));
        let chunked = format!(
            "POST {} HTTP/1.1\r\nHost: t\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{EXAMPLE}\r\n0\r\n\r\n",
            webhook_path(""),
            EXAMPLE.len()
        );
        check(client.send(chunked.repeat(2)).answer("POST"));
        check(client.answer("POST"));
        for method in ["HEAD", "GET"] {
            let read = format!("{method} /livez HTTP/1.1\r\nHost: t\r\n{headers}\r\n");
            check(client.send(read).answer(method));
        }
        check(client.send(request).answer("POST"));
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.0\r\nX-Api-Key: {KEY}\r\n{headers}\r\n")
    };
    for headers in ["", "Connection: keep-alive\r\n"] {
        let csv = RawClient::to(server.port).send(get("/api/messages.csv", headers)).answer("GET");
        assert!(csv.status == 200 && csv.header("transfer-encoding").is_none(), "{csv:?}");
        assert!(csv.text().ends_with("\r\n") || csv.text().ends_with('\n'), "{csv:?}");
        assert!(csv.text().contains(EXAMPLE_ID), "{csv:?}");
    }
    let mut events = RawClient::to(server.port);
    let head = events.send(get("/api/events", "")).until("retry: 1000\n");
    assert!(!String::from_utf8(head).unwrap().contains("chunked"));
    // A response with a content length keeps the connection alive.
    let mut client = RawClient::to(server.port);
    for _ in 0..2 {
        let answer = client.send(get("/livez", "Connection: keep-alive\r\n")).answer("GET");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(answer.text(), "ok\n");
    }
}

#[test]
fn head_has_the_content_length_of_get_or_none() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut client = RawClient::to(server.port);
    let message = format!("/api/messagestatus/{EXAMPLE_ID}");
    for path in [
        "/livez",
        "/readyz",
        "/",
        "/page/page.js",
        "/docs",
        "/docs/swagger-ui.css",
        "/openapi.json",
        &message,
        &format!("{message}/history"),
        "/api/messages",
        "/api/messages.csv",
        "/api/nothing",
        "/ui/health",
        "/nowhere",
        "/webhooks/gateway",
        "/webhooks/unknown",
    ] {
        let mut request = |method: &str| {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
            client.answer(method)
        };
        let (head, get) = (request("HEAD"), request("GET"));
        assert_eq!(head.status, get.status, "{path}");
        let length = head.header("content-length");
        assert!(length.is_none() || length == get.header("content-length"), "{path}: {head:?}");
        if get.header("transfer-encoding").is_some() {
            assert_eq!(head.header("transfer-encoding"), None, "{path}: {head:?}");
        }
    }
}

#[test]
fn an_invalid_host_is_400_and_a_valid_one_is_not_compared() {
    let server = Server::start(GATEWAY);
    let status = |version: &str, hosts: &[&str]| {
        let hosts = hosts.iter().fold(String::new(), |all, host| all + "Host: " + host + "\r\n");
        let mut client = RawClient::to(server.port);
        client.send(format!("GET /livez HTTP/{version}\r\n{hosts}\r\n")).answer("GET").status
    };
    for host in ["t", "hooks.example.com:8080", "[::1]:1", "a_b", "127.0.0.1", "elsewhere.example"]
    {
        assert_eq!(status("1.1", &[host]), 200, "{host}");
    }
    for host in ["", "a b", "a/b", "http://t", "u@t", "t:x", "[::1", "t:1:2", "<t>", "t?x", "t#x"] {
        assert_eq!(status("1.1", &[host]), 400, "{host}");
    }
    assert_eq!(status("1.1", &[]), 400);
    assert_eq!(status("1.1", &["t", "t"]), 400);
    assert_eq!(status("1.0", &[]), 200);
    assert_eq!(status("1.0", &["a/b"]), 400);
}

#[test]
fn a_webhook_with_a_host_or_a_path_that_is_none_is_counted_and_logged() {
    let server = Server::start(GATEWAY);
    let valid = webhook_request(EXAMPLE, "");
    for invalid in [
        valid.replacen("Host: t", "Host: a b", 1),
        valid.replacen("/webhooks/", "/webhook%73/", 1),
        valid.replacen("/webhooks/", "//webhook%73/", 1),
    ] {
        let answer = RawClient::to(server.port).send(&invalid).answer("POST");
        assert!(answer.status == 400 && answer.header("x-request-id").is_some(), "{answer:?}");
    }
    // Other paths are not counted as webhooks.
    for path in ["/api/%6dessages", "/%6divez"] {
        let invalid = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(RawClient::to(server.port).send(invalid).answer("GET").status >= 400);
    }
    assert_eq!(counted_rejections(&server, "", "malformed"), 3);
    wait_for(|| (logged_rejections(&server, "malformed") == 3).then_some(()));
}

/// Number of log lines about webhooks rejected for this reason.
pub(super) fn logged_rejections(server: &Server, reason: &str) -> usize {
    let reason = format!("\"reason\":\"{reason}\"");
    let log = server.log();
    let is_match = |line: &&str| line.contains(&reason) && line.contains("\"rejected a webhook\"");
    log.lines().filter(is_match).count()
}

/// Number of webhooks rejected for this reason, from the metrics.
pub(super) fn counted_rejections(server: &Server, source: &str, reason: &str) -> usize {
    let metrics = server.get("/metrics").body;
    let labels =
        ["source", "reason"].map(|name| (name, if name == "source" { source } else { reason }));
    let is_match = |line: &&str| {
        labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    let line = metrics.lines().find(is_match).expect("the metrics have this reason");
    line.rsplit(' ').next().unwrap().trim_end_matches(".0").parse().unwrap()
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let server = Server::start(GATEWAY);
    for head in [
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(200 << 10)),
        format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(200 << 10)),
        // Above the limit of the server, and below that of the HTTP codec.
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(60 << 10)),
    ] {
        let mut client = RawClient::to(server.port);
        let answer = client.send(head).answer("GET");
        assert!(
            answer.status == 431 && answer.text().contains("headers are too large"),
            "{answer:?}"
        );
        assert!(client.rest().is_empty());
    }
    let large = format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(30_000));
    assert_eq!(RawClient::to(server.port).send(large).answer("GET").status, 200);
}

#[test]
fn a_stalled_process_answers_requests_received_meanwhile() {
    let server = Server::start(GATEWAY);
    let large = padded_webhook_request(200_000);
    let (head, body) = large.split_at(1_000);
    let mut silent: Vec<_> = (0..4).map(|_| RawClient::to(server.port)).collect();
    let mut unfinished: Vec<_> = (0..4).map(|_| RawClient::to(server.port)).collect();
    for client in &mut unfinished {
        client.send(head);
    }
    // The server has received all heads. Its threads wait for events. The pause interrupts that wait, and
    // after it timeouts are checked before events.
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    wait_for(|| server.has_all_threads_in('S').then_some(()));
    server.pause();
    for (number, client) in silent.iter_mut().enumerate() {
        client.send(if number % 2 == 0 { webhook_request(EXAMPLE, "") } else { LIVEZ.to_owned() });
    }
    // Bytes that do not fit into the kernel's buffers are sent after the pause.
    thread::scope(|scope| {
        for client in &mut unfinished {
            scope.spawn(|| client.send(body));
        }
        thread::sleep(Duration::from_millis(5_500));
        server.resume();
    });
    for client in &mut silent {
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for client in &mut unfinished {
        let answer = client.answer("POST");
        // The rest of a large body may arrive too late. The sender retries.
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    }
    let livez_status = |client: &mut RawClient| client.send(LIVEZ).answer("GET").status;
    assert_eq!(silent.iter_mut().map(livez_status).collect::<Vec<_>>(), [200; 4]);
}

/// Webhook request with `bytes` additional bytes in its body.
fn padded_webhook_request(bytes: usize) -> String {
    let mut body = webhook(&id(1), "SENT", 1);
    body["filler"] = "x".repeat(bytes).into();
    webhook_request(&body.to_string(), "")
}
