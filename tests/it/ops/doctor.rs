//! `doctor` on a healthy installation, and on one with a single fault at a time.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use crate::support::faults::wrong_clock::WrongClock;
use crate::support::*;

/// Configuration of one source for each scheme, with `public_url` at this port. If `has_server_secrets` is
/// false, the secrets differ from the server's.
fn sources(port: u16, has_server_secrets: bool) -> String {
    let (secret, key) = if has_server_secrets {
        ("a-secret-for-doctor", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    } else {
        ("another-secret-for-doctor", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx")
    };
    let schemes = [
        ("signed", "gateway", "signed-url", secret, ""),
        (
            "hmac",
            "gateway",
            "hmac",
            secret,
            r#", header = "X-Signature", prefix = "v1=", separator = ",", encoding = "base64", algorithm = "sha512", signed = "{method}{timestamp}.{header:X-Nonce}{id}{body}{url}", timestamp = "item:t", timestamp_unit = "ms", id_header = "X-Id""#,
        ),
        (
            "timed",
            "gateway",
            "hmac",
            secret,
            r#", header = "X-Signature", signed = "{timestamp}{body}", timestamp = "header:X-Time", timestamp_unit = "iso8601""#,
        ),
        ("standard", "gateway", "standard-webhooks", key, ""),
        ("twilio", "twilio", "native", secret, ""),
    ];
    let section = |(name, dialect, scheme, secret, settings): (&str, &str, &str, &str, &str)| {
        format!(
            "[sources.{name}]\npublic_url = \"{}\"\ndialect = \"{dialect}\"\n\
             verify = {{ scheme = \"{scheme}\", secrets = [\"{secret}\"]{settings} }}\n",
            url(port, name)
        )
    };
    schemes.map(section).concat()
}

/// URL of a source at this port.
fn url(port: u16, name: &str) -> String {
    format!("http://127.0.0.1:{port}/webhooks/{name}")
}

/// Server with one source for each scheme, whose configuration names the port that it listens on.
fn installed(envs: &[(&str, String)]) -> Server {
    let server = Server::start_with(GATEWAY, envs);
    server.configure(|config| {
        let listen = format!("listen = \"127.0.0.1:{}\"", server.port);
        let config = config.replace("listen = \"127.0.0.1:0\"", &listen);
        format!("{config}{}", sources(server.port, true))
    });
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o600)).unwrap();
    let log = server.reload();
    assert!(!log.contains("ERROR"), "{log}");
    server
}

/// Standard output and exit code of `doctor`.
fn doctor(server: &Server) -> (String, Option<i32>) {
    let output = server.run(&["doctor"]);
    let stdout = text(&output.stdout).to_owned();
    canaries::assert_none("the output of doctor", &stdout);
    (stdout, output.status.code())
}

/// Line of the output with this label, such as `source hmac`.
#[track_caller]
fn line<'a>(stdout: &'a str, label: &str) -> &'a str {
    let marker = format!("  {label}: ");
    let mut lines = stdout.lines().filter(|line| line.contains(&marker));
    lines.next().unwrap_or_else(|| panic!("no line `{label}` in\n{stdout}"))
}

/// Asserts that the line with this label begins with `result` and contains all `words`.
#[track_caller]
fn assert_line(stdout: &str, result: &str, label: &str, words: &[&str]) {
    let line = line(stdout, label);
    assert!(line.starts_with(result), "{line} in\n{stdout}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in {line}");
    }
}

/// Starts a server that sends `answer` to every request. Returns its port.
fn start_fake_server(answer: impl Into<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A test delivery arrives in one or two chunks.
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"}") {
                let length = stream.read(&mut chunk).unwrap_or(0);
                if length == 0 {
                    break;
                }
                request.extend_from_slice(&chunk[..length]);
            }
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    port
}

/// HTTP response, of which `head` is the status and the headers.
fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

const SCHEMES: [&str; 5] = ["signed", "hmac", "timed", "standard", "twilio"];

#[test]
fn a_healthy_installation_passes() {
    let server = installed(&[]);
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.lines().all(|line| line.starts_with("ok ")), "{stdout}");
    for name in SCHEMES {
        assert_line(&stdout, "ok", &format!("source {name}"), &["accepted and ignored"]);
    }
    assert_line(&stdout, "ok", "source gateway", &["no public_url is set"]);
    let process = format!("held by the server, process {}", server.process());
    assert_line(&stdout, "ok", "lock", &[&process]);
    assert_line(&stdout, "ok", "clock", &["agree"]);
    assert_line(&stdout, "ok", "server", &["is ready"]);
    assert!(!server.log().contains("ended early"), "{}", server.log());
    // The test deliveries leave nothing in the store.
    assert_eq!(text(&server.run(&["quarantine", "list"]).stdout), "");
    let check = server.run(&["check"]);
    assert!(text(&check.stdout).contains("history:     0 "), "{check:?}");
}

#[test]
fn a_wrong_secret_is_named() {
    let server = installed(&[]);
    // The server does not reload this configuration yet.
    server.configure(|config| {
        let (before, _) = config.split_once("[sources.signed]").unwrap();
        let before = before.replace(TOKEN, "another-token-of-these");
        format!("{before}{}", sources(server.port, false))
    });
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(69), "{stdout}");
    for name in ["gateway", "signed", "timed", "standard"] {
        let words =
            ["rejected (401)", "secrets differ from this configuration", "reload the server"];
        assert_line(&stdout, "FAIL", &format!("source {name}"), &words);
    }
    for name in ["hmac", "twilio"] {
        let words = ["secrets or public_url differ from this configuration"];
        assert_line(&stdout, "FAIL", &format!("source {name}"), &words);
    }
    server.reload();
    assert_eq!(doctor(&server).1, Some(0));
}

#[test]
fn a_wrong_public_url_is_named() {
    let server = installed(&[]);
    let config = fs::read_to_string(server.config()).unwrap();
    let problem_body = "{\"status\":401}";
    let problem_head = "401 Unauthorized\r\nContent-Type: application/problem+json";
    let hmac_url_at = |port: u16| url(port, "hmac");
    let own_url = |name: &str| url(server.port, name);
    let redirect = "301 Moved\r\nLocation: https://hooks.example.com/webhooks/hmac?token=x";
    for (url, words) in [
        (hmac_url_at(free_port(24_000)), &["cannot reach", "nothing listens there"][..]),
        (
            hmac_url_at(start_fake_server(answer("200 OK", "<html>Welcome</html>"))),
            &["another program answers there, with 200", "forward /webhooks/ to"],
        ),
        (
            hmac_url_at(start_fake_server(answer("404 Not Found", "nginx"))),
            &["another program answers", "with 404"],
        ),
        (
            hmac_url_at(start_fake_server(answer("401 Unauthorized", "who?"))),
            &["another program answers", "with 401"],
        ),
        (
            hmac_url_at(start_fake_server(answer(redirect, ""))),
            &["redirects to https://hooks.example.com/webhooks/hmac, and senders do not follow"],
        ),
        (
            hmac_url_at(start_fake_server(answer(problem_head, problem_body))),
            &["accepted when posted directly to the server", "changes the query or the body"],
        ),
        (own_url("unknown"), &["has no source of this name"]),
        (own_url("hmac").replace("/webhooks", "/elsewhere"), &["has no source of this name"]),
        (own_url("signed"), &["rejected (401)"]),
        (own_url("twilio"), &["rejected (401)"]),
        (own_url("hmac").replace("http:", "https:"), &["cannot reach", "TLS error"]),
        ("http://unknown.invalid/webhooks/hmac".to_owned(), &["cannot reach"]),
    ] {
        server.configure(|_| config.replace(&own_url("hmac"), &url));
        // After the reload, the server has the same `public_url`.
        server.reload();
        let (stdout, code) = doctor(&server);
        assert_eq!(code, Some(69), "{url}\n{stdout}");
        assert_line(&stdout, "FAIL", "source hmac", &[&[url.as_str()], words].concat());
        let failed = stdout.lines().filter(|line| line.starts_with("FAIL")).count();
        assert_eq!(failed, 1, "{stdout}");
    }
}

/// Asserts that the test delivery to this source was rejected because of the server's clock. `words` is the
/// offset of that clock.
#[track_caller]
fn assert_clock_rejection(stdout: &str, name: &str, words: &str) {
    let marker = format!("FAIL  source {name}: ");
    let mut lines = stdout.lines().filter(|line| line.starts_with(&marker));
    let is_rejection = |line: &str| {
        line.contains("rejected (401), because the server's clock is") && line.contains(words)
    };
    assert!(lines.any(is_rejection), "no rejection of {name} with `{words}` in\n{stdout}");
}

#[test]
fn a_wrong_clock_is_named() {
    let clock = WrongClock::new();
    clock.jump(0);
    let server = installed(&clock.envs());
    let doctor_at_offset = |offset: i64, result: &str, words: &str| {
        clock.jump(offset);
        // The server updates the time of its `Date` header twice a second.
        wait_for(|| {
            let (stdout, code) = doctor(&server);
            line(&stdout, "clock").contains(words).then(|| {
                assert_line(&stdout, result, "clock", &[words]);
                (stdout, code)
            })
        })
    };
    let (stdout, code) =
        doctor_at_offset(60, "warn", "the server's clock is 60 s ahead of this machine's clock");
    assert_eq!(code, Some(0), "{stdout}");
    let (stdout, code) =
        doctor_at_offset(3547, "FAIL", "clock is 59 min 7 s ahead of this machine's clock");
    assert_eq!(code, Some(69), "{stdout}");
    assert_clock_rejection(&stdout, "signed", "ahead of this machine's clock");
    let (stdout, _) =
        doctor_at_offset(-3547, "FAIL", "clock is 59 min 7 s behind this machine's clock");
    for name in ["timed", "standard"] {
        assert_clock_rejection(&stdout, name, "behind this machine's clock");
    }
    clock.jump(0);
}

#[test]
fn files_with_open_permissions_are_reported() {
    let server = installed(&[]);
    let secret = server.folder.path().join("secret");
    fs::write(&secret, "a-secret-in-a-file-of-its-own").unwrap();
    server.configure(|config| {
        config.replace(
            "secrets = [\"a-token-for-these-tests\"]",
            // Without spaces around `=`; otherwise the canaries would note the path as a secret.
            &format!("secrets=[{{ file = \"{}\" }}]", secret.display()),
        )
    });
    server.reload();
    let chmod = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let secret_label = format!("secret {}", secret.display());
    chmod(&secret, 0o644);
    chmod(&server.database(), 0o644);
    chmod(server.folder.path(), 0o700);
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(0), "{stdout}");
    assert_line(
        &stdout,
        "warn",
        &secret_label,
        &["every user of this machine can read the file", "chmod"],
    );
    assert_line(&stdout, "warn", "permissions", &["its directory 700", "mirror.db has mode 644"]);
    chmod(&secret, 0o600);
    chmod(&server.config(), 0o604);
    let config_label = format!("secret {}", server.config().display());
    assert_line(&doctor(&server).0, "warn", &config_label, &["mode 604"]);
    chmod(server.folder.path(), 0o755);
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(0), "{stdout}");
    assert_line(&stdout, "ok", &secret_label, &["mode 600"]);
    assert_line(
        &stdout,
        "warn",
        "permissions",
        &["every user can read the database", "phone numbers"],
    );
    chmod(&server.database(), 0o646);
    assert_line(&doctor(&server).0, "FAIL", "permissions", &["every user can change the database"]);
    chmod(&server.database(), 0o600);
    assert_line(&doctor(&server).0, "ok", "permissions", &["mode 600"]);
    chmod(server.folder.path(), 0o777);
    let (stdout, code) = doctor(&server);
    assert_line(
        &stdout,
        "FAIL",
        "permissions",
        &["every user can change the database", "chmod 700"],
    );
    assert_eq!(code, Some(69));
    chmod(server.folder.path(), 0o700);
}

#[test]
fn a_waiting_prune_is_reported() {
    let mut server = installed(&[]);
    assert_line(&doctor(&server).0, "ok", "prune", &["nothing waits"]);
    for number in 1..=3 {
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(), "applied");
    }
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(server.terminate(), Some(0));
    server.configure(|config| config.replace("[store]\n", "[store]\nretention = \"1s\"\n"));
    server.restart();
    let (stdout, code) = wait_for(|| {
        let (stdout, code) = doctor(&server);
        (!line(&stdout, "prune").starts_with("ok")).then_some((stdout, code))
    });
    assert_line(&stdout, "warn", "prune", &["3 messages", "`statusmirror prune --yes`"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(server.run(&["prune", "--yes"]).status.success());
    assert_line(&doctor(&server).0, "ok", "prune", &["nothing waits"]);
    assert_eq!(server.terminate(), Some(0));
    assert!(!doctor(&server).0.contains("  prune: "), "without a server there is no line `prune`");
}

#[test]
fn a_key_near_its_expiry_is_reported() {
    let server = installed(&[]);
    let day = |days: u64| {
        let output = std::process::Command::new("date")
            .args(["-u", "-d", &format!("{days} days"), "+%Y-%m-%d"])
            .output()
            .unwrap();
        text(&output.stdout).trim().to_owned()
    };
    server.configure(|config| {
        format!(
            "{config}[api_keys.old]\nkey = \"a-key-that-is-too-old\"\nexpires = \"2026-01-31\"\n\
             [api_keys.ending]\nkey = \"a-key-that-ends-soon\"\nexpires = \"{}\"\n\
             [api_keys.lasting]\nkey = \"a-key-that-lasts-long\"\nexpires = \"{}\"\n",
            day(29),
            day(31)
        )
    });
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(69), "{stdout}");
    assert_line(&stdout, "FAIL", "API key old", &["expired 2026-01-31", "create another key"]);
    assert_line(&stdout, "warn", "API key ending", &["expires ", "create another key"]);
    assert_line(&stdout, "ok", "API key lasting", &["valid until"]);
}

#[test]
fn a_missing_server_is_reported() {
    let mut server = installed(&[]);
    server.configure(|config| {
        format!(
            "{config}[sources.provider]\nverify = {{ scheme = \"standard-webhooks\", secrets = \
             [\"whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"] }}\n"
        )
    });
    server.reload();
    let (stdout, code) = doctor(&server);
    assert_line(&stdout, "warn", "source provider", &["only the provider can sign"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert_eq!(server.terminate(), Some(0));
    let (stdout, code) = doctor(&server);
    assert_eq!(code, Some(69), "{stdout}");
    assert_line(&stdout, "FAIL", "lock", &["no server has the database"]);
    assert_line(&stdout, "FAIL", "server", &["nothing listens there"]);
    assert_line(&stdout, "warn", "source gateway", &["not tested"]);
    assert_line(&stdout, "FAIL", "source hmac", &["nothing listens there"]);
    fs::remove_file(server.database()).unwrap();
    assert_line(&doctor(&server).0, "FAIL", "database", &["not found at", "serve"]);
}
