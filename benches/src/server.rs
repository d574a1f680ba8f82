//! A receiver that runs, with a folder of its own on a real disk.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::receiver::{Places, Receiver};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The ports that are used, those that are taken left out.
const FIRST_PORT: u16 = 21_000;
const PORTS: u16 = 1_000;

/// A running receiver; killed and its folder removed when dropped.
pub(crate) struct Server {
    /// Which.
    pub(crate) receiver: Receiver,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its files.
    pub(crate) folder: PathBuf,
    /// The processes that do its work, each with all that come from it.
    pub(crate) processes: Vec<u32>,
    child: Child,
}

impl Server {
    /// Starts one with an empty store, with these variables in its environment.
    pub(crate) fn start(
        places: &Places,
        receiver: Receiver,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let address = free_address()?;
        let folder = places.target.join("data").join(address.port().to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let mut command = places.command(receiver, address, &folder)?;
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = spawn(&mut command, &folder)?;
        let processes = vec![child.id()];
        let mut server = Self { receiver, address, folder, processes, child };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts it again, on what it has stored.
    pub(crate) fn start_again(&mut self, places: &Places) -> Result<()> {
        let mut command = places.command(self.receiver, self.address, &self.folder)?;
        self.child = spawn(&mut command, &self.folder)?;
        self.processes = vec![self.child.id()];
        self.wait_until_ready()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM)?;
        let since = Instant::now();
        while self.child.try_wait()?.is_none() {
            if since.elapsed() > PATIENCE {
                bail!("{} does not stop", self.receiver.name());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let since = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("{} ended with {status}:\n{log}", self.receiver.name());
            }
            if since.elapsed() > PATIENCE {
                bail!("{} does not listen", self.receiver.name());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

fn spawn(command: &mut Command, folder: &std::path::Path) -> Result<Child> {
    let log = File::create(folder.join("log"))?;
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
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
    bail!("no port of {FIRST_PORT} and the next {PORTS} is free")
}
