//! Secrets: empty ones are rejected, and unusual characters are reported.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::support::*;

const SECRET: &str = "a-secret-of-these-tests-0123";

/// Configuration with a source that has this secret and an API key with this key, both in TOML.
fn config_with(secret: &str, key: &str) -> String {
    format!(
        "[sources.gateway]\nverify = {{ scheme = \"url-token\", secrets = [{secret}] }}\n\
         [api_keys.a]\nkey = {key}\n"
    )
}

#[test]
fn an_empty_secret_or_key_is_rejected_wherever_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let reference = format!("{{ file = \"{}\" }}", file.display());
    let valid = format!("\"{KEY}\"");
    for empty in [
        "",
        " ",
        "\n",
        "\r\n\n",
        "\t \t",
        "\u{feff}\n",
        "\u{200b}",
        "\u{a0}",
        "\"\"",
        "''",
        "\u{2060}\u{ad}\0",
    ] {
        fs::write(&file, empty).unwrap();
        let envs = [("A_SECRET", empty.trim_matches('\0'))];
        for secret in [reference.as_str(), "{ env = \"A_SECRET\" }"] {
            for (config, key) in [
                (config_with(secret, &valid), "sources.gateway.verify.secrets"),
                (config_with(&valid, secret), "api_keys.a.key"),
            ] {
                fs::write(folder.path().join("it.toml"), config).unwrap();
                let output =
                    run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &envs);
                assert_eq!(output.status.code(), Some(78), "{empty:?}, {secret}: {output:?}");
                let stderr = text(&output.stderr);
                assert!(stderr.contains(key) && stderr.contains("the secret is empty"), "{stderr}");
            }
        }
    }
    // Secrets that the scheme decodes to an empty, blank or zero key, or to no valid key.
    for (scheme, secret, expected) in [
        ("standard-webhooks", "whsec_", "not base64, or is empty"),
        ("standard-webhooks", "whsec_ICAgICAgICAgICAgICAgIA==", "not base64, or is empty"),
        ("standard-webhooks", "whsec_AAAAAAAAAAAAAAAAAAAAAAAA", "not base64, or is empty"),
        ("standard-webhooks", "whpk_", "not an ed25519 public key"),
        // Points of small order, for which anyone can forge a signature.
        ("standard-webhooks", "whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "small order"),
        ("standard-webhooks", "whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "small order"),
        ("standard-webhooks", "whpk_7P///////////////////////////////////////38=", "small order"),
    ] {
        let verify = format!("verify = {{ scheme = \"{scheme}\", secrets = \"{secret}\" }}");
        fs::write(folder.path().join("it.toml"), format!("[sources.a]\n{verify}\n")).unwrap();
        let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        assert_eq!(output.status.code(), Some(78), "{secret}: {output:?}");
        assert!(text(&output.stderr).contains(expected), "{secret}: {output:?}");
    }
}

#[test]
fn the_hash_of_an_empty_key_is_rejected_and_an_empty_key_grants_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for empty in ["", "\n", " ", "\r\n", "\"\"", "''\n", "\t", "\u{feff}", "\0\n"] {
        let hash = Sha256::digest(empty).iter().fold(String::new(), |mut hash, byte| {
            write!(hash, "{byte:02x}").unwrap();
            hash
        });
        let config = format!("[api_keys.a]\nsha256 = \"{hash}\"\n");
        fs::write(folder.path().join("it.toml"), config).unwrap();
        let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        assert_eq!(output.status.code(), Some(78), "{empty:?}: {output:?}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("api_keys.a.sha256") && stderr.contains("empty or blank"),
            "{stderr}"
        );
    }
    let server = Server::start(GATEWAY);
    for key in ["", " ", "\t"] {
        let answer = server.send("GET", "/api/messages", &[("X-Api-Key", key)], b"");
        assert_eq!(answer.status, 403, "{key:?}");
    }
}

#[test]
fn line_ends_of_secret_files_are_removed_and_unusual_characters_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let config =
        config_with(&format!("{{ file = \"{}\" }}", file.display()), &format!("\"{KEY}\""));
    fs::write(folder.path().join("it.toml"), config).unwrap();
    let run = |command: &[&str]| {
        run_program_in(folder.path(), &[&["--config", "it.toml"], command].concat(), &[])
    };
    let token = || {
        let printed = run(&["callback-url", "gateway"]);
        let (_, query) = text(&printed.stdout).trim().split_once("?token=").unwrap();
        form_urlencoded::parse(format!("t={query}").as_bytes()).next().unwrap().1.into_owned()
    };
    for (before, after) in
        [("", ""), ("", "\n"), ("", "\r\n"), ("", "\n\n\r\n"), ("\u{feff}", ""), ("\u{feff}", "\n")]
    {
        fs::write(&file, format!("{before}{SECRET}{after}")).unwrap();
        assert_eq!(token(), SECRET);
        let checked = run(&["check-config"]);
        assert!(!text(&checked.stdout).contains("warning"), "{checked:?}");
    }
    for (written, warning) in [
        (format!(" {SECRET}"), "begins with a blank (U+0020)"),
        (format!("{SECRET} "), "ends with a blank (U+0020)"),
        (format!("{SECRET}\t"), "ends with a blank (U+0009)"),
        (format!("{SECRET}\u{a0}x"), "contains a blank (U+00A0)"),
        (format!("first-{SECRET}\nsecond-{SECRET}"), "contains a blank (U+000A)"),
        (format!("\"{SECRET}\""), "begins with a quotation mark (U+0022)"),
        (format!("'{SECRET}'"), "begins with a quotation mark (U+0027)"),
        (format!("\u{201c}{SECRET}\u{201d}"), "begins with a quotation mark (U+201C)"),
        (format!("{SECRET}\u{200b}"), "ends with an invisible character (U+200B)"),
        (format!("\u{feff}\u{feff}{SECRET}"), "begins with an invisible character (U+FEFF)"),
        (format!("{SECRET}\0x"), "contains an invisible character (U+0000)"),
        (format!("{SECRET},x"), "contains a comma (U+002C)"),
        (
            format!("\"{SECRET}, x\""),
            "contains a blank (U+0020) and begins with a quotation mark (U+0022) and contains a comma",
        ),
    ] {
        fs::write(&file, format!("{written}\n")).unwrap();
        let checked = run(&["check-config"]);
        let stdout = text(&checked.stdout);
        let warning = format!("sources.gateway.verify.secrets: the secret {warning}");
        assert!(stdout.contains(&format!("warning:  {warning}")), "{written:?}: {checked:?}");
        assert!(!stdout.contains(SECRET), "{stdout}");
        let expected = written.strip_prefix('\u{feff}').unwrap_or(&written);
        assert_eq!(token(), expected, "the secret is used unchanged");
    }
}

#[test]
fn verify_reports_an_unusual_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(&format!("\"'{SECRET}'\""), &format!("\"'{KEY}'\""));
    fs::write(folder.path().join("it.toml"), config).unwrap();
    fs::write(folder.path().join("body"), EXAMPLE).unwrap();
    let request = "POST /webhooks/gateway?token=x HTTP/1.1\r\nHost: x\r\n\r\n";
    fs::write(folder.path().join("request"), request).unwrap();
    let output = Command::new(PROGRAM)
        .args(["--config", "it.toml", "verify", "gateway", "--body", "body"])
        .current_dir(folder.path())
        .stdin(fs::File::open(folder.path().join("request")).unwrap())
        .output()
        .unwrap();
    let stdout = text(&output.stdout);
    let warning =
        "warning: sources.gateway.verify.secrets: the secret begins with a quotation mark";
    assert!(stdout.contains(warning) && stdout.contains("verdict: rejected"), "{output:?}");
    assert!(!stdout.contains("api_keys"), "{stdout}");
}

#[test]
fn a_fifo_is_rejected_as_a_secret_file() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let fifo = format!("{{ file = \"{}\" }}", fifo.display());
    for secret in
        [fifo.as_str(), "{ file = \"/\" }", "{ file = \"/dev/zero\" }", "{ file = \"/dev/null\" }"]
    {
        fs::write(folder.path().join("it.toml"), config_with(secret, &format!("\"{KEY}\"")))
            .unwrap();
        let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        assert_eq!(output.status.code(), Some(78), "{secret}: {output:?}");
        assert!(text(&output.stderr).contains("it is not a regular file"), "{secret}: {output:?}");
    }
}
