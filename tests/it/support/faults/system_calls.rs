//! Kills of the program at a chosen system call, with `strace`.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{PROGRAM, Server};

/// `strace` command that runs a program and kills it before one of its threads makes the `n`-th call of this
/// system call. With `files`, only calls on these files count. The program stays the child of the process
/// that runs the command.
pub(crate) fn strace_kill_command(call: &str, n: u64, files: &[&Path]) -> Vec<String> {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:signal=SIGKILL:when={n}");
    let options = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let files = files.iter().flat_map(|file| ["-P", file.to_str().unwrap()]);
    options.into_iter().chain(files).map(str::to_owned).collect()
}

/// Runs a command with a server's configuration and kills it at the `n`-th call of this system call.
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
