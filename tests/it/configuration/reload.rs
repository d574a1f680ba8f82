//! SIGHUP: API keys and sources change without a restart.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::canaries;
use crate::support::unconfigured_server::UnconfiguredServer;
use crate::support::*;

/// Section of a second API key.
const BILLING: &str = "[api_keys.billing]\nkey = \"the-key-of-billing-0123\"\n";
const BILLING_KEY: &str = "the-key-of-billing-0123";
const PATH: &str = "/api/messagestatus/reference/x";

fn query_status(connection: &mut Connection, key: &str) -> u16 {
    connection.send("GET", PATH, &[("X-Api-Key", key)], b"").status
}

fn webhook_status(server: &Server, source: &str, token: &str) -> u16 {
    let path = format!("/webhooks/{source}?token={token}");
    server.send("POST", &path, JSON, EXAMPLE.as_bytes()).status
}

/// First log line that contains this text; asserts its level.
#[track_caller]
fn line(log: &str, level: &str, text: &str) -> Value {
    let mut lines = log.lines().filter(|line| line.contains(text));
    let line: Value = serde_json::from_str(lines.next().expect(text)).unwrap();
    assert_eq!(line["level"], level, "{log}");
    line
}

#[test]
fn keys_and_sources_change_at_once_also_on_open_connections_and_are_logged() {
    let server = Server::start(&format!("{GATEWAY}{BILLING}"));
    let mut connection = server.connect();
    assert_eq!(query_status(&mut connection, BILLING_KEY), 200);
    assert_eq!(query_status(&mut connection, "the-key-of-support-0123"), 403);
    server.configure(|config| {
        config.replace(BILLING, "[api_keys.support]\nkey = \"the-key-of-support-0123\"\n")
            + "[sources.second]\nverify = { scheme = \"url-token\", secrets = \"another-token-of-ours\" }\n"
    });
    assert_eq!(query_status(&mut connection, BILLING_KEY), 200, "the file was not reloaded yet");
    let log = server.reload();
    assert_eq!(query_status(&mut connection, BILLING_KEY), 403);
    assert_eq!(query_status(&mut connection, "the-key-of-support-0123"), 200);
    assert_eq!(query_status(&mut connection, KEY), 200);
    assert_eq!(webhook_status(&server, "second", "another-token-of-ours"), 200);
    let log_line = line(&log, "INFO", "reloaded");
    assert_eq!(log_line["added"], "api_keys.support, sources.second");
    assert_eq!(log_line["removed"], "api_keys.billing");
    assert_eq!(log_line["changed"], "");
    server.configure(|config| {
        let register = "key-of-support-4567\"\nscopes = \"register\"";
        config.replace("key-of-support-0123\"", register).replace(GATEWAY, "")
    });
    let log_line = line(&server.reload(), "INFO", "reloaded");
    assert_eq!(log_line["added"], "");
    assert_eq!(log_line["removed"], "sources.gateway");
    assert_eq!(log_line["changed"], "api_keys.support");
    assert_eq!(webhook_status(&server, "gateway", TOKEN), 404);
    assert_eq!(
        query_status(&mut connection, "the-key-of-support-4567"),
        403,
        "the key has lost the scope `read`"
    );
}

#[test]
fn an_invalid_file_changes_nothing_and_is_reported_at_each_reload() {
    let server = Server::start(&format!("{GATEWAY}{BILLING}"));
    let mut connection = server.connect();
    for round in 0..5 {
        let valid = fs::read_to_string(server.config()).unwrap();
        for (invalid, expected) in [
            (
                valid.replace("scheme", "schme"),
                "sources.gateway.verify.schme: unknown key; did you mean `scheme`?",
            ),
            (valid.replace("[store]", "[store"), "unclosed table, expected `]`"),
            (
                valid.replace("\"the-key-of-billing-0123\"", "{ file = \"/none\" }"),
                "api_keys.billing.key: cannot read /none",
            ),
            (
                format!(
                    "{valid}[api_keys.late]\nkey = \"a-key-of-some-length\"\nexpires = \"soon\"\n"
                ),
                "api_keys.late.expires: `soon` is not a time",
            ),
        ] {
            server.configure(|_| invalid);
            let log = server.reload();
            let log_line =
                line(&log, "ERROR", "not reloaded; the old API keys and sources stay in effect");
            let error = log_line["error"].as_str().unwrap();
            assert!(error.contains("statusmirror.toml") && error.contains(expected), "{error}");
            assert_eq!(query_status(&mut connection, BILLING_KEY), 200, "round {round}");
            assert_eq!(webhook_status(&server, "gateway", TOKEN), 200, "round {round}");
        }
        server.configure(|_| valid.replace(BILLING, ""));
        server.reload();
        assert_eq!(query_status(&mut connection, BILLING_KEY), 403, "round {round}");
        server.configure(|_| valid);
        server.reload();
        assert_eq!(query_status(&mut connection, BILLING_KEY), 200, "round {round}");
    }
    fs::remove_file(server.config()).unwrap();
    line(&server.reload(), "ERROR", "No such file");
    assert_eq!(query_status(&mut connection, BILLING_KEY), 200);
}

#[test]
fn secret_files_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| fs::write(file(name), text).unwrap();
    write("token", "the-first-token-in-a-file\n");
    write("key", "the-first-key-in-a-file\n");
    let server = Server::start(&format!(
        "[sources.filed]\nverify = {{ scheme = \"url-token\", secrets = {{ file = \"{}\" }} }}\n\
         [api_keys.filed]\nkey = {{ file = \"{}\" }}\n",
        file("token"),
        file("key")
    ));
    let mut connection = server.connect();
    assert_eq!(webhook_status(&server, "filed", "the-first-token-in-a-file"), 200);
    assert_eq!(query_status(&mut connection, "the-first-key-in-a-file"), 200);
    let log_line = line(&server.reload(), "INFO", "reloaded");
    assert_eq!(
        (&log_line["added"], &log_line["removed"], &log_line["changed"]),
        (&"".into(), &"".into(), &"".into())
    );
    write("token", "the-second-token-in-a-file\n");
    write("key", "the-second-key-in-a-file\n");
    let log = server.reload();
    assert_eq!(webhook_status(&server, "filed", "the-first-token-in-a-file"), 401);
    assert_eq!(webhook_status(&server, "filed", "the-second-token-in-a-file"), 200);
    assert_eq!(query_status(&mut connection, "the-first-key-in-a-file"), 403);
    assert_eq!(query_status(&mut connection, "the-second-key-in-a-file"), 200);
    assert_eq!(line(&log, "INFO", "reloaded")["changed"], "api_keys.filed, sources.filed");
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let server = Server::start(&format!("[log]\nformat = \"json\"\n{GATEWAY}"));
    server.configure(|config| {
        let config = config.replace("format = \"json\"", "format = \"pretty\"");
        let server = "[server]\npublic_url = \"https://hooks.example.com\"\ntrusted_proxies = \"10.0.0.0/8\"";
        config.replace("[server]", server).replace("[store]", "[store]\nmax_in_flight = 7")
    });
    let log = server.reload();
    let log_line = line(&log, "WARN", "restart");
    assert_eq!(log_line["settings"], "log.format, server.trusted_proxies, store.max_in_flight");
    assert_eq!(line(&log, "INFO", "reloaded")["changed"], "sources.gateway");
    server.configure(|config| config.replace("[store]\nmax_in_flight = 7", "[store]"));
    let log = server.reload();
    assert_eq!(line(&log, "WARN", "restart")["settings"], "log.format, server.trusted_proxies");
}

#[test]
fn a_reload_changes_the_log_level() {
    let server = Server::start(&format!("[log]\nlevel = \"info\"\n{GATEWAY}"));
    let set_level = |old: &str, new: &str| {
        server.configure(|config| {
            config.replace(&format!("level = \"{old}\""), &format!("level = \"{new}\""))
        });
        let output = server.run(&["reload"]);
        let stdout = text(&output.stdout);
        assert!(stdout.contains("changed:   log.level\n"), "{output:?}");
        assert!(stdout.contains(&format!("log level: {new}\n")), "{output:?}");
    };
    set_level("info", "warn");
    assert_eq!(server.post(EXAMPLE).status, 200);
    set_level("warn", "info");
    assert_eq!(server.post(EXAMPLE).status, 200);
    // The lines of the log keep their order, so the one of the last reload ends the part of interest.
    server.signal("-HUP");
    wait_for(|| (server.log().matches("\"reloaded\"").count() == 3).then_some(()));
    let requests = server.log().lines().filter(|line| line.contains("\"outcome\"")).count();
    assert_eq!(requests, 1, "only the request at the level info has a line");
}

#[test]
fn requests_go_on_during_a_reload() {
    let server = Server::start(GATEWAY);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = [0; 2].map(|_| {
            scope.spawn(|| {
                let mut connection = server.connect();
                let mut count = 0_u32;
                while !is_done.load(Ordering::SeqCst) {
                    assert_eq!(query_status(&mut connection, KEY), 200);
                    let webhook =
                        connection.send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes());
                    assert_eq!(webhook.status, 200);
                    count += 1;
                }
                count
            })
        });
        for round in 0..20 {
            server.configure(|config| match round % 2 {
                0 => config + BILLING,
                _ => config.replace(BILLING, ""),
            });
            server.reload();
        }
        is_done.store(true, Ordering::SeqCst);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_fifo_in_place_of_a_secret_file_blocks_nothing() {
    let mut server = Server::start(GATEWAY);
    let fifo = server.folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let secret = format!("secrets = [\"{TOKEN}\"]");
    let fifo_secret = format!("secrets = {{ file = \"{}\" }}", fifo.display());
    let valid = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), valid.replace(&secret, &fifo_secret)).unwrap();
    let log_line = line(&server.reload(), "ERROR", "not reloaded");
    assert!(log_line["error"].as_str().unwrap().contains("it is not a regular file"), "{log_line}");
    assert_eq!((server.get(PATH).status, webhook_status(&server, "gateway", TOKEN)), (200, 200));
    fs::write(server.config(), valid + BILLING).unwrap();
    assert_eq!(line(&server.reload(), "INFO", "\"reloaded\"")["added"], "api_keys.billing");
    assert_eq!(query_status(&mut server.connect(), BILLING_KEY), 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn without_a_file_the_generated_key_and_secret_are_read_or_generated_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnconfiguredServer::start(folder.path());
    let path = |name: &str| folder.path().join("data").join(name);
    let read = |name: &str| fs::read_to_string(path(name)).unwrap().trim().to_owned();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let reload = |count: usize| {
        assert!(kill("-HUP", server.child.id()));
        wait_for(|| (log().matches("\"reloaded\"").count() == count).then_some(()));
    };
    let mut connection = Connection::to(server.port);
    let post = |token: &str| {
        let path = format!("/webhooks/demo?token={token}");
        Connection::to(server.port).send("POST", &path, JSON, EXAMPLE.as_bytes()).status
    };
    let (key, secret) = (read("demo.key"), read("demo.secret"));
    assert_eq!((query_status(&mut connection, &key), post(&secret)), (200, 200));
    fs::write(path("demo.key"), "a-key-that-i-chose-myself\n").unwrap();
    reload(1);
    assert_eq!((query_status(&mut connection, &key), post(&secret)), (403, 200));
    assert_eq!(query_status(&mut connection, "a-key-that-i-chose-myself"), 200);
    fs::remove_file(path("demo.key")).unwrap();
    fs::remove_file(path("demo.secret")).unwrap();
    reload(2);
    assert_eq!(
        (query_status(&mut connection, "a-key-that-i-chose-myself"), post(&secret)),
        (403, 401)
    );
    assert_eq!(
        (query_status(&mut connection, &read("demo.key")), post(&read("demo.secret"))),
        (200, 200)
    );
    let stdout = fs::read_to_string(folder.path().join("stdout")).unwrap();
    assert!(stdout.contains(&key) && stdout.contains(&read("demo.key")), "{stdout}");
    canaries::assert_none("the log", &log());
}

#[test]
fn no_keys_are_generated_on_a_public_address() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    server.configure(|config| {
        config.replace("[server]", "[server]\ninternal_listen = \"0.0.0.0:0\"")
    });
    server.restart();
    // The current address counts, not the one that a restart would use.
    server.configure(|config| {
        let (before, rest) = config.split_once("[api_keys.tests]").unwrap();
        let (_, after) = rest.split_once("[sources").unwrap();
        format!("{before}[sources{after}").replace("0.0.0.0:0", "127.0.0.1:0")
    });
    let log = server.reload();
    let log_line = line(&log, "ERROR", "not reloaded");
    let error = log_line["error"].as_str().unwrap();
    assert!(error.contains("remove 1 of 1 API keys (tests)"), "{error}");
    assert!(!server.folder.path().join("demo.key").exists());
}

#[test]
fn the_admin_socket_uses_the_reloaded_sources() {
    let wrong_dialect = TWILIO_BY_TOKEN.replace("dialect = \"twilio\"", "dialect = \"gateway\"");
    let server = Server::start(&wrong_dialect);
    let path = format!("/webhooks/twilio?token={TOKEN}");
    server.send("POST", &path, FORM, b"MessageSid=SM1&MessageStatus=sent").assert_problem(400);
    let unchanged = server.run(&["quarantine", "replay", "--all"]);
    assert!(text(&unchanged.stdout).contains("quarantined"), "{unchanged:?}");
    server.configure(|config| config.replace("dialect = \"gateway\"", "dialect = \"twilio\""));
    assert_eq!(line(&server.reload(), "INFO", "reloaded")["changed"], "sources.twilio");
    let replayed = server.run(&["quarantine", "replay", "--all"]);
    assert!(text(&replayed.stdout).contains("  applied"), "{replayed:?}");
}

#[test]
fn a_warning_is_logged_at_each_reload() {
    let server = Server::start(&format!("{GATEWAY}{BILLING}"));
    server.configure(|config| {
        config.replace(BILLING, &format!("{BILLING}expires = \"2020-01-31\"\n"))
    });
    let log = server.reload();
    let log_line = line(&log, "WARN", "api_keys.billing.expires");
    let expected =
        "api_keys.billing.expires: the key expired 2020-01-31T23:59:59.999999Z; create another key";
    assert_eq!(log_line["message"], expected);
    assert_eq!(line(&log, "INFO", "\"reloaded\"")["changed"], "api_keys.billing");
    assert_eq!(query_status(&mut server.connect(), BILLING_KEY), 403);
}
