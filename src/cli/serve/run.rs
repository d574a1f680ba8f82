//! Server process: from start to orderly shutdown.

use std::io::{Error, ErrorKind};
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

use super::retention;
use super::start_summary::{addresses, print_summary};
use crate::admin::{self, Admin};
use crate::cli::common::config_file::show_new_key;
use crate::cli::common::exit_code::{EX_DATAERR, EX_NOPERM, EX_SOFTWARE, EX_TEMPFAIL, Failure};
use crate::cli::reload;
use crate::cli::telemetry::{Lines, LogLevel};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::app_state::Service;
use crate::http::{self, Connections, Listeners};
use crate::ingest::Ingest;
use crate::message::Timestamp;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sqlite::{Settings, SqliteStore, StopCause};

/// Maximum time for requests under way to drain at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);
/// Backlog: connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Maximum number of connections; more are not worth their memory.
const MAX_CONNECTIONS: usize = 50_000;
/// File descriptors reserved: connections that wait for their clients leave this many free.
const RESERVED_DESCRIPTORS: usize = 64;
/// Reserved descriptors that new connections may use until waiting ones are closed.
const ACCEPT_HEADROOM: usize = 32;
/// File descriptors of one worker thread.
const DESCRIPTORS_PER_WORKER: usize = 6;
/// Receive buffer of a connection, in bytes: received data that is not read yet. The kernel doubles it for
/// its own data.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// Send buffer of a connection, in bytes: answers that the client has not taken yet. The kernel doubles it
/// for its own data.
const SEND_BUFFER_BYTES: usize = 32 << 10;
/// Interval at which to check whether the requests have drained.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum time to flush the log after a failure: the process must end within a second.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(300);
/// Maximum time for the last answers to reach the network.
const ANSWER_FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

/// Runtime and signal handler that the process needs before it reads its configuration.
pub(crate) struct Runtime {
    system: actix_web::rt::SystemRunner,
    hangup: Signal,
}

impl Runtime {
    /// Starts the runtime. From here on a SIGHUP does not end the process: it causes a reload once the
    /// service runs.
    pub(crate) fn start() -> Result<Self, Failure> {
        let system = System::new();
        let hangup = system.block_on(async { signal(SignalKind::hangup()) })?;
        Ok(Self { system, hangup })
    }
}

/// Serves until told to stop. Waits up to `lock_wait` for a predecessor to release the database.
pub(crate) fn run(
    Runtime { system, hangup }: Runtime,
    config: Config,
    lock_wait: Duration,
    log: &Lines,
    level: LogLevel,
) -> Result<(), Failure> {
    let now = Clock::System.now();
    if now < Timestamp::EPOCH {
        // The web framework cannot write such a date, and stored records would be out of order.
        let message =
            format!("the system time is {now}, before 1970; set the clock, and start again");
        return Err(Failure::new(EX_TEMPFAIL, message));
    }
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
    show_new_key(&config);
    // The summary is optional, so an error is ignored.
    drop(print_summary(&config, &listeners));
    let serving = serve(config, hangup, listeners, Arc::new(store), metrics, log, level);
    let ended = system.block_on(serving);
    // Remaining tasks end here, before the store closes.
    drop(system);
    ended?;
    if closing.close() {
        Ok(())
    } else {
        Err(Failure::io("the store failed during shutdown; check the log"))
    }
}

fn failure(failed: StopCause) -> Failure {
    match failed {
        StopCause::Disk => Failure::io(
            "the disk failed; all acknowledged webhooks are stored. Check the disk; the next start \
             copies the data to new blocks before it serves",
        ),
        StopCause::Replaced => Failure::io(
            "the database, its -wal or its .lock was removed or replaced while the server used it; \
             put the database and its -wal back before you start again",
        ),
        StopCause::Panicked => Failure::new(
            EX_SOFTWARE,
            "a thread panicked; all acknowledged webhooks are stored. Start again, and report the \
             log",
        ),
        StopCause::Damaged => Failure::new(
            EX_DATAERR,
            "the database is damaged; check the disk, and restore a backup with `statusmirror \
             restore FILE`, which keeps the damaged files",
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
    level: LogLevel,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let dyn_store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
    let running = config.running();
    let (max_in_flight, budget) = (config.store.max_in_flight, config.store.budget.clone());
    let ingest = Arc::new(Ingest::new(
        config.sources,
        Arc::clone(&dyn_store),
        max_in_flight,
        metrics,
        budget,
    ));
    let service = Service::new(
        Arc::clone(&ingest),
        Arc::clone(&dyn_store),
        config.api_keys,
        config.server.trusted_proxies,
        Clock::System,
    )
    .with_max_event_streams(config.server.max_event_streams);
    let service = Data::new(service);
    let admin = admin::bind(&config.store.path).map_err(|error| {
        Failure::io(format!(
            "cannot create the admin socket {}: {error}",
            admin::socket(&config.store.path).display()
        ))
    })?;
    let (reload, requests) = mpsc::channel(1);
    let admin_service =
        Admin { ingest, store: dyn_store, clock: Clock::System, reload: Some(reload) };
    actix_web::rt::spawn(retention::run_daily(admin_service.clone(), config.retention));
    let admin = actix_web::rt::spawn(admin_service.serve(admin));
    let (listen, internal_listen) = addresses(&listeners)?;
    let servers = http::servers(&service, listeners, connections()?)?;
    let handles: Vec<_> = servers.iter().map(Server::handle).collect();
    let servers: Vec<_> = servers.into_iter().map(actix_web::rt::spawn).collect();
    let configuration = config.file.as_ref().map(|file| file.display().to_string());
    let effect = reload::InEffect { running, service: Data::clone(&service), level };
    let reloading = actix_web::rt::spawn(reload::run(hangup, requests, config.file, effect));
    tracing::info!(listen, internal_listen, configuration, "serving");
    notify_supervisor(NotifyState::Ready);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failed = store.failure() => {
            // Gives pending requests time to be answered.
            sleep(ANSWER_FLUSH_TIMEOUT).await;
            // Nothing is closed: closing could write to the failed disk.
            let failure = failure(failed);
            log.add(failure.line().as_bytes());
            log.flush(LOG_FLUSH_TIMEOUT);
            std::process::exit(failure.code);
        }
    }
    tracing::info!("stopping");
    notify_supervisor(NotifyState::Stopping);
    service.shutdown.trigger();
    let drain_and_stop = async {
        // New requests are still answered, with 503, until the accepted ones have drained.
        let drained = async {
            while service.in_flight.load(Ordering::SeqCst) > 0 {
                sleep(DRAIN_CHECK_INTERVAL).await;
            }
        };
        if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            let requests = service.in_flight.load(Ordering::SeqCst);
            tracing::warn!(requests, "drain timeout: stopping with requests in flight");
        }
        // Without this, idle connections would delay the end until they time out.
        let stopped: Vec<_> = handles.iter().map(|handle| handle.stop(true)).collect();
        let all_stopped = async {
            for stopped in stopped {
                stopped.await;
            }
        };
        drop(timeout(ANSWER_FLUSH_TIMEOUT, all_stopped).await);
    };
    tokio::select! {
        () = drain_and_stop => {}
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

/// Notifies systemd, if it expects that (`Type=notify`).
fn notify_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify systemd of the state of the service");
    }
}

/// Maximum number of connections: the number of free file descriptors, after raising the process's limit as
/// far as allowed. When fewer than [`RESERVED_DESCRIPTORS`] are left, connections that wait are closed.
fn connections() -> Result<Connections, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // If the limit may not be raised, the present one applies.
    let raised = setrlimit(Resource::Nofile, raised).map_or(limit, |()| raised);
    let max_descriptors = usize::try_from(raised.current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let workers = std::thread::available_parallelism()?.get();
    // Includes the descriptor of this listing itself, which is not subtracted again.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let free = max_descriptors.saturating_sub(open + 2 * workers * DESCRIPTORS_PER_WORKER);
    let soft_limit = free.saturating_sub(RESERVED_DESCRIPTORS).min(MAX_CONNECTIONS);
    Ok(Connections { soft_limit, hard_limit: soft_limit + ACCEPT_HEADROOM })
}

/// Listens on every address that the value of this key resolves to. A machine need not have all of them:
/// `localhost` often resolves to an IPv6 address too.
fn listen(key: &str, address: &str) -> Result<Vec<TcpListener>, Failure> {
    let cannot_listen = |error: Error| {
        if error.kind() == ErrorKind::PermissionDenied {
            let message = format!(
                "cannot listen on {address} ({key}): {error}; a port below 1024 requires root or the \
                 capability CAP_NET_BIND_SERVICE; use a higher port, or give the capability"
            );
            return Failure::new(EX_NOPERM, message);
        }
        Failure::unavailable(format!(
            "cannot listen on {address} ({key}): {error}; choose another address, or stop the \
             process that uses it"
        ))
    };
    let mut listeners = Vec::new();
    let mut absent = None;
    for address in address.to_socket_addrs().map_err(cannot_listen)? {
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => absent = Some(error),
            Err(error) => return Err(cannot_listen(error)),
        }
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(cannot_listen(error)),
        _ => Ok(listeners),
    }
}

/// Binds a listener like the standard library, with a larger backlog.
fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Connections inherit both sizes; without them the kernel could keep some megabytes for each.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
