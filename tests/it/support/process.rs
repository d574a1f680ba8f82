//! Processes: the program under test as a command, signals, limits and ports.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::canaries;
use crate::support::server::{PROGRAM, WAIT_TIMEOUT};

/// First free port from this number on, below 32768, where the kernel's ephemeral ports begin.
pub(crate) fn free_port(from: u16) -> u16 {
    let mut ports = from..32_768;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("no port is free")
}

/// Whether a program that a few tests need is installed. Prints a line if it is not: the test does less then.
pub(crate) fn is_installed(program: &str) -> bool {
    let is_found = Command::new(program).arg("--version").output().is_ok();
    if !is_found {
        eprintln!("NOT TESTED: {program} is not installed");
    }
    is_found
}

/// Runs the program in this folder with these variables.
pub(crate) fn run_program_in(folder: &Path, arguments: &[&str], envs: &[(&str, &str)]) -> Output {
    for (name, value) in envs {
        canaries::variable(name, value);
    }
    let output = program_with_timeout()
        .current_dir(folder)
        .args(arguments)
        .envs(envs.iter().copied())
        .output()
        .unwrap();
    canaries::assert_none("standard error of a command", text(&output.stderr));
    output
}

/// Command that runs the program and kills it after 60 s: with a configuration that should be rejected, it
/// might start to serve.
pub(crate) fn program_with_timeout() -> Command {
    let mut command = Command::new("timeout");
    command.arg("60").arg(PROGRAM);
    command
}

/// Raises the limit of open files of this process, and so of its servers, to the maximum; returns it.
pub(crate) fn raise_open_file_limit() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}

/// Calls `poll` until it returns a value, for at most [`WAIT_TIMEOUT`]; returns the value.
pub(crate) fn wait_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(since.elapsed() < WAIT_TIMEOUT, "timed out waiting for a condition");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process; returns whether that succeeded. Uses the shell's builtin `kill`, because not
/// every machine has the program.
pub(crate) fn kill(signal: &str, process: u32) -> bool {
    let command = format!("kill {signal} {process}");
    Command::new("sh").args(["-c", &command]).status().unwrap().success()
}

/// Port on which the server listens, from its log.
pub(crate) fn listen_port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("\"listen\":\"127.0.0.1:")?;
    rest.split_once('"')?.0.parse().ok()
}

/// Message id that ends with this number.
pub(crate) fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Wait for a lock that the same test has released. A child process that another test is just starting holds
/// the inherited lock file until its `exec`.
pub(crate) const INHERITED_LOCK_WAIT: Duration = Duration::from_secs(10);

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Whether the tests can run the program as another user, which only root can.
pub(crate) fn can_become_another_user() -> bool {
    rustix::process::geteuid().is_root() && is_installed("setpriv")
}

/// The program, run by another user, who may write to this folder.
pub(crate) fn as_another_user(folder: &Path) -> Command {
    let program = folder.join("statusmirror");
    // `cp` copies the program, not this process: a child that another test starts meanwhile would inherit the
    // open copy, and a file that is open for writing cannot be executed.
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.current_dir(folder);
    command
}
