//! Unverified senders: their requests are answered, and the memory for them is limited.

use std::time::Duration;

use serde_json::json;

use crate::support::faults::cgroup::{LIMIT_BYTES, peak_memory};
use crate::support::*;

const SECRET: &[u8] = b"throw-away-hmac-secret";
const SOURCES: &str = r#"
[sources.gateway]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
[sources.su]
verify = { scheme = "signed-url", secrets = ["throw-away-url-secret"] }
[sources.signed]
verify = { scheme = "hmac", secrets = ["throw-away-hmac-secret"], header = "X-Signature" }
[sources.open]
verify = { scheme = "none" }
"#;
/// Maximum length of a body, in bytes.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Starts to post a body of the maximum length, sends only `sent_bytes` of it, and keeps the connection open.
fn post_unfinished(server: &Server, path: &str, sent_bytes: usize) -> Connection {
    let mut connection = server.connect();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES}\r\n\r\n");
    connection.write(head.as_bytes());
    // The server may already have answered and closed the connection.
    drop(connection.try_write(&vec![b' '; sent_bytes]));
    connection
}

/// Webhook about this message, padded to this length.
fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = webhook(&id(number), "SENT", 1).to_string().into_bytes();
    body.resize(body.len().max(length), b' ');
    body
}

fn post_signed(server: &Server, body: &[u8]) -> Answer {
    let signature = hmac_hex(SECRET, body);
    server.send("POST", "/webhooks/signed", &[("X-Signature", &signature)], body)
}

/// Number of rejections of this source with this reason, from the metrics.
fn rejected(server: &Server, source: &str, reason: &str) -> u64 {
    let metrics = server.get("/metrics").body;
    let series =
        format!("statusmirror_webhooks_rejected_total{{source=\"{source}\",reason=\"{reason}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |number| number.parse().unwrap())
}

#[test]
fn a_url_is_verified_before_the_body_and_before_its_length() {
    let server = Server::start(SOURCES);
    let signed = hmac_hex(b"throw-away-url-secret", b"su\n\n");
    for (path, valid) in [
        ("/webhooks/gateway?token=".to_owned(), TOKEN),
        ("/webhooks/su?signature=".to_owned(), &*signed),
    ] {
        let mut connection = server.connect();
        let head = |credential: &str, length: usize| {
            format!(
                "POST {path}{credential} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        // A request that is both too large and unverified gets only 401.
        for credential in ["wrong", ""] {
            connection.write(head(credential, MAX_BODY_BYTES + 1).as_bytes());
            connection.write(&vec![b' '; MAX_BODY_BYTES + 1]);
            connection.read().unwrap().assert_problem(401);
            connection = server.connect();
        }
        connection.write(head(valid, MAX_BODY_BYTES + 1).as_bytes());
        connection.write(&vec![b' '; MAX_BODY_BYTES + 1]);
        connection.read().unwrap().assert_problem(413);
        // After a drained body, the connection serves the next request.
        let mut connection = server.connect();
        for _ in 0..2 {
            connection.write(head("wrong", MAX_BODY_BYTES).as_bytes());
            connection.write(&vec![b' '; MAX_BODY_BYTES]);
            connection.read().unwrap().assert_problem(401);
        }
        let last = body(1, 0);
        connection.write(head(valid, last.len()).as_bytes());
        connection.write(&last);
        assert_eq!(connection.read().unwrap().status, 200);
    }
    assert_eq!(rejected(&server, "gateway", "wrong_credential"), 4);
    assert_eq!(rejected(&server, "su", "wrong_credential"), 4);
}

/// More unfinished bodies than fit in their share of the memory: to a source whose scheme signs the body, to
/// a source without verification, and to a URL with a wrong token.
#[test]
fn unfinished_unverified_bodies_block_no_webhook() {
    let server = Server::start(SOURCES);
    let mut unfinished = Vec::new();
    for path in ["/webhooks/signed", "/webhooks/open", "/webhooks/gateway?token=wrong"] {
        unfinished.extend((0..90).map(|_| post_unfinished(&server, path, MAX_BODY_BYTES - 44)));
    }
    for sent_bytes in [130_000, 30_000, 7_000, 4_000, 1_000, 200] {
        unfinished.extend((0..4).map(|_| post_unfinished(&server, "/webhooks/signed", sent_bytes)));
    }
    for number in 0..10 {
        let small = body(number, 0);
        assert_eq!(post_signed(&server, &small).status, 200);
        let large = body(100 + number, 200_000);
        assert_eq!(post_signed(&server, &large).status, 200);
        let verified = server.send("POST", &webhook_path(""), JSON, &body(200 + number, 200_000));
        assert_eq!(verified.status, 200);
        let unverified = server.send("POST", "/webhooks/open", JSON, &body(300 + number, 0));
        assert_eq!(unverified.status, 200);
        assert_eq!(
            server.put(&id(400 + number), &json!({"destination": "+393331234567"})).status,
            201
        );
    }
    // 45 MiB were sent to these two sources, and 16 MiB may be held.
    let evicted = wait_for(|| {
        Some(rejected(&server, "signed", "overloaded") + rejected(&server, "open", "overloaded"))
            .filter(|count| *count >= 100)
    });
    assert!(evicted < 180 + 24, "{evicted}");
    let answers =
        unfinished.iter_mut().filter_map(|sender| sender.read_within(Duration::from_millis(1)));
    let statuses: Vec<u16> = answers.map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    assert_bounded(&server);
}

/// Unfinished bodies to one leaked callback URL are evicted when other sources need their memory.
#[test]
fn unfinished_bodies_of_one_source_block_no_other() {
    let server = Server::start(SOURCES);
    let path = webhook_path("");
    let mut leaked: Vec<_> =
        (0..270).map(|_| post_unfinished(&server, &path, MAX_BODY_BYTES - 44)).collect();
    // Each rejection releases memory. Smaller bodies take it, until none is left.
    for sent_bytes in [MAX_BODY_BYTES - 44, 130_000, 30_000, 7_000, 1_000] {
        let before = rejected(&server, "gateway", "overloaded");
        while rejected(&server, "gateway", "overloaded") == before {
            leaked.push(post_unfinished(&server, &path, sent_bytes));
        }
    }
    let signed = hmac_hex(b"throw-away-url-secret", b"su\n\n");
    let other = format!("/webhooks/su?signature={signed}");
    for number in 0..10 {
        let large = body(number, 250_000);
        assert_eq!(server.send("POST", &other, JSON, &large).status, 200);
        assert_eq!(post_signed(&server, &body(100 + number, 0)).status, 200);
        assert_eq!(server.send("POST", &path, JSON, &body(200 + number, 0)).status, 200);
    }
    wait_for(|| Some(rejected(&server, "gateway", "overloaded")).filter(|evicted| *evicted >= 10));
    drop(leaked);
    assert_bounded(&server);
}

/// Asserts that the server's memory has always been below the limit.
fn assert_bounded(server: &Server) {
    let peak = peak_memory(server);
    assert!(peak < LIMIT_BYTES, "{peak} bytes");
}

#[test]
fn a_body_in_pieces_is_read_from_any_sender() {
    let server = Server::start(SOURCES);
    let content = body(1, 100_000);
    let signature = hmac_hex(SECRET, &content);
    let mut connection = server.connect();
    for round in 0..2 {
        connection.write(
            format!(
                "POST /webhooks/signed HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\n\
                 Content-Length: {}\r\n\r\n",
                content.len()
            )
            .as_bytes(),
        );
        for chunk in content.chunks(9_000) {
            connection.write(chunk);
            std::thread::sleep(Duration::from_millis(2));
        }
        let outcome = connection.read().unwrap().outcome();
        assert_eq!(outcome, ["applied", "duplicate"][round]);
    }
}

#[test]
fn an_expiry_in_milliseconds_is_logged_once() {
    let server = Server::start(SOURCES);
    let expires = "1770907860000";
    let signature = hmac_hex(b"throw-away-url-secret", format!("su\n\n{expires}").as_bytes());
    let path = format!("/webhooks/su?expires={expires}&signature={signature}");
    let warnings = || server.log().matches("milliseconds").count();
    for number in 0..3 {
        let answer = server.send("POST", &path, JSON, &body(number, 0));
        assert_eq!(answer.outcome(), "applied");
    }
    wait_for(|| Some(warnings()).filter(|warnings| *warnings > 0));
    assert_eq!(warnings(), 1, "{}", server.log());
    // An expiry in seconds causes no warning.
    let expires = "4102444800";
    let signature = hmac_hex(b"throw-away-url-secret", format!("su\n\n{expires}").as_bytes());
    let path = format!("/webhooks/su?expires={expires}&signature={signature}");
    assert_eq!(server.send("POST", &path, JSON, &body(9, 0)).outcome(), "applied");
    server.reload();
    assert_eq!(warnings(), 1);
}
