//! Running receiver, with a folder of its own on a real disk, and its database server if it needs one.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::receiver::{Paths, Receiver};

/// Maximum duration of a start and of a stop.
const START_STOP_TIMEOUT: Duration = Duration::from_mins(1);
/// First of the ports that servers listen on.
const FIRST_PORT: u16 = 21_000;
/// Number of the ports. Ports in use are skipped.
const PORTS: u16 = 1_000;

/// Running receiver. When dropped, it is killed and its folder is removed.
pub(crate) struct Server {
    /// Kind of receiver.
    pub(crate) receiver: Receiver,
    /// Address that it listens on.
    pub(crate) address: SocketAddr,
    /// Folder of its database, configuration and log.
    pub(crate) folder: PathBuf,
    /// Ids of the processes of the receiver and of its database server. Their descendants count as theirs.
    pub(crate) processes: Vec<u32>,
    child: Child,
    database: Option<Child>,
}

impl Server {
    /// Starts a receiver with an empty store and with these environment variables.
    pub(crate) fn start(
        paths: &Paths,
        receiver: Receiver,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let address = free_address()?;
        let folder = paths.data().join(address.port().to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let (database, url) = if receiver == Receiver::Postgres {
            let (child, url) = start_postgres(paths, &folder)?;
            (Some(child), url)
        } else {
            (None, folder.join("receiver.db").display().to_string())
        };
        let mut command = paths.command(receiver, address, &folder)?;
        command.env("DATABASE", url);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = spawn(&mut command, &folder, "log")?;
        let processes =
            [Some(&child), database.as_ref()].into_iter().flatten().map(Child::id).collect();
        let mut server = Self { receiver, address, folder, processes, child, database };
        wait_until_ready(&mut server.child, server.address, &server.folder.join("log"))?;
        Ok(server)
    }

    /// Starts the stopped receiver again on its stored data.
    pub(crate) fn restart(&mut self, paths: &Paths) -> Result<()> {
        let mut command = paths.command(self.receiver, self.address, &self.folder)?;
        self.child = spawn(&mut command, &self.folder, "log")?;
        self.processes = vec![self.child.id()];
        wait_until_ready(&mut self.child, self.address, &self.folder.join("log"))
    }

    /// Asks the receiver to stop, and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        stop(&mut self.child, Signal::TERM).context(self.receiver.name())?;
        if let Some(database) = &mut self.database {
            // SIGINT: PostgreSQL does not wait for open connections.
            stop(database, Signal::INT).context("PostgreSQL")?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        if let Some(database) = &mut self.database {
            stop(database, Signal::QUIT).unwrap_or_default();
        }
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// Starts a PostgreSQL server in this folder. Returns its process and its URL.
fn start_postgres(paths: &Paths, folder: &Path) -> Result<(Child, String)> {
    let address = free_address()?;
    let mut command = Command::new(paths.root.join("benches/receivers/postgres/start"));
    command.arg(folder.join("postgres")).arg(address.port().to_string());
    let mut child = spawn(&mut command, folder, "postgres.log")?;
    wait_until_ready(&mut child, address, &folder.join("postgres.log"))?;
    Ok((child, format!("postgres://postgres@{address}/postgres")))
}

fn spawn(command: &mut Command, folder: &Path, log: &str) -> Result<Child> {
    let log = File::create(folder.join(log))?;
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

fn wait_until_ready(child: &mut Child, address: SocketAddr, log: &Path) -> Result<()> {
    let since = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(log).unwrap_or_default();
            bail!("the server exited with {status}: {}", log.trim());
        }
        ensure!(
            since.elapsed() < START_STOP_TIMEOUT,
            "the server does not listen after {START_STOP_TIMEOUT:?}"
        );
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

fn stop(child: &mut Child, signal: Signal) -> Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    kill_process(Pid::from_child(child), signal)?;
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        ensure!(
            since.elapsed() < START_STOP_TIMEOUT,
            "the server does not stop within {START_STOP_TIMEOUT:?}"
        );
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS {
        let port = FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("none of the {PORTS} ports from {FIRST_PORT} is free")
}
