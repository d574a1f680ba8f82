//! Mistakes that newcomers make: each gives one message, which says what to do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::support::unconfigured_server::UnconfiguredServer;
use crate::support::*;

/// Asserts that a command ended with this exit code and one message, which contains these parts.
#[track_caller]
fn assert_one_message(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let stderr = text(&output.stderr);
    let is_message =
        |line: &&str| line.starts_with("statusmirror: ") || line.starts_with("error: ");
    assert_eq!(stderr.lines().filter(is_message).count(), 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

/// Runs a command in this folder, with this configuration if there is one.
fn run_with(folder: &Path, config: &str, arguments: &[&str], envs: &[(&str, &str)]) -> Output {
    let file = folder.join("statusmirror.toml");
    if config.is_empty() {
        drop(fs::remove_file(&file));
    } else {
        fs::write(&file, config).unwrap();
    }
    run_program_in(folder, arguments, envs)
}

#[test]
fn a_wrong_command_line_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, parts) in [
        // A misspelt option, a misspelt command, a missing argument, and a value without its unit.
        (&["serve", "--lockwait", "60s"][..], &["'--lock-wait'", "Usage"][..]),
        (&["checkconfig"], &["'check-config'"]),
        (&["backup"], &["<FILE>", "Usage"]),
        (&["prune", "--older-than", "400"], &["like 60s, 5m, 12h or 30d"]),
        (&["status", "--format", "yaml"], &["text, json"]),
        (&["erase", "--destination", "12"], &["E.164"]),
    ] {
        assert_one_message(&run_with(folder.path(), "", arguments, &[]), 64, parts);
    }
}

#[test]
fn a_command_in_another_directory_names_the_path_without_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("data").join(name).display().to_string();
    let here = "in the server's working directory";
    for arguments in [
        &["quarantine", "list"][..],
        &["backup", "copy.db"],
        &["check"],
        &["prune", "--older-than", "1d", "--yes"],
        &["erase", "--destination", "+393331234567", "--yes"],
    ] {
        let output = run_with(folder.path(), "", arguments, &[]);
        let parts = ["there is no data here", &path("statusmirror.db"), here];
        assert_one_message(&output, 66, &parts);
    }
    for arguments in [&["simulate"][..], &["callback-url", "demo"]] {
        let output = run_with(folder.path(), "", arguments, &[]);
        let parts = ["no data of a server here", &path("demo.secret"), here];
        assert_one_message(&output, 78, &parts);
    }
    let status = run_with(folder.path(), "", &["status"], &[]);
    assert_one_message(&status, 69, &[&path("statusmirror.db"), "statusmirror serve", here]);
    let reload = run_with(folder.path(), "", &["reload"], &[]);
    assert_one_message(&reload, 69, &[&path("statusmirror.db"), "no server has the database"]);
    assert!(!folder.path().join("data").exists(), "no command made a database");
}

#[test]
fn a_configuration_that_cannot_work_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let run = |config: &str, arguments: &[&str]| run_with(folder.path(), config, arguments, &[]);
    let source = "[sources.own]\nverify = { scheme = \"url-token\", secrets = \"a-token-of-some-length\" }\n";
    for (config, parts) in [
        ("[server]\nlisten = 127.0.0.1:9000\n", &["line 2", "listen = \"…\""][..]),
        ("[server]\nlisten = \"0.0.0.0:0\"\n", &["no source is configured", "listen on 127.0.0.1"]),
        ("listen = \"127.0.0.1:9000\"\n", &["did you mean `server.listen`?"]),
        ("# nothing\n", &["the file has no settings"]),
        (
            "[sources.own]\nverify = { scheme = \"url-token\", secrets = { env = \"NOT_SET\" } }\n",
            &["NOT_SET is not set; set it"],
        ),
        ("[store]\nurl = \"postgres://x\"\n", &["write sqlite:"]),
    ] {
        assert_one_message(&run(config, &["serve"]), 78, parts);
    }
    let missing = run("", &["--config", "gone.toml", "serve"]);
    assert_one_message(&missing, 78, &["gone.toml: No such file"]);
    let unknown = run(source, &["callback-url", "gateway"]);
    assert_one_message(&unknown, 78, &["no source `gateway`", "configured sources: own"]);
    let key = format!("{source}[api_keys.a]\nkey = \"a-key-of-some-length\"\n");
    assert_one_message(&run(&key, &["simulate"]), 64, &["--api-key-env NAME"]);
    let expired = format!("{key}expires = \"2020-01-31\"\n");
    let checked = run(&expired, &["check-config", "--strict"]);
    assert_one_message(&checked, 78, &["1 warning; with --strict"]);
    assert!(text(&checked.stdout).contains("expired 2020-01-31"), "{checked:?}");
    let underscore = [("STATUSMIRROR_SERVER_LISTEN", "127.0.0.1:9000")];
    let checked = run_with(folder.path(), source, &["check-config", "--strict"], &underscore);
    assert_one_message(&checked, 78, &["1 warning"]);
    let remedy = "STATUSMIRROR_SERVER_LISTEN has no effect; write STATUSMIRROR__SERVER__LISTEN";
    assert!(text(&checked.stdout).contains(remedy), "{checked:?}");
}

#[test]
fn a_server_that_cannot_start_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        |arguments: &[&str], envs: &[(&str, &str)]| run_with(folder.path(), "", arguments, envs);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = [("STATUSMIRROR__SERVER__LISTEN", address.as_str())];
    let output = run(&["serve"], &listen);
    assert_one_message(&output, 69, &[&address, "choose another address, or stop the process"]);
    fs::write(folder.path().join("broken.db"), "not a database, but a letter to a friend").unwrap();
    let broken = [("STATUSMIRROR__STORE__URL", "sqlite:broken.db")];
    assert_one_message(&run(&["serve"], &broken), 65, &["broken.db"]);
    fs::write(folder.path().join("in-the-way"), "").unwrap();
    let inside = [("STATUSMIRROR__STORE__URL", "sqlite:in-the-way/mirror.db")];
    assert_one_message(&run(&["serve"], &inside), 78, &["in-the-way", "another store.url"]);
    let server = UnconfiguredServer::start(folder.path());
    let any_port = [("STATUSMIRROR__SERVER__LISTEN", "127.0.0.1:0")];
    assert_one_message(&run(&["serve"], &any_port), 75, &["another process"]);
    let restore = run(&["restore", "in-the-way"], &[]);
    assert_one_message(&restore, 75, &["another process"]);
    drop(server);
    if can_become_another_user() {
        let file = folder.path().join("statusmirror.toml");
        fs::write(&file, "[log]\nlevel = \"warn\"\n").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let output = as_another_user(folder.path()).arg("serve").output().unwrap();
        assert_one_message(&output, 77, &["statusmirror.toml", "ermission"]);
    }
}

#[test]
fn a_command_that_the_server_cannot_serve_is_explained() {
    let mut server = Server::start(GATEWAY);
    let copy = server.config().with_file_name("copy.db").display().to_string();
    assert!(server.run(&["backup", &copy]).status.success());
    assert_one_message(&server.run(&["backup", &copy]), 65, &[&copy, "exists"]);
    let unknown = server.run(&["quarantine", "show", "7"]);
    assert_one_message(&unknown, 65, &["statusmirror quarantine list"]);
    let unconfirmed = server.run(&["prune", "--older-than", "1d"]);
    assert_one_message(&unconfirmed, 64, &["run the command again with --yes"]);
    // A simulation with another secret or key ends at once, and not with a difference for each message.
    let url = format!("http://127.0.0.1:{}", server.port);
    let simulate = |key: &str, config: &Path| {
        let mut command = program_with_timeout();
        command.arg("--config").arg(config).args(["simulate", "--messages", "50", "--url", &url]);
        command.args(["--api-key-env", "SIMULATION_KEY"]).env("SIMULATION_KEY", key);
        command.output().unwrap()
    };
    let wrong_key = simulate("a-key-that-no-server-has", &server.config());
    assert_one_message(&wrong_key, 69, &["rejects queries", "the server's configuration"]);
    let other = server.config().with_file_name("other.toml");
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(&other, config.replace(TOKEN, "a-token-that-no-server-has")).unwrap();
    let wrong_secret = simulate(KEY, &other);
    assert_one_message(&wrong_secret, 69, &["rejects webhooks", "the server's configuration"]);
    let headers = [("X-Api-Key", "a-key-that-no-server-has")];
    let wrong_query = server.send("GET", "/api/messagestatus/x", &headers, b"");
    wrong_query.assert_problem(403);
    assert_eq!(server.terminate(), Some(0));
    for arguments in [&["status"][..], &["reload"], &["healthcheck", "--url", &url]] {
        assert_one_message(&server.run(arguments), 69, &["server"]);
    }
    let stopped = simulate(KEY, &server.config());
    assert_one_message(&stopped, 69, &["no server answers", "start one with `serve`"]);
}
