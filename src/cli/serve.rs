//! `statusmirror serve`: from start to an orderly end.

use std::io::{Error, ErrorKind, IsTerminal, Write, stdout};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_server::Server;
use actix_web::rt::System;
use actix_web::web::Data;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::telemetry::Lines;
use super::{EX_DATAERR, EX_SOFTWARE, EX_TEMPFAIL, Failure, reload, retention, show_new_key};
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{Config, DEMO};
use crate::http::state::Service;
use crate::http::{self, Connections, Listeners};
use crate::ingest::Ingest;
use crate::message::Timestamp;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sqlite::{Failed, Settings, SqliteStore};

/// How long requests under way may take when the service stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// More connections than this are not worth their memory.
const MOST_CONNECTIONS: usize = 50_000;
/// So many descriptors are kept free of connections that wait for their clients.
const FREE: usize = 64;
/// So many of them may be used by connections meanwhile, until the ones that wait are closed.
const ACCEPTED_BEYOND: usize = 32;
/// Descriptors that a worker thread needs for itself.
const WORKER: usize = 6;
/// Bytes that the kernel keeps of what a client sends and nobody has read. The kernel takes it twice, for
/// its own data.
const UNREAD_BYTES: usize = 64 << 10;
/// Bytes that the kernel keeps of an answer that its client has not taken; twice as many with its own data.
const UNTAKEN_BYTES: usize = 32 << 10;
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(10);
/// How long the last lines of the log may take after a failure: the process must end within a second.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long the last answers may take to reach the network.
const FLUSH: Duration = Duration::from_millis(200);

/// What the process has before it reads its configuration.
pub(super) struct Runtime {
    system: actix_web::rt::SystemRunner,
    hangup: Signal,
}

impl Runtime {
    /// Starts the runtime. From here on a SIGHUP does not end the process: the configuration is read again
    /// once the service runs.
    pub(super) fn start() -> Result<Self, Failure> {
        let system = System::new();
        let hangup = system.block_on(async { signal(SignalKind::hangup()) })?;
        Ok(Self { system, hangup })
    }
}

/// Serves until told to stop; waits so long for a predecessor to give the database up.
pub(super) fn run(
    Runtime { system, hangup }: Runtime,
    config: Config,
    lock_wait: Duration,
    log: &Lines,
) -> Result<(), Failure> {
    let now = Clock::System.now();
    if now < Timestamp::EPOCH {
        // The web framework cannot write such a date, and nothing that is stored would be in order.
        let words = format!("the clock says {now}, a time before 1970; set it, and start again");
        return Err(Failure::new(EX_TEMPFAIL, words));
    }
    show_new_key(&config);
    let metrics = Arc::new(Metrics::new(Clock::System.now()));
    let commits = metrics.commits().clone();
    let settings = Settings { lock_wait, commits, ..config.store.clone() };
    let (store, closing) = SqliteStore::open(&settings)?;
    let server = &config.server;
    let listeners = Listeners {
        public: listen("server.listen", &server.listen)?,
        internal: match &server.internal_listen {
            Some(address) => listen("server.internal_listen", address)?,
            None => Vec::new(),
        },
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // What it says is a courtesy; nobody need be there to read it.
    drop(banner(&config, &listeners));
    let ended = system.block_on(serve(config, hangup, listeners, Arc::new(store), metrics, log));
    // What was still under way ends here, before the store does.
    drop(system);
    ended?;
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
            "the database, its -wal or its .lock was removed or replaced while it was used; put the \
             database and its -wal back before you start again",
        ),
        Failed::Panicked => Failure::new(
            EX_SOFTWARE,
            "a thread panicked; what was acknowledged is stored. Start again, and report the log",
        ),
        Failed::Damaged => Failure::new(
            EX_DATAERR,
            "the database is damaged; look at the disk, and restore a backup with `statusmirror restore \
             FILE`, which keeps the damaged files",
        ),
    }
}

async fn serve(
    config: Config,
    hangup: Signal,
    listeners: Listeners,
    store: Arc<SqliteStore>,
    metrics: Arc<Metrics>,
    log: &Lines,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let seam: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
    let running = config.running();
    let (queue, budget) = (config.store.queue, config.store.budget.clone());
    let ingest = Arc::new(Ingest::new(config.sources, Arc::clone(&seam), queue, metrics, budget));
    let service = Service::new(
        Arc::clone(&ingest),
        Arc::clone(&seam),
        config.api_keys,
        config.server.trusted_proxies,
        Clock::System,
    )
    .with_max_event_streams(config.server.max_event_streams);
    let service = Data::new(service);
    let admin = admin::bind(&config.store.path).map_err(|error| {
        Failure::io(format!(
            "cannot make the admin socket {}: {error}",
            admin::socket(&config.store.path).display()
        ))
    })?;
    let (reload, asked) = mpsc::channel(1);
    let tools = Admin { ingest, store: seam, clock: Clock::System, reload: Some(reload) };
    actix_web::rt::spawn(retention::keep(tools.clone(), config.retention));
    let admin = actix_web::rt::spawn(tools.serve(admin));
    let (listen, internal_listen) = addresses(&listeners)?;
    let servers = http::servers(&service, listeners, connections()?)?;
    let handles: Vec<_> = servers.iter().map(Server::handle).collect();
    let servers: Vec<_> = servers.into_iter().map(actix_web::rt::spawn).collect();
    let configuration = config.file.as_ref().map(|file| file.display().to_string());
    let reloading = reload::at(hangup, asked, config.file, running, Data::clone(&service));
    let reloading = actix_web::rt::spawn(reloading);
    tracing::info!(listen, internal_listen, configuration, "serving");
    tell_supervisor(NotifyState::Ready);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failed = store.failure() => {
            // Those that wait are told.
            sleep(FLUSH).await;
            // Nothing is closed: that could write to the disk that failed.
            let failure = failure(failed);
            log.add(failure.line().as_bytes());
            log.flush(LAST_WORDS);
            std::process::exit(failure.code);
        }
    }
    tracing::info!("stopping");
    tell_supervisor(NotifyState::Stopping);
    service.ingest.closing.begin();
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
        let stopped: Vec<_> = handles.iter().map(|handle| handle.stop(true)).collect();
        let all_stopped = async {
            for stopped in stopped {
                stopped.await;
            }
        };
        drop(timeout(FLUSH, all_stopped).await);
    };
    tokio::select! {
        () = orderly => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    admin.abort();
    reloading.abort();
    for server in servers {
        server.abort();
    }
    drop(std::fs::remove_file(admin::socket(&config.store.path)));
    Ok(())
}

/// Tells systemd, if it wants to know (`Type=notify`).
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the supervisor how it goes");
    }
}

/// How many connections there may be: as many as there are free descriptors, of which the process takes
/// all that it is allowed to. When fewer than [`FREE`] are left, connections that wait are closed.
fn connections() -> Result<Connections, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it may not be raised, what there is must do.
    let raised = setrlimit(Resource::Nofile, raised).map_or(limit, |()| raised);
    let most = usize::try_from(raised.current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let workers = std::thread::available_parallelism()?.get();
    // The listing has one of its own open, which makes up for nothing.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let free = most.saturating_sub(open + 2 * workers * WORKER);
    let kept = free.saturating_sub(FREE).min(MOST_CONNECTIONS);
    Ok(Connections { kept, accepted: kept + ACCEPTED_BEYOND })
}

/// Listens on every address that the value of this key stands for. A machine need not have all of
/// them: mostly `localhost` stands for one of IPv6 too.
fn listen(key: &str, address: &str) -> Result<Vec<TcpListener>, Failure> {
    let cannot = |error: Error| {
        Failure::unavailable(format!(
            "cannot listen on {address} ({key}): {error}; choose another address, or stop \
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
    // Connections inherit both; without them the kernel could keep some megabytes for each.
    socket.set_recv_buffer_size(UNREAD_BYTES)?;
    socket.set_send_buffer_size(UNTAKEN_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where these listen, which is more than what is configured if that leaves the port open: publicly,
/// and internally if they do.
fn addresses(listeners: &Listeners) -> Result<(String, Option<String>), Error> {
    let addresses = |listeners: &[TcpListener]| {
        let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
        Ok::<_, Error>(addresses.collect::<Result<Vec<_>, Error>>()?.join(", "))
    };
    let internal = addresses(&listeners.internal)?;
    Ok((addresses(&listeners.public)?, Some(internal).filter(|internal| !internal.is_empty())))
}

/// Says on a terminal what was started, and what a newcomer may try next.
fn banner(config: &Config, listeners: &Listeners) -> Result<(), Error> {
    let mut out = stdout().lock();
    if !out.is_terminal() {
        return Ok(());
    }
    let (public, internal) = addresses(listeners)?;
    let store = config.store.path.display();
    writeln!(out, "statusmirror {} on {public}", env!("CARGO_PKG_VERSION"))?;
    if let Some(internal) = &internal {
        writeln!(out, "  all but webhooks on {internal}")?;
    }
    writeln!(out, "  database       {store}")?;
    match &config.file {
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
        let api = internal.as_ref().unwrap_or(&public).split(", ").next().unwrap_or_default();
        writeln!(out, "Try next, in another terminal:")?;
        writeln!(out, "  {program} simulate --messages 1000")?;
        writeln!(out, "  {program} callback-url {DEMO} --destination +393331234567")?;
        writeln!(
            out,
            "  curl -H \"X-Api-Key: $(cat {key})\" \
             http://{api}/api/messagestatus/phonenumber/+393331234567"
        )?;
    }
    Ok(())
}
