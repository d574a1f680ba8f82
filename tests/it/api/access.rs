//! Access to every route with every kind of key, and the log line of each request.

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::*;

/// API keys: expired, revoked by the test, with the scope `register`, with the scope `read`, and with both
/// scopes until 2999.
const KEYS: &str = r#"
[api_keys.bygone]
key = "the-key-of-bygone-days"
scopes = ["read", "register"]
expires = "2026-01-31"

[api_keys.revoked]
key = "the-key-that-is-revoked"
scopes = ["read", "register"]

[api_keys.registrar]
key = "the-key-of-the-registrar"
scopes = "register"

[api_keys.reader]
key = "the-key-of-the-reader"

[api_keys.lasting]
key = "the-key-that-lasts-long"
scopes = ["read", "register"]
expires = 2999-12-31T23:59:59Z
"#;
/// Value of `X-Api-Key`, and whether it is a valid key.
const PRESENTED: [(Option<&str>, bool); 8] = [
    (None, false),
    (Some(""), false),
    (Some("an-unknown-key"), false),
    (Some("the-key-of-bygone-days"), false),
    (Some("the-key-that-is-revoked"), false),
    (Some("the-key-of-the-registrar"), true),
    (Some("the-key-of-the-reader"), true),
    (Some("the-key-that-lasts-long"), true),
];
const LIST_PATH: &str = "/api/messagestatus/phonenumber/+393331234567";

/// Scope that a route needs.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Read,
    Register,
}

/// Every route: method, path, listener that serves it, scope that it needs, and status with that scope.
const ROUTES: &[(&str, &str, Listener, Needs, u16)] = &[
    ("GET", "/livez", Listener::Both, Needs::Nothing, 200),
    ("GET", "/readyz", Listener::Both, Needs::Nothing, 200),
    ("POST", "/livez", Listener::Both, Needs::Nothing, 405),
    ("GET", "/api/events", Listener::Api, Needs::Read, 200),
    ("GET", "/metrics", Listener::Api, Needs::Nothing, 200),
    ("HEAD", "/metrics", Listener::Api, Needs::Nothing, 200),
    ("POST", "/metrics", Listener::Api, Needs::Nothing, 405),
    ("GET", "/openapi.json", Listener::Api, Needs::Nothing, 200),
    ("GET", "/docs", Listener::Api, Needs::Nothing, 200),
    (
        "POST",
        "/webhooks/gateway?token=a-token-for-these-tests",
        Listener::Webhooks,
        Needs::Nothing,
        200,
    ),
    (
        "POST",
        "/webhooks/gateway?token=no-token-for-these-tests",
        Listener::Webhooks,
        Needs::Nothing,
        401,
    ),
    ("GET", "/webhooks/gateway", Listener::Webhooks, Needs::Nothing, 405),
    ("POST", "/webhooks/unknown", Listener::Webhooks, Needs::Nothing, 404),
    (
        "GET",
        "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2",
        Listener::Api,
        Needs::Read,
        200,
    ),
    (
        "HEAD",
        "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2",
        Listener::Api,
        Needs::Read,
        200,
    ),
    (
        "GET",
        "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2/history",
        Listener::Api,
        Needs::Read,
        200,
    ),
    (
        "GET",
        "/api/messagestatus/00000000-0000-4000-8000-000000000009",
        Listener::Api,
        Needs::Read,
        404,
    ),
    ("GET", LIST_PATH, Listener::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/reference/webhook_3", Listener::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/provider/gateway/x", Listener::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/no-uuid", Listener::Api, Needs::Read, 400),
    ("DELETE", "/api/messagestatus/no-uuid", Listener::Api, Needs::Read, 405),
    (
        "PUT",
        "/api/messages/b31b6607-9c55-48ba-b145-3f40b809d2d2",
        Listener::Api,
        Needs::Register,
        200,
    ),
    ("GET", "/api/messages/b31b6607-9c55-48ba-b145-3f40b809d2d2", Listener::Api, Needs::Read, 405),
    ("GET", "/api/messages", Listener::Api, Needs::Read, 200),
    ("GET", "/api/messages.csv", Listener::Api, Needs::Read, 200),
    ("GET", "/api/nothing", Listener::Api, Needs::Read, 404),
    ("GET", "/api", Listener::Api, Needs::Read, 404),
    ("GET", "/api/../webhooks/gateway", Listener::Api, Needs::Read, 404),
    ("GET", "/%61pi/messagestatus/no-uuid", Listener::Both, Needs::Nothing, 400),
    ("GET", "//api/messagestatus/no-uuid", Listener::Both, Needs::Nothing, 400),
    ("GET", "/api//messagestatus/no-uuid", Listener::Api, Needs::Read, 400),
    ("GET", "/API/messagestatus/no-uuid", Listener::Both, Needs::Nothing, 404),
    ("GET", "/", Listener::Api, Needs::Nothing, 200),
    ("POST", "/", Listener::Api, Needs::Nothing, 405),
    ("GET", "/page/page.js", Listener::Api, Needs::Nothing, 200),
    ("POST", "/page/page.js", Listener::Api, Needs::Nothing, 405),
    ("GET", "/ui/overview", Listener::Api, Needs::Read, 200),
    ("GET", "/ui/messages", Listener::Api, Needs::Read, 200),
    ("GET", "/ui/message/b31b6607-9c55-48ba-b145-3f40b809d2d2", Listener::Api, Needs::Read, 200),
    ("GET", "/ui/message/no-uuid", Listener::Api, Needs::Read, 400),
    ("GET", "/ui/search?q=x", Listener::Api, Needs::Read, 200),
    ("GET", "/ui/live", Listener::Api, Needs::Read, 200),
    ("GET", "/ui/health", Listener::Api, Needs::Read, 200),
    ("POST", "/ui/health", Listener::Api, Needs::Read, 405),
    ("GET", "/ui/nothing", Listener::Api, Needs::Read, 404),
];

/// Kind of listener: for webhooks, for the API and the pages, or for both.
#[derive(Clone, Copy, PartialEq)]
enum Listener {
    Webhooks,
    Api,
    Both,
}

/// Requests every route with every kind of key from a port, which serves the routes of `serves`.
fn check(port: u16, serves: Listener) {
    // Each request has another client address, so that none is rate-limited.
    let requests = Cell::new(0_u32);
    for (method, path, listener, needs, status) in ROUTES {
        for (key, is_valid) in PRESENTED {
            requests.set(requests.get() + 1);
            let client = format!("10.{}.{}.1", requests.get() / 256, requests.get() % 256);
            let mut headers = vec![("X-Forwarded-For", &*client), JSON[0]];
            headers.extend(key.map(|key| ("X-Api-Key", key)));
            let body = match *method {
                "POST" => EXAMPLE.as_bytes(),
                "PUT" => br#"{"destination":"+393331234567"}"#,
                _ => b"",
            };
            let is_forbidden = match needs {
                Needs::Nothing => false,
                Needs::Read => !is_valid || key == Some("the-key-of-the-registrar"),
                Needs::Register => !is_valid || key == Some("the-key-of-the-reader"),
            };
            let expected = match (listener, serves) {
                (Listener::Webhooks, Listener::Api) | (Listener::Api, Listener::Webhooks) => 404,
                _ if is_forbidden => 403,
                _ => *status,
            };
            let answer = Connection::to(port).send(method, path, &headers, body);
            assert_eq!(answer.status, expected, "{method} {path} with {key:?}: {answer:?}");
            if expected >= 400 && *method != "HEAD" {
                answer.assert_problem(expected);
            }
        }
    }
}

fn start(envs: &[(&str, &str)]) -> Server {
    let mut variables = vec![("STATUSMIRROR__SERVER__TRUSTED_PROXIES", "127.0.0.1".to_owned())];
    variables.extend(envs.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let server = Server::start_with(&format!("{GATEWAY}{KEYS}"), &variables);
    let path = webhook_path("&destination=%2B393331234567");
    assert_eq!(server.send("POST", &path, JSON, EXAMPLE.as_bytes()).outcome(), "applied");
    server.configure(|config| {
        let key = "[api_keys.revoked]\nkey = \"the-key-that-is-revoked\"\nscopes = [\"read\", \"register\"]\n";
        assert!(config.contains(key));
        config.replace(key, "")
    });
    server
}

#[test]
fn every_route_answers_every_kind_of_key_with_its_status() {
    let server = start(&[]);
    let revoked = [("X-Api-Key", "the-key-that-is-revoked")];
    assert_eq!(server.send("GET", LIST_PATH, &revoked, b"").status, 200);
    server.reload();
    check(server.port, Listener::Both);
    assert_eq!(server.internal_port(), None);
}

#[test]
fn with_an_internal_listener_the_first_serves_only_webhooks() {
    let server = start(&[("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    let internal = server.internal_port().unwrap();
    let revoked = [("X-Api-Key", "the-key-that-is-revoked")];
    assert_eq!(Connection::to(internal).send("GET", LIST_PATH, &revoked, b"").status, 200);
    server.reload();
    check(server.port, Listener::Webhooks);
    check(internal, Listener::Api);
}

#[test]
fn each_public_listener_requires_credentials_for_what_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let check = |envs: &[(&str, &str)]| run_program_in(folder.path(), &["check-config"], envs);
    let listen = ("STATUSMIRROR__SERVER__LISTEN", "0.0.0.0:8080");
    let internal = ("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "0.0.0.0:8081");
    let local = ("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:8081");
    let source = [
        ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SECRETS", TOKEN),
    ];
    let key = ("STATUSMIRROR__API_KEYS__TESTS__KEY", KEY);
    for (envs, expected_error) in [
        (&[listen][..], Some("STATUSMIRROR__SERVER__LISTEN: server.listen")),
        (&[listen, key], Some("STATUSMIRROR__SERVER__LISTEN: server.listen")),
        (&[listen, source[0], source[1]], Some("STATUSMIRROR__SERVER__LISTEN: server.listen")),
        (&[listen, source[0], source[1], local], None),
        (&[listen, source[0], source[1], key], None),
        (&[internal], Some("STATUSMIRROR__SERVER__INTERNAL_LISTEN: server.internal_listen")),
        (&[internal, key], None),
        (&[internal, source[0], source[1]], Some("server.internal_listen")),
    ] {
        let output = check(envs);
        match expected_error {
            None => assert!(output.status.success(), "{envs:?}: {output:?}"),
            Some(error) => {
                assert_eq!(output.status.code(), Some(78), "{envs:?}");
                assert!(text(&output.stderr).contains(error), "{envs:?}: {output:?}");
            }
        }
    }
    let output = check(&[local]);
    assert!(text(&output.stdout).contains("internal: 127.0.0.1:8081"), "{output:?}");
}

#[test]
fn commands_use_the_internal_listener() {
    let (public, internal) = (free_port(21_000), free_port(22_000));
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    server.configure(|config| {
        let listen =
            format!("listen = \"127.0.0.1:{public}\"\ninternal_listen = \"127.0.0.1:{internal}\"");
        config.replace("listen = \"127.0.0.1:0\"", &listen)
    });
    server.restart();
    let printed = server.run(&["callback-url", "gateway"]);
    let url = text(&printed.stdout).trim().to_owned();
    assert_eq!(url, format!("http://127.0.0.1:{public}/webhooks/gateway?token={TOKEN}"));
    let simulate = |options: &[&str]| {
        let config = server.config();
        let arguments = [
            "--config",
            config.to_str().unwrap(),
            "simulate",
            "--messages",
            "20",
            "--api-key-env",
            "SIMULATION_KEY",
        ];
        run_program_in(
            server.folder.path(),
            &[&arguments, options].concat(),
            &[("SIMULATION_KEY", KEY)],
        )
    };
    let configured = simulate(&[]);
    assert!(configured.status.success(), "{configured:?}");
    let (public_url, internal_url) =
        (format!("http://127.0.0.1:{public}"), format!("http://127.0.0.1:{internal}"));
    let given = simulate(&["--url", &public_url, "--internal-url", &internal_url]);
    assert!(given.status.success(), "{given:?}");
    // A given address is not combined with a configured one.
    let only_public = simulate(&["--url", &public_url]);
    assert_eq!(only_public.status.code(), Some(1), "{only_public:?}");
}

/// Log lines that contain this text.
fn lines_with(log: &str, text: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_rejected_request_is_logged_with_its_client_and_without_its_content() {
    let server = Server::start(&format!("{GATEWAY}{KEYS}"));
    for key in [None, Some("an-unknown-key"), Some("the-key-of-bygone-days")] {
        let headers: Vec<_> = key.map(|key| ("X-Api-Key", key)).into_iter().collect();
        server.send("GET", &format!("{LIST_PATH}?count=77"), &headers, b"").assert_problem(403);
    }
    let log = wait_for(|| {
        Some(server.log()).filter(|log| lines_with(log, "rejected an API request").len() == 3)
    });
    let log_lines = lines_with(&log, "rejected an API request");
    let field = |name: &str| log_lines.iter().map(|line| line[name].as_str()).collect::<Vec<_>>();
    assert_eq!(
        field("reason"),
        [Some("no_credential"), Some("wrong_credential"), Some("expired_credential")]
    );
    assert_eq!(field("key"), [None, None, Some("bygone")]);
    assert_eq!(field("client"), [Some("127.0.0.1"); 3]);
    assert_eq!(field("level"), [Some("INFO"); 3]);
    for private in ["3331234567", "count", "an-unknown-key"] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
}

#[test]
fn log_lines_name_the_key_or_the_source_at_every_level() {
    let mut server = Server::start(&format!("{GATEWAY}{KEYS}"));
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    server.send("POST", "/webhooks/gateway", JSON, b"{}").assert_problem(401);
    let rejections = wait_for(|| {
        Some(lines_with(&server.log(), "rejected a webhook")).filter(|lines| !lines.is_empty())
    });
    assert_eq!(rejections[0]["source"], "gateway");
    // After a restart, the row is read from the table and not from memory.
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    let file = rusqlite::Connection::open(server.database()).unwrap();
    file.execute_batch("UPDATE message SET status = 99").unwrap();
    check_errors(server.port, &|| server.log());
    assert_eq!(server.terminate(), Some(0));
    // A server that logs only errors does not log its port, so the test chooses one.
    let port = free_port(23_000);
    let log = server.folder.path().join("log-of-errors");
    let mut quiet = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .env("STATUSMIRROR__LOG__LEVEL", "error")
        .env("STATUSMIRROR__SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| TcpStream::connect(("127.0.0.1", port)).ok());
    check_errors(port, &|| fs::read_to_string(&log).unwrap());
    quiet.kill().unwrap();
    quiet.wait().unwrap();
}

#[test]
fn every_request_is_logged_with_its_key() {
    let server = Server::start(&format!("{GATEWAY}{KEYS}"));
    server.get(LIST_PATH);
    server.put(EXAMPLE_ID, &json!({"destination": "+393331234567"}));
    let reader = [("X-Api-Key", "the-key-of-the-reader")];
    server.send("GET", "/api/nothing", &reader, b"").assert_problem(404);
    let log_lines = wait_for(|| {
        Some(lines_with(&server.log(), "answered an API request"))
            .filter(|log_lines| log_lines.len() == 3)
    });
    let logged: Vec<_> =
        log_lines.iter().map(|line| json!([line["key"], line["status"]])).collect();
    assert_eq!(logged, [json!(["tests", 200]), json!(["tests", 201]), json!(["reader", 404])]);
}

/// Provokes errors at a corrupt row, with two keys and a source, and checks their log lines.
fn check_errors(port: u16, log: &dyn Fn() -> String) {
    let mut connection = Connection::to(port);
    let path = format!("/api/messagestatus/{EXAMPLE_ID}");
    for key in ["the-key-of-the-reader", KEY] {
        connection.send("GET", &path, &[("X-Api-Key", key)], b"").assert_problem(500);
    }
    let body = webhook(EXAMPLE_ID, "READ", 1).to_string();
    connection.send("POST", &webhook_path(""), JSON, body.as_bytes()).assert_problem(500);
    let log_lines = wait_for(|| {
        Some(lines_with(&log(), "corrupt row in the database"))
            .filter(|log_lines| log_lines.len() == 3)
    });
    assert_eq!(log_lines[0]["key"], "reader", "{log_lines:?}");
    assert_eq!(log_lines[1]["key"], "tests", "{log_lines:?}");
    assert_eq!(log_lines[2]["source"], "gateway", "{log_lines:?}");
}
