//! Access to every route with every kind of key, and the log line of each request.

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::*;

/// A key that is too old, one that is to be revoked, one for registrations alone, one for queries
/// alone, and one of both that is valid for long.
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
/// A key, and whether it is a valid one.
const PRESENTED: [(Option<&str>, bool); 8] = [
    (None, false),
    (Some(""), false),
    (Some("a-key-that-nobody-has"), false),
    (Some("the-key-of-bygone-days"), false),
    (Some("the-key-that-is-revoked"), false),
    (Some("the-key-of-the-registrar"), true),
    (Some("the-key-of-the-reader"), true),
    (Some("the-key-that-lasts-long"), true),
];
const NUMBER: &str = "/api/messagestatus/phonenumber/+393331234567";

/// What a route answers to a valid key: with the scope `read` or `register`, if it needs one.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Read,
    Register,
}

/// Every route: whether it is one for webhooks, for queries or for both; what it needs, and answers.
const ROUTES: &[(&str, &str, Door, Needs, u16)] = &[
    ("GET", "/livez", Door::Both, Needs::Nothing, 200),
    ("GET", "/readyz", Door::Both, Needs::Nothing, 200),
    ("POST", "/livez", Door::Both, Needs::Nothing, 405),
    ("GET", "/api/events", Door::Api, Needs::Read, 200),
    ("GET", "/metrics", Door::Api, Needs::Nothing, 200),
    ("HEAD", "/metrics", Door::Api, Needs::Nothing, 200),
    ("POST", "/metrics", Door::Api, Needs::Nothing, 405),
    ("GET", "/openapi.json", Door::Api, Needs::Nothing, 200),
    ("GET", "/docs", Door::Api, Needs::Nothing, 200),
    (
        "POST",
        "/webhooks/gateway?token=a-token-for-these-tests",
        Door::Webhooks,
        Needs::Nothing,
        200,
    ),
    (
        "POST",
        "/webhooks/gateway?token=no-token-for-these-tests",
        Door::Webhooks,
        Needs::Nothing,
        401,
    ),
    ("GET", "/webhooks/gateway", Door::Webhooks, Needs::Nothing, 405),
    ("POST", "/webhooks/nobody", Door::Webhooks, Needs::Nothing, 404),
    ("GET", "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2", Door::Api, Needs::Read, 200),
    (
        "HEAD",
        "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2",
        Door::Api,
        Needs::Read,
        200,
    ),
    (
        "GET",
        "/api/messagestatus/b31b6607-9c55-48ba-b145-3f40b809d2d2/history",
        Door::Api,
        Needs::Read,
        200,
    ),
    ("GET", "/api/messagestatus/00000000-0000-4000-8000-000000000009", Door::Api, Needs::Read, 404),
    ("GET", NUMBER, Door::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/reference/webhook_3", Door::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/provider/gateway/x", Door::Api, Needs::Read, 200),
    ("GET", "/api/messagestatus/no-uuid", Door::Api, Needs::Read, 400),
    ("DELETE", "/api/messagestatus/no-uuid", Door::Api, Needs::Read, 405),
    ("PUT", "/api/messages/b31b6607-9c55-48ba-b145-3f40b809d2d2", Door::Api, Needs::Register, 200),
    ("GET", "/api/messages/b31b6607-9c55-48ba-b145-3f40b809d2d2", Door::Api, Needs::Read, 405),
    ("GET", "/api/nothing", Door::Api, Needs::Read, 404),
    ("GET", "/api", Door::Api, Needs::Read, 404),
    ("GET", "/api/../webhooks/gateway", Door::Api, Needs::Read, 404),
    ("GET", "/%61pi/messagestatus/no-uuid", Door::Both, Needs::Nothing, 400),
    ("GET", "//api/messagestatus/no-uuid", Door::Both, Needs::Nothing, 400),
    ("GET", "/api//messagestatus/no-uuid", Door::Api, Needs::Read, 400),
    ("GET", "/API/messagestatus/no-uuid", Door::Both, Needs::Nothing, 404),
    ("GET", "/", Door::Api, Needs::Nothing, 200),
    ("POST", "/", Door::Api, Needs::Nothing, 405),
    ("GET", "/page/page.js", Door::Api, Needs::Nothing, 200),
    ("POST", "/page/page.js", Door::Api, Needs::Nothing, 405),
    ("GET", "/ui/overview", Door::Api, Needs::Read, 200),
    ("GET", "/ui/messages", Door::Api, Needs::Read, 200),
    ("GET", "/ui/message/b31b6607-9c55-48ba-b145-3f40b809d2d2", Door::Api, Needs::Read, 200),
    ("GET", "/ui/message/no-uuid", Door::Api, Needs::Read, 400),
    ("GET", "/ui/search?q=x", Door::Api, Needs::Read, 200),
    ("GET", "/ui/live", Door::Api, Needs::Read, 200),
    ("GET", "/ui/health", Door::Api, Needs::Read, 200),
    ("POST", "/ui/health", Door::Api, Needs::Read, 405),
    ("GET", "/ui/nothing", Door::Api, Needs::Read, 404),
];

#[derive(Clone, Copy, PartialEq)]
enum Door {
    Webhooks,
    Api,
    Both,
}

/// Asks for every route with every kind of key at this port, which serves what `serves` says.
fn check(port: u16, serves: Door) {
    // So that no address fails often.
    let asked = Cell::new(0_u32);
    for (method, path, door, needs, answer) in ROUTES {
        for (key, is_valid) in PRESENTED {
            asked.set(asked.get() + 1);
            let client = format!("10.{}.{}.1", asked.get() / 256, asked.get() % 256);
            let mut headers = vec![("X-Forwarded-For", &*client), JSON[0]];
            headers.extend(key.map(|key| ("X-Api-Key", key)));
            let body = match *method {
                "POST" => EXAMPLE.as_bytes(),
                "PUT" => br#"{"destination":"+393331234567"}"#,
                _ => b"",
            };
            let lacks = match needs {
                Needs::Nothing => false,
                Needs::Read => !is_valid || key == Some("the-key-of-the-registrar"),
                Needs::Register => !is_valid || key == Some("the-key-of-the-reader"),
            };
            let expected = match (door, serves) {
                (Door::Webhooks, Door::Api) | (Door::Api, Door::Webhooks) => 404,
                _ if lacks => 403,
                _ => *answer,
            };
            let told = Connection::to(port).send(method, path, &headers, body);
            assert_eq!(told.status, expected, "{method} {path} with {key:?}: {told:?}");
            if expected >= 400 && *method != "HEAD" {
                told.assert_problem(expected);
            }
        }
    }
}

fn start(envs: &[(&str, &str)]) -> Server {
    let mut all = vec![("STATUSMIRROR__SERVER__TRUSTED_PROXIES", "127.0.0.1".to_owned())];
    all.extend(envs.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let server = Server::start_with(&format!("{GATEWAY}{KEYS}"), &all);
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
    assert_eq!(server.send("GET", NUMBER, &revoked, b"").status, 200);
    server.reload();
    check(server.port, Door::Both);
    assert_eq!(server.internal_port(), None);
}

#[test]
fn with_an_internal_listener_the_first_serves_only_webhooks() {
    let server = start(&[("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    let internal = server.internal_port().unwrap();
    let revoked = [("X-Api-Key", "the-key-that-is-revoked")];
    assert_eq!(Connection::to(internal).send("GET", NUMBER, &revoked, b"").status, 200);
    server.reload();
    check(server.port, Door::Webhooks);
    check(internal, Door::Api);
}

#[test]
fn each_public_listener_requires_credentials_for_what_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let check = |envs: &[(&str, &str)]| run_in(folder.path(), &["check-config"], envs);
    let listen = ("STATUSMIRROR__SERVER__LISTEN", "0.0.0.0:8080");
    let internal = ("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "0.0.0.0:8081");
    let local = ("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:8081");
    let source = [
        ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SECRETS", TOKEN),
    ];
    let key = ("STATUSMIRROR__API_KEYS__TESTS__KEY", KEY);
    for (envs, wrong) in [
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
        match wrong {
            None => assert!(output.status.success(), "{envs:?}: {output:?}"),
            Some(words) => {
                assert_eq!(output.status.code(), Some(78), "{envs:?}");
                assert!(text(&output.stderr).contains(words), "{envs:?}: {output:?}");
            }
        }
    }
    let told = check(&[local]);
    assert!(text(&told.stdout).contains("internal: 127.0.0.1:8081"), "{told:?}");
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
    server.start_again();
    let printed = server.run(&["callback-url", "gateway"]);
    let url = text(&printed.stdout).trim().to_owned();
    assert_eq!(url, format!("http://127.0.0.1:{public}/webhooks/gateway?token={TOKEN}"));
    let simulate = |more: &[&str]| {
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
        run_in(server.folder.path(), &[&arguments, more].concat(), &[("SIMULATION_KEY", KEY)])
    };
    let configured = simulate(&[]);
    assert!(configured.status.success(), "{configured:?}");
    let (first, second) =
        (format!("http://127.0.0.1:{public}"), format!("http://127.0.0.1:{internal}"));
    let given = simulate(&["--url", &first, "--internal-url", &second]);
    assert!(given.status.success(), "{given:?}");
    // An address that is given is not mixed with one that is configured.
    let half = simulate(&["--url", &first]);
    assert_eq!(half.status.code(), Some(1), "{half:?}");
}

/// The lines of a log that have these words.
fn lines(log: &str, words: &str) -> Vec<Value> {
    let found = log.lines().filter(|line| line.contains(words));
    found.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_rejected_request_is_logged_with_its_client_and_without_its_content() {
    let server = Server::start(&format!("{GATEWAY}{KEYS}"));
    for key in [None, Some("a-key-that-nobody-has"), Some("the-key-of-bygone-days")] {
        let headers: Vec<_> = key.map(|key| ("X-Api-Key", key)).into_iter().collect();
        server.send("GET", &format!("{NUMBER}?count=77"), &headers, b"").assert_problem(403);
    }
    let log = eventually(|| {
        Some(server.log()).filter(|log| lines(log, "rejected an API request").len() == 3)
    });
    let said = lines(&log, "rejected an API request");
    let of = |name: &str| said.iter().map(|line| line[name].as_str()).collect::<Vec<_>>();
    assert_eq!(
        of("reason"),
        [Some("no_credential"), Some("wrong_credential"), Some("expired_credential")]
    );
    assert_eq!(of("key"), [None, None, Some("bygone")]);
    assert_eq!(of("client"), [Some("127.0.0.1"); 3]);
    assert_eq!(of("level"), [Some("INFO"); 3]);
    for private in ["3331234567", "count", "nobody-has"] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
}

#[test]
fn log_lines_name_the_key_or_the_source_at_every_level() {
    let mut server = Server::start(&format!("{GATEWAY}{KEYS}"));
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    server.send("POST", "/webhooks/gateway", JSON, b"{}").assert_problem(401);
    let refused =
        eventually(|| Some(lines(&server.log(), "rejected a webhook")).filter(|l| !l.is_empty()));
    assert_eq!(refused[0]["source"], "gateway");
    // In the table and not in memory.
    assert_eq!(server.terminate(), Some(0));
    server.start_again();
    let file = rusqlite::Connection::open(server.database()).unwrap();
    file.execute_batch("UPDATE message SET status = 99").unwrap();
    check_errors(server.port, &|| server.log());
    assert_eq!(server.terminate(), Some(0));
    // One that logs errors alone does not say where it listens.
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
    eventually(|| TcpStream::connect(("127.0.0.1", port)).ok());
    check_errors(port, &|| fs::read_to_string(&log).unwrap());
    quiet.kill().unwrap();
    quiet.wait().unwrap();
}

#[test]
fn every_request_is_logged_with_its_key() {
    let server = Server::start(&format!("{GATEWAY}{KEYS}"));
    server.get(NUMBER);
    server.put(EXAMPLE_ID, &json!({"destination": "+393331234567"}));
    let reader = [("X-Api-Key", "the-key-of-the-reader")];
    server.send("GET", "/api/nothing", &reader, b"").assert_problem(404);
    let said = eventually(|| {
        Some(lines(&server.log(), "answered an API request")).filter(|said| said.len() == 3)
    });
    let said: Vec<_> = said.iter().map(|line| json!([line["key"], line["status"]])).collect();
    assert_eq!(said, [json!(["tests", 200]), json!(["tests", 201]), json!(["reader", 404])]);
}

/// Meets with a row that makes no sense, as two keys and as a source, and looks into the log.
fn check_errors(port: u16, log: &dyn Fn() -> String) {
    let mut open = Connection::to(port);
    let path = format!("/api/messagestatus/{EXAMPLE_ID}");
    for key in ["the-key-of-the-reader", KEY] {
        open.send("GET", &path, &[("X-Api-Key", key)], b"").assert_problem(500);
    }
    let body = webhook(EXAMPLE_ID, "READ", 1).to_string();
    open.send("POST", &webhook_path(""), JSON, body.as_bytes()).assert_problem(500);
    let said = eventually(|| {
        Some(lines(&log(), "corrupt row in the database")).filter(|said| said.len() == 3)
    });
    assert_eq!(said[0]["key"], "reader", "{said:?}");
    assert_eq!(said[1]["key"], "tests", "{said:?}");
    assert_eq!(said[2]["source"], "gateway", "{said:?}");
}
