//! From what is written to what is meant. The only reader of the environment.
//!
//! Layers: `config/statusmirror.toml` (embedded, every default), then the file, then the
//! environment. An error names the file or the variable, the key, and the mend.

mod access;
mod database;
mod demo;
pub mod duration;
mod locate;
mod raw;
mod regular;
mod running;
mod secret;
mod setting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use self::database::exposed;
pub use self::demo::{Made, NAME as DEMO, Secrets};
pub use self::locate::locate;
pub use self::running::Running;
pub use self::setting::Setting;
use crate::clock::Clock;
use crate::dialect::{self, Source};
use crate::http::key::{ApiKey, Scope};
use crate::http::proxies::TrustedProxies;
use crate::message::Timestamp;
use crate::proof::{Scheme, Secret, Window};
use crate::store::sqlite::Settings;

/// A secret shorter than this can be guessed.
const SHORT_SECRET: usize = 16;

/// Everything that can be set.
pub struct Config {
    /// Where to listen, and under which address senders know it.
    pub server: Server,
    /// Where and how to keep everything.
    pub store: Settings,
    /// After how long without news a message is removed; none if it is kept for ever.
    pub retention: Option<Duration>,
    /// How to log.
    pub log: Log,
    /// Who may post.
    pub sources: Vec<Source>,
    /// Who may ask.
    pub api_keys: Vec<ApiKey>,
    /// What was made because nothing is configured: the source's secret, and the key.
    pub demo_secret: Option<Made>,
    /// The same for the key.
    pub demo_key: Option<Made>,
    /// The files that hold secrets.
    pub secret_files: Vec<PathBuf>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Every setting that holds, secrets left out.
    pub settings: Vec<Setting>,
    /// The file that was read; none if there is none.
    pub file: Option<PathBuf>,
    /// Whether that file has no setting.
    pub sets_nothing: bool,
    /// The database's path as it is written; `store` has the whole one.
    pub written_database: PathBuf,
    /// Every key that is read only at the start, with its value.
    fixed: BTreeMap<String, String>,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host and port.
    pub listen: String,
    /// Host and port of everything but webhooks, if that has a listener of its own.
    pub internal_listen: Option<String>,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// How many clients may listen to events at a time.
    pub max_event_streams: usize,
    /// The address under which senders reach the service; empty if none is set.
    pub public_url: String,
}

/// How to log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The least level that is logged.
    pub level: String,
    /// `auto`, `pretty` or `json`.
    pub format: String,
}

/// What is wrong with the configuration, and how to mend it.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read, or is no TOML.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A file is there and cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: String,
    },
    /// A reload would remove what hardly anybody wants to remove.
    #[error("it would {0}; if that is meant, run `statusmirror reload --yes`")]
    Unconfirmed(String),
    /// A file cannot be made.
    #[error("cannot make {path}: {error}")]
    Make {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: String,
    },
    /// A key is wrong.
    #[error("{origin}: {key}: {mend}")]
    Key {
        /// The file or the variable that has it.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        mend: String,
    },
}

impl ConfigError {
    fn at(key: &str, mend: String) -> Self {
        Self::Key { origin: "configuration".to_owned(), key: key.to_owned(), mend }
    }
}

impl Config {
    /// What of it holds while the process runs.
    pub fn running(&self) -> Running {
        Running::new(self)
    }

    /// Rejects a file that has no setting: it was emptied, or is the wrong one. Without a file there
    /// is nothing to be wrong.
    pub fn require_settings(&self) -> Result<(), ConfigError> {
        require_settings(self.file.as_deref(), self.sets_nothing)
    }
}

fn require_settings(file: Option<&Path>, sets_nothing: bool) -> Result<(), ConfigError> {
    match file {
        Some(path) if sets_nothing => Err(ConfigError::File {
            path: path.to_owned(),
            error: "it has no setting; write some, or start without a file for a demo".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Reads the configuration: the defaults, this file, the environment.
pub fn read(file: Option<&Path>, secrets: Secrets) -> Result<Config, ConfigError> {
    read_with(file, secrets, None)
}

/// Reads it again for a service that runs already. Its keys and sources are to be used where that
/// one listens, and secrets that nobody chose are kept beside its database. What would leave no source
/// or no key, or remove more than half of them, must be confirmed.
pub fn read_again(
    file: Option<&Path>,
    running: &Running,
    is_confirmed: bool,
) -> Result<Config, ConfigError> {
    let config = read_with(file, Secrets::Make, Some(running))?;
    if !is_confirmed {
        running.judge(&config)?;
    }
    Ok(config)
}

/// Where a server with this configuration listens, whatever else is wrong with it.
pub fn listen(file: Option<&Path>) -> Result<String, ConfigError> {
    Ok(raw::read(file)?.0.server.listen)
}

/// Where the database of a server with this configuration is, whatever else is wrong with it.
pub fn database(file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let path = database::path(&raw::read(file)?.0.store.url);
    Ok(whole(&path.map_err(|mend| ConfigError::at("store.url", mend))?))
}

fn read_with(
    file: Option<&Path>,
    secrets: Secrets,
    running: Option<&Running>,
) -> Result<Config, ConfigError> {
    let (raw, origins) = raw::read(file)?;
    // Before any secret is made.
    if secrets == Secrets::Make {
        require_settings(file, origins.sets_nothing)?;
    }
    let settings = origins.settings(&raw);
    let secret_files = raw.secret_files(file);
    let config = interpret(raw, secrets, running, Clock::System.now());
    let config = config.map_err(|error| match error {
        ConfigError::Key { key, mend, .. } => {
            ConfigError::Key { origin: origins.of(&key), key, mend }
        }
        error @ (ConfigError::File { .. }
        | ConfigError::Unreadable { .. }
        | ConfigError::Unconfirmed(_)
        | ConfigError::Make { .. }) => error,
    })?;
    let (fixed, sets_nothing) = (origins.fixed(), origins.sets_nothing);
    let file = file.map(Path::to_owned);
    Ok(Config { secret_files, settings, file, sets_nothing, fixed, ..config })
}

/// Whether the environment names a collector of traces. What it says of it is the library's to read.
#[cfg(feature = "otlp")]
pub fn names_collector() -> bool {
    raw::names_collector()
}

/// The secret in this environment variable.
pub fn secret_from_env(variable: &str) -> Result<String, ConfigError> {
    secret::Secret::Env { env: variable.to_owned() }.resolve(variable, &mut Vec::new())
}

fn interpret(
    raw: raw::Raw,
    secrets: Secrets,
    running: Option<&Running>,
    now: Timestamp,
) -> Result<Config, ConfigError> {
    let written_database =
        database::path(&raw.store.url).map_err(|mend| ConfigError::at("store.url", mend))?;
    let path = whole(&written_database);
    if raw.store.queue == 0 {
        return Err(ConfigError::at("store.queue", "at least 1 must be possible".to_owned()));
    }
    let retention = (!raw.store.retention.is_empty())
        .then(|| duration::positive(&raw.store.retention))
        .transpose()
        .map_err(|words| ConfigError::at("store.retention", words))?;
    let external_checkpoints = match raw.store.checkpoints.as_str() {
        "own" => false,
        "external" => true,
        _ => return Err(ConfigError::at("store.checkpoints", "use own or external".to_owned())),
    };
    if !["auto", "pretty", "json"].contains(&raw.log.format.as_str()) {
        return Err(ConfigError::at("log.format", "use auto, pretty or json".to_owned()));
    }
    if !["error", "warn", "info", "debug", "trace"].contains(&raw.log.level.as_str()) {
        let mend = "use error, warn, info, debug or trace".to_owned();
        return Err(ConfigError::at("log.level", mend));
    }
    let server = server(raw.server)?;
    let reached = running.map_or(&server, |running| &running.server);
    let beside = running.map_or(&path, |running| &running.database);
    let mut warnings: Vec<_> = exposed(&path).into_iter().collect();
    let mut sources = Vec::new();
    for (name, raw) in raw.sources {
        sources.push(access::source(&name, raw, &server.public_url, &mut warnings)?);
    }
    let mut demo_secret = None;
    if sources.is_empty()
        && running.is_none_or(Running::may_make_source)
        && let Some(made) =
            demo::stands_in("server.listen", &reached.listen, beside, "secret", secrets)?
    {
        let settings = dialect::Settings {
            name: DEMO.to_owned(),
            dialect: access::by_name("gateway", "sources.demo.dialect")?,
            scheme: Scheme::UrlToken(vec![Secret::new(&made.text)]),
            window: Window::default(),
            public_url: String::new(),
            provider: None,
            max_body_bytes: 256 << 10,
            max_rate: None,
        };
        let source = Source::new(settings);
        sources.push(source.map_err(|bad| ConfigError::at("sources.demo", bad.to_string()))?);
        demo_secret = Some(made);
    }
    let mut api_keys = Vec::new();
    for (name, raw) in raw.api_keys {
        let new: ApiKey = access::api_key(name, raw, now, &mut warnings)?;
        if let Some(same) = api_keys.iter().find(|key: &&ApiKey| key.sha256 == new.sha256) {
            let mend = format!("the key is that of `{}` too; make another", same.name);
            return Err(ConfigError::at(&format!("api_keys.{}", new.name), mend));
        }
        api_keys.push(new);
    }
    let mut demo_key = None;
    if api_keys.is_empty() && running.is_none_or(Running::may_make_key) {
        let (key, listen) = match &reached.internal_listen {
            Some(listen) => ("server.internal_listen", listen),
            None => ("server.listen", &reached.listen),
        };
        demo_key = demo::stands_in(key, listen, beside, "key", secrets)?;
        if let Some(made) = &demo_key {
            api_keys.push(ApiKey::new(DEMO, &made.text, vec![Scope::Read, Scope::Register]));
        }
    }
    Ok(Config {
        server,
        store: Settings {
            queue: raw.store.queue,
            quarantine_max_rows: raw.quarantine.max_rows,
            quarantine_max_bytes: raw.quarantine.max_bytes,
            any_filesystem: raw.store.any_filesystem,
            external_checkpoints,
            runtime_directory: raw::runtime_directory(),
            ..Settings::new(path)
        },
        retention,
        log: Log { level: raw.log.level, format: raw.log.format },
        sources,
        api_keys,
        demo_secret,
        demo_key,
        secret_files: Vec::new(),
        warnings,
        settings: Vec::new(),
        file: None,
        sets_nothing: false,
        written_database,
        fixed: BTreeMap::new(),
    })
}

fn server(raw: raw::Server) -> Result<Server, ConfigError> {
    let proxies = TrustedProxies::new(&raw.trusted_proxies.0);
    Ok(Server {
        listen: raw.listen,
        internal_listen: (!raw.internal_listen.is_empty()).then_some(raw.internal_listen),
        trusted_proxies: proxies
            .map_err(|wrong| ConfigError::at("server.trusted_proxies", wrong.to_string()))?,
        max_event_streams: raw.max_event_streams,
        public_url: raw.public_url.trim_end_matches('/').to_owned(),
    })
}

/// The whole path of a file, whatever the working directory is.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_directory| path.to_owned())
}
