//! Reload by SIGHUP or `statusmirror reload`: reads API keys, sources and the log level again while the service
//! runs.
//!
//! No request waits for a reload, and an invalid configuration changes nothing: requests are judged by the
//! old keys and sources until the new ones are complete. A signal cannot confirm anything, so a reload that
//! removes most of them needs the command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::web::Data;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::access::api_key::ApiKey;
use crate::admin::{Reload, ReloadOrder, Reloaded};
use crate::cli::common::config_file::show_new_key;
use crate::cli::common::exit_code::{EX_CONFIG, EX_DATAERR, Failure};
use crate::cli::common::live;
use crate::cli::telemetry::LogLevel;
use crate::config::{self, Config, ConfigError, Running};
use crate::dialect::Source;
use crate::http::app_state::Service;

/// Time allowed for reading the configuration.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the running server to reload its configuration.
pub(crate) fn ask(database: &Path, yes: bool, out: &mut impl Write) -> Result<(), Failure> {
    let reloaded = live::ask(database, Reload { confirmed: yes }).map_err(not_reloaded)?;
    let Some(reloaded) = reloaded else {
        let message = format!(
            "no server has the database {} open; the next start reads the configuration",
            database.display()
        );
        return Err(Failure::unavailable(message));
    };
    let Reloaded { added, removed, changed, log_level, restart } = reloaded;
    writeln!(out, "added:     {added}")?;
    writeln!(out, "removed:   {removed}")?;
    writeln!(out, "changed:   {changed}")?;
    writeln!(out, "log level: {log_level}")?;
    if !restart.is_empty() {
        writeln!(out, "needs a restart: {restart}")?;
    }
    Ok(())
}

/// Failure of a reload, for which the server has stated the reason.
fn not_reloaded(failure: Failure) -> Failure {
    if failure.code != EX_DATAERR {
        return failure;
    }
    let message =
        format!("not reloaded; the old API keys and sources stay in effect: {}", failure.message);
    Failure::new(EX_CONFIG, message)
}

/// Parts of the running server that a reload changes.
pub(crate) struct InEffect {
    /// Settings in effect.
    pub(crate) running: Running,
    /// Service with the keys and sources.
    pub(crate) service: Data<Service>,
    /// Log level.
    pub(crate) level: LogLevel,
}

/// Reloads this file at each signal and at each request through the admin socket.
pub(crate) async fn run(
    mut hangup: Signal,
    mut requests: mpsc::Receiver<ReloadOrder>,
    file: Option<PathBuf>,
    mut effect: InEffect,
) {
    loop {
        let request = tokio::select! {
            signal = hangup.recv() => match signal {
                Some(()) => None,
                None => return,
            },
            Some(request) = requests.recv() => Some(request),
        };
        let is_confirmed = request.as_ref().is_some_and(|request| request.confirmed);
        let read = read(file.clone(), effect.running.clone(), is_confirmed).await;
        let reloaded = match read {
            Ok(config) => Ok(effect.apply(config)),
            Err(error) => {
                tracing::error!(%error, "not reloaded; the old API keys and sources stay in effect");
                Err(error.to_string())
            }
        };
        if let Some(request) = request {
            // The requester may be gone.
            drop(request.answer.send(reloaded));
        }
    }
}

/// Reads on a thread of its own: the file of a secret may hang, and neither requests, nor the next signal,
/// nor the end of the process may wait for it.
async fn read(
    file: Option<PathBuf>,
    running: Running,
    is_confirmed: bool,
) -> Result<Config, ConfigError> {
    let path = file.clone().unwrap_or_else(|| PathBuf::from("configuration"));
    let broken = |error: String| ConfigError::File { path, error };
    let (read, done) = oneshot::channel();
    let read_file = move || {
        let config = config::read_for_reload(file.as_deref(), &running, is_confirmed);
        if let Ok(config) = &config {
            show_new_key(config);
        }
        // The process may be ending.
        drop(read.send(config));
    };
    if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(read_file) {
        return Err(broken(format!("cannot start a thread to read it: {error}; try again")));
    }
    match timeout(READ_TIMEOUT, done).await {
        Ok(Ok(config)) => config,
        Ok(Err(_gone)) => Err(broken("it could not be read; try again".to_owned())),
        Err(_elapsed) => Err(broken(format!(
            "not read within {} s; check the secret files, and try again",
            READ_TIMEOUT.as_secs()
        ))),
    }
}

impl InEffect {
    /// Puts the keys, sources and log level of this configuration into effect.
    fn apply(&mut self, config: Config) -> Reloaded {
        let Self { running, service, level } = self;
        running.apply(&config);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let restart = running.needs_restart(&config).join(", ");
        if !restart.is_empty() {
            tracing::warn!(settings = restart, "changed settings take effect only after a restart");
        }
        let sources = &service.sources;
        let (old, old_keys) = (sources.all(), service.keys.replace(config.api_keys.clone()));
        service.ingest.replace_sources(config.sources, service.clock.now());
        let mut difference = Difference::default();
        difference.compare("api_keys", &old_keys, &config.api_keys, |key: &ApiKey| &key.name);
        difference.compare("sources", &old, &sources.all(), |source: &Arc<Source>| &source.name);
        let log_level = config.log.level;
        if level.name() != log_level {
            difference.changed.push("log.level".to_owned());
        }
        let Difference { added, removed, changed } = difference;
        let [added, removed, changed] = [added, removed, changed].map(|mut names| {
            names.sort_unstable();
            names.join(", ")
        });
        let file = config.file.as_ref().map(|file| file.display().to_string());
        // The more verbose level of both decides whether the reload itself is logged.
        level.raise(&log_level);
        tracing::info!(file, added, removed, changed, log_level, "reloaded");
        level.set(&log_level);
        Reloaded { added, removed, changed, log_level, restart }
    }
}

/// Names of added, removed and changed keys and sources.
#[derive(Default)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    fn compare<T: PartialEq>(
        &mut self,
        section: &str,
        old: &[T],
        new: &[T],
        name: fn(&T) -> &String,
    ) {
        let full_name = |one: &T| format!("{section}.{}", name(one));
        for one in new {
            match old.iter().find(|other| name(other) == name(one)) {
                None => self.added.push(full_name(one)),
                Some(other) if other != one => self.changed.push(full_name(one)),
                Some(_) => {}
            }
        }
        let removed = old.iter().filter(|one| !new.iter().any(|other| name(other) == name(one)));
        self.removed.extend(removed.map(full_name));
    }
}
