//! The README's commands run, and their output is the one it shows.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

const README: &str = include_str!("../../../README.md");
/// What starts the server, in the README's words.
const START: &str = "cargo run --release\n";
/// What runs these tests, in the README's words.
const TEST: &str = "cargo test\n";
/// Stands between the outputs of two blocks.
const MARK: &str = "--- next block ---";

/// The fenced blocks: what they are written in, and their text.
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
    // `cargo test` is what runs this.
    assert_eq!(blocks.next(), Some(("sh", TEST)));
    let log = folder.path().join("log");
    let mut server = Command::new("target/release/statusmirror")
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", &address)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(&log);
    let has_curl = is_installed("curl");
    let mut script = String::from("set -euo pipefail\n");
    let mut shown = Vec::new();
    while let Some((language, text)) = blocks.next() {
        match language {
            "toml" => fs::write(folder.path().join("production.toml"), text).unwrap(),
            "sh" if text.contains("curl") && !has_curl => {
                blocks.next_if(|(language, _)| *language == "json");
            }
            "sh" => {
                script += text;
                writeln!(script, "echo; echo '{MARK}'").unwrap();
                let answer = blocks.next_if(|(language, _)| ["json", "text"].contains(language));
                shown.push((text, answer.map(|(_, text)| text)));
            }
            other => panic!("a block of {other} shows what no command has answered"),
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
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(printed.len(), shown.len() + 1);
    for ((command, answer), printed) in shown.iter().zip(printed) {
        match answer {
            Some(answer) => assert_eq!(printed.trim(), answer.trim(), "{command}"),
            None if command.contains("simulate") => assert!(printed.contains("\n0 differences")),
            None => {}
        }
    }
}

fn wait_for(log: &Path) {
    let patience = Instant::now();
    while listening(&fs::read_to_string(log).unwrap()).is_none() {
        assert!(patience.elapsed() < Duration::from_secs(30), "the server does not start");
        std::thread::sleep(Duration::from_millis(5));
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
