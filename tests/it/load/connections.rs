//! Clients in every state of a connection: slow, silent, too many, or with invalid HTTP.

use std::thread;
use std::time::Duration;

use crate::support::faults::amounts::times;
use crate::support::http::raw_client::{RawClient, RawResponse};
use crate::support::*;

const ALIVE: &str = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

/// A webhook as bytes, with more headers.
fn posted(body: &str, more: &str) -> String {
    let (path, length) = (webhook_path(""), body.len());
    format!("POST {path} HTTP/1.1\r\nHost: t\r\n{more}Content-Length: {length}\r\n\r\n{body}")
}

/// The statuses in some bytes.
fn statuses(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let numbers = text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3));
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
        ("half a second head", format!("{ALIVE}{half}"), b"", &["200", "408"]),
        ("a slow second head", format!("{ALIVE}{half}"), b"a", &["200", "408"]),
        ("half a body", format!("{webhook}Content-Length: 99\r\n\r\nx"), b"", &["503"]),
        ("a slow body", format!("{webhook}Content-Length: 99\r\n\r\nx"), b"a", &["503"]),
        (
            "slow chunks",
            format!("{webhook}Transfer-Encoding: chunked\r\n\r\n"),
            b"1\r\na\r\n",
            &["503"],
        ),
        (
            "a slow body that nobody wants",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n".to_owned(),
            b"a",
            &["404"],
        ),
        (
            "slow chunks that nobody wants",
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
    if times(0, 1, 1) == 1 {
        cases.push(("nothing after an answer", ALIVE.to_owned(), b"", &["200"]));
        cases.push(("line breaks after an answer", ALIVE.to_owned(), b"\r\n", &["200"]));
    }
    thread::scope(|scope| {
        for (name, first, drip, expected) in &cases {
            let port = server.port;
            scope.spawn(move || {
                let mut raw = RawClient::to(port);
                let got = raw.send(first).drip(drip);
                assert_eq!(statuses(&got), *expected, "{name}: {}", got.escape_ascii());
            });
        }
    });
}

#[test]
fn an_upgrade_is_declined_and_the_connection_kept() {
    let server = Server::start(GATEWAY);
    for wish in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n",
        "Connection: upgrade\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let mut raw = RawClient::to(server.port);
        let check = |answer: RawResponse| {
            assert_eq!(answer.status, 200, "{wish}: {answer:?}");
            for echoed in ["connection", "upgrade", "http2-settings"] {
                assert_eq!(answer.header(echoed), None, "{wish}: {answer:?}");
            }
        };
        let one = posted(EXAMPLE, wish);
        for _ in 0..2 {
            check(raw.send(&one).answer("POST"));
        }
        // One behind the other, with chunks, and without a body.
        raw.send(one.repeat(3));
        (0..3).for_each(|_| check(raw.answer("POST")));
        let chunked = format!(
            "POST {} HTTP/1.1\r\nHost: t\r\n{wish}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{EXAMPLE}\r\n0\r\n\r\n",
            webhook_path(""),
            EXAMPLE.len()
        );
        check(raw.send(chunked.repeat(2)).answer("POST"));
        check(raw.answer("POST"));
        for method in ["HEAD", "GET"] {
            let read = format!("{method} /livez HTTP/1.1\r\nHost: t\r\n{wish}\r\n");
            check(raw.send(read).answer(method));
        }
        check(raw.send(one).answer("POST"));
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.0\r\nX-Api-Key: {KEY}\r\n{more}\r\n");
    for more in ["", "Connection: keep-alive\r\n"] {
        let csv =
            RawClient::to(server.port).send(get("/api/messages?format=csv", more)).answer("GET");
        assert!(csv.status == 200 && csv.header("transfer-encoding").is_none(), "{csv:?}");
        assert!(csv.text().ends_with("\r\n") || csv.text().ends_with('\n'), "{csv:?}");
        assert!(csv.text().contains(EXAMPLE_ID), "{csv:?}");
    }
    let mut events = RawClient::to(server.port);
    let head = events.send(get("/api/events", "")).until("retry: 1000\n");
    assert!(!String::from_utf8(head).unwrap().contains("chunked"));
    // What has a length is kept alive.
    let mut kept = RawClient::to(server.port);
    for _ in 0..2 {
        let answer = kept.send(get("/livez", "Connection: keep-alive\r\n")).answer("GET");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(answer.text(), "ok\n");
    }
}

#[test]
fn head_has_the_content_length_of_get_or_none() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut raw = RawClient::to(server.port);
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
        "/api/messages?format=csv",
        "/api/nothing",
        "/ui/health",
        "/nowhere",
        "/webhooks/gateway",
        "/webhooks/nobody",
    ] {
        let mut ask = |method: &str| {
            raw.send(format!("{method} {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"));
            raw.answer(method)
        };
        let (head, get) = (ask("HEAD"), ask("GET"));
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
    let ask = |version: &str, hosts: &[&str]| {
        let hosts = hosts.iter().fold(String::new(), |all, host| all + "Host: " + host + "\r\n");
        let mut raw = RawClient::to(server.port);
        raw.send(format!("GET /livez HTTP/{version}\r\n{hosts}\r\n")).answer("GET").status
    };
    for host in ["t", "hooks.example.com:8080", "[::1]:1", "a_b", "127.0.0.1", "elsewhere.example"]
    {
        assert_eq!(ask("1.1", &[host]), 200, "{host}");
    }
    for host in ["", "a b", "a/b", "http://t", "u@t", "t:x", "[::1", "t:1:2", "<t>", "t?x", "t#x"] {
        assert_eq!(ask("1.1", &[host]), 400, "{host}");
    }
    assert_eq!(ask("1.1", &[]), 400);
    assert_eq!(ask("1.1", &["t", "t"]), 400);
    assert_eq!(ask("1.0", &[]), 200);
    assert_eq!(ask("1.0", &["a/b"]), 400);
}

#[test]
fn a_webhook_with_a_host_or_a_path_that_is_none_is_counted_and_logged() {
    let server = Server::start(GATEWAY);
    let good = posted(EXAMPLE, "");
    for bad in [
        good.replacen("Host: t", "Host: a b", 1),
        good.replacen("/webhooks/", "/webhook%73/", 1),
        good.replacen("/webhooks/", "//webhook%73/", 1),
    ] {
        let answer = RawClient::to(server.port).send(&bad).answer("POST");
        assert!(answer.status == 400 && answer.header("x-request-id").is_some(), "{answer:?}");
    }
    // These are not for webhooks.
    for path in ["/api/%6dessages", "/%6divez"] {
        let bad = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(RawClient::to(server.port).send(bad).answer("GET").status >= 400);
    }
    assert_eq!(rejected(&server, "", "malformed"), 3);
    eventually(|| (logged(&server, "malformed") == 3).then_some(()));
}

/// Lines of the log about webhooks that were rejected for this reason.
pub(super) fn logged(server: &Server, reason: &str) -> usize {
    let reason = format!("\"reason\":\"{reason}\"");
    let log = server.log();
    let is_it = |line: &&str| line.contains(&reason) && line.contains("\"rejected a webhook\"");
    log.lines().filter(is_it).count()
}

/// How many webhooks were rejected for this cause, by the metrics.
pub(super) fn rejected(server: &Server, source: &str, cause: &str) -> usize {
    let metrics = server.get("/metrics").body;
    let labels =
        ["source", "reason"].map(|name| (name, if name == "source" { source } else { cause }));
    let is_it = |line: &&str| {
        labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    let line = metrics.lines().find(is_it).expect("the cause is counted");
    line.rsplit(' ').next().unwrap().trim_end_matches(".0").parse().unwrap()
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let server = Server::start(GATEWAY);
    for head in [
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(200 << 10)),
        format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(200 << 10)),
        // Above our limit and below the codec's own.
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(60 << 10)),
    ] {
        let mut raw = RawClient::to(server.port);
        let answer = raw.send(head).answer("GET");
        assert!(
            answer.status == 431 && answer.text().contains("headers are too large"),
            "{answer:?}"
        );
        assert!(raw.rest().is_empty());
    }
    let large = format!("GET /livez HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "a".repeat(30_000));
    assert_eq!(RawClient::to(server.port).send(large).answer("GET").status, 200);
}

#[test]
fn a_stalled_process_answers_requests_received_meanwhile() {
    let server = Server::start(GATEWAY);
    let large = webhook_of(200_000);
    let (head, body) = large.split_at(1_000);
    let mut silent: Vec<_> = (0..4).map(|_| RawClient::to(server.port)).collect();
    let mut begun: Vec<_> = (0..4).map(|_| RawClient::to(server.port)).collect();
    for raw in &mut begun {
        raw.send(head);
    }
    // The server has seen all of them. Its threads wait for events, so that this wait is interrupted, and time
    // limits are looked at before events.
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    eventually(|| server.has_all_threads_in('S').then_some(()));
    server.pause();
    for (number, raw) in silent.iter_mut().enumerate() {
        raw.send(if number % 2 == 0 { posted(EXAMPLE, "") } else { ALIVE.to_owned() });
    }
    // What does not fit into the kernel's buffers comes when there is room again.
    thread::scope(|scope| {
        for raw in &mut begun {
            scope.spawn(|| raw.send(body));
        }
        thread::sleep(Duration::from_millis(5_500));
        server.resume();
    });
    for raw in &mut silent {
        let answer = raw.answer("POST");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for raw in &mut begun {
        let answer = raw.answer("POST");
        // The rest of a large body may come too late, which a retry mends.
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    }
    let answered = |raw: &mut RawClient| raw.send(ALIVE).answer("GET").status;
    assert_eq!(silent.iter_mut().map(answered).collect::<Vec<_>>(), [200; 4]);
}

/// A webhook whose body has so many bytes.
fn webhook_of(bytes: usize) -> String {
    let mut body = webhook(&id(1), "SENT", 1);
    body["filler"] = "x".repeat(bytes).into();
    posted(&body.to_string(), "")
}
