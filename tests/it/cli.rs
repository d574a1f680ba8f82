//! The program as its operator sees it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// Runs the program in this folder with these variables.
fn run_in(folder: &Path, arguments: &[&str], envs: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .current_dir(folder)
        .args(arguments)
        .envs(envs.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn without_any_configuration_it_serves_and_shows_the_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut child = Command::new(PROGRAM)
            .current_dir(folder.path())
            .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        (child, listening(&line).unwrap(), log)
    };
    let stop = |child: std::process::Child, mut log: BufReader<std::process::ChildStderr>| {
        assert!(kill("-TERM", child.id()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let mut logged = String::new();
        log.read_to_string(&mut logged).unwrap();
        (text(&output.stdout).to_owned(), logged)
    };
    let (child, port, log) = start();
    let kept = |name: &str| {
        fs::read_to_string(folder.path().join("data").join(name)).unwrap().trim().to_owned()
    };
    let (key, secret) = (kept("demo.key"), kept("demo.secret"));
    let path = format!("/webhooks/demo?token={secret}&destination=%2B393331234567");
    let answer = Connection::to(port).send("POST", &path, JSON, EXAMPLE.as_bytes());
    assert_eq!(answer.outcome(), "applied");
    let path = "/api/messagestatus/phonenumber/+393331234567";
    let answer = Connection::to(port).send("GET", path, &[("X-Api-Key", &key)], b"");
    assert!(answer.body.contains(EXAMPLE_ID), "{answer:?}");
    let url = format!("http://127.0.0.1:{port}");
    let simulation = run_in(folder.path(), &["simulate", "--messages", "50", "--url", &url], &[]);
    assert!(simulation.status.success(), "{simulation:?}");
    let (shown, logged) = stop(child, log);
    assert!(shown.contains(&key) && !logged.contains(&key), "{shown}{logged}");
    let (child, _, log) = start();
    assert!(!stop(child, log).0.contains(&key), "it is shown only once");
    assert_eq!(kept("demo.key"), key);
}

#[test]
fn a_terminal_is_told_what_to_try_next() {
    // It gives the program a terminal.
    if !is_installed("script") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("shown");
    let mut child = Command::new("script")
        .args(["--quiet", "--flush", "--command"])
        .arg(format!("exec {PROGRAM}"))
        .arg(&shown)
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now();
    let told = loop {
        let told = fs::read_to_string(&shown).unwrap_or_default();
        if told.contains("serving") {
            break told;
        }
        assert!(patience.elapsed() < Duration::from_secs(30), "{told}");
        thread::sleep(Duration::from_millis(10));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    for part in ["on http://127.0.0.1:", "simulate --messages", "callback-url demo", "curl -H"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(PROGRAM)
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let mut connection = Connection::to(listening(&line).unwrap());
    let refused = connection.send("POST", "/webhooks/demo?token=wrong", JSON, b"{}");
    refused.assert_problem(401);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_everybody_could_reach_is_refused_with_secrets_that_nobody_chose() {
    let folder = tempfile::tempdir().unwrap();
    let envs = [("STATUSMIRROR__SERVER__LISTEN", "0.0.0.0:0")];
    let output = run_in(folder.path(), &["serve"], &envs);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("can be reached from elsewhere"), "{output:?}");
}

#[test]
fn check_config_says_what_holds_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_in(folder.path(), &["check-config"], &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("source:   demo (gateway, url-token)"), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let envs = [
        ("STATUSMIRROR__SOURCES__ANY__VERIFY__SCHEME", "none"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SECRETS", "0123"),
    ];
    let output = run_in(folder.path(), &["check-config"], &envs);
    let told = text(&output.stdout);
    assert!(told.contains("warning:  source `any` takes whatever comes at its word"), "{told}");
    assert!(told.contains("fewer than 16 characters"), "{told}");
    assert!(!told.contains("0123"), "{told}");
}

#[test]
fn a_wrong_configuration_names_the_file_the_key_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let own = |verify: &str| format!("[sources.own]\nverify = {{ {verify} }}\n");
    for (config, key, mend) in [
        ("[server]\nlistn = \"x\"\n".to_owned(), "server.listn", "did you mean `listen`?"),
        ("[servr]\n".to_owned(), "servr", "did you mean `server`?"),
        ("[server\n".to_owned(), "line 1", "expected `]`"),
        ("[server]\nlisten = \"nowhere\"\n".to_owned(), "server.listen", "write host:port"),
        ("[store]\nqueue = \"many\"\n".to_owned(), "store.queue", "expected an integer"),
        ("[store]\nqueue = 0\n".to_owned(), "store.queue", "at least 1"),
        ("[store]\nurl = \"mysql:x\"\n".to_owned(), "store.url", "write sqlite:"),
        ("[log]\nlevel = \"loud\"\n".to_owned(), "log.level", "use error, warn"),
        ("[log]\nformat = \"xml\"\n".to_owned(), "log.format", "use auto"),
        ("[api_keys.a]\n".to_owned(), "api_keys.a", "either `key` or `sha256`"),
        ("[api_keys.a]\nsha256 = \"12\"\n".to_owned(), "api_keys.a.sha256", "64 digits"),
        ("[api_keys.a]\nkey = \"x\"\nscopes = \"all\"\n".to_owned(), "api_keys.a.scopes", "`all`"),
        ("[sources.own]\n".to_owned(), "sources.own.verify", "this key is needed"),
        ("[sources.Own]\nverify = { scheme = \"none\" }\n".to_owned(), "sources.Own", "a-z"),
        (own("scheme = \"nun\""), "sources.own.verify.scheme", "there are url-token"),
        (own("scheme = \"url-token\""), "sources.own.verify.secrets", "at least one secret"),
        (own("scheme = \"url-token\", secrets = 7"), "sources.own.verify.secrets", "write a text"),
        (own("scheme = \"url-token\", secrets = { env = \"NO_SUCH\" }"), "secrets", "NO_SUCH"),
        (own("scheme = \"url-token\", secrets = { file = \"/none\" }"), "secrets", "/none"),
        (own("scheme = \"url-token\", secrets = \"\""), "secrets", "the secret is empty"),
        (own("scheme = \"native\", secrets = \"x\""), "sources.own", "no signature of its own"),
        (own("scheme = \"hmac\", secrets = \"x\""), "sources.own.verify.header", "name the header"),
        (
            own("scheme = \"hmac\", secrets = \"x\", header = \"X\", timestamp = \"header:T\""),
            "sources.own.verify.signed",
            "a time that is not signed proves nothing",
        ),
        (
            own("scheme = \"hmac\", secrets = \"x\", header = \"X\", signed = \"{boby}\""),
            "sources.own.verify.signed",
            "unknown placeholder {boby}",
        ),
        (
            own("scheme = \"hmac\", secrets = \"x\", header = \"X\", algorithm = \"md5\""),
            "sources.own.verify.algorithm",
            "sha256, sha1 or sha512",
        ),
        (
            own("scheme = \"standard-webhooks\", secrets = \"whpk_AAAA\""),
            "sources.own.verify.secrets",
            "no ed25519 public key",
        ),
        (
            own("scheme = \"hmac\", secrets = \"x\", header = \"X Y\""),
            "sources.own.verify.header",
            "cannot be the name of a header",
        ),
        (own("scheme = \"none\", max_age_seconds = -1"), "max_age_seconds", "unsigned"),
        (
            "[sources.own]\npublic_url = \"https://x/y?z=1\"\nverify = { scheme = \"none\" }"
                .to_owned(),
            "sources.own",
            "without a query",
        ),
        (
            "[sources.own]\ndialect = \"twillio\"\nverify = { scheme = \"none\" }".to_owned(),
            "sources.own.dialect",
            "there are gateway, twilio",
        ),
        (
            "[sources.own]\ndialect = \"twilio\"\n\
             verify = { scheme = \"native\", secrets = \"x\" }"
                .to_owned(),
            "sources.own",
            "set server.public_url",
        ),
    ] {
        fs::write(&file, &config).unwrap();
        let output = run_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{config}");
        for part in ["it.toml", key, mend] {
            assert!(told.contains(part), "{config}: {part} is not in {told}");
        }
    }
    fs::write(&file, "[api_keys.a]\nkey = \"a-secret-key\n").unwrap();
    let output = run_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
    let told = text(&output.stderr);
    assert!(told.contains("line 2") && !told.contains("a-secret-key"), "{told}");
    let envs = [("STATUSMIRROR__STORE__QUEUE", "many")];
    let output = run_in(folder.path(), &["check-config"], &envs);
    assert!(text(&output.stderr).contains("STATUSMIRROR__STORE__QUEUE: store.queue"), "{output:?}");
    let envs = [("STATUSMIRROR__STOER__QUEUE", "1")];
    let output = run_in(folder.path(), &["check-config"], &envs);
    assert!(text(&output.stderr).contains("did you mean `store`?"), "{output:?}");
    let output = run_in(folder.path(), &["--config", "none.toml", "check-config"], &[]);
    assert!(text(&output.stderr).contains("none.toml: No such file"), "{output:?}");
}

#[test]
fn the_file_with_all_settings_holds_nothing_but_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/statusmirror.toml");
    let bare = run_in(folder.path(), &["check-config"], &[]);
    let given = run_in(folder.path(), &["--config", shipped, "check-config"], &[]);
    assert_eq!(text(&bare.stdout), text(&given.stdout));
    // What it shows as comments can be uncommented.
    let commented = fs::read_to_string(shipped).unwrap();
    let shown = commented
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.split(' ').nth(1) == Some("="));
    let all = shown.fold(String::new(), |all, line| all + line + "\n");
    let all = all
        .replace("/run/secrets/gateway", folder.path().join("secret").to_str().unwrap())
        .replace("\"signed-url\"", "\"hmac\"");
    fs::write(folder.path().join("secret"), "a-secret-in-a-file\n").unwrap();
    fs::write(folder.path().join("all.toml"), all).unwrap();
    let arguments = ["--config", "all.toml", "check-config"];
    let output = run_in(folder.path(), &arguments, &[("BILLING_KEY", "a-key-of-some-length")]);
    assert!(text(&output.stdout).contains("gateway (gateway, hmac)"), "{output:?}");
}

#[test]
fn a_message_id_is_computed_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let id = |arguments: &[&str]| {
        let output = run_in(folder.path(), &[&["message-id"], arguments].concat(), &[]);
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(
        id(&["twilio", "SM1342fe1b2c904d1ab04f0fc7a58abca9"]),
        "620d8626-4243-5a65-915a-f198f7c03350"
    );
    assert_eq!(
        id(&["telnyx", "40385f64-5717-4562-b3fc-2c963f66afa6", "+18665550001"]),
        "c87958e8-3e08-5050-b8c9-b1616c3fa9a3"
    );
    let wrong = run_in(folder.path(), &["message-id", "telnyx", "x", "12345"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn a_callback_url_is_only_printed_where_it_would_be_taken() {
    let server =
        Server::start(&format!("{GATEWAY}{}", TWILIO_BY_TOKEN.replace("url-token", "none")));
    let print = |arguments: &[&str]| server.run(&[&["callback-url"], arguments].concat());
    let printed = print(&["gateway", "--key", "a b", "--destination", "+393331234567"]);
    assert_eq!(
        text(&printed.stdout).trim().split_once('?').unwrap().1,
        format!("destination=%2B393331234567&key=a+b&token={TOKEN}")
    );
    for (arguments, words) in [
        (&["nobody"][..], "there are gateway, twilio"),
        (&["twilio"], "whose proof is not in the address"),
        (&["gateway", "--key", "a\nb"], "control character"),
        (&["gateway", "--destination", "12"], "E.164"),
        (&["gateway", "--expires-in", "soon"], "no duration"),
    ] {
        let refused = print(arguments);
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(words), "{refused:?}");
    }
}

#[test]
fn quarantined_webhooks_are_listed_shown_and_replayed_live_and_at_rest() {
    // First the source does not know where the number is; then its dialect is set right.
    let wrong = TWILIO_BY_TOKEN.replace("dialect = \"twilio\"", "dialect = \"gateway\"");
    let mut server = Server::start(&wrong);
    let path = format!("/webhooks/twilio?token={TOKEN}&destination=%2B393331234567");
    for sid in ["SM1", "SM2", "SM3"] {
        let body = format!("MessageSid={sid}&MessageStatus=sent");
        server.send("POST", &path, FORM, body.as_bytes()).assert_problem(400);
    }
    let list = |server: &Server| text(&server.run(&["quarantine", "list"]).stdout).to_owned();
    let ids = |server: &Server| -> Vec<String> {
        let all = list(server);
        all.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let before = ids(&server);
    assert_eq!(before.len(), 3);
    let show = server.run(&["quarantine", "show", &before[0]]);
    let shown = text(&show.stdout);
    assert!(shown.contains("MessageSid=SM1&MessageStatus=sent"), "{shown}");
    assert!(shown.contains("destination=%2B393331234567") && !shown.contains(TOKEN), "{shown}");
    let all = server.run(&["quarantine", "replay", "--all"]);
    assert_eq!(text(&all.stdout).matches("quarantined: the body is no JSON").count(), 3);
    assert_eq!(ids(&server), before);
    assert_eq!(server.terminate(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("\"gateway\"", "\"twilio\"")).unwrap();
    // At rest, then live.
    let one = server.run(&["quarantine", "replay", &before[0]]);
    assert_eq!(text(&one.stdout).trim(), format!("{}  applied", before[0]), "{one:?}");
    assert_eq!(ids(&server), before[1..]);
    server.start_again();
    let rest = server.run(&["quarantine", "replay", "--all"]);
    assert_eq!(text(&rest.stdout).matches("  applied").count(), 2, "{rest:?}");
    assert_eq!(list(&server), "");
    let found = server.get("/api/messagestatus/phonenumber/+393331234567").json();
    assert_eq!(found["messages"].as_array().unwrap().len(), 3);
    // An empty body is shown whole too; an id that is unknown does not keep the others back.
    let path = format!("/webhooks/twilio?token={TOKEN}");
    assert_eq!(server.send("POST", &path, FORM, b"").outcome(), "quarantined");
    let empty = ids(&server)[0].clone();
    assert!(text(&server.run(&["quarantine", "show", &empty]).stdout).contains("content type:"));
    let both = server.run(&["quarantine", "replay", &before[0], &empty]);
    assert!(text(&both.stdout).contains("MessageSid is missing"), "{both:?}");
    assert!(text(&both.stderr).contains(&before[0]) && both.status.code() == Some(65));
    let gone = server.run(&["quarantine", "show", &before[0]]);
    assert_eq!(gone.status.code(), Some(65));
    assert!(text(&gone.stderr).contains("quarantine list"), "{gone:?}");
}

#[test]
fn a_simulation_against_nobody_or_against_a_liar_fails() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = |url: &str| {
        let envs = [
            ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SCHEME", "url-token"),
            ("STATUSMIRROR__SOURCES__GATEWAY__VERIFY__SECRETS", TOKEN),
            ("STATUSMIRROR__API_KEYS__TESTS__KEY", KEY),
            ("SIMULATION_KEY", KEY),
        ];
        let arguments =
            ["simulate", "--messages", "5", "--url", url, "--api-key-env", "SIMULATION_KEY"];
        run_in(folder.path(), &arguments, &envs)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It says `applied` to everything and knows nothing.
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.unwrap());
                loop {
                    let mut length = 0;
                    let mut line = String::new();
                    while reader.read_line(&mut line).unwrap_or(0) > 2 {
                        let header = line.to_ascii_lowercase();
                        if let Some(value) = header.strip_prefix("content-length: ") {
                            length = value.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    if line.is_empty() {
                        return;
                    }
                    std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).unwrap();
                    let body = json!({"results": [{"outcome": "applied"}], "messages": []});
                    let body = body.to_string();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    let lied_to = simulate(&url);
    assert_eq!(lied_to.status.code(), Some(1), "{lied_to:?}");
    assert!(text(&lied_to.stdout).contains("DIFFERENCE"), "{lied_to:?}");
    let nobody = simulate("http://127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");
    assert!(text(&nobody.stderr).contains("no server answers"), "{nobody:?}");
}

#[test]
fn every_command_shows_an_example_and_completions_know_them() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        &["serve"][..],
        &["check-config"],
        &["callback-url"],
        &["message-id"],
        &["quarantine", "list"],
        &["quarantine", "show"],
        &["quarantine", "replay"],
        &["simulate"],
        &["completions"],
        &[],
    ] {
        let help = run_in(folder.path(), &[command, &["--help"]].concat(), &[]);
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("Example: statusmirror"), "{command:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let printed = run_in(folder.path(), &["completions", shell], &[]);
        assert!(text(&printed.stdout).contains("callback-url"), "{shell}");
    }
    let wrong = run_in(folder.path(), &["sreve"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn an_address_that_is_taken_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run_in(folder.path(), &["serve"], &[("STATUSMIRROR__SERVER__LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(69));
    let told = text(&output.stderr);
    assert!(told.contains(&address) && told.contains("choose another address"), "{told}");
}
