//! Configuration files: search order, errors, and the notation of values.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::*;

/// Complete configuration that listens on this port.
fn listening_on(port: u16) -> String {
    format!("[server]\nlisten = \"127.0.0.1:{port}\"\n{GATEWAY}[api_keys.tests]\nkey = \"{KEY}\"\n")
}

#[test]
fn the_first_existing_file_is_read_and_each_command_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, port| fs::write(folder.path().join(name), listening_on(port)).unwrap();
    let named = folder.path().join("named.toml").display().to_string();
    let envs = [("STATUSMIRROR_CONFIG", named.as_str())];
    let output = run_program_in(folder.path(), &["check-config"], &[]);
    assert!(text(&output.stdout).contains("file:     none; defaults"), "{output:?}");
    write("statusmirror.toml", 7001);
    write("named.toml", 7002);
    write("given.toml", 7003);
    for (arguments, envs, file, port) in [
        (&[][..], &[][..], "statusmirror.toml", 7001),
        (&[], &[("STATUSMIRROR_CONFIG", "")], "statusmirror.toml", 7001),
        (&[], &envs, "named.toml", 7002),
        (&["--config", "given.toml"], &envs, "given.toml", 7003),
    ] {
        let path = folder.path().join(file).display().to_string();
        let checked = run_program_in(folder.path(), &[arguments, &["check-config"]].concat(), envs);
        let stdout = text(&checked.stdout);
        assert!(stdout.contains(&format!("file:     {path}\n")), "{stdout}");
        assert!(stdout.contains(&format!("listen:   127.0.0.1:{port}\n")), "{stdout}");
        for command in
            [&["print-config"][..], &["callback-url", "gateway"], &["quarantine", "list"]]
        {
            let output = run_program_in(folder.path(), &[arguments, command].concat(), envs);
            let expected = format!("configuration file: {path}\n");
            assert!(text(&output.stderr).contains(&expected), "{command:?}: {output:?}");
        }
    }
    // A file that is named must exist.
    let missing = [("STATUSMIRROR_CONFIG", "gone.toml")];
    let output = run_program_in(folder.path(), &["check-config"], &missing);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let missing = folder.path().join("gone.toml").display().to_string();
    assert!(text(&output.stderr).contains(&missing), "{output:?}");
}

#[test]
fn an_unreadable_file_is_an_error_and_the_next_one_is_not_tried() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("statusmirror.toml");
    fs::write(&file, listening_on(7001)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    if can_become_another_user() {
        let output = as_another_user(folder.path()).arg("check-config").output().unwrap();
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(file.to_str().unwrap()) && stderr.contains("ermission"),
            "{stderr}"
        );
    }
    // A path that exists and is not a regular file is an error, too.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let directory = run_program_in(folder.path(), &["check-config"], &[]);
    assert_eq!(directory.status.code(), Some(77), "{directory:?}");
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let dangling = run_program_in(folder.path(), &["check-config"], &[]);
    assert_eq!(dangling.status.code(), Some(78), "{dangling:?}");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let fifo = run_program_in(folder.path(), &["check-config"], &[]);
    assert_eq!(fifo.status.code(), Some(77), "{fifo:?}");
}

/// Needs the permission to mount a file system at `/etc`.
#[test]
fn a_file_under_etc_is_found_last_and_requires_absolute_paths() {
    let unshare = Command::new("unshare").args(["-m", "true"]).status();
    if !unshare.is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: unshare -m is not possible");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let check = |config: &str| {
        fs::write(folder.path().join("etc.toml"), config).unwrap();
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs none /etc && mkdir /etc/statusmirror && \
             cp {path}/etc.toml /etc/statusmirror/statusmirror.toml && cd {path} && \
             exec {PROGRAM} check-config"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).output().unwrap()
    };
    let absolute = format!("[store]\nurl = \"sqlite:{path}/mirror.db\"\n");
    let output = check(&absolute);
    if text(&output.stderr).contains("mount:") {
        eprintln!("NOT TESTED: no file system can be mounted");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let expected = "file:     /etc/statusmirror/statusmirror.toml\n";
    assert!(text(&output.stdout).contains(expected), "{output:?}");
    for (config, key) in [
        ("[store]\nurl = \"sqlite:data/mirror.db\"\n".to_owned(), "store.url"),
        (format!("{absolute}[api_keys.a]\nkey = {{ file = \"secrets/key\" }}\n"), "api_keys.a.key"),
        (
            format!(
                "{absolute}[sources.a]\nverify = {{ scheme = \"url-token\", \
                 secrets = [{{ file = \"token\" }}] }}\n"
            ),
            "sources.a.verify.secrets",
        ),
    ] {
        let rejected = check(&config);
        assert_eq!(rejected.status.code(), Some(78), "{rejected:?}");
        let stderr = text(&rejected.stderr);
        assert!(stderr.contains(key) && stderr.contains("write an absolute path"), "{stderr}");
    }
    // Only paths in the file must be absolute. The default of `store.url` is relative.
    let default = check("[log]\nlevel = \"warn\"\n");
    assert!(default.status.success(), "{default:?}");
}

#[test]
fn a_file_without_settings_cannot_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let comments = "# [server]\n# listen = \"127.0.0.1:1\"\n";
    for config in ["", "\n", "\u{feff}", comments, "[server]\n", "[api_keys]\n[sources]\n"] {
        fs::write(folder.path().join("it.toml"), config).unwrap();
        for command in ["serve", "check-config"] {
            let output = run_program_in(folder.path(), &["--config", "it.toml", command], &[]);
            assert_eq!(output.status.code(), Some(78), "{config:?}: {output:?}");
            assert!(text(&output.stderr).contains("the file has no settings"), "{output:?}");
        }
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_byte_order_mark_before_a_configuration_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("it.toml"), format!("\u{feff}{}", listening_on(7001))).unwrap();
    let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
    assert!(text(&output.stdout).contains("listen:   127.0.0.1:7001\n"), "{output:?}");
    // A file in UTF-16 is rejected.
    fs::write(folder.path().join("it.toml"), b"\xff\xfe[\0s\0]\0\n\0").unwrap();
    let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
    assert!(text(&output.stderr).contains("it.toml: it is not UTF-8"), "{output:?}");
}

#[test]
fn an_invalid_store_url_is_rejected_with_the_expected_form() {
    let folder = tempfile::tempdir().unwrap();
    let check = |url: &str| {
        run_program_in(folder.path(), &["check-config"], &[("STATUSMIRROR__STORE__URL", url)])
    };
    for (url, path) in [
        ("sqlite:data/x.db", "data/x.db"),
        ("sqlite:./data/x.db", "./data/x.db"),
        ("sqlite:/data/x.db", "/data/x.db"),
        ("sqlite://data/x.db", "data/x.db"),
        ("sqlite:///data/x.db", "/data/x.db"),
        ("sqlite:////data/x.db", "/data/x.db"),
        ("sqlite:data/x.db?mode=rwc", "data/x.db"),
        ("sqlite:///data/x.db?mode=rwc", "/data/x.db"),
        ("sqlite:data/x.db?", "data/x.db"),
        ("sqlite:data/100%.db", "data/100%.db"),
    ] {
        let output = check(url);
        let stdout = text(&output.stdout);
        assert!(stdout.contains(&format!("database: {path}\n")), "{url}: {output:?}");
        let absolute = folder.path().join(path.trim_start_matches("./")).display().to_string();
        assert!(path.starts_with('/') || stdout.contains(&absolute), "{url}: {stdout}");
    }
    for (url, expected) in [
        ("sqlite:", "write sqlite: and the path"),
        ("sqlite://", "write sqlite: and the path"),
        ("sqlite:///", "write sqlite: and the path"),
        ("sqlite:data/", "write sqlite: and the path"),
        ("sqlite:file:x.db", "write sqlite: and the path"),
        ("/data/x.db", "write sqlite: and the path"),
        ("sqlite3:data/x.db", "write sqlite: and the path"),
        ("sqlite::memory:", "would not be durable"),
        ("sqlite://:memory:", "would not be durable"),
        ("sqlite:?mode=memory", "`?mode=memory` cannot be set"),
        ("sqlite:x.db?mode=ro", "`?mode=ro` cannot be set"),
        ("sqlite:x.db?mode=rwc&cache=shared", "`?cache=shared` cannot be set"),
        ("sqlite://data/my%20mirror.db", "`%` is not decoded"),
        ("sqlite: x.db", "begins or ends with a blank"),
        ("sqlite:~/x.db", "`~` is not expanded"),
    ] {
        let output = check(url);
        assert_eq!(output.status.code(), Some(78), "{url}: {output:?}");
        assert!(text(&output.stderr).contains(expected), "{url}: {output:?}");
    }
}

#[test]
fn a_list_in_the_environment_is_split_at_commas_unless_it_holds_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let token = "first-token-of-a-list,second-token-of-a-list";
    let envs = [
        ("STATUSMIRROR__SERVER__TRUSTED_PROXIES", "10.0.0.7, fd00::/8 ,"),
        ("STATUSMIRROR__API_KEYS__A__KEY", "a-key-of-some-length"),
        ("STATUSMIRROR__API_KEYS__A__SCOPES", "read,register"),
        ("STATUSMIRROR__SOURCES__A__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__A__VERIFY__SECRETS", token),
    ];
    let printed = run_program_in(folder.path(), &["print-config"], &envs);
    let stdout = text(&printed.stdout);
    for line in [
        r#"server.trusted_proxies = ["10.0.0.7", "fd00::/8"]"#,
        r#"api_keys.a.scopes = ["read", "register"]"#,
    ] {
        assert!(stdout.contains(line), "{printed:?}");
    }
    let checked = run_program_in(folder.path(), &["check-config"], &envs);
    let warning = "warning:  sources.a.verify.secrets: the secret contains a comma (U+002C)";
    assert!(text(&checked.stdout).contains(warning), "{checked:?}");
    let url = run_program_in(folder.path(), &["callback-url", "a"], &envs);
    assert!(
        text(&url.stdout).contains("first-token-of-a-list%2Csecond"),
        "a secret is not split at its comma"
    );
    let invalid = [("STATUSMIRROR__API_KEYS__A__SCOPES", "read,write"), envs[1]];
    let rejected = run_program_in(folder.path(), &["check-config"], &invalid);
    assert!(text(&rejected.stderr).contains("unknown scope `write`"), "{rejected:?}");
}

#[test]
fn a_path_in_an_error_is_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let absolute = |name: &str| folder.path().join(name).display().to_string();
    let key = [("STATUSMIRROR__API_KEYS__A__KEY__FILE", "secrets/key")];
    let missing = run_program_in(folder.path(), &["check-config"], &key);
    assert!(text(&missing.stderr).contains(&absolute("secrets/key")), "{missing:?}");
    fs::write(folder.path().join("data"), "in the way").unwrap();
    for command in [&["serve"][..], &["quarantine", "list"], &["prune", "--older-than", "1d"]] {
        let output = run_program_in(folder.path(), command, &[]);
        assert!(text(&output.stderr).contains(&absolute("data")), "{command:?}: {output:?}");
    }
    let no_file = run_program_in(folder.path(), &["check", "backup.db"], &[]);
    assert!(text(&no_file.stderr).contains(&absolute("backup.db")), "{no_file:?}");
}

#[test]
fn a_retention_of_zero_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    for retention in ["0d", "0s", "00h"] {
        let output = run_program_in(
            folder.path(),
            &["check-config"],
            &[("STATUSMIRROR__STORE__RETENTION", retention)],
        );
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(text(&output.stderr).contains("is zero; write a longer time"), "{output:?}");
        let output =
            run_program_in(folder.path(), &["prune", "--older-than", retention, "--yes"], &[]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
}

#[test]
fn a_socket_is_rejected_as_a_secret_file() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    let envs = [("STATUSMIRROR__API_KEYS__A__KEY__FILE", socket.to_str().unwrap())];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}
