//! Long histories: whole as JSON in small pieces, and in parts on the page.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::raw::{Raw, get};
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

/// Posts that many notifications of one message, whose texts have this letter only and are as long as they may
/// be.
pub(crate) fn fill_with(server: &Server, notifications: u32, letter: char) -> String {
    let (id, mut connection) = (id(1), server.connect());
    let text = |letters: usize| letter.to_string().repeat(letters);
    let (most, key) = (text(1_024), text(512));
    for second in 0..notifications {
        let mut body = webhook(&id, "SENT", second);
        body["message"]["provider"] =
            json!({"name": most, "id": text(256), "status": most, "code": most, "message": most});
        body["message"]["reference"] = json!({"service": key, "action": key, "key": key});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.outcome(), if second == 0 { "applied" } else { "superseded" });
    }
    id
}

pub(crate) fn history_path(id: &str) -> String {
    format!("/api/messagestatus/{id}/history")
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
fn a_long_history_is_whole_and_comes_in_small_pieces() {
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
fn what_finds_no_memory_for_a_large_answer_is_asked_to_come_again() {
    let server = Server::start(GATEWAY);
    let id = fill_with(&server, 60, '\u{1}');
    let path = history_path(&id);
    // They read the beginning of what they are sent, and no more.
    let mut readers = Vec::new();
    let refused = loop {
        let mut raw = Raw::with_small_buffer(server.port);
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
        assert!(refused.body.contains("large answers"), "{refused:?}");
    }
    // What is small needs no room.
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    drop(readers);
    for path in large {
        eventually(|| (server.get(path).status == 200).then_some(()));
    }
}
