//! Requests before verification: a response, and little memory.

use std::time::Duration;

use serde_json::json;

use crate::support::faults::cgroup::{LIMIT, peak_memory};
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
/// The most bytes of a body.
const MOST: usize = 256 << 10;

/// Begins to post a body of the greatest length, and never ends.
fn begin(server: &Server, path: &str, sent: usize) -> Connection {
    let mut open = server.connect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST}\r\n\r\n");
    open.write(head.as_bytes());
    // The server may have answered and closed already.
    drop(open.try_write(&vec![b' '; sent]));
    open
}

/// A webhook of this length about a message.
fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = webhook(&id(number), "SENT", 1).to_string().into_bytes();
    body.resize(body.len().max(length), b' ');
    body
}

fn post_signed(server: &Server, body: &[u8]) -> Answer {
    let signature = hmac_hex(SECRET, body);
    server.send("POST", "/webhooks/signed", &[("X-Signature", &signature)], body)
}

fn refused(server: &Server, source: &str, cause: &str) -> u64 {
    let metrics = server.get("/metrics").body;
    let series =
        format!("statusmirror_webhooks_rejected_total{{source=\"{source}\",reason=\"{cause}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |number| number.parse().unwrap())
}

#[test]
fn a_url_is_verified_before_the_body_and_before_its_length() {
    let server = Server::start(SOURCES);
    let signed = hmac_hex(b"throw-away-url-secret", b"su\n\n");
    for (path, right) in [
        ("/webhooks/gateway?token=".to_owned(), TOKEN),
        ("/webhooks/su?signature=".to_owned(), &*signed),
    ] {
        let mut open = server.connect();
        let head = |proof: &str, length: usize| {
            format!("POST {path}{proof} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
        };
        // Too large and not proven: it is told that it is not proven, and no more.
        for proof in ["wrong", ""] {
            open.write(head(proof, MOST + 1).as_bytes());
            open.write(&vec![b' '; MOST + 1]);
            open.read().unwrap().assert_problem(401);
            open = server.connect();
        }
        open.write(head(right, MOST + 1).as_bytes());
        open.write(&vec![b' '; MOST + 1]);
        open.read().unwrap().assert_problem(413);
        // What is drained leaves the connection to the next request.
        let mut open = server.connect();
        for _ in 0..2 {
            open.write(head("wrong", MOST).as_bytes());
            open.write(&vec![b' '; MOST]);
            open.read().unwrap().assert_problem(401);
        }
        let last = body(1, 0);
        open.write(head(right, last.len()).as_bytes());
        open.write(&last);
        assert_eq!(open.read().unwrap().status, 200);
    }
    assert_eq!(refused(&server, "gateway", "wrong_credential"), 4);
    assert_eq!(refused(&server, "su", "wrong_credential"), 4);
}

/// More unfinished bodies than their share of the memory has room for, at a source whose scheme needs the
/// body, at one that asks for nothing, and at addresses that are not proven.
#[test]
fn unfinished_unverified_bodies_block_no_webhook() {
    let server = Server::start(SOURCES);
    let mut strangers = Vec::new();
    for path in ["/webhooks/signed", "/webhooks/open", "/webhooks/gateway?token=wrong"] {
        strangers.extend((0..90).map(|_| begin(&server, path, MOST - 44)));
    }
    for sent in [130_000, 30_000, 7_000, 4_000, 1_000, 200] {
        strangers.extend((0..4).map(|_| begin(&server, "/webhooks/signed", sent)));
    }
    for number in 0..10 {
        let small = body(number, 0);
        assert_eq!(post_signed(&server, &small).status, 200);
        let large = body(100 + number, 200_000);
        assert_eq!(post_signed(&server, &large).status, 200);
        let proven = server.send("POST", &webhook_path(""), JSON, &body(200 + number, 200_000));
        assert_eq!(proven.status, 200);
        let open = server.send("POST", "/webhooks/open", JSON, &body(300 + number, 0));
        assert_eq!(open.status, 200);
        assert_eq!(
            server.put(&id(400 + number), &json!({"destination": "+393331234567"})).status,
            201
        );
    }
    // 45 MiB were sent, and 16 may be held.
    let evicted = eventually(|| {
        Some(refused(&server, "signed", "overloaded") + refused(&server, "open", "overloaded"))
            .filter(|n| *n >= 100)
    });
    assert!(evicted < 180 + 24, "{evicted}");
    let answered =
        strangers.iter_mut().filter_map(|open| open.read_within(Duration::from_millis(1)));
    let told: Vec<u16> = answered.map(|answer| answer.status).collect();
    assert!(told.iter().all(|status| [401, 503].contains(status)), "{told:?}");
    assert_bounded(&server);
}

/// What one address that leaked can hold is taken from it when others need it.
#[test]
fn unfinished_bodies_of_one_source_block_no_other() {
    let server = Server::start(SOURCES);
    let path = webhook_path("");
    let mut leaked: Vec<_> = (0..270).map(|_| begin(&server, &path, MOST - 44)).collect();
    // Who is refused gives room back. Smaller ones take it, until there is none.
    for sent in [MOST - 44, 130_000, 30_000, 7_000, 1_000] {
        let before = refused(&server, "gateway", "overloaded");
        while refused(&server, "gateway", "overloaded") == before {
            leaked.push(begin(&server, &path, sent));
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
    eventually(|| Some(refused(&server, "gateway", "overloaded")).filter(|evicted| *evicted >= 10));
    drop(leaked);
    assert_bounded(&server);
}

/// Its memory never was more than it may be.
fn assert_bounded(server: &Server) {
    let peak = peak_memory(server);
    assert!(peak < LIMIT, "{peak} bytes");
}

#[test]
fn a_body_in_pieces_is_read_from_any_sender() {
    let server = Server::start(SOURCES);
    let whole = body(1, 100_000);
    let signature = hmac_hex(SECRET, &whole);
    let mut open = server.connect();
    for round in 0..2 {
        open.write(
            format!(
                "POST /webhooks/signed HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\n\
                 Content-Length: {}\r\n\r\n",
                whole.len()
            )
            .as_bytes(),
        );
        for piece in whole.chunks(9_000) {
            open.write(piece);
            std::thread::sleep(Duration::from_millis(2));
        }
        let outcome = open.read().unwrap().outcome();
        assert_eq!(outcome, ["applied", "duplicate"][round]);
    }
}

#[test]
fn an_expiry_in_milliseconds_is_logged_once() {
    let server = Server::start(SOURCES);
    let expires = "1770907860000";
    let signature = hmac_hex(b"throw-away-url-secret", format!("su\n\n{expires}").as_bytes());
    let path = format!("/webhooks/su?expires={expires}&signature={signature}");
    let said = || server.log().matches("milliseconds").count();
    for number in 0..3 {
        let answer = server.send("POST", &path, JSON, &body(number, 0));
        assert_eq!(answer.outcome(), "applied");
    }
    eventually(|| Some(said()).filter(|said| *said > 0));
    assert_eq!(said(), 1, "{}", server.log());
    // In seconds nothing is odd.
    let expires = "4102444800";
    let signature = hmac_hex(b"throw-away-url-secret", format!("su\n\n{expires}").as_bytes());
    let path = format!("/webhooks/su?expires={expires}&signature={signature}");
    assert_eq!(server.send("POST", &path, JSON, &body(9, 0)).outcome(), "applied");
    server.reload();
    assert_eq!(said(), 1);
}
