//! `init`: the first configuration, with its secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::support::http::client::Connection;
use crate::support::unconfigured_server::UnconfiguredServer;
use crate::support::webhooks::JSON;
use crate::support::*;

fn init(folder: &Path, options: &[&str]) -> Output {
    run_program_in(folder, &[&["init"], options].concat(), &[])
}

/// Names of all files in this folder and in its folder of secrets.
fn files(folder: &Path) -> Vec<String> {
    let names = |folder: &Path| -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut files = [names(folder), names(&folder.join("secrets"))].concat();
    files.sort_unstable();
    files
}

#[test]
fn the_first_configuration_is_served_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port(21_400);
    let listen = format!("127.0.0.1:{port}");
    let output = init(folder.path(), &["--listen", &listen]);
    assert!(output.status.success(), "{output:?}");
    let expected = ["application.key", "gateway.secret", "secrets", "statusmirror.toml"];
    assert_eq!(files(folder.path()), expected);
    for secret in ["secrets/application.key", "secrets/gateway.secret"] {
        let mode = fs::metadata(folder.path().join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    // The file is commented, has every setting, and causes no warning.
    let config = fs::read_to_string(folder.path().join("statusmirror.toml")).unwrap();
    for part in ["# Retention, like", "# retention = \"\"", &format!("\nlisten = \"{listen}\"")] {
        assert!(config.contains(part), "{part} is not in {config}");
    }
    let checked = run_program_in(folder.path(), &["check-config", "--strict"], &[]);
    assert!(checked.status.success(), "{checked:?}");
    // The callback URL and the key of the output work.
    let stdout = text(&output.stdout);
    let callback = stdout.lines().find(|line| line.contains("/webhooks/gateway?token=")).unwrap();
    let path = callback.trim().strip_prefix(&format!("http://{listen}")).unwrap();
    let key = fs::read_to_string(folder.path().join("secrets/application.key")).unwrap();
    assert!(!stdout.contains(key.trim()), "the key is only in its file");
    let server = UnconfiguredServer::start_with_file(folder.path());
    let mut connection = Connection::to(server.port);
    assert_eq!(connection.send("POST", path, JSON, EXAMPLE.as_bytes()).outcome(), "applied");
    let query = format!("/api/messagestatus/{EXAMPLE_ID}");
    let answer = connection.send("GET", &query, &[("X-Api-Key", key.trim())], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    // No file is replaced.
    let again = init(folder.path(), &[]);
    assert_eq!(again.status.code(), Some(73), "{again:?}");
    assert!(text(&again.stderr).contains("statusmirror.toml exists"), "{again:?}");
    assert_eq!(fs::read_to_string(folder.path().join("statusmirror.toml")).unwrap(), config);
}

#[test]
fn a_provider_with_a_signature_of_its_own_needs_the_public_url_and_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let missing = init(folder.path(), &["--dialect", "twilio"]);
    assert_eq!(missing.status.code(), Some(64), "{missing:?}");
    assert!(text(&missing.stderr).contains("--public-url is required"), "{missing:?}");
    let options = ["--dialect", "twilio", "--public-url", "https://hooks.example.com"];
    let output = init(folder.path(), &options);
    assert!(output.status.success(), "{output:?}");
    let stdout = text(&output.stdout);
    assert!(stdout.contains("  https://hooks.example.com/webhooks/twilio\n"), "{stdout}");
    assert!(stdout.contains("export TWILIO_SECRET="), "{stdout}");
    let unset = run_program_in(folder.path(), &["check-config"], &[]);
    assert!(text(&unset.stderr).contains("TWILIO_SECRET is not set"), "{unset:?}");
    let secret = [("TWILIO_SECRET", "a-secret-of-some-length")];
    let checked = run_program_in(folder.path(), &["check-config", "--strict"], &secret);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_failed_init_leaves_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (options, code, part) in [
        (&["--dialect", "twillio"][..], 64, "use gateway, twilio"),
        (&["--source", "My Source"], 64, "--source: "),
        (&["--secret-env", "X"], 64, "--secret-env: "),
        // The written configuration is read once more, so a value that it rejects is found.
        (&["--public-url", "https://x.example/?a=b"], 78, "without a query"),
    ] {
        let output = init(folder.path(), options);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(part), "{output:?}");
        let left: Vec<_> = files(folder.path());
        assert!(left.iter().all(|name| name == "secrets"), "{options:?} left {left:?}");
    }
    // A secret of an earlier attempt is not replaced either.
    fs::create_dir_all(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/application.key"), "kept").unwrap();
    let output = init(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert_eq!(files(folder.path()), ["application.key", "secrets"]);
}
