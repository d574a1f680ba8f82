//! Log lines of requests: their fields, and the absence of private data.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Waits until the log has `count` lines with this message, and returns them.
fn lines(server: &Server, message: &str, count: usize) -> Vec<Value> {
    wait_for(|| {
        // The server may still be writing the last line.
        let log = server.log();
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect(line));
        let found: Vec<_> = lines.filter(|line| line["message"] == message).collect();
        (found.len() == count).then_some(found)
    })
}

/// Fields of a log line, without the ones that differ for each request. Asserts that these are present.
fn stable_fields(line: &Value) -> Value {
    let mut line = line.clone();
    for (name, is_number) in [("timestamp", false), ("request_id", false), ("ms", true)] {
        let value = line.as_object_mut().unwrap().remove(name).unwrap_or_default();
        assert!(if is_number { value.is_number() } else { value.is_string() }, "{name}: {value}");
    }
    line
}

#[test]
fn a_request_is_one_line_with_key_and_result() {
    let server = Server::start(GATEWAY);
    server.post(EXAMPLE);
    server.post(&json!({"type": "NONE"}).to_string());
    server.send("POST", "/webhooks/gateway", JSON, EXAMPLE.as_bytes());
    server.send("POST", "/webhooks/unknown", JSON, EXAMPLE.as_bytes());
    server.get(&format!("/api/messagestatus/{EXAMPLE_ID}?wait=1"));
    server.get("/api/messagestatus/phonenumber/+393331234567?count=5");
    server.get("/api/messagestatus/reference/a-key");
    server.get("/livez");
    let accepted = lines(&server, "accepted a webhook", 2);
    assert_eq!(
        stable_fields(&accepted[0]),
        json!({"level": "INFO", "message": "accepted a webhook", "source": "gateway",
               "message_id": EXAMPLE_ID, "outcome": "applied", "status": 200})
    );
    assert_eq!(accepted[1]["outcome"], "quarantined");
    let not_understood = lines(&server, "quarantined a webhook: its payload was not understood", 1);
    assert_eq!(not_understood[0]["request_id"], accepted[1]["request_id"]);
    let rejected = lines(&server, "rejected a webhook", 2);
    let expected = json!({"level": "INFO", "message": "rejected a webhook", "source": "gateway",
                          "reason": "no_credential", "client": "127.0.0.1", "status": 401});
    assert_eq!(stable_fields(&rejected[0]), expected);
    assert_eq!(
        (&rejected[1]["reason"], rejected[1].get("source")),
        (&json!("unknown_source"), None)
    );
    let answered = lines(&server, "answered an API request", 3);
    let answered: Vec<_> = answered.iter().map(stable_fields).collect();
    let line = |route: &str, fields: Value| {
        let mut line = json!({"level": "INFO", "message": "answered an API request", "key": "tests",
                              "method": "GET", "status": 200, "route": route});
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        line
    };
    assert_eq!(
        answered,
        [
            line("/api/messagestatus/{messageid}?wait", json!({"message_id": EXAMPLE_ID})),
            line(
                "/api/messagestatus/phonenumber/{phonenumber}",
                json!({"phonenumber": "+39…4567"})
            ),
            line("/api/messagestatus/reference/{key}", json!({})),
        ]
    );
    // Two accepted webhooks, one warning, three API requests, two rejected webhooks, and the start.
    assert_eq!(server.log().lines().count(), 2 + 1 + 3 + 2 + 1, "{}", server.log());
}

#[test]
fn only_known_methods_are_logged() {
    let server = Server::start(GATEWAY);
    for method in ["+393331234567", "OPTIONS"] {
        server.send(method, "/api/messagestatus/reference/k", &[("X-Api-Key", KEY)], b"");
        server.send(method, "/api/messagestatus/reference/k", &[], b"");
        server.send(method, "/webhooks/gateway", JSON, b"");
    }
    for message in ["answered an API request", "rejected an API request"] {
        let methods = lines(&server, message, 2).into_iter().map(|line| line["method"].clone());
        assert_eq!(methods.collect::<Vec<_>>(), [Value::Null, json!("OPTIONS")], "{message}");
    }
    lines(&server, "rejected a webhook", 2);
    assert!(!server.log().contains("3331234567"));
}

#[test]
fn a_request_is_found_by_request_id_and_trace_id() {
    let server = Server::start(GATEWAY);
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let query = |id: &str, parent: &str| {
        let headers = [("X-Api-Key", KEY), ("X-Request-Id", id), ("traceparent", parent)];
        let answer = server.send("GET", "/api/messagestatus/reference/k", &headers, b"");
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(query("an-id.of_4711", &parent), "an-id.of_4711");
    let too_long = "x".repeat(65);
    let mut generated = Vec::new();
    for id in ["", "with space", "\"quoted\"", &too_long] {
        generated.push(query(id, &parent));
    }
    let invalid_parents = [
        parent.replacen("00", "ff", 1),
        parent.replace('4', "g"),
        format!("{parent}-more"),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        String::new(),
    ];
    generated.extend(invalid_parents.iter().map(|parent| query("", parent)));
    generated.push(query("", &format!("{parent}-more").replacen("00", "01", 1)));
    let rejected = server.send("GET", "/api/x", &[("traceparent", &parent)], b"");
    let accepted = server.send(
        "POST",
        &webhook_path(""),
        &[JSON[0], ("traceparent", &parent)],
        EXAMPLE.as_bytes(),
    );
    let answered = lines(&server, "answered an API request", 1 + generated.len());
    let (first, rest) = answered.split_first().unwrap();
    assert_eq!(
        (&first["request_id"], &first["trace_id"]),
        (&json!("an-id.of_4711"), &json!(TRACE))
    );
    let ids: Vec<_> = rest.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, generated);
    assert!(generated.iter().all(|id| generated.iter().filter(|other| *other == id).count() == 1));
    let traced: Vec<_> = rest.iter().map(|line| line.get("trace_id").is_some()).collect();
    assert_eq!(traced, [&[true; 4][..], &[false; 6], &[true]].concat());
    for (answer, message) in
        [(rejected, "rejected an API request"), (accepted, "accepted a webhook")]
    {
        let line = &lines(&server, message, 1)[0];
        assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(line["trace_id"], TRACE);
    }
}

#[test]
fn a_number_in_an_unknown_name_is_not_logged() {
    let server = Server::start(GATEWAY);
    let number = "393331234567";
    for id in
        [number, "0039-333.123_4567", "sms-393331234567", "00000000-0000-4000-8000-393331234567"]
    {
        let parent = format!("00-{number:0>32}-00f067aa0ba902b7-01");
        let headers = [("X-Request-Id", id), ("traceparent", &parent)];
        let answer = server.send("GET", "/api/x", &headers, b"");
        assert_ne!(answer.header("x-request-id"), Some(id));
    }
    for line in lines(&server, "rejected an API request", 4) {
        assert_eq!(line["trace_id"], "00…67");
    }
    assert!(!server.log().contains("3331234567") && !server.log().contains("123_4567"));
    // A UUID with only short runs of digits is accepted as a request id.
    let uuid = "7d3f0c1e-9f1a-4b7c-8a3e-51234567890a".replace("1234567890", "12345c7890");
    let answer = server.send("GET", "/api/x", &[("X-Request-Id", &uuid)], b"");
    assert_eq!(answer.header("x-request-id"), Some(&*uuid));
}

#[test]
fn a_slow_log_reader_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port(24_000);
    let mut child = Command::new(PROGRAM)
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut connection = wait_for(|| Connection::try_to(port).ok());
    // More log lines than fit in the pipe and in the server's log buffer.
    let name = "x".repeat(60);
    for _ in 0..20_000 {
        let answer = connection.send("GET", "/api/x", &[("X-Request-Id", &name)], b"");
        assert!([403, 429].contains(&answer.status));
    }
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let log_line = log.find(|line| line.as_ref().unwrap().contains("log lines were dropped"));
    let log_line: Value = serde_json::from_str(&log_line.unwrap().unwrap()).unwrap();
    assert!(log_line["lines"].as_u64().unwrap() > 0);
    assert!(kill("-TERM", child.id()));
    let rest: Vec<_> = log.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("stopping")), "{rest:?}");
    assert!(child.wait().unwrap().success());
}
