//! `doctor` on a healthy installation, and on one with a single fault at a time.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use crate::support::faults::wrong_clock::WrongClock;
use crate::support::*;

/// One source of each scheme, reached at this port; with secrets that are the server's, or others.
fn sources(port: u16, are_right: bool) -> String {
    let (secret, key) = if are_right {
        ("a-secret-for-doctor", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    } else {
        ("another-secret-for-doctor", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx")
    };
    let verified = [
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
    let section = |(name, dialect, scheme, secret, more): (&str, &str, &str, &str, &str)| {
        format!(
            "[sources.{name}]\npublic_url = \"{}\"\ndialect = \"{dialect}\"\n\
             verify = {{ scheme = \"{scheme}\", secrets = [\"{secret}\"]{more} }}\n",
            url(port, name)
        )
    };
    verified.map(section).concat()
}

/// Where a source is reached at this port.
fn url(port: u16, name: &str) -> String {
    format!("http://127.0.0.1:{port}/webhooks/{name}")
}

/// A server with a source of each scheme, whose configuration says where it listens.
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

/// What it prints, and its exit code.
fn doctor(server: &Server) -> (String, Option<i32>) {
    let output = server.run(&["doctor"]);
    let printed = text(&output.stdout).to_owned();
    canaries::assert_none("what doctor says", &printed);
    (printed, output.status.code())
}

/// The line about this.
#[track_caller]
fn line<'a>(printed: &'a str, what: &str) -> &'a str {
    let about = format!("  {what}: ");
    let mut lines = printed.lines().filter(|line| line.contains(&about));
    lines.next().unwrap_or_else(|| panic!("nothing about {what} in\n{printed}"))
}

/// The line about this begins and says so.
#[track_caller]
fn assert_line(printed: &str, found: &str, what: &str, words: &[&str]) {
    let line = line(printed, what);
    assert!(line.starts_with(found), "{line} in\n{printed}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in {line}");
    }
}

/// Answers every request like this; returns its port.
fn answering(answer: impl Into<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A test delivery is sent in one or two pieces.
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.ends_with(b"}") {
                let length = stream.read(&mut piece).unwrap_or(0);
                if length == 0 {
                    break;
                }
                request.extend_from_slice(&piece[..length]);
            }
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    port
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

const SCHEMES: [&str; 5] = ["signed", "hmac", "timed", "standard", "twilio"];

#[test]
fn a_healthy_installation_passes() {
    let server = installed(&[]);
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.lines().all(|line| line.starts_with("ok ")), "{printed}");
    for name in SCHEMES {
        assert_line(&printed, "ok", &format!("source {name}"), &["taken and ignored"]);
    }
    assert_line(&printed, "ok", "source gateway", &["no public_url is set"]);
    let process = format!("held by process {}, which serves", server.process());
    assert_line(&printed, "ok", "lock", &[&process]);
    assert_line(&printed, "ok", "clock", &["agree"]);
    assert_line(&printed, "ok", "server", &["is ready"]);
    assert!(!server.log().contains("ended early"), "{}", server.log());
    // Nothing of it is kept.
    assert_eq!(text(&server.run(&["quarantine", "list"]).stdout), "");
    let checked = server.run(&["check"]);
    assert!(text(&checked.stdout).contains("history:     0 "), "{checked:?}");
}

#[test]
fn a_wrong_secret_is_named() {
    let server = installed(&[]);
    // The server has not read this yet.
    server.configure(|config| {
        let (before, _) = config.split_once("[sources.signed]").unwrap();
        let before = before.replace(TOKEN, "another-token-of-these");
        format!("{before}{}", sources(server.port, false))
    });
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(69), "{printed}");
    for name in ["gateway", "signed", "timed", "standard"] {
        let words = ["rejected (401)", "has other secrets than this configuration", "reload it"];
        assert_line(&printed, "FAIL", &format!("source {name}"), &words);
    }
    for name in ["hmac", "twilio"] {
        let words = ["has other secrets, or another public_url, than this"];
        assert_line(&printed, "FAIL", &format!("source {name}"), &words);
    }
    server.reload();
    assert_eq!(doctor(&server).1, Some(0));
}

#[test]
fn a_wrong_public_url_is_named() {
    let server = installed(&[]);
    let right = fs::read_to_string(server.config()).unwrap();
    let unauthorized = "{\"status\":401}";
    let problem = "401 Unauthorized\r\nContent-Type: application/problem+json";
    let at = |port: u16| url(port, "hmac");
    let own = |name: &str| url(server.port, name);
    let elsewhere = "301 Moved\r\nLocation: https://hooks.example.com/webhooks/hmac?token=x";
    for (url, words) in [
        (at(free_port(24_000)), &["is not reached", "nothing listens there"][..]),
        (
            at(answering(answer("200 OK", "<html>Welcome</html>"))),
            &["something else answers there, with 200", "pass /webhooks/ on to"],
        ),
        (at(answering(answer("404 Not Found", "nginx"))), &["something else answers", "with 404"]),
        (
            at(answering(answer("401 Unauthorized", "who?"))),
            &["something else answers", "with 401"],
        ),
        (
            at(answering(answer(elsewhere, ""))),
            &["sent on to https://hooks.example.com/webhooks/hmac, where no sender follows"],
        ),
        (
            at(answering(answer(problem, unauthorized))),
            &["though the server takes it directly", "changes the query or the body"],
        ),
        (own("nobody"), &["knows no such source"]),
        (own("hmac").replace("/webhooks", "/elsewhere"), &["knows no such source"]),
        (own("signed"), &["rejected (401)"]),
        (own("twilio"), &["rejected (401)"]),
        (own("hmac").replace("http:", "https:"), &["is not reached", "TLS fails"]),
        ("http://nobody.invalid/webhooks/hmac".to_owned(), &["is not reached"]),
    ] {
        server.configure(|_| right.replace(&own("hmac"), &url));
        // The server reads it too, as it would at a start.
        server.reload();
        let (printed, code) = doctor(&server);
        assert_eq!(code, Some(69), "{url}\n{printed}");
        assert_line(&printed, "FAIL", "source hmac", &[&[url.as_str()], words].concat());
        let failed = printed.lines().filter(|line| line.starts_with("FAIL")).count();
        assert_eq!(failed, 1, "{printed}");
    }
}

/// A test delivery to this source is refused, and why is said.
#[track_caller]
fn assert_refused(printed: &str, name: &str, words: &str) {
    let about = format!("FAIL  source {name}: ");
    let mut lines = printed.lines().filter(|line| line.starts_with(&about));
    let is_it = |line: &str| {
        line.contains("rejected (401), as the server's clock is") && line.contains(words)
    };
    assert!(lines.any(is_it), "{words} for {name} in\n{printed}");
}

#[test]
fn a_wrong_clock_is_named() {
    let clock = WrongClock::new();
    clock.jump(0);
    let server = installed(&clock.envs());
    let checked = |offset: i64, found: &str, words: &str| {
        clock.jump(offset);
        // The server dates its answers from a clock that it looks at twice a second.
        eventually(|| {
            let (printed, code) = doctor(&server);
            line(&printed, "clock").contains(words).then(|| {
                assert_line(&printed, found, "clock", &[words]);
                (printed, code)
            })
        })
    };
    let (printed, code) = checked(60, "warn", "the server's clock is 60 s ahead of the one here");
    assert_eq!(code, Some(0), "{printed}");
    let (printed, code) = checked(3600, "FAIL", "clock is 3600 s ahead of the one here");
    assert_eq!(code, Some(69), "{printed}");
    assert_refused(&printed, "signed", "ahead of the one here");
    let (printed, _) = checked(-3600, "FAIL", "clock is 3600 s behind the one here");
    for name in ["timed", "standard"] {
        assert_refused(&printed, name, "behind the one here");
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
            // Without spaces, or its path would be taken for a secret that must not be found.
            &format!("secrets=[{{ file = \"{}\" }}]", secret.display()),
        )
    });
    server.reload();
    let chmod = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let about = format!("secret {}", secret.display());
    chmod(&secret, 0o644);
    chmod(&server.database(), 0o644);
    chmod(server.folder.path(), 0o700);
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(0), "{printed}");
    assert_line(&printed, "warn", &about, &["everybody on this machine may read it", "chmod"]);
    assert_line(&printed, "warn", "permissions", &["its directory 700", "mirror.db has mode 644"]);
    chmod(&secret, 0o600);
    chmod(&server.config(), 0o604);
    let about_own = format!("secret {}", server.config().display());
    assert_line(&doctor(&server).0, "warn", &about_own, &["mode 604"]);
    chmod(server.folder.path(), 0o755);
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(0), "{printed}");
    assert_line(&printed, "ok", &about, &["mode 600"]);
    assert_line(&printed, "warn", "permissions", &["everybody may read it", "phone numbers"]);
    chmod(&server.database(), 0o646);
    assert_line(&doctor(&server).0, "FAIL", "permissions", &["everybody may change it"]);
    chmod(&server.database(), 0o600);
    assert_line(&doctor(&server).0, "ok", "permissions", &["mode 600"]);
    chmod(server.folder.path(), 0o777);
    let (printed, code) = doctor(&server);
    assert_line(&printed, "FAIL", "permissions", &["everybody may change it", "chmod 700"]);
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
    server.start_again();
    let (printed, code) = eventually(|| {
        let (printed, code) = doctor(&server);
        (!line(&printed, "prune").starts_with("ok")).then_some((printed, code))
    });
    assert_line(&printed, "warn", "prune", &["3 messages", "`statusmirror prune --yes`"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(server.run(&["prune", "--yes"]).status.success());
    assert_line(&doctor(&server).0, "ok", "prune", &["nothing waits"]);
    assert_eq!(server.terminate(), Some(0));
    assert!(!doctor(&server).0.contains("  prune: "), "no server knows");
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
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(69), "{printed}");
    assert_line(&printed, "FAIL", "API key old", &["expired 2026-01-31", "add another"]);
    assert_line(&printed, "warn", "API key ending", &["expires ", "add another"]);
    assert_line(&printed, "ok", "API key lasting", &["good until"]);
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
    let (printed, code) = doctor(&server);
    assert_line(&printed, "warn", "source provider", &["only the provider can sign"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(server.terminate(), Some(0));
    let (printed, code) = doctor(&server);
    assert_eq!(code, Some(69), "{printed}");
    assert_line(&printed, "FAIL", "lock", &["no server has the database"]);
    assert_line(&printed, "FAIL", "server", &["nothing listens there"]);
    assert_line(&printed, "warn", "source gateway", &["not tried"]);
    assert_line(&printed, "FAIL", "source hmac", &["nothing listens there"]);
    fs::remove_file(server.database()).unwrap();
    assert_line(&doctor(&server).0, "FAIL", "database", &["there is none", "serve"]);
}
