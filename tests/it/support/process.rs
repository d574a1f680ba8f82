//! Processes: the program under test as a command, signals, limits and ports.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::canaries;
use crate::support::server::{PATIENCE, PROGRAM};

/// A port that nothing listens on, from this one up to where outgoing connections are given theirs.
pub(crate) fn free_port(from: u16) -> u16 {
    let mut ports = from..32_768;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("no port is free")
}

/// Whether this machine has a program that a few tests need; says so if not, because less is tested
/// then.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("NOT TESTED: {program} is not installed");
    }
    found
}

/// Runs the program in this folder with these variables.
pub(crate) fn run_in(folder: &Path, arguments: &[&str], envs: &[(&str, &str)]) -> Output {
    for (name, value) in envs {
        canaries::variable(name, value);
    }
    let output =
        ending().current_dir(folder).args(arguments).envs(envs.iter().copied()).output().unwrap();
    canaries::assert_none("what a command complains of", text(&output.stderr));
    output
}

/// The program as a command that ends by itself, or is ended: what should be refused may be served.
pub(crate) fn ending() -> Command {
    let mut command = Command::new("timeout");
    command.arg("60").arg(PROGRAM);
    command
}

/// The most connections that this process and the server may have.
pub(crate) fn raised_limit() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    most.unwrap_or(u64::MAX)
}

/// Waits until there is something.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process. The shell's own `kill`, because not every machine has the program.
pub(crate) fn kill(signal: &str, process: u32) -> bool {
    let command = format!("kill {signal} {process}");
    Command::new("sh").args(["-c", &command]).status().unwrap().success()
}

/// The port that the log says the server listens on.
pub(crate) fn listening(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("\"listen\":\"127.0.0.1:")?;
    rest.split_once('"')?.0.parse().ok()
}

/// A message's id made of a number.
pub(crate) fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// For so long a test waits for a lock that it has itself given up: whatever other tests are just starting has
/// inherited its file, until it becomes another program.
pub(crate) const INHERITED: Duration = Duration::from_secs(10);

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}
