//! Commands beside `serve`, from the operator's view.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::*;

#[test]
fn a_message_id_is_computed_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let id = |arguments: &[&str]| {
        let output = run_program_in(folder.path(), &[&["message-id"], arguments].concat(), &[]);
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
    let wrong = run_program_in(folder.path(), &["message-id", "telnyx", "x", "12345"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn a_callback_url_is_printed_only_if_it_would_be_accepted() {
    let server = Server::start(&format!(
        "{GATEWAY}{TWILIO}[sources.own]\n\
         verify = {{ scheme = \"hmac\", secrets = \"a-secret-of-some-length\", header = \"X\" }}\n"
    ));
    let print = |arguments: &[&str]| server.run(&[&["callback-url"], arguments].concat());
    let printed = print(&["gateway", "--key", "a b", "--destination", "+393331234567"]);
    assert_eq!(
        text(&printed.stdout).trim().split_once('?').unwrap().1,
        format!("destination=%2B393331234567&key=a+b&token={TOKEN}")
    );
    let signed_by_the_sender = print(&["twilio", "--key", "k"]);
    assert_eq!(
        text(&signed_by_the_sender.stdout),
        "https://hooks.example.com/webhooks/twilio?key=k\n"
    );
    for (arguments, words) in [
        (&["unknown"][..], "configured sources: gateway, own, twilio"),
        (&["own"], "does not verify the parameters of a callback URL"),
        (&["gateway", "--expires-in", "1h"], "does not expire"),
        (&["gateway", "--key", "a\nb"], "control character"),
        (&["gateway", "--destination", "12"], "E.164"),
    ] {
        let failed = print(arguments);
        assert!(!failed.status.success(), "{failed:?}");
        assert!(text(&failed.stderr).contains(words), "{failed:?}");
    }
}

#[test]
fn a_command_requires_only_the_settings_that_it_uses() {
    let folder = tempfile::tempdir().unwrap();
    let envs = [
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SCHEME", "signed-url"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SECRETS", "a-secret-of-some-length"),
    ];
    let printed = run_program_in(folder.path(), &["callback-url", "own"], &envs);
    assert!(text(&printed.stdout).contains("/webhooks/own?expires="), "{printed:?}");
    let invalid_duration =
        run_program_in(folder.path(), &["callback-url", "own", "--expires-in", "soon"], &envs);
    assert_eq!(invalid_duration.status.code(), Some(64));
    let listed = run_program_in(folder.path(), &["quarantine", "list"], &envs);
    assert_eq!(listed.status.code(), Some(66), "{listed:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is created");
}

#[test]
fn quarantined_webhooks_are_listed_shown_and_replayed_with_and_without_a_server() {
    // At first the source has the wrong dialect, so every body is quarantined. Then the dialect is corrected.
    let wrong_dialect = TWILIO_BY_TOKEN.replace("dialect = \"twilio\"", "dialect = \"gateway\"");
    let mut server = Server::start(&wrong_dialect);
    let path = format!("/webhooks/twilio?token={TOKEN}&destination=%2B393331234567");
    for sid in ["SM1", "SM2", "SM3"] {
        let body = format!("MessageSid={sid}&MessageStatus=sent");
        server.send("POST", &path, FORM, body.as_bytes()).assert_problem(400);
    }
    let list = |server: &Server| text(&server.run(&["quarantine", "list"]).stdout).to_owned();
    let ids = |server: &Server| -> Vec<String> {
        let listed = list(server);
        listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let quarantined = ids(&server);
    assert_eq!(quarantined.len(), 3);
    let show = server.run(&["quarantine", "show", &quarantined[0]]);
    let stdout = text(&show.stdout);
    assert!(stdout.contains("MessageSid=SM1&MessageStatus=sent"), "{stdout}");
    assert!(stdout.contains("destination=%2B393331234567") && !stdout.contains(TOKEN), "{stdout}");
    let replayed = server.run(&["quarantine", "replay", "--all"]);
    assert_eq!(text(&replayed.stdout).matches("quarantined: the body is not JSON").count(), 3);
    assert_eq!(ids(&server), quarantined);
    assert_eq!(server.terminate(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("\"gateway\"", "\"twilio\"")).unwrap();
    // Replay without a server, then through one.
    let replayed_one = server.run(&["quarantine", "replay", &quarantined[0]]);
    assert_eq!(
        text(&replayed_one.stdout),
        format!("{}  applied\n1 of 1 understood\n", quarantined[0]),
        "{replayed_one:?}"
    );
    assert_eq!(ids(&server), quarantined[1..]);
    server.restart();
    let replayed_rest = server.run(&["quarantine", "replay", "--all"]);
    assert_eq!(text(&replayed_rest.stdout).matches("  applied").count(), 2, "{replayed_rest:?}");
    assert_eq!(list(&server), "");
    let message_list = server.get("/api/messagestatus/phonenumber/+393331234567").json();
    assert_eq!(message_list["messages"].as_array().unwrap().len(), 3);
    // An empty body is shown too. An unknown id does not prevent the replay of the other ids.
    let path = format!("/webhooks/twilio?token={TOKEN}");
    assert_eq!(server.send("POST", &path, FORM, b"").outcome(), "quarantined");
    let empty = ids(&server)[0].clone();
    assert!(text(&server.run(&["quarantine", "show", &empty]).stdout).contains("content type:"));
    let replayed_two = server.run(&["quarantine", "replay", &quarantined[0], &empty]);
    assert!(text(&replayed_two.stdout).contains("MessageSid is missing"), "{replayed_two:?}");
    assert!(
        text(&replayed_two.stderr).contains(&quarantined[0])
            && replayed_two.status.code() == Some(65)
    );
    let unknown_id = server.run(&["quarantine", "show", &quarantined[0]]);
    assert_eq!(unknown_id.status.code(), Some(65));
    assert!(text(&unknown_id.stderr).contains("quarantine list"), "{unknown_id:?}");
}

#[test]
fn a_simulation_fails_without_a_server_or_with_wrong_answers() {
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
        run_program_in(folder.path(), &arguments, &envs)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The fake server answers `applied` to every webhook and has no messages.
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
    let wrong_answers = simulate(&url);
    assert_eq!(wrong_answers.status.code(), Some(1), "{wrong_answers:?}");
    assert!(text(&wrong_answers.stdout).contains("DIFFERENCE"), "{wrong_answers:?}");
    let no_server = simulate("http://127.0.0.1:1");
    assert_eq!(no_server.status.code(), Some(69), "{no_server:?}");
    assert!(text(&no_server.stderr).contains("no server answers"), "{no_server:?}");
}

#[test]
fn every_command_has_an_example_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        &["serve"][..],
        &["check-config"],
        &["print-config"],
        &["healthcheck"],
        &["callback-url"],
        &["message-id"],
        &["quarantine", "list"],
        &["quarantine", "summary"],
        &["quarantine", "show"],
        &["quarantine", "replay"],
        &["quarantine", "drop"],
        &["simulate"],
        &["verify"],
        &["doctor"],
        &["man"],
        &["openapi"],
        &["completions"],
        &[],
    ] {
        let help = run_program_in(folder.path(), &[command, &["--help"]].concat(), &[]);
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("Example: statusmirror"), "{command:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let printed = run_program_in(folder.path(), &["completions", shell], &[]);
        assert!(text(&printed.stdout).contains("callback-url"), "{shell}");
    }
    let wrong = run_program_in(folder.path(), &["sreve"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run_program_in(folder.path(), &["man", "."], &[]).status.success());
    for (page, part) in [
        ("statusmirror.1", "safe defaults apply"),
        ("statusmirror-serve.1", "lock\\-wait"),
        ("statusmirror-quarantine-replay.1", "Example: statusmirror quarantine replay"),
    ] {
        let page = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let missing_folder = run_program_in(folder.path(), &["man", "none"], &[]);
    assert_eq!(missing_folder.status.code(), Some(73));
    assert!(
        text(&missing_folder.stderr)
            .contains(&format!("cannot write to {}/none", folder.path().display())),
        "{missing_folder:?}"
    );
}

#[test]
fn a_health_check_succeeds_only_while_the_server_is_ready() {
    let internal = "STATUSMIRROR__SERVER__INTERNAL_LISTEN";
    let mut server = Server::start_with(GATEWAY, &[(internal, "127.0.0.1:0".to_owned())]);
    let folder = tempfile::tempdir().unwrap();
    // As in a container: the server listens on every address, and only the server has the secrets.
    let listen = format!("0.0.0.0:{}", server.port);
    let envs = [
        ("STATUSMIRROR__SERVER__LISTEN", listen.as_str()),
        ("STATUSMIRROR__API_KEYS__A__KEY__ENV", "NOWHERE"),
        (internal, "127.0.0.1:0"),
        // The health check must not use a proxy.
        ("http_proxy", "http://127.0.0.1:9"),
    ];
    let healthy = run_program_in(folder.path(), &["healthcheck"], &envs);
    assert_eq!((healthy.status.code(), text(&healthy.stdout)), (Some(0), "ready\n"), "{healthy:?}");
    let url = format!("http://127.0.0.1:{}/", server.port);
    let healthy = run_program_in(folder.path(), &["healthcheck", "--url", &url], &[]);
    assert!(healthy.status.success(), "{healthy:?}");
    assert_eq!(server.terminate(), Some(0));
    let stopped = run_program_in(folder.path(), &["healthcheck"], &envs);
    assert_eq!(stopped.status.code(), Some(69));
    assert!(text(&stopped.stderr).contains("is the server running?"), "{stopped:?}");
    let any_port = [("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")];
    let unknown_port = run_program_in(folder.path(), &["healthcheck"], &any_port);
    assert_eq!(unknown_port.status.code(), Some(64));
    assert!(text(&unknown_port.stderr).contains("give the address with --url"), "{unknown_port:?}");
}

#[test]
fn a_health_check_reports_why_a_server_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        assert!(connection.read(&mut request).unwrap() > 0);
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 11\r\n\r\nno space on";
        connection.write_all(answer.as_bytes()).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let output = run_program_in(folder.path(), &["healthcheck", "--url", &url], &[]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("503 Service Unavailable: no space on"), "{output:?}");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["openapi"][..], &["print-config"], &["--help"], &["completions", "bash"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = Command::new(PROGRAM)
            .args(command)
            .current_dir(folder.path())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
        let errors = text(&output.stderr);
        let errors = errors.lines().filter(|line| !line.starts_with("configuration file: "));
        assert_eq!(errors.count(), 0, "{command:?}: {output:?}");
    }
}

#[test]
fn a_long_command_shows_its_elapsed_time_on_a_terminal() {
    if !is_installed("script") {
        return;
    }
    let server = Server::start(GATEWAY);
    let file = |name: &str| server.config().with_file_name(name).display().to_string();
    let backup = |copy: &str| {
        format!("{PROGRAM} --config {} backup {}", server.config().display(), file(copy))
    };
    // A backup takes as long as the server stands still.
    server.pause();
    let mut terminal = Command::new("script")
        .args(["-qfec", &backup("first.db"), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(file("terminal")).unwrap())
        .spawn()
        .unwrap();
    let shown = || fs::read_to_string(file("terminal")).unwrap();
    wait_for(|| shown().contains("copying the database: 1 s").then_some(()));
    server.resume();
    assert!(terminal.wait().unwrap().success());
    assert!(shown().contains(&file("first.db")), "{}", shown());
    // A file gets no such line.
    server.pause();
    let mut command = server.command(&["backup", &file("second.db")]);
    let mut silent = command
        .stderr(fs::File::create(file("stderr")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1_500));
    server.resume();
    assert!(silent.wait().unwrap().success());
    assert!(!fs::read_to_string(file("stderr")).unwrap().contains("copying"));
}
