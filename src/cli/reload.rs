//! SIGHUP: API keys and sources are read again while the service goes on.
//!
//! Nothing waits for it, and what is wrong changes nothing: requests are judged by the old keys and
//! sources until the new ones are complete.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::web::Data;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{self, Config, ConfigError, Running};
use crate::dialect::Source;
use crate::http::key::ApiKey;
use crate::http::state::Service;

/// How long reading may take.
const READ_TIME: Duration = Duration::from_secs(5);

/// Reads the file again at each of these signals.
pub(super) async fn at(
    mut hangup: Signal,
    file: Option<PathBuf>,
    running: Running,
    service: Data<Service>,
) {
    while hangup.recv().await.is_some() {
        match read(file.clone(), running.clone()).await {
            Ok(config) => hold(config, &running, &service),
            Err(error) => {
                tracing::error!(%error, "not reloaded; the old API keys and sources hold");
            }
        }
    }
}

/// Reads on a thread of its own: the file of a secret may hang, and then neither requests, nor the
/// next signal, nor the end of the process are to wait for it.
async fn read(file: Option<PathBuf>, running: Running) -> Result<Config, ConfigError> {
    let path = file.clone().unwrap_or_else(|| PathBuf::from("configuration"));
    let broken = |error: String| ConfigError::File { path, error };
    let (read, done) = oneshot::channel();
    let reading = move || {
        let config = config::read_again(file.as_deref(), &running);
        if let Ok(config) = &config {
            super::show_new_key(config);
        }
        // The process may be ending.
        drop(read.send(config));
    };
    if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(reading) {
        return Err(broken(format!("there is no thread to read it: {error}; try again")));
    }
    match timeout(READ_TIME, done).await {
        Ok(Ok(config)) => config,
        Ok(Err(_gone)) => Err(broken("it could not be read; try again".to_owned())),
        Err(_elapsed) => Err(broken(format!(
            "not read within {} s; look at the files of secrets, and try again",
            READ_TIME.as_secs()
        ))),
    }
}

/// From now on these keys and sources hold.
fn hold(config: Config, running: &Running, service: &Service) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let restart = running.needs_restart(&config).join(", ");
    if !restart.is_empty() {
        tracing::warn!(settings = restart, "changed, but held until a restart");
    }
    let sources = &service.ingest.sources;
    let (old, old_keys) = (sources.all(), service.keys.replace(config.api_keys.clone()));
    service.ingest.replace_sources(config.sources, service.clock.now());
    let mut difference = Difference::default();
    difference.note("api_keys", &old_keys, &config.api_keys, |key: &ApiKey| &key.name);
    difference.note("sources", &old, &sources.all(), |source: &Arc<Source>| &source.name);
    let Difference { added, removed, changed } = difference;
    let [added, removed, changed] = [added, removed, changed].map(|names| names.join(", "));
    tracing::info!(added, removed, changed, "reloaded");
}

/// What is different, by name.
#[derive(Default)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    fn note<T: PartialEq>(&mut self, section: &str, old: &[T], new: &[T], name: fn(&T) -> &String) {
        let full = |one: &T| format!("{section}.{}", name(one));
        for one in new {
            match old.iter().find(|other| name(other) == name(one)) {
                None => self.added.push(full(one)),
                Some(other) if other != one => self.changed.push(full(one)),
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|one| !new.iter().any(|other| name(other) == name(one)));
        self.removed.extend(gone.map(full));
    }
}
