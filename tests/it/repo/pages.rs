//! README and the pages in docs/: their commands run, and print the output that they show.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use statusmirror::message::Timestamp;

use crate::support::*;

const README: &str = include_str!("../../../README.md");
/// Pages in the order in which they are read. Their commands run in one shell.
const PAGES: [(&str, &str); 8] = [
    ("README.md", README),
    ("docs/webhooks.md", include_str!("../../../docs/webhooks.md")),
    ("docs/api.md", include_str!("../../../docs/api.md")),
    ("docs/configuration.md", include_str!("../../../docs/configuration.md")),
    ("docs/operations.md", include_str!("../../../docs/operations.md")),
    ("docs/cli.md", include_str!("../../../docs/cli.md")),
    ("docs/troubleshooting.md", include_str!("../../../docs/troubleshooting.md")),
    ("docs/install.md", include_str!("../../../docs/install.md")),
];
/// Command that starts the server, as the README has it.
const START: &str = "cargo run --release\n";
/// Command that runs the tests, as the README has it. It is not run here, because it runs this test.
const TEST: &str = "cargo test\n";
/// Maximum number of words of the README's text, without commands and tables.
const README_MAX_WORDS: usize = 700;
/// Separator between the outputs of two blocks.
const SEPARATOR: &str = "--- next block ---";

/// Block of commands.
struct Commands {
    page: &'static str,
    text: &'static str,
    /// Output that the page shows.
    shown: Option<&'static str>,
}

/// Whether the commands of this document are run here.
pub(super) fn is_page(path: &Path) -> bool {
    PAGES.into_iter().any(|(page, _)| path == Path::new(page))
}

/// Fenced blocks of a page: the language and the text of each.
fn blocks(page: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    page.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

/// Script of all pages, and its blocks of commands. Configurations are written by the script, too, because a page
/// may change them.
fn script(has_curl: bool) -> (String, Vec<Commands>) {
    let mut script = String::from("set -euo pipefail\n");
    let mut commands = Vec::new();
    for (page, text) in PAGES {
        let mut blocks = blocks(text).peekable();
        while let Some((language, text)) = blocks.next() {
            match language {
                "toml" => {
                    writeln!(script, "cat >production.toml <<'END'\n{text}END").unwrap();
                }
                "sh" if [START, TEST].contains(&text) => assert_eq!(page, "README.md"),
                "sh" => {
                    let shown = blocks.next_if(|(language, _)| ["json", "text"].contains(language));
                    if text.contains("curl") && !has_curl {
                        continue;
                    }
                    script += text;
                    writeln!(script, "echo; echo '{SEPARATOR}'").unwrap();
                    commands.push(Commands { page, text, shown: shown.map(|(_, text)| text) });
                }
                other => panic!("{page}: a block of {other} does not follow a command"),
            }
        }
    }
    (script, commands)
}

/// Output with the parts replaced that differ from run to run: times and signatures.
fn normalised(output: &str) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "-:.+".contains(letter);
    let mut normalised = String::new();
    for part in output.trim().split_inclusive(|letter| !is_word(letter)) {
        let word = part.trim_end_matches(|letter| !is_word(letter));
        let rest = part.strip_prefix(word).unwrap_or_default();
        let is_time = word.get(10..11) == Some("T") && word.parse::<Timestamp>().is_ok();
        let is_digest = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = if is_time {
            "TIME"
        } else if is_digest {
            "DIGEST"
        } else {
            word
        };
        normalised += shown;
        normalised += rest;
    }
    normalised
}

#[test]
fn every_command_runs_and_is_answered_as_shown() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port(10_000));
    fs::create_dir_all(folder.path().join("target/release")).unwrap();
    symlink(PROGRAM, folder.path().join("target/release/statusmirror")).unwrap();
    let log = folder.path().join("log");
    let mut server = Command::new("target/release/statusmirror")
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", &address)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| listen_port(&fs::read_to_string(&log).unwrap()));
    let (script, commands) = script(is_installed("curl"));
    let output = Command::new("bash")
        .args(["-c", &script.replace("127.0.0.1:8080", &address)])
        .current_dir(folder.path())
        .env("STATUSMIRROR__SERVER__LISTEN", &address)
        .output()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<&str> = stdout.split(SEPARATOR).collect();
    let failed = commands.get(outputs.len() - 1).map(|failed| (failed.page, failed.text));
    assert!(output.status.success(), "{failed:?}: {}", text(&output.stderr));
    assert_eq!(outputs.len(), commands.len() + 1);
    for (Commands { page, text, shown }, printed) in commands.iter().zip(outputs) {
        match shown {
            Some(shown) => {
                let printed = printed.replace(&address, "127.0.0.1:8080");
                assert_eq!(normalised(&printed), normalised(shown), "{page}: {text}");
            }
            None if text.contains("simulate") => assert!(printed.contains("\n0 differences")),
            None => {}
        }
    }
}

#[test]
fn the_readme_is_a_front_page() {
    let prose = README.split("```").step_by(2).flat_map(str::lines);
    // Without the picture, which is indented, and the rows of tables.
    let lines = prose.filter(|line| !line.starts_with("    ") && !line.starts_with('|'));
    let words = lines.flat_map(str::split_whitespace).count();
    assert!(words <= README_MAX_WORDS, "{words} words");
    let linked = |page: &&str| !README.contains(&format!("]({page})"));
    let missing: Vec<_> = PAGES.map(|(page, _)| page).into_iter().skip(1).filter(linked).collect();
    assert!(missing.is_empty(), "the README does not link to {missing:?}");
}

#[test]
fn every_setting_is_explained() {
    let settings = include_str!("../../../config/statusmirror.toml");
    let configuration = include_str!("../../../docs/configuration.md");
    let mut keys = 0;
    for line in settings.lines() {
        let line = line.trim_start_matches("# ");
        let Some((key, _)) = line.split_once(" = ") else { continue };
        if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            keys += 1;
            let explained = configuration.contains(&format!("`{key}`"))
                || configuration.contains(&format!(".{key}`"))
                || configuration.contains(&format!("`{key} "));
            assert!(explained, "{key} is not in docs/configuration.md");
        }
    }
    assert!(keys > 25, "{keys} settings");
}
