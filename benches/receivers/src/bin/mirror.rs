//! `mirror`: statusmirror with parts left out, to measure their cost. Environment variables select the
//! variant:
//!
//! - None: statusmirror itself.
//! - `UNWATCHED`: statusmirror assembled from its library, without metrics and logs of webhooks.
//! - `UNSUMMED`, with `UNWATCHED`: also without hourly counts.
//! - `BATCHES`, with `UNWATCHED`: also with a source `batches`, whose deliveries have many entries. No dialect of
//!   statusmirror has such deliveries yet.
//!
//! All variants are one program, because the code layout of two programs changes their CPU use by as much as
//! the measured parts.

use std::env;
use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use actix_web::rt::System;
use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::web::Data;
use statusmirror::cli;
use statusmirror::clock::Clock;
use statusmirror::config::{self, Secrets};
use statusmirror::dialect::{
    DecodeError, Dialect, EntryStatement, Name, ReadEntry, Settings, Source,
};
use statusmirror::http::app_state::Service;
use statusmirror::http::{self, Connections, Listeners};
use statusmirror::ingest::Ingest;
use statusmirror::message::{Channel, Reference, StatedProvider, Status};
use statusmirror::metrics::Metrics;
use statusmirror::payload::RawPayload;
use statusmirror::store::Store;
use statusmirror::store::sqlite::SqliteStore;
use statusmirror::verify::{Scheme, Window};

/// Allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Limit of connections: more than the bench opens.
const CONNECTIONS: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    if env::var_os("UNWATCHED").is_none() {
        process::exit(cli::run());
    }
    let file = env::args_os().last().map(PathBuf::from);
    let mut config = config::read(file.as_deref(), Secrets::Require)?;
    config.store.hourly_counts = env::var_os("UNSUMMED").is_none();
    if env::var_os("BATCHES").is_some() {
        config.sources.push(batches_source()?);
    }
    let (store, closing) = SqliteStore::open(&config.store)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let metrics = Arc::new(Metrics::new(Clock::System.now()));
    let (started_at, max_in_flight) = (metrics.started_at(), config.store.max_in_flight);
    let budget = config.store.budget.clone();
    let ingest = Ingest::new(
        config.sources,
        Arc::clone(&store),
        max_in_flight,
        Arc::clone(&metrics),
        budget,
    );
    // Without instruments no source is counted.
    metrics.configure([], started_at);
    let service = Data::new(Service::new(
        Arc::new(ingest),
        store,
        config.api_keys,
        config.server.trusted_proxies,
        Clock::System,
    ));
    let public = vec![TcpListener::bind(&config.server.listen)?];
    System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let listeners = Listeners { public, internal: Vec::new() };
        let connections = Connections { soft_limit: CONNECTIONS, hard_limit: CONNECTIONS };
        let server = http::servers(&service, listeners, connections)?.remove(0);
        let handle = server.handle();
        let server = actix_web::rt::spawn(server);
        terminate.recv().await;
        handle.stop(false).await;
        server.await?
    })?;
    drop(service);
    if closing.close() { Ok(()) } else { Err("the store failed during shutdown".into()) }
}

/// Dialect whose deliveries have one entry per line: the message's id and the time of SENT.
struct Lines;

impl Dialect for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn foreign_ids(&self) -> bool {
        false
    }

    fn test_delivery(&self) -> (&'static str, &'static str) {
        ("text/plain", "")
    }

    fn read(&self, content: &RawPayload) -> Result<Vec<ReadEntry>, DecodeError> {
        let text = str::from_utf8(&content.body);
        let text = text.map_err(|error| DecodeError(error.to_string()))?;
        text.lines().map(|line| parse_line(line).map(|entry| Ok(Box::new(entry)))).collect()
    }
}

fn parse_line(line: &str) -> Result<EntryStatement, DecodeError> {
    let parse = || {
        let (id, time) = line.split_once(' ')?;
        Some((id.parse().ok()?, time.parse().ok()?))
    };
    let (id, time) = parse().ok_or_else(|| DecodeError(format!("not an id and a time: {line}")))?;
    Ok(EntryStatement {
        message: Name::Ours(id),
        status: Status::Sent,
        stated_at: Some(time),
        accepted_at: None,
        channel: Channel::Sms,
        destination: None,
        reference: Reference::default(),
        provider: StatedProvider::default(),
        plain_words: None,
        segments: None,
    })
}

/// Source without verification.
fn batches_source() -> Result<Source, Box<dyn Error>> {
    Ok(Source::new(Settings {
        name: "batches".to_owned(),
        dialect: &Lines,
        scheme: Scheme::None,
        window: Window::default(),
        public_url: String::new(),
        provider: None,
        max_body_bytes: 256 << 10,
        max_rate: None,
    })?)
}
