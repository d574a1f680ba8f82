//! `statusmirror serve`: from start to an orderly end.

use std::io::{IsTerminal, Write, stderr};
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::Data;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::Failure;
use crate::admin::{self, Admin};
use crate::config::{Config, DEMO};
use crate::http;
use crate::http::state::{Clock, Service};
use crate::ingest::Ingest;
use crate::store::Store;
use crate::store::sqlite::{Settings, SqliteStore};

/// How long requests under way may take when the service stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(10);

/// Serves until told to stop; waits so long for a predecessor to give the database up.
pub(super) fn run(config: Config, file: Option<&Path>, lock_wait: Duration) -> Result<(), Failure> {
    let (store, closing) = SqliteStore::open(&Settings {
        path: config.store.path.clone(),
        queue: config.store.queue,
        quarantine_max_rows: config.quarantine_max_rows,
        lock_wait,
    })?;
    banner(&config, file)?;
    let ended = actix_web::rt::System::new().block_on(serve(config, Arc::new(store)))?;
    match ended {
        Ended::Stopped if closing.close() => Ok(()),
        Ended::Stopped | Ended::DiskFailed => Err(Failure::io(
            "the store failed; what was acknowledged is stored, look at the disk before you \
             start again",
        )),
    }
}

enum Ended {
    Stopped,
    DiskFailed,
}

async fn serve(config: Config, store: Arc<SqliteStore>) -> Result<Ended, Failure> {
    let listeners = listen(&config.server.listen)?;
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
    let admin = actix_web::rt::spawn(Admin { ingest, store: seam }.serve(admin));
    let server = http::server(Data::clone(&service), listeners)?;
    let handle = server.handle();
    let server = actix_web::rt::spawn(server);
    tracing::info!(listen = config.server.listen, "serving");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ended::Stopped,
        _ = interrupt.recv() => Ended::Stopped,
        () = store.failure() => Ended::DiskFailed,
    };
    if matches!(ended, Ended::DiskFailed) {
        // Closing the database could write to the disk that failed.
        std::process::exit(super::EX_IOERR);
    }
    tracing::info!("stopping");
    service.ingest.close();
    let orderly = async {
        let stopped = handle.stop(true);
        let drained = async {
            while service.under_way.load(Ordering::SeqCst) > 0 {
                sleep(LOOK).await;
            }
        };
        drop(timeout(DRAIN, drained).await);
        // Idle connections would otherwise hold the end up until they time out.
        drop(timeout(LOOK * 20, stopped).await);
        handle.stop(false).await;
    };
    tokio::select! {
        () = orderly => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    admin.abort();
    server.abort();
    drop(std::fs::remove_file(admin::socket(&config.store.path)));
    Ok(ended)
}

/// Listens on every address that the name stands for.
fn listen(address: &str) -> Result<Vec<TcpListener>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::unavailable(format!(
            "cannot listen on {address} (server.listen): {error}; choose another address, or stop \
             who has it"
        ))
    };
    let addresses = address.to_socket_addrs().map_err(cannot)?;
    addresses.map(|address| TcpListener::bind(address).map_err(cannot)).collect()
}

/// Says what was started, and what a newcomer may try next. The one place that shows the key that
/// was made.
fn banner(config: &Config, file: Option<&Path>) -> Result<(), Failure> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut out = stderr().lock();
    if let Some(key) = config.demo_key.as_ref().filter(|key| key.new) {
        writeln!(out, "A key was made, because no API key is configured: {}", key.text)?;
        writeln!(out, "It is shown only now, and kept in {}.", key.path.display())?;
    }
    if !stderr().is_terminal() {
        return Ok(());
    }
    let (listen, store) = (&config.server.listen, config.store.path.display());
    writeln!(out, "statusmirror {} on http://{listen}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  database       {store}")?;
    match file {
        Some(file) => writeln!(out, "  configuration  {}", file.display())?,
        None => writeln!(out, "  configuration  none; safe defaults hold")?,
    }
    if let (Some(secret), Some(key)) = (&config.demo_secret, &config.demo_key) {
        let (secret, key) = (secret.path.display(), key.path.display());
        writeln!(out, "  source         {DEMO}; its secret is kept in {secret}")?;
        writeln!(out, "Try next, in another terminal:")?;
        writeln!(out, "  statusmirror simulate --messages 1000")?;
        writeln!(out, "  statusmirror callback-url {DEMO} --destination +393331234567")?;
        writeln!(
            out,
            "  curl -H \"X-Api-Key: $(cat {key})\" \
             http://{listen}/api/messagestatus/phonenumber/+393331234567"
        )?;
    }
    Ok(())
}
