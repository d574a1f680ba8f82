//! Kills at a chosen system call, by `strace`.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{PROGRAM, Server};

/// What kills the program before the n-th time that one of its threads does this system call, on
/// these files alone if any are named. The program stays the child of whoever starts it.
pub(crate) fn killed_at(call: &str, n: u64, files: &[&Path]) -> Vec<String> {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:signal=SIGKILL:when={n}");
    let options = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let files = files.iter().flat_map(|file| ["-P", file.to_str().unwrap()]);
    options.into_iter().chain(files).map(str::to_owned).collect()
}

/// Runs this command of a server, and kills it at the n-th time that it does this system call.
pub(crate) fn run_killed_at(server: &Server, call: &str, n: usize, command: &[&str]) -> Output {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={n}"))
        .arg(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .args(command)
        .output()
        .unwrap()
}
