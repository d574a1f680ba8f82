//! Long histories: complete as JSON in small chunks, and in parts on the page.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use serde_json::{Value, json};
use statusmirror::access::api_key::{ApiKey, Scope};
use statusmirror::access::trusted_proxies::TrustedProxies;
use statusmirror::clock::Clock;
use statusmirror::http;
use statusmirror::http::app_state::Service as HttpService;
use statusmirror::memory_budget::Share;
use statusmirror::message::{Added, Notification, StatedProvider, Statement, Status};
use statusmirror::store::Store;
use statusmirror::store::sqlite::SqliteStore;
use statusmirror::verify::Scheme;
use tokio::task::yield_now;

use crate::support::faults::amounts::times;
use crate::support::history::{fill_with, history_path};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::ingest_service::{IngestService, poll_once};
use crate::support::store::notifications::{at, statement};
use crate::support::*;

const NOTIFICATIONS: u32 = 250;
const PIECE_BYTES: usize = 64 << 10;

/// Posts that many notifications of one message, with texts that grow when they are escaped.
fn fill(server: &Server) -> String {
    let (id, mut connection) = (id(1), server.connect());
    for number in 0..NOTIFICATIONS {
        let mut body = webhook(&id, "SENT", number % 60);
        let said = format!("{number} {}", "\"\u{1}<&é".repeat(165));
        body["message"]["provider"] =
            json!({"name": "N", "id": "I", "status": said, "code": said, "message": said});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    id
}

/// Asks.
fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(get(path).as_bytes()).unwrap();
}

/// The chunks of an answer.
fn chunks(server: &Server, path: &str) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    ask(&mut stream, path);
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    assert_eq!(line(&mut reader), "HTTP/1.1 200 OK");
    while !line(&mut reader).is_empty() {}
    let mut chunks = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(&mut reader), 16).unwrap();
        let mut chunk = vec![0; length];
        reader.read_exact(&mut chunk).unwrap();
        assert_eq!(line(&mut reader), "");
        if length == 0 {
            return chunks;
        }
        chunks.push(chunk);
    }
}

#[test]
fn a_long_history_is_complete_and_sent_in_small_chunks() {
    let server = Server::start(GATEWAY);
    let id = fill(&server);
    let chunks = chunks(&server, &history_path(&id));
    let longest = chunks.iter().map(Vec::len).max().unwrap();
    assert!(chunks.len() > 10 && longest <= PIECE_BYTES, "{} {longest}", chunks.len());
    let history: Value = serde_json::from_slice(&chunks.concat()).unwrap();
    let all = history["history"].as_array().unwrap();
    let numbers: Vec<_> = all
        .iter()
        .map(|said| {
            let text = said["provider"]["status"].as_str().unwrap();
            text.split(' ').next().unwrap().parse::<u32>().unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..NOTIFICATIONS).collect::<Vec<_>>(), "in the order of arrival");
    let shown = server.get(&format!("/api/messagestatus/{id}")).json();
    assert_eq!(history["message"], shown["message"]);
    // A short one has a length.
    server.post(EXAMPLE);
    let short = server.get(&history_path(EXAMPLE_ID));
    assert_eq!(short.header("content-length"), Some(&*short.body.len().to_string()));
    assert_eq!(short.json()["history"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&history_path(&crate::support::id(9))).status, 404);
}

#[test]
fn the_page_shows_the_newest_entries_and_older_ones_on_request() {
    let server = Server::start(GATEWAY);
    let id = fill(&server);
    let entries = |html: &str| {
        let parts = html.split("<dt>Status</dt><dd>").skip(1);
        let numbers = parts.filter_map(|part| part.split(' ').next()?.parse::<u32>().ok());
        numbers.collect::<Vec<_>>()
    };
    let older = |html: &str| {
        let address = html.split("data-older=\"").nth(1)?.split('"').next()?;
        Some(format!("/{address}"))
    };
    let mut seen = BTreeSet::new();
    let (mut path, mut expected) = (Some(format!("/ui/message/{id}")), NOTIFICATIONS);
    while let Some(asked) = path {
        let answer = server.get(&asked);
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = entries(&answer.body);
        let first = expected.saturating_sub(100);
        assert_eq!(shown, (first..expected).collect::<Vec<_>>(), "{asked}");
        seen.extend(shown);
        assert_eq!(answer.body.contains("<h1"), expected == NOTIFICATIONS);
        expected = first;
        path = older(&answer.body);
        let left = format!("{expected} older entries are not shown");
        assert_eq!(answer.body.contains(&left), expected > 0);
    }
    assert_eq!((expected, seen.len()), (0, usize::try_from(NOTIFICATIONS).unwrap()));
    server.get(&format!("/ui/message/{id}?before=x")).assert_problem(400);
    server.get(&format!("/ui/message/{}?before=7", crate::support::id(9))).assert_problem(404);
}

#[test]
fn pages_wait_for_their_turn_without_taking_memory() {
    const PAGES: usize = 40;
    let service = IngestService::new(&Scheme::None, 64);
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&service.store);
    let keys = vec![ApiKey::new("tests", KEY, vec![Scope::Read])];
    let (ingest, proxies) = (Arc::clone(&service.ingest), TrustedProxies::default());
    let http = HttpService::new(ingest, store, keys, proxies, Clock::Fixed(at(1)));
    let reserved = || service.budget.reserved(Share::Answers);
    System::new().block_on(async {
        let said = |second| {
            let text = "<".repeat(1_024);
            let provider = StatedProvider {
                name: text.clone(),
                id: "p".to_owned(),
                status: text.clone(),
                code: text.clone(),
                message: text,
            };
            let said = Statement { provider, ..statement(Status::Sent, Some(at(second))) };
            entry(0, Notification::new(said, Added::default()))
        };
        service.store.ingest(delivery(at(1), (0..100).map(said).collect())).await.unwrap();
        let app = test::init_service(http::app(Data::new(http), http::all)).await;
        let path = format!("/ui/message/{}", statement(Status::Sent, None).message);
        let ask = async || {
            let request = TestRequest::get().uri(&path).insert_header(("X-Api-Key", KEY));
            let answer = test::call_service(&app, request.to_request()).await;
            (answer.status(), reserved())
        };
        let (_, alone) = ask().await;
        // All 40 pages are larger than what answers may take.
        assert!(alone * PAGES > 2 * Share::Answers.limit(), "{alone} bytes");
        let mut pages: Vec<_> = (0..PAGES).map(|_| Box::pin(ask())).collect();
        for page in &mut pages {
            assert!(poll_once(page).await.is_pending());
        }
        // By now the store has answered whom it was asked by.
        thread::sleep(Duration::from_millis(500));
        let mut most = 0;
        while !pages.is_empty() {
            let mut waiting = Vec::new();
            for mut page in pages {
                match poll_once(&mut page).await {
                    Poll::Ready((status, held)) => {
                        assert_eq!(status, 200);
                        most = most.max(held);
                    }
                    Poll::Pending => waiting.push(page),
                }
            }
            pages = waiting;
            most = most.max(reserved());
            yield_now().await;
        }
        // What is being rendered is charged, too.
        assert!(most > alone, "{most} bytes; one answer takes {alone}");
        assert!(most < 6 * alone, "{most} bytes; one answer takes {alone}");
    });
    service.close();
}

#[test]
fn a_large_response_without_memory_budget_is_503() {
    let server = Server::start(GATEWAY);
    let id = fill_with(&server, 60, '\u{1}');
    let path = history_path(&id);
    // They read the beginning of what they are sent, and no more.
    let mut readers = Vec::new();
    let refused = loop {
        let mut raw = RawClient::with_small_buffer(server.port);
        let head = String::from_utf8(raw.send(get(&path)).until("\r\n\r\n")).unwrap();
        if !head.starts_with("HTTP/1.1 200 ") {
            break head;
        }
        readers.push(raw);
        assert!(readers.len() < 1_000, "1,000 readers are answered; none gets 503");
    };
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let large = [
        &*path,
        &format!("/ui/message/{id}"),
        "/api/messages?format=csv",
        "/api/messages?format=csv-plain",
        &format!("/api/messagestatus/reference/{}", "%01".repeat(512)),
        "/api/messages",
    ];
    for path in large {
        let refused = server.get(path);
        refused.assert_problem(503);
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert!(refused.body.contains("large responses"), "{refused:?}");
    }
    // What is small needs no room.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    if times(0, 1, 1) == 0 {
        drop(readers);
    } else {
        // Whoever takes nothing for a minute is given up.
        thread::sleep(Duration::from_mins(1));
        mem::forget(readers);
    }
    for path in large {
        eventually(|| (server.get(path).status == 200).then_some(()));
    }
}
