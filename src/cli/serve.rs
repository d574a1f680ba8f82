//! `statusmirror serve`: from start to an orderly end.

use std::io::{Error, ErrorKind, IsTerminal, Write, stdout};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::Data;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::{EX_DATAERR, Failure};
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{Config, DEMO};
use crate::http;
use crate::http::state::Service;
use crate::ingest::Ingest;
use crate::store::sqlite::{Failed, Settings, SqliteStore};
use crate::store::{Removed, Store};

/// How long requests under way may take when the service stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// More connections than this are not worth their memory.
const MOST_CONNECTIONS: u64 = 50_000;
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(10);
/// How often to remove what is too old.
const DAY: Duration = Duration::from_hours(24);
/// How long the last answers may take to reach the network.
const FLUSH: Duration = Duration::from_millis(200);

/// Serves until told to stop; waits so long for a predecessor to give the database up.
pub(super) fn run(config: Config, file: Option<&Path>, lock_wait: Duration) -> Result<(), Failure> {
    if let Some(key) = config.demo_key.as_ref().filter(|key| key.new) {
        // Goes to standard output, because the log keeps no secrets.
        drop(writeln!(stdout(), "API key, shown only this once: {}", key.text));
    }
    let (store, closing) = SqliteStore::open(&Settings { lock_wait, ..config.store.clone() })?;
    let listeners = listen(&config.server.listen)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // What it says is a courtesy; nobody need be there to read it.
    drop(banner(&config, file, &addresses(&listeners)?));
    let serving = serve(config, listeners, Arc::new(store));
    actix_web::rt::System::new().block_on(serving)?;
    if closing.close() {
        Ok(())
    } else {
        Err(Failure::io("the store failed at the end; look at the log"))
    }
}

fn failure(failed: Failed) -> Failure {
    match failed {
        Failed::Disk => Failure::io(
            "the disk failed; what was acknowledged is stored. Look at the disk; the next start \
             copies the data to new blocks before it serves",
        ),
        Failed::Replaced => Failure::io(
            "the database or its -wal was removed or replaced while it was used; put both back \
             before you start again",
        ),
        Failed::Damaged => Failure::new(
            EX_DATAERR,
            "the database is damaged; keep it, look at the disk, and put a backup in its place",
        ),
    }
}

async fn serve(
    config: Config,
    listeners: Vec<TcpListener>,
    store: Arc<SqliteStore>,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let seam: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
    let ingest = Arc::new(Ingest::new(config.sources, Arc::clone(&seam), config.store.queue));
    let service = Data::new(Service {
        ingest: Arc::clone(&ingest),
        store: Arc::clone(&seam),
        keys: config.api_keys,
        clock: Clock::System,
        under_way: AtomicUsize::new(0),
    });
    let admin = admin::bind(&config.store.path).map_err(|error| {
        Failure::io(format!(
            "cannot make the admin socket {}: {error}",
            admin::socket(&config.store.path).display()
        ))
    })?;
    let tools = Admin { ingest, store: seam, clock: Clock::System };
    if let Some(age) = config.retention {
        actix_web::rt::spawn(retain(tools.clone(), age));
    }
    let admin = actix_web::rt::spawn(tools.serve(admin));
    let listen = addresses(&listeners)?;
    let server = http::server(&service, listeners, connections())?;
    let handle = server.handle();
    let server = actix_web::rt::spawn(server);
    tracing::info!(listen, "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failed = store.failure() => {
            // Those that wait are told.
            sleep(FLUSH).await;
            // Nothing is closed: that could write to the disk that failed.
            std::process::exit(failure(failed).tell());
        }
    }
    tracing::info!("stopping");
    service.ingest.close();
    let orderly = async {
        // New requests are still answered, with 503, until those that were accepted are done.
        let drained = async {
            while service.under_way.load(Ordering::SeqCst) > 0 {
                sleep(LOOK).await;
            }
        };
        if timeout(DRAIN, drained).await.is_err() {
            let requests = service.under_way.load(Ordering::SeqCst);
            tracing::warn!(requests, "stopping although requests are under way");
        }
        // Idle connections would otherwise hold the end up until they time out.
        drop(timeout(FLUSH, handle.stop(true)).await);
    };
    tokio::select! {
        () = orderly => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    admin.abort();
    server.abort();
    drop(std::fs::remove_file(admin::socket(&config.store.path)));
    Ok(())
}

/// Removes every day what has had no news for so long.
async fn retain(tools: Admin, age: Duration) {
    loop {
        match tools.prune(age).await {
            Ok(Removed { messages, quarantined, .. }) => {
                tracing::info!(messages, quarantined, "removed what is older than the retention");
            }
            Err(error) => tracing::warn!(%error, "cannot remove what is older than the retention"),
        }
        sleep(DAY).await;
    }
}

/// How many connections there may be: as many as there are descriptors, of which the process takes
/// all that it is allowed to, but for some that are needed otherwise.
fn connections() -> usize {
    const OTHERWISE: u64 = 64;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it may not be raised, what there is must do.
    let raised = setrlimit(Resource::Nofile, raised).map_or(limit, |()| raised);
    let most = raised.current.map_or(MOST_CONNECTIONS, |most| most.saturating_sub(OTHERWISE));
    usize::try_from(most.min(MOST_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Listens on every address that the name stands for. A machine need not have all of them: mostly
/// `localhost` stands for one of IPv6 too.
fn listen(address: &str) -> Result<Vec<TcpListener>, Failure> {
    let cannot = |error: Error| {
        Failure::unavailable(format!(
            "cannot listen on {address} (server.listen): {error}; choose another address, or stop \
             who has it"
        ))
    };
    let mut listeners = Vec::new();
    let mut absent = None;
    for address in address.to_socket_addrs().map_err(cannot)? {
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => absent = Some(error),
            Err(error) => return Err(cannot(error)),
        }
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(cannot(error)),
        _ => Ok(listeners),
    }
}

/// What the standard library does, with room for more connections that wait to be accepted.
fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where these listen, which is more than what is configured if that leaves the port open.
fn addresses(listeners: &[TcpListener]) -> Result<String, Error> {
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    Ok(addresses.collect::<Result<Vec<_>, Error>>()?.join(", "))
}

/// Says on a terminal what was started, and what a newcomer may try next.
fn banner(config: &Config, file: Option<&Path>, addresses: &str) -> Result<(), Error> {
    let mut out = stdout().lock();
    if !out.is_terminal() {
        return Ok(());
    }
    let listen = addresses.split(", ").next().unwrap_or_default();
    let store = config.store.path.display();
    writeln!(out, "statusmirror {} on {addresses}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  database       {store}")?;
    match file {
        Some(file) => writeln!(out, "  configuration  {}", file.display())?,
        None => writeln!(out, "  configuration  none; safe defaults hold")?,
    }
    if let Some(secret) = &config.demo_secret {
        writeln!(out, "  source         {DEMO}; its secret is kept in {}", secret.path.display())?;
    }
    if let Some(key) = &config.demo_key {
        writeln!(out, "  API key        kept in {}", key.path.display())?;
    }
    if let (Some(_), Some(key)) = (&config.demo_secret, &config.demo_key) {
        let program = std::env::args().next().unwrap_or_else(|| "statusmirror".to_owned());
        let key = key.path.display();
        writeln!(out, "Try next, in another terminal:")?;
        writeln!(out, "  {program} simulate --messages 1000")?;
        writeln!(out, "  {program} callback-url {DEMO} --destination +393331234567")?;
        writeln!(
            out,
            "  curl -H \"X-Api-Key: $(cat {key})\" \
             http://{listen}/api/messagestatus/phonenumber/+393331234567"
        )?;
    }
    Ok(())
}
