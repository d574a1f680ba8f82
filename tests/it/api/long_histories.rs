//! Long histories: complete and in small chunks as JSON, in parts on the page.

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

use crate::support::faults::amounts::repetitions;
use crate::support::history::{history_path, post_long_history};
use crate::support::http::raw_client::{RawClient, get};
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::ingest_service::{IngestService, poll_once};
use crate::support::store::notifications::{at, statement};
use crate::support::*;

const NOTIFICATIONS: u32 = 250;
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Posts `NOTIFICATIONS` notifications of one message, with texts that grow when escaped; returns its id.
fn fill(server: &Server) -> String {
    let (id, mut connection) = (id(1), server.connect());
    for number in 0..NOTIFICATIONS {
        let mut body = webhook(&id, "SENT", number % 60);
        let text = format!("{number} {}", "\"\u{1}<&é".repeat(165));
        body["message"]["provider"] =
            json!({"name": "N", "id": "I", "status": text, "code": text, "message": text});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    id
}

/// Sends a query with the API key.
fn send_query(stream: &mut TcpStream, path: &str) {
    stream.write_all(get(path).as_bytes()).unwrap();
}

/// Queries a path and returns the chunks of the body.
fn chunks(server: &Server, path: &str) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    send_query(&mut stream, path);
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
    assert!(chunks.len() > 10 && longest <= MAX_CHUNK_BYTES, "{} {longest}", chunks.len());
    let history: Value = serde_json::from_slice(&chunks.concat()).unwrap();
    let entries = history["history"].as_array().unwrap();
    let numbers: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = entry["provider"]["status"].as_str().unwrap();
            text.split(' ').next().unwrap().parse::<u32>().unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..NOTIFICATIONS).collect::<Vec<_>>(), "in the order of arrival");
    let current = server.get(&format!("/api/messagestatus/{id}")).json();
    assert_eq!(history["message"], current["message"]);
    // A short history has a content length.
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
    let entry_numbers = |html: &str| {
        let parts = html.split("<dt>Status</dt><dd>").skip(1);
        let numbers = parts.filter_map(|part| part.split(' ').next()?.parse::<u32>().ok());
        numbers.collect::<Vec<_>>()
    };
    let older_path = |html: &str| {
        let address = html.split("data-older=\"").nth(1)?.split('"').next()?;
        Some(format!("/{address}"))
    };
    let mut seen = BTreeSet::new();
    let (mut path, mut expected) = (Some(format!("/ui/message/{id}")), NOTIFICATIONS);
    while let Some(page) = path {
        let answer = server.get(&page);
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = entry_numbers(&answer.body);
        let first = expected.saturating_sub(100);
        assert_eq!(shown, (first..expected).collect::<Vec<_>>(), "{page}");
        seen.extend(shown);
        assert_eq!(answer.body.contains("<h1"), expected == NOTIFICATIONS);
        expected = first;
        path = older_path(&answer.body);
        let notice = format!("{expected} older entries are not shown");
        assert_eq!(answer.body.contains(&notice), expected > 0);
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
        let notification_entry = |second| {
            let text = "<".repeat(1_024);
            let provider = StatedProvider {
                name: text.clone(),
                id: "p".to_owned(),
                status: text.clone(),
                code: text.clone(),
                message: text,
            };
            let statement = Statement { provider, ..statement(Status::Sent, Some(at(second))) };
            entry(0, Notification::new(statement, Added::default()))
        };
        service
            .store
            .ingest(delivery(at(1), (0..100).map(notification_entry).collect()))
            .await
            .unwrap();
        let app = test::init_service(http::app(Data::new(http), http::all)).await;
        let path = format!("/ui/message/{}", statement(Status::Sent, None).message);
        let get_page = async || {
            let request = TestRequest::get().uri(&path).insert_header(("X-Api-Key", KEY));
            let answer = test::call_service(&app, request.to_request()).await;
            (answer.status(), reserved())
        };
        let (_, single_page) = get_page().await;
        // All 40 pages together need more than the memory share of responses.
        assert!(single_page * PAGES > 2 * Share::Answers.limit(), "{single_page} bytes");
        let mut pages: Vec<_> = (0..PAGES).map(|_| Box::pin(get_page())).collect();
        for page in &mut pages {
            assert!(poll_once(page).await.is_pending());
        }
        // Time for the store to answer all queries that it was sent.
        thread::sleep(Duration::from_millis(500));
        let mut peak = 0;
        while !pages.is_empty() {
            let mut pending = Vec::new();
            for mut page in pages {
                match poll_once(&mut page).await {
                    Poll::Ready((status, reserved_bytes)) => {
                        assert_eq!(status, 200);
                        peak = peak.max(reserved_bytes);
                    }
                    Poll::Pending => pending.push(page),
                }
            }
            pages = pending;
            peak = peak.max(reserved());
            yield_now().await;
        }
        // Pages that are being rendered are charged to the memory budget, too.
        assert!(peak > single_page, "{peak} bytes; one page takes {single_page}");
        assert!(peak < 6 * single_page, "{peak} bytes; one page takes {single_page}");
    });
    service.close();
}

#[test]
fn a_large_response_without_memory_budget_is_503() {
    let server = Server::start(GATEWAY);
    let id = post_long_history(&server, 60, '\u{1}');
    let path = history_path(&id);
    // Each client reads only the head of its response.
    let mut readers = Vec::new();
    let rejected_head = loop {
        let mut client = RawClient::with_small_buffer(server.port);
        let head = String::from_utf8(client.send(get(&path)).until("\r\n\r\n")).unwrap();
        if !head.starts_with("HTTP/1.1 200 ") {
            break head;
        }
        readers.push(client);
        assert!(readers.len() < 1_000, "none of 1,000 clients gets 503");
    };
    assert!(rejected_head.starts_with("HTTP/1.1 503 "), "{rejected_head}");
    let large = [
        &*path,
        &format!("/ui/message/{id}"),
        "/api/messages.csv",
        "/api/messages.csv?variant=plain",
        &format!("/api/messagestatus/reference/{}", "%01".repeat(512)),
        "/api/messages",
    ];
    for path in large {
        let rejection = server.get(path);
        rejection.assert_problem(503);
        assert!(rejection.header("retry-after").is_some(), "{rejection:?}");
        assert!(rejection.body.contains("large responses"), "{rejection:?}");
    }
    // Small responses are not rejected.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    if repetitions(0, 1, 1) == 0 {
        drop(readers);
    } else {
        // The server closes a connection whose client reads nothing for a minute.
        thread::sleep(Duration::from_mins(1));
        mem::forget(readers);
    }
    for path in large {
        wait_for(|| (server.get(path).status == 200).then_some(()));
    }
}
