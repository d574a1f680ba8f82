//! Reloads of a truncated, empty or missing file: nothing changes.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use statusmirror::config::{self, Config, Secrets};

use crate::support::unconfigured_server::UnconfiguredServer;
use crate::support::*;

/// Sources and API keys that a truncated file loses one by one.
const SECTIONS: &str = r#"
[api_keys.one]
key = "the-first-key-of-these-tests"
scopes = ["read", "register"]
[api_keys.two]
key = "the-second-key-of-these-tests"
expires = "2999-01-31"
[api_keys.three]
sha256 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
[sources.first]
verify = { scheme = "url-token", secrets = ["the-first-token-of-these-tests", "Übergang-Ω-0123456789"] }
[sources.second]
dialect = "twilio"
public_url = "https://hooks.example.com/webhooks/second"
verify = { scheme = "native", secrets = ["9f1c0a7be2d84e0fb36a5d1c2e7a4f80"] }
[sources.third.verify]
scheme = "hmac"
header = "X-Signature"
secrets = "the-third-secret-of-these-tests"
max_age_seconds = 1209600
"#;

/// Section names of the sources and API keys.
fn names(config: &Config) -> BTreeSet<String> {
    let sources = config.sources.iter().map(|source| format!("sources.{}", source.name));
    let keys = config.api_keys.iter().map(|key| format!("api_keys.{}", key.name));
    sources.chain(keys).collect()
}

#[test]
fn every_prefix_of_a_file_is_rejected_or_valid_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let contents = format!(
        "# A comment before it.\n[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite:{}\"\n\
         {SECTIONS}",
        folder.path().join("mirror.db").display()
    );
    fs::write(&file, &contents).unwrap();
    let running = config::read(Some(&file), Secrets::Create).unwrap().running();
    let all_names = names(&config::read(Some(&file), Secrets::Create).unwrap());
    assert_eq!(all_names.len(), 6);
    let mut accepted = BTreeSet::new();
    for end in 0..=contents.len() {
        let prefix = &contents.as_bytes()[..end];
        fs::write(&file, prefix).unwrap();
        let Ok(config) = config::read_for_reload(Some(&file), &running, false) else { continue };
        // Sections of the prefix, read without the parser of the program.
        let headers = str::from_utf8(prefix).unwrap().lines();
        let headers = headers.filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        let expected: BTreeSet<_> = headers
            .filter(|header| header.contains('.'))
            .map(|header| header.trim_end_matches(".verify").to_owned())
            .collect();
        assert_eq!(names(&config), expected, "cut at {end}");
        assert!(config.demo_secret.is_none() && config.demo_key.is_none(), "cut at {end}");
        for section in ["sources.", "api_keys."] {
            let remaining = expected.iter().filter(|name| name.starts_with(section)).count();
            assert!(remaining >= 2, "cut at {end}, {remaining} of 3 remain");
        }
        accepted.insert(expected.len());
    }
    assert!(
        !folder.path().join("demo.key").exists() && !folder.path().join("demo.secret").exists()
    );
    assert_eq!(accepted, BTreeSet::from([5, 6]), "an accepted prefix lacks at most one section");
    // With a confirmation the prefix takes effect, and no secret is generated.
    let (sources, _) = contents.split_once("[sources").unwrap();
    fs::write(&file, sources).unwrap();
    let config = config::read_for_reload(Some(&file), &running, true).unwrap();
    assert_eq!((config.sources.len(), config.api_keys.len()), (0, 3));
    let (keys, _) = contents.split_once("[api_keys").unwrap();
    fs::write(&file, keys).unwrap();
    let config = config::read_for_reload(Some(&file), &running, true).unwrap();
    assert_eq!((config.sources.len(), config.api_keys.len()), (0, 0));
    assert!(!folder.path().join("demo.key").exists());
}

fn query_status(server: &Server, key: &str) -> u16 {
    server.send("GET", "/api/messages", &[("X-Api-Key", key)], b"").status
}

fn webhook_status(server: &Server, source: &str) -> u16 {
    let path = format!("/webhooks/{source}?token={TOKEN}");
    server.send("POST", &path, JSON, EXAMPLE.as_bytes()).status
}

/// Error of a rejected reload, from the log.
#[track_caller]
fn reload_error(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("not reloaded")).expect(log);
    let line: Value = serde_json::from_str(line).unwrap();
    line["error"].as_str().unwrap().to_owned()
}

#[test]
fn an_empty_or_missing_file_changes_nothing() {
    let server = Server::start(GATEWAY);
    let valid = fs::read_to_string(server.config()).unwrap();
    let (server_only, _) = valid.split_once("[api_keys").unwrap();
    for (invalid, expected) in [
        ("", "the file has no settings"),
        ("# all gone\n[server]\n", "the file has no settings"),
        (server_only, "remove 1 of 1 sources (gateway) and remove 1 of 1 API keys (tests)"),
    ] {
        server.configure(|_| invalid.to_owned());
        let error = reload_error(&server.reload());
        assert!(error.contains(expected), "{error}");
        assert_eq!((webhook_status(&server, "gateway"), query_status(&server, KEY)), (200, 200));
    }
    fs::remove_file(server.config()).unwrap();
    let error = reload_error(&server.reload());
    assert!(error.contains(server.config().to_str().unwrap()), "{error}");
    assert_eq!((webhook_status(&server, "gateway"), query_status(&server, KEY)), (200, 200));
    for file in ["demo.key", "demo.secret"] {
        assert!(!server.folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn removing_more_than_half_of_sources_or_keys_needs_confirmation() {
    let sections = |name: &str| {
        format!(
            "[sources.{name}]\nverify = {{ scheme = \"url-token\", secrets = [\"{TOKEN}\"] }}\n\
             [api_keys.{name}]\nkey = \"the-key-of-{name}-0123456789\"\n"
        )
    };
    let (second, third) = (sections("second"), sections("third"));
    let server = Server::start(&format!("{GATEWAY}{second}{third}"));
    let contents = fs::read_to_string(server.config()).unwrap();
    // The new file removes two of three.
    server.configure(|_| contents.replace(&second, "").replace(&third, ""));
    let expected = "the reload would remove 2 of 3 sources (second, third) and remove 2 of 3 API \
                    keys (second, third); to confirm, run `statusmirror reload --yes`";
    assert_eq!(reload_error(&server.reload()), expected);
    let unconfirmed = server.run(&["reload"]);
    assert_eq!(unconfirmed.status.code(), Some(78), "{unconfirmed:?}");
    assert!(text(&unconfirmed.stderr).contains(expected), "{unconfirmed:?}");
    assert_eq!(
        (webhook_status(&server, "third"), query_status(&server, "the-key-of-third-0123456789")),
        (200, 200)
    );
    let confirmed = server.run(&["reload", "--yes"]);
    assert!(confirmed.status.success(), "{confirmed:?}");
    let removed = "removed:   api_keys.second, api_keys.third, sources.second, sources.third\n";
    assert!(text(&confirmed.stdout).contains(removed), "{confirmed:?}");
    assert_eq!(
        (webhook_status(&server, "third"), query_status(&server, "the-key-of-third-0123456789")),
        (404, 403)
    );
    // A renamed source has another URL, so the old one is removed. A renamed key stays the same key.
    let rejected_reload = |server: &Server| {
        let output = server.run(&["reload"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        text(&output.stderr).to_owned()
    };
    server.configure(|config| config.replace("[api_keys.tests]", "[api_keys.renamed]"));
    assert!(server.run(&["reload"]).status.success());
    server.configure(|config| config.replace("[sources.gateway]", "[sources.renamed]"));
    assert!(rejected_reload(&server).contains("remove 1 of 1 sources (gateway)"));
    // Without sources and keys, the demo configuration does not apply either.
    let (without_keys, _) = contents.split_once("[api_keys").unwrap();
    server.configure(|_| without_keys.to_owned());
    assert!(server.run(&["reload", "--yes"]).status.success());
    assert_eq!((webhook_status(&server, "gateway"), query_status(&server, KEY)), (404, 403));
    assert!(rejected_reload(&server).contains("leave no sources and leave no API keys"));
    assert!(!server.folder.path().join("demo.key").exists());
    server.configure(|_| contents);
    let restored = server.run(&["reload"]);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!((webhook_status(&server, "third"), query_status(&server, KEY)), (200, 200));
}

#[test]
fn database_commands_need_no_source_and_no_key() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut server = Server::start(GATEWAY);
        let path = webhook_path("&destination=%2B393331234567");
        let body = webhook(&id(1), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
        let contents = fs::read_to_string(server.config()).unwrap();
        let (without_keys, _) = contents.split_once("[api_keys").unwrap();
        server.configure(|_| without_keys.replace("127.0.0.1:0", listen));
        assert!(server.run(&["reload", "--yes"]).status.success());
        for is_running in [true, false] {
            if !is_running {
                assert_eq!(server.terminate(), Some(0));
            }
            let backup = server.folder.path().join(format!("backup-{is_running}.db"));
            for command in [
                &["quarantine", "list"][..],
                &["check"],
                &["backup", backup.to_str().unwrap()],
                &["prune", "--older-than", "400d", "--yes"],
                &["erase", "--destination", "+393331234567", "--yes"],
            ] {
                let output = server.run(command);
                assert!(output.status.success(), "{listen} {command:?}: {output:?}");
            }
        }
        let backup = server.folder.path().join("backup-true.db");
        let restored = server.run(&["restore", backup.to_str().unwrap()]);
        assert!(restored.status.success(), "{restored:?}");
        assert!(!text(&restored.stdout).contains("repeat"), "{restored:?}");
        // No command generated a secret.
        assert!(!server.folder.path().join("demo.secret").exists());
        // A command that needs a source fails.
        let callback_url = server.run(&["callback-url", "gateway"]);
        assert_eq!(callback_url.status.code(), Some(78), "{callback_url:?}");
    }
}

#[test]
fn the_file_of_the_start_is_used_for_the_life_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statusmirror.toml");
    let contents = format!("{GATEWAY}[api_keys.tests]\nkey = \"{KEY}\"\n");
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let reload_until_logged = |server: &UnconfiguredServer, text: &str| {
        assert!(kill("-HUP", server.child.id()));
        wait_for(|| log().contains(text).then_some(()));
    };
    let query_status = |server: &UnconfiguredServer| {
        Connection::to(server.port).send("GET", "/api/messages", &[("X-Api-Key", KEY)], b"").status
    };
    // A server started without a file does not use one that is created later.
    let server = UnconfiguredServer::start(folder.path());
    fs::write(&file, &contents).unwrap();
    reload_until_logged(&server, "\"reloaded\"");
    assert_eq!(query_status(&server), 403);
    drop(server);
    // A server started with a file rejects a reload while the file is missing.
    let server = UnconfiguredServer::start(folder.path());
    assert!(log().contains(&format!("\"configuration\":\"{}\"", file.display())));
    fs::remove_file(&file).unwrap();
    reload_until_logged(&server, "not reloaded");
    assert_eq!(query_status(&server), 200);
    fs::write(&file, &contents).unwrap();
    reload_until_logged(&server, "\"reloaded\"");
    assert_eq!(query_status(&server), 200);
}

#[test]
fn reload_without_a_server_is_an_error() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let output = server.run(&["reload"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(text(&output.stderr).contains("no server has the database"), "{output:?}");
}
