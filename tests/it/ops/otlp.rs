//! OpenTelemetry: spans as a collector receives them, and a service whose collector fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Maximum time until a span arrives. After it, the test fails.
const SPAN_TIMEOUT: Duration = Duration::from_secs(30);

/// Export request of a server: its head and its body.
type ExportRequest = (String, Vec<u8>);

/// Reads an export request.
fn read_export(stream: &TcpStream) -> ExportRequest {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let lower = head.to_ascii_lowercase();
    let (_, length) = lower.split_once("content-length: ").expect(&lower);
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

/// Starts a collector that accepts every request. Returns its address and a channel with the requests.
fn collector() -> (String, Receiver<ExportRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let export = read_export(&stream);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            if sender.send(export).is_err() {
                break;
            }
        }
    });
    (address, receiver)
}

/// Values of the fields with the number `wanted` in a protocol buffers message. An integer is returned as its
/// bytes, in little-endian order.
fn fields(mut message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => varint(&mut message).to_le_bytes().to_vec(),
            1 => take_bytes(&mut message, 8),
            2 => {
                let length = varint(&mut message);
                take_bytes(&mut message, usize::try_from(length).unwrap())
            }
            5 => take_bytes(&mut message, 4),
            other => panic!("unknown wire type {other}"),
        };
        if key >> 3 == wanted {
            found.push(value);
        }
    }
    found
}

fn take_bytes(message: &mut &[u8], length: usize) -> Vec<u8> {
    let (value, rest) = message.split_at(length);
    *message = rest;
    value.to_vec()
}

fn varint(message: &mut &[u8]) -> u64 {
    let length = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let bytes = take_bytes(message, length);
    bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// Value of the only field with this number; empty if the field is absent.
fn field(message: &[u8], number: u64) -> Vec<u8> {
    let mut found = fields(message, number);
    assert!(found.len() < 2, "{number}");
    found.pop().unwrap_or_default()
}

fn string_field(message: &[u8], number: u64) -> String {
    String::from_utf8(field(message, number)).unwrap()
}

fn integer_field(message: &[u8], number: u64) -> u64 {
    field(message, number).try_into().map_or(0, u64::from_le_bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Attributes, which are key-value pairs, in the fields with this number.
fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let pair = |pair: Vec<u8>| {
        let value = field(&pair, 2);
        let text = string_field(&value, 1);
        (
            string_field(&pair, 1),
            if text.is_empty() { integer_field(&value, 3).to_string() } else { text },
        )
    };
    fields(message, number).into_iter().map(pair).collect()
}

/// Fields of a span that the tests compare.
#[derive(Debug)]
struct Span {
    trace: String,
    parent: String,
    name: String,
    kind: u64,
    duration_nanos: u64,
    is_error: bool,
    attributes: BTreeMap<String, String>,
    service: String,
}

/// Spans of an export request, in the format of
/// <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>.
fn decode_spans(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in fields(body, 1) {
        let service = attributes(&field(&resource, 1), 1).remove("service.name").unwrap();
        for span in fields(&resource, 2).iter().flat_map(|scope| fields(scope, 2)) {
            spans.push(Span {
                trace: hex(&field(&span, 1)),
                parent: hex(&field(&span, 4)),
                name: string_field(&span, 5),
                kind: integer_field(&span, 6),
                duration_nanos: integer_field(&span, 8) - integer_field(&span, 7),
                is_error: integer_field(&field(&span, 15), 3) == 2,
                attributes: attributes(&span, 9),
                service: service.clone(),
            });
        }
    }
    spans
}

/// Server that exports its spans to the collector at this address, with these environment variables.
fn exporting(address: &str, envs: &[(&str, String)]) -> Server {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", address.to_owned());
    Server::start_with(GATEWAY, &[&[endpoint], envs].concat())
}

/// Variable that has spans exported within 10 ms.
fn short_delay() -> (&'static str, String) {
    ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned())
}

#[test]
fn a_request_is_a_span_in_the_trace_of_its_sender() {
    let (address, collected) = collector();
    let token = "a-token-for-the-collector".to_owned();
    canaries::secret(&token);
    let header = ("OTEL_EXPORTER_OTLP_HEADERS", format!("Authorization={token}"));
    let server = exporting(&address, &[header, short_delay()]);
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let key = [("X-Api-Key", KEY), ("traceparent", &*sampled)];
    let headers = [JSON[0], ("traceparent", &sampled), ("X-Request-Id", "an-id.of_4711")];
    server.send(
        "POST",
        &webhook_path("&r_order=a-reference-of-ours"),
        &headers,
        EXAMPLE.as_bytes(),
    );
    server.send("POST", "/webhooks/gateway?token=a-wrong-token", &headers, EXAMPLE.as_bytes());
    server.send("GET", &format!("/api/messagestatus/{EXAMPLE_ID}"), &key, b"");
    server.send("GET", "/api/messagestatus/phonenumber/+393331234567", &key, b"");
    server.send("GET", "/api/messagestatus/reference/a-reference-of-ours", &key, b"");
    server.send("AN-ODD-METHOD", "/api/messagestatus/reference/another", &key, b"");
    // A request of an unsampled trace has no span.
    server.send("GET", "/api/events", &[("traceparent", &unsampled)], b"");
    server.send("GET", "/livez", &[], b"");
    server.send("GET", "/api/events", &[("X-Api-Key", "an-unknown-key")], b"");
    let mut spans = Vec::new();
    while spans.iter().all(|span: &Span| span.name != "GET /api/events") {
        let (head, body) = collected.recv_timeout(SPAN_TIMEOUT).unwrap();
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        assert!(head.contains(&token), "{head}");
        let text = String::from_utf8_lossy(&body).replace(|c: char| !c.is_ascii_graphic(), " ");
        canaries::assert_none("the spans", &text);
        for canary in ["a-reference-of-ours", "another", "ODD", "4567", "127.0.0.1"] {
            assert!(!text.contains(canary), "{canary} is in {text}");
        }
        spans.extend(decode_spans(&body));
    }

    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    let by_destination = "GET /api/messagestatus/phonenumber/{phonenumber}";
    let expected = [
        "POST /webhooks/{source}",
        "POST /webhooks/{source}",
        "GET /api/messagestatus/{messageid}",
        by_destination,
        "GET /api/messagestatus/reference/{key}",
        "HTTP /api/messagestatus/reference/{key}",
        "GET /api/events",
    ];
    assert_eq!(names, expected);
    let (untraced, traced) = spans.split_last().unwrap();
    for span in traced {
        assert_eq!((&*span.trace, &*span.parent), (TRACE, PARENT), "{span:?}");
    }
    assert_eq!((untraced.trace.len(), &*untraced.parent), (TRACE.len(), ""));
    for span in &spans {
        assert_eq!((span.kind, span.is_error, &*span.service), (2, false, "statusmirror"));
        assert!((1..30_000_000_000).contains(&span.duration_nanos), "{span:?}");
    }
    let span_attributes = |index: usize| -> BTreeMap<&str, &str> {
        let pairs = spans[index].attributes.iter().map(|(name, value)| (&**name, &**value));
        pairs.filter(|(name, _)| index < 2 || *name != "statusmirror.request_id").collect()
    };
    let webhook = |outcome: &[(&'static str, &'static str)]| {
        let common = [
            ("http.request.method", "POST"),
            ("http.route", "/webhooks/{source}"),
            ("statusmirror.request_id", "an-id.of_4711"),
            ("statusmirror.source", "gateway"),
        ];
        common.into_iter().chain(outcome.iter().copied()).collect::<BTreeMap<_, _>>()
    };
    let applied = [
        ("http.response.status_code", "200"),
        ("statusmirror.message_id", EXAMPLE_ID),
        ("statusmirror.outcome", "applied"),
    ];
    assert_eq!(span_attributes(0), webhook(&applied));
    let rejected =
        [("http.response.status_code", "401"), ("statusmirror.reason", "wrong_credential")];
    assert_eq!(span_attributes(1), webhook(&rejected));
    let query = BTreeMap::from([
        ("http.request.method", "GET"),
        ("http.route", "/api/messagestatus/{messageid}"),
        ("http.response.status_code", "200"),
        ("statusmirror.key", "tests"),
        ("statusmirror.message_id", EXAMPLE_ID),
    ]);
    assert_eq!(span_attributes(2), query);
    assert_eq!(span_attributes(6)["statusmirror.reason"], "wrong_credential");
}

/// Spans that a server exports at shutdown. Tries up to five times, because a stalled machine can exceed the
/// time limit of the export.
fn spans_at_shutdown(variable: &(&str, String)) -> Vec<Span> {
    let (address, collected) = collector();
    let long_delay = ("OTEL_BSP_SCHEDULE_DELAY", "10000000".to_owned());
    for _ in 0..5 {
        let mut server = exporting(&address, &[variable.clone(), long_delay.clone()]);
        server.get("/api/messagestatus/reference/k");
        assert_eq!(server.terminate(), Some(0));
        if let Ok((_, body)) = collected.recv_timeout(Duration::from_secs(1)) {
            return decode_spans(&body);
        }
    }
    panic!("no spans were exported at shutdown in five attempts");
}

#[test]
fn shutdown_sends_the_remaining_spans_with_the_resource_of_the_environment() {
    for (name, value) in [
        ("OTEL_SERVICE_NAME", "mirror-of-tests"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mirror-of-tests"),
    ] {
        let spans = spans_at_shutdown(&(name, value.to_owned()));
        assert_eq!((spans.len(), &*spans[0].service), (1, "mirror-of-tests"));
    }
}

#[test]
fn a_failing_collector_is_logged_once_and_delays_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://user:a-password@{}", listener.local_addr().unwrap());
    canaries::secret("a-password");
    let mut server = exporting(&address, &[short_delay()]);
    let query = || assert_eq!(server.get("/api/messagestatus/reference/k").status, 200);
    for _ in 0..2 {
        query();
        let (mut stream, _) = listener.accept().unwrap();
        read_export(&stream);
        let answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
    }
    query();
    // The collector accepts this connection and does not answer.
    let (stream, _) = listener.accept().unwrap();
    read_export(&stream);
    query();
    assert_eq!(server.terminate(), Some(0));
    let log = server.log();
    let warnings = log.lines().filter(|line| line.contains("the collector does not accept spans"));
    assert_eq!(warnings.count(), 1, "{log}");
    assert!(log.contains("\"host\":\"127.0.0.1\",\"error\":\"500 "), "{log}");
}

#[test]
fn an_unreachable_collector_is_logged_and_does_not_delay_shutdown() {
    let address = format!("http://127.0.0.1:{}", free_port(25_000));
    let mut server = exporting(&address, &[short_delay()]);
    server.post(EXAMPLE);
    wait_for(|| server.log().contains("the collector does not accept spans").then_some(()));
    assert_eq!(server.post(EXAMPLE).status, 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn an_invalid_endpoint_stops_nothing_and_hides_its_password() {
    canaries::secret("a-password");
    let mut server = exporting("http://user:a-password@a collector", &[]);
    assert_eq!(server.post(EXAMPLE).status, 200);
    assert!(server.log().contains("no spans are exported"));
    assert_eq!(server.terminate(), Some(0));
    let without_scheme = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "user:a-password@here".to_owned());
    let mut server = Server::start_with(GATEWAY, &[without_scheme, short_delay()]);
    assert_eq!(server.post(EXAMPLE).status, 200);
    wait_for(|| server.log().contains("write one like http://").then_some(()));
    assert_eq!(server.terminate(), Some(0));
}
