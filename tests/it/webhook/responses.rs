//! Every row of the table of responses to webhooks.

use std::fs;

use serde_json::json;

use crate::support::faults::fault_disk::FaultyDisk;
use crate::support::*;

#[test]
fn the_example_is_applied_and_has_the_documented_response_also_after_a_restart() {
    let mut server = Server::start(GATEWAY);
    let path = webhook_path("&destination=%2B393331234567");
    let answer = server.send("POST", &path, JSON, EXAMPLE.as_bytes());
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        format!(
            r#"{{"results":[{{"messageId":"{EXAMPLE_ID}","outcome":"applied","status":"DELIVERED"}}]}}"#
        )
    );
    let message = concat!(
        r#"{"message":{"id":"b31b6607-9c55-48ba-b145-3f40b809d2d2","#,
        r#""providerAcceptanceAt":"2026-02-12T14:49:00Z","statusChangedAt":"2026-02-12T14:50:35Z","#,
        r#""reference":{"service":"DIGITALSIGN","action":"AUTH","key":"webhook_3"},"channel":"SMS","#,
        r#""status":"DELIVERED","provider":{"name":"MITTO","id":"ee055245-afa5-4dd0-8d8f-10fec8bf64a3","#,
        r#""status":"Delivered","code":"0"},"sms":{"segments":1}}}"#
    );
    let list = format!(r#"{{"messages":[{message}]}}"#);
    let check = |server: &Server| {
        assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).body, message);
        assert_eq!(server.get("/api/messagestatus/phonenumber/+393331234567").body, list);
        assert_eq!(server.get("/api/messagestatus/reference/webhook_3").body, list);
    };
    check(&server);
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    check(&server);
    // Without the destination of the URL, the same body is another notification.
    assert_eq!(server.post(EXAMPLE).outcome(), "superseded");
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
}

#[test]
fn an_unknown_source_is_404() {
    let server = Server::start(GATEWAY);
    server.send("POST", "/webhooks/unknown", JSON, b"{}").assert_problem(404);
}

#[test]
fn another_method_is_405_with_allow() {
    let server = Server::start(GATEWAY);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.send(method, &webhook_path(""), &[], b"");
        answer.assert_problem(405);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

#[test]
fn a_content_encoding_that_encodes_is_415() {
    let server = Server::start(GATEWAY);
    for encoding in ["gzip", "br", "identity, deflate"] {
        let headers = [("Content-Encoding", encoding)];
        server.send("POST", &webhook_path(""), &headers, EXAMPLE.as_bytes()).assert_problem(415);
    }
}

#[test]
fn a_content_type_that_the_scheme_cannot_read_is_415() {
    let server = Server::start(TWILIO);
    let text = [("Content-Type", "text/plain")];
    server.send("POST", "/webhooks/twilio", &text, b"x").assert_problem(415);
    server.send("POST", "/webhooks/twilio", &[], b"x").assert_problem(415);
}

#[test]
fn a_body_that_is_too_large_is_413_and_a_drained_connection_is_kept() {
    let config = GATEWAY.replace("[sources.gateway]", "[sources.gateway]\nmax_body_bytes = 1000");
    let server = Server::start(&config);
    let mut connection = server.connect();
    connection.send("POST", &webhook_path(""), JSON, &[b' '; 1001]).assert_problem(413);
    let after = connection.send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes());
    assert_eq!(after.outcome(), "applied");
    let huge = vec![b' '; 1 << 20];
    let answer = server.connect().try_send("POST", &webhook_path(""), JSON, &huge);
    assert!(answer.is_none_or(|answer| answer.status == 413));
    let chunked = format!(
        "POST {} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        webhook_path(""),
        " ".repeat(2000)
    );
    let mut connection = server.connect();
    connection.write(chunked.as_bytes());
    connection.read().unwrap().assert_problem(413);
}

#[test]
fn of_several_errors_the_first_of_the_table_is_answered() {
    let server = Server::start(TWILIO);
    let gzip = ("Content-Encoding", "gzip");
    let text = ("Content-Type", "text/plain");
    let form = FORM[0];
    let large = vec![b' '; (256 << 10) + 1];
    for (status, method, path, headers, body) in [
        (404, "PATCH", "/webhooks/unknown", &[gzip, text][..], &large[..]),
        (405, "PATCH", "/webhooks/twilio", &[gzip, text], &large),
        (415, "POST", "/webhooks/twilio", &[gzip, form], &large),
        (415, "POST", "/webhooks/twilio", &[text], &large),
        (413, "POST", "/webhooks/twilio", &[form], &large),
        (401, "POST", "/webhooks/twilio", &[form], b"\xff no form, and no proof"),
    ] {
        server.send(method, path, headers, body).assert_problem(status);
    }
}

#[test]
fn a_slow_body_is_503_and_the_connection_is_closed() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    connection.write(
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nx", webhook_path(""))
            .as_bytes(),
    );
    let slow = connection.read().unwrap();
    slow.assert_problem(503);
    assert_eq!(slow.header("connection"), Some("close"));
    assert!(slow.header("retry-after").is_some());
    assert!(connection.read().is_none());
}

#[test]
fn a_stalled_chunked_body_is_answered_and_its_connection_closed() {
    let server = Server::start(GATEWAY);
    for (request, status) in [
        (format!("POST {}", webhook_path("")), 503),
        ("POST /webhooks/unknown".to_owned(), 404),
        ("GET /livez".to_owned(), 200),
        ("PUT /api/messages/x".to_owned(), 403),
        ("POST /nowhere".to_owned(), 404),
    ] {
        let mut connection = server.connect();
        let stalled = "HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
        connection.write(format!("{request} {stalled}").as_bytes());
        let answer = connection.read().unwrap();
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{request}");
        assert!(connection.read().is_none(), "{request}");
    }
    // A complete body keeps its connection open.
    let mut connection = server.connect();
    for _ in 0..2 {
        let complete =
            "HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        connection.write(format!("POST /webhooks/unknown {complete}").as_bytes());
        connection.read().unwrap().assert_problem(404);
    }
}

#[test]
fn invalid_http_is_answered_with_a_problem() {
    let server = Server::start(GATEWAY);
    let many = "X: y\r\n".repeat(200);
    for (status, request) in [
        (400, "nonsense\r\n\r\n".to_owned()),
        (400, "GET /api/messagestatus/reference/é HTTP/1.1\r\nHost: t\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nHost: t\r\n{many}\r\n")),
    ] {
        let mut connection = server.connect();
        // Sent after a valid request on the same connection.
        let valid = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";
        connection.write(format!("{valid}{request}").as_bytes());
        assert_eq!(connection.read().unwrap().status, 200);
        connection.read().unwrap().assert_problem(status);
    }
}

#[test]
fn slow_headers_are_408_and_closed() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    connection.write(b"POST /webhooks/gateway HTTP/1.1\r\nHost");
    connection.read().unwrap().assert_problem(408);
    assert!(connection.read().is_none());
}

#[test]
fn missing_and_wrong_credentials_are_401_alike_and_store_nothing() {
    let server = Server::start(GATEWAY);
    let missing = server.send("POST", "/webhooks/gateway", JSON, EXAMPLE.as_bytes());
    missing.assert_problem(401);
    for query in ["token=wrong", "token=", "token=a&token=b", "Token=a-token-for-these-tests"] {
        let path = format!("/webhooks/gateway?{query}");
        let wrong = server.send("POST", &path, JSON, EXAMPLE.as_bytes());
        assert_eq!((wrong.status, &wrong.body), (401, &missing.body), "{query}");
    }
    server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).assert_problem(404);
    let listed = server.run(&["quarantine", "list"]);
    assert!(listed.status.success() && listed.stdout.is_empty(), "{listed:?}");
}

const SIGNED: &str = r#"
[sources.standard]
verify = { scheme = "standard-webhooks", secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], max_age_seconds = AGE }
"#;

#[test]
fn an_expired_signature_is_401_unless_everything_is_stored() {
    let mut server = Server::start(&SIGNED.replace("AGE", "4000000000"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let post = |server: &Server, body: &str, second| {
        let headers = standard_webhooks(body, second);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        server.send("POST", "/webhooks/standard", &headers, body.as_bytes())
    };
    assert_eq!(post(&server, EXAMPLE, now - 1000).outcome(), "applied");
    post(&server, EXAMPLE, now + 1000).assert_problem(401);
    assert_eq!(server.terminate(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap().replace("4000000000", "300");
    fs::write(server.config(), config).unwrap();
    server.restart();
    let retry = post(&server, EXAMPLE, now - 1000);
    assert_eq!(retry.outcome(), "duplicate");
    assert_eq!(retry.json()["results"][0]["status"], "DELIVERED");
    let other = EXAMPLE.replace("DELIVERED", "UNDELIVERED");
    post(&server, &other, now - 1000).assert_problem(401);
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}

#[test]
fn a_verified_body_that_is_no_json_is_400_and_quarantined_once() {
    let server = Server::start(GATEWAY);
    for _ in 0..3 {
        server.post("{\"type\":").assert_problem(400);
    }
    server.send("POST", &webhook_path(""), JSON, b"\xff").assert_problem(400);
    let listed = String::from_utf8(server.run(&["quarantine", "list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("3×"), "{listed}");
}

#[test]
fn a_full_quarantine_is_503_and_recognises_duplicates() {
    let server = Server::start(&format!("[quarantine]\nmax_rows = 1\n{GATEWAY}"));
    let unknown = |word: &str| webhook(&id(1), word, 1).to_string();
    assert_eq!(server.post(&unknown("LOST")).outcome(), "quarantined");
    let full = server.post(&unknown("FOUND"));
    full.assert_problem(503);
    assert!(full.header("retry-after").is_some());
    assert_eq!(server.post(&unknown("LOST")).outcome(), "quarantined");
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
}

#[test]
fn a_locked_database_is_503_and_recovers() {
    let server = Server::start(GATEWAY);
    let other = rusqlite::Connection::open(server.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = server.post(EXAMPLE);
    locked.assert_problem(503);
    assert!(locked.header("retry-after").is_some());
    server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).assert_problem(404);
    server.send("GET", "/readyz", &[], b"").assert_problem(503);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
}

#[test]
fn a_service_that_shuts_down_is_503_and_exits_with_0() {
    let mut server = Server::start(GATEWAY);
    let mut held = server.connect();
    let headers = format!(
        "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        webhook_path(""),
        EXAMPLE.len()
    );
    held.write(headers.as_bytes());
    assert_eq!(held.read().unwrap().status, 100, "the request is in progress");
    server.signal("-TERM");
    let mut last = server.post(EXAMPLE);
    while last.status == 200 {
        last = server.post(EXAMPLE);
    }
    last.assert_problem(503);
    assert!(last.header("retry-after").is_some());
    assert_eq!(last.header("connection"), Some("close"), "no further request is answered");
    held.write(EXAMPLE.as_bytes());
    assert!(held.read().is_some(), "an accepted request is answered");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_client_that_hung_up_does_not_delay_shutdown() {
    let mut server = Server::start(GATEWAY);
    let mut connection = server.connect();
    let head =
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n", webhook_path(""));
    connection.write(head.as_bytes());
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    drop(connection);
    assert_eq!(server.terminate(), Some(0));
    assert!(!server.log().contains("requests in flight"), "{}", server.log());
}

#[test]
fn a_commit_slower_than_its_deadline_is_503_and_the_retry_finds_what_happened() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    // The first write after a start is always synced, together with the header of the WAL.
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1))).status, 200);
    disk.set_fault("slow");
    let late = server.post(EXAMPLE);
    late.assert_problem(503);
    assert!(late.header("retry-after").is_some());
    assert!(late.json()["detail"].as_str().unwrap().contains("takes too long"), "{late:?}");
    disk.clear_fault();
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
}

#[test]
fn a_full_queue_is_503_before_verification_until_it_is_processed() {
    let disk = FaultyDisk::new();
    let mut envs = disk.envs().to_vec();
    envs.push(("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "1".to_owned()));
    let server = Server::start_with(GATEWAY, &envs);
    disk.set_fault("slow");
    // This delivery is answered after two seconds, and still waits for the disk.
    let late = server.post(EXAMPLE);
    assert!(late.json()["detail"].as_str().unwrap().contains("takes too long"), "{late:?}");
    let unverified = server.send("POST", "/webhooks/gateway", JSON, b"");
    unverified.assert_problem(503);
    assert!(unverified.header("retry-after").is_some());
    let verified = server.post(&webhook(&id(1), "SENT", 1).to_string());
    assert!(verified.json()["detail"].as_str().unwrap().contains("in flight"), "{verified:?}");
    disk.clear_fault();
}

#[test]
fn a_full_disk_is_503_while_queries_go_on_and_recovers() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    disk.set_fault("full");
    let full = server.post(&webhook(&id(1), "SENT", 1).to_string());
    full.assert_problem(503);
    assert!(full.header("retry-after").is_some());
    assert!(full.json()["detail"].as_str().unwrap().contains("disk is full"), "{full:?}");
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    server.send("GET", "/readyz", &[], b"").assert_problem(503);
    disk.clear_fault();
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
}

#[test]
fn a_failing_disk_is_503_and_stops_the_process() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    disk.set_fault("failing");
    let rejected = server.connect().try_send("POST", &webhook_path(""), JSON, b"{}");
    assert!(rejected.is_none_or(|answer| answer.status == 503));
    assert_eq!(server.wait(), Some(74));
    disk.clear_fault();
    server.restart();
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
}

#[test]
fn nothing_private_is_logged() {
    let server = Server::start(&format!("[log]\nlevel = \"trace\"\n{GATEWAY}"));
    server.send("POST", &webhook_path("&destination=%2B393331234567"), JSON, EXAMPLE.as_bytes());
    server.post("no json 393337654321");
    server.send("POST", "/webhooks/gateway?token=wrong-token", JSON, EXAMPLE.as_bytes());
    server.get("/api/messagestatus/phonenumber/+393331234567");
    server.put(&id(1), &json!({"destination": "+393331234567", "reference": {"key": "webhook_3"}}));
    let log = server.log();
    // Parts of the destinations that are longer than a port or a fraction of a second.
    for private in ["3331234", "3337654", TOKEN, "wrong-token", KEY, "webhook_3", "ee055245"] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
}
