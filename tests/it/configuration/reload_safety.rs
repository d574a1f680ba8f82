//! Reloads of a truncated, empty or missing file: nothing changes.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use statusmirror::config::{self, Config, Secrets};

use crate::support::unconfigured_server::UnconfiguredServer;
use crate::support::*;

/// More sections, so that there is something to lose little by little.
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

/// The names of sources and keys.
fn names(config: &Config) -> BTreeSet<String> {
    let sources = config.sources.iter().map(|source| format!("sources.{}", source.name));
    let keys = config.api_keys.iter().map(|key| format!("api_keys.{}", key.name));
    sources.chain(keys).collect()
}

#[test]
fn every_prefix_of_a_file_is_rejected_or_valid_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let whole = format!(
        "# A comment before it.\n[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite:{}\"\n\
         {SECTIONS}",
        folder.path().join("mirror.db").display()
    );
    fs::write(&file, &whole).unwrap();
    let running = config::read(Some(&file), Secrets::Make).unwrap().running();
    let all = names(&config::read(Some(&file), Secrets::Make).unwrap());
    assert_eq!(all.len(), 6);
    let mut taken = BTreeSet::new();
    for end in 0..=whole.len() {
        let beginning = &whole.as_bytes()[..end];
        fs::write(&file, beginning).unwrap();
        let Ok(config) = config::read_again(Some(&file), &running, false) else { continue };
        // What the beginning says, read by another reader.
        let headers = str::from_utf8(beginning).unwrap().lines();
        let headers = headers.filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        let said: BTreeSet<_> = headers
            .filter(|header| header.contains('.'))
            .map(|header| header.trim_end_matches(".verify").to_owned())
            .collect();
        assert_eq!(names(&config), said, "cut at {end}");
        assert!(config.demo_secret.is_none() && config.demo_key.is_none(), "cut at {end}");
        for section in ["sources.", "api_keys."] {
            let left = said.iter().filter(|name| name.starts_with(section)).count();
            assert!(left >= 2, "cut at {end}, {left} of 3 are left");
        }
        taken.insert(said.len());
    }
    assert!(
        !folder.path().join("demo.key").exists() && !folder.path().join("demo.secret").exists()
    );
    assert_eq!(taken, BTreeSet::from([5, 6]), "of each section one may be lost at most");
    // If it is confirmed, the beginning holds, and nothing of it is made up.
    let (sources, _) = whole.split_once("[sources").unwrap();
    fs::write(&file, sources).unwrap();
    let config = config::read_again(Some(&file), &running, true).unwrap();
    assert_eq!((config.sources.len(), config.api_keys.len()), (0, 3));
    let (keys, _) = whole.split_once("[api_keys").unwrap();
    fs::write(&file, keys).unwrap();
    let config = config::read_again(Some(&file), &running, true).unwrap();
    assert_eq!((config.sources.len(), config.api_keys.len()), (0, 0));
    assert!(!folder.path().join("demo.key").exists());
}

fn asked(server: &Server, key: &str) -> u16 {
    server.send("GET", "/api/messages", &[("X-Api-Key", key)], b"").status
}

fn posted(server: &Server, source: &str) -> u16 {
    let path = format!("/webhooks/{source}?token={TOKEN}");
    server.send("POST", &path, JSON, EXAMPLE.as_bytes()).status
}

/// What is said of a reload that is rejected.
#[track_caller]
fn rejected(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("not reloaded")).expect(log);
    let line: Value = serde_json::from_str(line).unwrap();
    line["error"].as_str().unwrap().to_owned()
}

#[test]
fn an_empty_or_missing_file_changes_nothing() {
    let server = Server::start(GATEWAY);
    let good = fs::read_to_string(server.config()).unwrap();
    let (server_only, _) = good.split_once("[api_keys").unwrap();
    for (bad, words) in [
        ("", "it has no setting"),
        ("# all gone\n[server]\n", "it has no setting"),
        (server_only, "remove 1 of 1 sources (gateway) and remove 1 of 1 API keys (tests)"),
    ] {
        server.configure(|_| bad.to_owned());
        let error = rejected(&server.reload());
        assert!(error.contains(words), "{error}");
        assert_eq!((posted(&server, "gateway"), asked(&server, KEY)), (200, 200));
    }
    fs::remove_file(server.config()).unwrap();
    let error = rejected(&server.reload());
    assert!(error.contains(server.config().to_str().unwrap()), "{error}");
    assert_eq!((posted(&server, "gateway"), asked(&server, KEY)), (200, 200));
    for made in ["demo.key", "demo.secret"] {
        assert!(!server.folder.path().join(made).exists(), "{made}");
    }
}

#[test]
fn removing_more_than_half_of_sources_or_keys_needs_confirmation() {
    let more = |name: &str| {
        format!(
            "[sources.{name}]\nverify = {{ scheme = \"url-token\", secrets = [\"{TOKEN}\"] }}\n\
             [api_keys.{name}]\nkey = \"the-key-of-{name}-0123456789\"\n"
        )
    };
    let (second, third) = (more("second"), more("third"));
    let server = Server::start(&format!("{GATEWAY}{second}{third}"));
    let whole = fs::read_to_string(server.config()).unwrap();
    // Two of three.
    server.configure(|_| whole.replace(&second, "").replace(&third, ""));
    let words = "it would remove 2 of 3 sources (second, third) and remove 2 of 3 API keys (second, \
                 third); if that is meant, run `statusmirror reload --yes`";
    assert_eq!(rejected(&server.reload()), words);
    let unconfirmed = server.run(&["reload"]);
    assert_eq!(unconfirmed.status.code(), Some(78), "{unconfirmed:?}");
    assert!(text(&unconfirmed.stderr).contains(words), "{unconfirmed:?}");
    assert_eq!(
        (posted(&server, "third"), asked(&server, "the-key-of-third-0123456789")),
        (200, 200)
    );
    let confirmed = server.run(&["reload", "--yes"]);
    assert!(confirmed.status.success(), "{confirmed:?}");
    let removed = "removed: api_keys.second, api_keys.third, sources.second, sources.third\n";
    assert!(text(&confirmed.stdout).contains(removed), "{confirmed:?}");
    assert_eq!(
        (posted(&server, "third"), asked(&server, "the-key-of-third-0123456789")),
        (404, 403)
    );
    // Another name for the only source is another address; another name for a key is not another key.
    let refused = |server: &Server| {
        let refused = server.run(&["reload"]);
        assert_eq!(refused.status.code(), Some(78), "{refused:?}");
        text(&refused.stderr).to_owned()
    };
    server.configure(|config| config.replace("[api_keys.tests]", "[api_keys.renamed]"));
    assert!(server.run(&["reload"]).status.success());
    server.configure(|config| config.replace("[sources.gateway]", "[sources.renamed]"));
    assert!(refused(&server).contains("remove 1 of 1 sources (gateway)"));
    // None at all, which is not the demo either.
    let (without_keys, _) = whole.split_once("[api_keys").unwrap();
    server.configure(|_| without_keys.to_owned());
    assert!(server.run(&["reload", "--yes"]).status.success());
    assert_eq!((posted(&server, "gateway"), asked(&server, KEY)), (404, 403));
    assert!(refused(&server).contains("leave no sources and leave no API keys"));
    assert!(!server.folder.path().join("demo.key").exists());
    server.configure(|_| whole);
    let back = server.run(&["reload"]);
    assert!(back.status.success(), "{back:?}");
    assert_eq!((posted(&server, "third"), asked(&server, KEY)), (200, 200));
}

#[test]
fn database_commands_need_no_source_and_no_key() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut server = Server::start(GATEWAY);
        let path = webhook_path("&destination=%2B393331234567");
        let body = webhook(&id(1), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
        let whole = fs::read_to_string(server.config()).unwrap();
        let (without_keys, _) = whole.split_once("[api_keys").unwrap();
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
        // No secret was made on the way.
        assert!(!server.folder.path().join("demo.secret").exists());
        // What needs a source says so.
        let asked = server.run(&["callback-url", "gateway"]);
        assert_eq!(asked.status.code(), Some(78), "{asked:?}");
    }
}

#[test]
fn the_file_of_the_start_is_used_for_the_life_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let found = folder.path().join("statusmirror.toml");
    let configured = format!("{GATEWAY}[api_keys.tests]\nkey = \"{KEY}\"\n");
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let told = |server: &UnconfiguredServer, words: &str| {
        assert!(kill("-HUP", server.0.id()));
        eventually(|| log().contains(words).then_some(()));
    };
    let asked = |server: &UnconfiguredServer| {
        Connection::to(server.1).send("GET", "/api/messages", &[("X-Api-Key", KEY)], b"").status
    };
    // Started without one, it does not find one later.
    let server = UnconfiguredServer::start(folder.path());
    fs::write(&found, &configured).unwrap();
    told(&server, "\"reloaded\"");
    assert_eq!(asked(&server), 403);
    drop(server);
    // Started with the one that it found, it does not do without later.
    let server = UnconfiguredServer::start(folder.path());
    assert!(log().contains(&format!("\"configuration\":\"{}\"", found.display())));
    fs::remove_file(&found).unwrap();
    told(&server, "not reloaded");
    assert_eq!(asked(&server), 200);
    fs::write(&found, &configured).unwrap();
    told(&server, "\"reloaded\"");
    assert_eq!(asked(&server), 200);
}

#[test]
fn reload_without_a_server_is_an_error() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let nobody = server.run(&["reload"]);
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");
    assert!(text(&nobody.stderr).contains("no server has the database"), "{nobody:?}");
}
