//! `serve` from the operator's view: messages at start and stop, and reasons not to start.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn without_a_configuration_the_key_is_shown_once() {
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
        (child, listen_port(&line).unwrap(), log)
    };
    let stop = |child: std::process::Child, mut log: BufReader<std::process::ChildStderr>| {
        assert!(kill("-TERM", child.id()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let mut stderr = String::new();
        log.read_to_string(&mut stderr).unwrap();
        (text(&output.stdout).to_owned(), stderr)
    };
    let (child, port, log) = start();
    let data_file = |name: &str| {
        fs::read_to_string(folder.path().join("data").join(name)).unwrap().trim().to_owned()
    };
    let (key, secret) = (data_file("demo.key"), data_file("demo.secret"));
    let path = format!("/webhooks/demo?token={secret}&destination=%2B393331234567");
    let answer = Connection::to(port).send("POST", &path, JSON, EXAMPLE.as_bytes());
    assert_eq!(answer.outcome(), "applied");
    let path = "/api/messagestatus/phonenumber/+393331234567";
    let answer = Connection::to(port).send("GET", path, &[("X-Api-Key", &key)], b"");
    assert!(answer.body.contains(EXAMPLE_ID), "{answer:?}");
    let url = format!("http://127.0.0.1:{port}");
    let simulation =
        run_program_in(folder.path(), &["simulate", "--messages", "50", "--url", &url], &[]);
    assert!(simulation.status.success(), "{simulation:?}");
    let (stdout, stderr) = stop(child, log);
    assert!(stdout.contains(&key) && !stderr.contains(&key), "{stdout}{stderr}");
    let (child, _, log) = start();
    assert!(!stop(child, log).0.contains(&key), "the key is shown only once");
    assert_eq!(data_file("demo.key"), key);
}

#[test]
fn a_terminal_shows_what_to_try_next() {
    // `script` gives the program a terminal.
    if !is_installed("script") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let transcript = folder.path().join("transcript");
    let mut child = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command"])
        .arg(format!("exec {PROGRAM}"))
        .arg(&transcript)
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let output = loop {
        let output = fs::read_to_string(&transcript).unwrap_or_default();
        if output.contains("serving") && output.contains("is logged below") {
            break output;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{output}");
        thread::sleep(Duration::from_millis(10));
    };
    // Sends Ctrl-C.
    child.stdin.take().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let data = folder.path().canonicalize().unwrap().join("data");
    let key = format!("(kept in {})", data.join("demo.key").display());
    let database = format!("database       {}", data.join("statusmirror.db").display());
    for part in [
        "on 127.0.0.1:",
        "new API key: ",
        &key,
        "page           http://127.0.0.1:",
        &database,
        "configuration  no file; built-in defaults",
        "simulate --messages",
        "callback-url demo",
        "curl -H",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
}

#[test]
fn a_log_that_is_not_read_stops_nothing() {
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
    let mut connection = Connection::to(listen_port(&line).unwrap());
    let rejected = connection.send("POST", "/webhooks/demo?token=wrong", JSON, b"{}");
    rejected.assert_problem(401);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_read_only_database_is_an_error_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    // Root may write to read-only files.
    if rustix::process::geteuid().is_root() {
        return read_only_as_another_user();
    }
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o400)).unwrap();
    assert_read_only(&server.run(&["serve"]));
}

fn read_only_as_another_user() {
    use std::os::unix::fs::PermissionsExt;
    if !can_become_another_user() {
        return;
    }
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let folder = server.folder.path();
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o444)).unwrap();
    for file in ["mirror.db-wal", "mirror.db-shm", "mirror.db.lock"] {
        let path = server.folder.path().join(file);
        if path.exists() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
    }
    let output = as_another_user(folder).arg("--config").arg(server.config()).output().unwrap();
    assert_read_only(&output);
}

#[test]
fn a_missing_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    if !can_become_another_user() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first_port = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first_port.trim() != "0" {
        let output = as_another_user(folder.path())
            .env("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(text(&output.stderr).contains("requires root or the capability"), "{output:?}");
    }
    let data = folder.path().join("data");
    fs::remove_dir_all(&data).unwrap_or_default();
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let output = as_another_user(folder.path()).arg("check-config").output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(text(&output.stderr).contains("as the server's user"), "{output:?}");
}

#[track_caller]
fn assert_read_only(output: &Output) {
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(text(&output.stderr).contains("is not writable"), "{output:?}");
}

#[test]
fn systemd_is_notified_of_ready_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let next_state = || {
        let mut state = [0; 64];
        let length = supervisor.recv(&mut state).unwrap();
        text(&state[..length]).trim().to_owned()
    };
    let socket = ("NOTIFY_SOCKET", path.to_str().unwrap().to_owned());
    let mut server = Server::start_with(GATEWAY, &[socket]);
    assert_eq!(next_state(), "READY=1");
    server.signal("-TERM");
    assert_eq!(next_state(), "STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn an_address_in_use_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output =
        run_program_in(folder.path(), &["serve"], &[("STATUSMIRROR__SERVER__LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(69));
    let stderr = text(&output.stderr);
    assert!(stderr.contains(&address) && stderr.contains("choose another address"), "{stderr}");
}
