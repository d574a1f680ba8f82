//! README: its commands run, and print the output that it shows.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::support::*;

const README: &str = include_str!("../../../README.md");
/// Command that starts the server, as the README has it.
const START: &str = "cargo run --release\n";
/// Command that runs the tests, as the README has it.
const TEST: &str = "cargo test\n";
/// Separator between the outputs of two blocks.
const SEPARATOR: &str = "--- next block ---";

/// Fenced blocks: the language and the text of each.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = README.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

#[test]
fn every_command_runs_and_is_answered_as_shown() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port(10_000));
    fs::create_dir_all(folder.path().join("target/release")).unwrap();
    symlink(PROGRAM, folder.path().join("target/release/statusmirror")).unwrap();
    let mut blocks = blocks().into_iter().peekable();
    assert_eq!(blocks.next(), Some(("sh", START)));
    // Not run here, because `cargo test` runs this test.
    assert_eq!(blocks.next(), Some(("sh", TEST)));
    let log = folder.path().join("log");
    let mut server = Command::new("target/release/statusmirror")
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", &address)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| listen_port(&fs::read_to_string(&log).unwrap()));
    let has_curl = is_installed("curl");
    let mut script = String::from("set -euo pipefail\n");
    let mut commands = Vec::new();
    while let Some((language, text)) = blocks.next() {
        match language {
            "toml" => fs::write(folder.path().join("production.toml"), text).unwrap(),
            "sh" if text.contains("curl") && !has_curl => {
                blocks.next_if(|(language, _)| *language == "json");
            }
            "sh" => {
                script += text;
                writeln!(script, "echo; echo '{SEPARATOR}'").unwrap();
                let shown = blocks.next_if(|(language, _)| ["json", "text"].contains(language));
                commands.push((text, shown.map(|(_, text)| text)));
            }
            other => panic!("a block of {other} does not follow a command"),
        }
    }
    let output = Command::new("bash")
        .args(["-c", &script.replace("127.0.0.1:8080", &address)])
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", &address)
        .output()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<&str> = stdout.split(SEPARATOR).collect();
    assert_eq!(outputs.len(), commands.len() + 1);
    for ((command, shown), printed) in commands.iter().zip(outputs) {
        match shown {
            Some(shown) => assert_eq!(printed.trim(), shown.trim(), "{command}"),
            None if command.contains("simulate") => assert!(printed.contains("\n0 differences")),
            None => {}
        }
    }
}

#[test]
fn every_setting_is_explained() {
    let settings = include_str!("../../../config/statusmirror.toml");
    let mut keys = 0;
    for line in settings.lines() {
        let line = line.trim_start_matches("# ");
        let Some((key, _)) = line.split_once(" = ") else { continue };
        if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            keys += 1;
            let explained = README.contains(&format!("`{key}`"))
                || README.contains(&format!(".{key}`"))
                || README.contains(&format!("`{key} "));
            assert!(explained, "{key} is not in the README");
        }
    }
    assert!(keys > 25, "{keys} settings");
}
