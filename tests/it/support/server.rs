//! A server per test, and requests to it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::canaries;
use crate::support::http::client::{Answer, Connection};
use crate::support::process::{kill, listen_port, program_with_timeout, text, wait_for};
use crate::support::webhooks::JSON;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_statusmirror");
/// API key with both scopes, in every configuration of these tests.
pub(crate) const KEY: &str = "an-api-key-for-these-tests";
/// The token of the source `gateway` in [`GATEWAY`].
pub(crate) const TOKEN: &str = "a-token-for-these-tests";
/// Configuration of a source `gateway`.
pub(crate) const GATEWAY: &str = r#"
[sources.gateway]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;
/// Configuration of a source `twilio` that is verified by the same token instead of a signature.
pub(crate) const TWILIO_BY_TOKEN: &str = r#"
[sources.twilio]
dialect = "twilio"
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;
/// Configuration of a source `twilio` that is verified by its signature.
pub(crate) const TWILIO: &str = r#"
[sources.twilio]
dialect = "twilio"
public_url = "https://hooks.example.com/webhooks/twilio"
verify = { scheme = "native", secrets = ["9f1c0a7be2d84e0fb36a5d1c2e7a4f80"] }
"#;

/// Maximum wait for a start, a stop or another condition. After it, the test fails.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server, killed when dropped.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    child: Child,
    envs: Vec<(String, String)>,
}

impl Server {
    /// Starts a server whose configuration has an address, a store, the key [`KEY`] and these sections.
    pub(crate) fn start(sections: &str) -> Self {
        Self::start_with(sections, &[])
    }

    /// [`start`](Self::start) with these variables in the server's environment.
    pub(crate) fn start_with(sections: &str, envs: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nurl = \"sqlite:{}\"\n",
            folder.path().join("mirror.db").display()
        );
        write!(
            config,
            "[api_keys.tests]\nkey = \"{KEY}\"\nscopes = [\"read\", \"register\"]\n{sections}"
        )
        .unwrap();
        canaries::configuration(&config);
        fs::write(folder.path().join("statusmirror.toml"), config).unwrap();
        let envs: Vec<_> =
            envs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (child, port) = spawn(folder.path(), &envs, &[]).unwrap_or_else(fail_start);
        Self { folder, port, child, envs }
    }

    /// Path of the configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("statusmirror.toml")
    }

    /// Path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("mirror.db")
    }

    /// The server's log since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end; returns the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.wait()
    }

    /// Sends a signal, such as `-TERM`, and does not wait.
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.child.id()));
    }

    /// Suspends the server until [`resume`](Self::resume), and waits until all its threads are suspended.
    ///
    /// The signal stops one thread after the other. Without the wait, an idle thread could still begin to
    /// handle a request that arrives now, and the request's time limit would pass during the pause.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        wait_for(|| self.has_all_threads_in('T').then_some(()));
    }

    /// Continues a suspended server.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Whether all threads of the server are in this state, a letter as in `/proc/PID/stat`.
    pub(crate) fn has_all_threads_in(&self, state: char) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process())).unwrap();
        threads
            // The file of a thread that has ended meanwhile is missing.
            .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok())
            // The state follows the thread's name, which is in parentheses.
            .all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)))
    }

    /// Process id of the server.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the server's end; returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < WAIT_TIMEOUT, "timed out waiting for the server to exit");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the server again, after its end, with the same configuration and database.
    pub(crate) fn restart(&mut self) {
        self.start_with_command(&[]).unwrap_or_else(fail_start);
    }

    /// Starts the server again with this command in front of the program's path. The command must replace
    /// itself with the server. Returns exit status and log if the server ended before it listened.
    pub(crate) fn start_with_command(&mut self, command: &[String]) -> Result<(), StartFailure> {
        (self.child, self.port) = spawn(self.folder.path(), &self.envs, command)?;
        Ok(())
    }

    /// Opens a connection to the server.
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.port)
    }

    /// Sends a request on a new connection.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.connect().send(method, path, headers, body)
    }

    /// Posts a webhook to the source `gateway`.
    pub(crate) fn post(&self, body: &str) -> Answer {
        self.send("POST", &webhook_path(""), JSON, body.as_bytes())
    }

    /// Sends a `GET` with the API key.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("X-Api-Key", KEY)], b"")
    }

    /// Registers a message with `PUT`.
    pub(crate) fn put(&self, id: &str, body: &Value) -> Answer {
        let path = format!("/api/messages/{id}");
        self.send("PUT", &path, &[("X-Api-Key", KEY)], body.to_string().as_bytes())
    }

    /// History of a message; empty if the message is unknown.
    pub(crate) fn history(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/messagestatus/{id}/history"));
        if answer.status == 404 {
            return Vec::new();
        }
        answer.json()["history"].as_array().unwrap().clone()
    }

    /// Another command of the program with this server's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program_with_timeout();
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// Runs another command of the program with this server's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        canaries::assert_none("standard error of a command", text(&output.stderr));
        output
    }

    /// Starts a second server with the same configuration, which waits for the end of this one. Returns its
    /// process and the path of its log.
    pub(crate) fn start_successor(&self) -> (Child, PathBuf) {
        let log = self.folder.path().join("successor");
        let successor = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.config())
            .args(["serve", "--lock-wait", "60s"])
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        (successor, log)
    }

    /// Port of the internal listener, if there is one.
    pub(crate) fn internal_port(&self) -> Option<u16> {
        let log = self.log();
        let (_, rest) = log.rsplit_once("\"internal_listen\":\"127.0.0.1:")?;
        rest.split_once('"')?.0.parse().ok()
    }

    /// Changes the configuration file. The change takes effect at the next [`reload`](Self::reload) or start.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let config = change(fs::read_to_string(self.config()).unwrap());
        canaries::configuration(&config);
        fs::write(self.config(), config).unwrap();
    }

    /// Reloads the configuration with SIGHUP and waits for the result; returns the log lines since then.
    pub(crate) fn reload(&self) -> String {
        let before = self.log().len();
        self.signal("-HUP");
        wait_for(|| {
            let log = self.log().split_off(before);
            let is_result = |line: &str| line.contains("reloaded") && line.ends_with('}');
            log.lines().any(is_result).then_some(log)
        })
    }
}

/// Path of webhooks of the source `gateway`, with its token and these further parameters.
pub(crate) fn webhook_path(parameters: &str) -> String {
    format!("/webhooks/gateway?token={TOKEN}{parameters}")
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last_lines = log.lines().rev().take(5).collect::<Vec<_>>();
            let status = self.child.try_wait();
            eprintln!("exit status of the server: {status:?}; its last log lines: {last_lines:#?}");
        }
        drop(self.child.kill());
        drop(self.child.wait());
        canaries::assert_none("the log", &self.log());
    }
}

/// Exit status and log of a server that ended before it listened.
pub(crate) type StartFailure = (ExitStatus, String);

fn fail_start<T>((status, log): StartFailure) -> T {
    panic!("the server ended with {status}: {log}")
}

/// Starts a server in this folder, with `command` in front of the program's path, and waits until it listens.
/// Returns its process and port.
fn spawn(
    folder: &Path,
    envs: &[(String, String)],
    command: &[String],
) -> Result<(Child, u16), StartFailure> {
    let path = folder.join("log");
    let log = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let before = usize::try_from(log.metadata().unwrap().len()).unwrap();
    let mut words = command.iter().map(String::as_str).chain([PROGRAM]);
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg("--config")
        .arg(folder.join("statusmirror.toml"))
        .arg("serve")
        .envs(envs.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let since = Instant::now();
    loop {
        let log = fs::read_to_string(&path).unwrap().split_off(before);
        if let Some(port) = listen_port(&log) {
            return Ok((child, port));
        }
        if let Some(status) = child.try_wait().unwrap() {
            return Err((status, log));
        }
        assert!(
            since.elapsed() < WAIT_TIMEOUT,
            "timed out waiting for the server to listen: {log}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
