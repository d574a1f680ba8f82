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
use crate::support::process::{ending, eventually, kill, listening, text};
use crate::support::webhooks::JSON;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_statusmirror");
/// A key with both scopes, in every configuration of these tests.
pub(crate) const KEY: &str = "an-api-key-for-these-tests";
/// The token of the source `gateway` in [`GATEWAY`].
pub(crate) const TOKEN: &str = "a-token-for-these-tests";
/// A source `gateway`.
pub(crate) const GATEWAY: &str = r#"
[sources.gateway]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;
/// A source `twilio` that is proven by the same token instead of a signature.
pub(crate) const TWILIO_BY_TOKEN: &str = r#"
[sources.twilio]
dialect = "twilio"
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;
/// A source `twilio` that is proven by its signature.
pub(crate) const TWILIO: &str = r#"
[sources.twilio]
dialect = "twilio"
public_url = "https://hooks.example.com/webhooks/twilio"
verify = { scheme = "native", secrets = ["9f1c0a7be2d84e0fb36a5d1c2e7a4f80"] }
"#;

/// How long a server may take to start or stop before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server, killed when dropped.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    child: Child,
    envs: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with these sections besides the address, the store and a key.
    pub(crate) fn start(sections: &str) -> Self {
        Self::start_with(sections, &[])
    }

    /// The same, with these variables in its environment.
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
        let (child, port) = spawn(folder.path(), &envs, &[]).unwrap_or_else(ended);
        Self { folder, port, child, envs }
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("statusmirror.toml")
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("mirror.db")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Kills it without any warning, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits; returns the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.wait()
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.child.id()));
    }

    /// Suspends all its threads until `resume`.
    ///
    /// The signal stops one thread after the other: without the wait, one that is idle could still begin to handle
    /// a request that arrives now, and the request's time limit would pass during the pause.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        eventually(|| self.has_all_threads_in('T').then_some(()));
    }

    /// Ends a pause.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Whether all its threads are in this state, as `/proc` abbreviates it.
    pub(crate) fn has_all_threads_in(&self, state: char) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process())).unwrap();
        threads
            // A thread that ends meanwhile has no file.
            .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok())
            // The state stands behind the name, which is in parentheses.
            .all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)))
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has stopped; returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it again on the same file.
    pub(crate) fn start_again(&mut self) {
        self.start_under(&[]).unwrap_or_else(ended);
    }

    /// Starts it again as the argument of this command, which must become the server. Says with
    /// which status and log it ended, if it never served.
    pub(crate) fn start_under(&mut self, command: &[String]) -> Result<(), Ended> {
        (self.child, self.port) = spawn(self.folder.path(), &self.envs, command)?;
        Ok(())
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.port)
    }

    /// Sends one request on a connection of its own.
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

    /// Asks with the key.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("X-Api-Key", KEY)], b"")
    }

    /// Registers a message.
    pub(crate) fn put(&self, id: &str, body: &Value) -> Answer {
        let path = format!("/api/messages/{id}");
        self.send("PUT", &path, &[("X-Api-Key", KEY)], body.to_string().as_bytes())
    }

    /// The history of a message.
    pub(crate) fn history(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/messagestatus/{id}/history"));
        if answer.status == 404 {
            return Vec::new();
        }
        answer.json()["history"].as_array().unwrap().clone()
    }

    /// Runs another command of the program with this server's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = ending();
        command.arg("--config").arg(self.config()).args(arguments);
        let output = command.output().unwrap();
        canaries::assert_none("what a command complains of", text(&output.stderr));
        output
    }

    /// Starts a second server with the same configuration, which waits for this one's end. Says where its log is.
    pub(crate) fn begin_successor(&self) -> (Child, PathBuf) {
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

    /// The port of its second listener, if it has one.
    pub(crate) fn internal_port(&self) -> Option<u16> {
        let log = self.log();
        let (_, rest) = log.rsplit_once("\"internal_listen\":\"127.0.0.1:")?;
        rest.split_once('"')?.0.parse().ok()
    }

    /// Changes its configuration, of which it learns when it is told to.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let config = change(fs::read_to_string(self.config()).unwrap());
        canaries::configuration(&config);
        fs::write(self.config(), config).unwrap();
    }

    /// Tells it to read its configuration again, and waits; returns what it logs of that.
    pub(crate) fn reload(&self) -> String {
        let before = self.log().len();
        self.signal("-HUP");
        eventually(|| {
            let log = self.log().split_off(before);
            let is_done = |line: &str| line.contains("reloaded") && line.ends_with('}');
            log.lines().any(is_done).then_some(log)
        })
    }
}

/// Where webhooks of the source `gateway` go, with more parameters.
pub(crate) fn webhook_path(parameters: &str) -> String {
    format!("/webhooks/gateway?token={TOKEN}{parameters}")
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last = log.lines().rev().take(5).collect::<Vec<_>>();
            eprintln!("the server: {:?}; it said last: {last:#?}", self.child.try_wait());
        }
        drop(self.child.kill());
        drop(self.child.wait());
        canaries::assert_none("the log", &self.log());
    }
}

/// How a server ended that never served.
pub(crate) type Ended = (ExitStatus, String);

fn ended<T>((status, log): Ended) -> T {
    panic!("the server ended with {status}: {log}")
}

/// Starts a server in this folder and waits until it says where it listens.
fn spawn(
    folder: &Path,
    envs: &[(String, String)],
    under: &[String],
) -> Result<(Child, u16), Ended> {
    let path = folder.join("log");
    let log = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let before = usize::try_from(log.metadata().unwrap().len()).unwrap();
    let mut words = under.iter().map(String::as_str).chain([PROGRAM]);
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
        if let Some(port) = listening(&log) {
            return Ok((child, port));
        }
        if let Some(status) = child.try_wait().unwrap() {
            return Err((status, log));
        }
        assert!(since.elapsed() < PATIENCE, "not ready: {log}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
