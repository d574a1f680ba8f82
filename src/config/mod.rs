//! From what is written to what is meant. The only reader of the environment.
//!
//! Layers: `config/statusmirror.toml` (embedded, every default), then the file, then the
//! environment. An error names the file or the variable, the key, and the mend.

mod demo;
pub mod duration;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use self::demo::{Made, NAME as DEMO, Secrets};
use crate::dialect::{self, Source, is_name};
use crate::http::key::{ApiKey, Scope};
use crate::ingest::BODY_BUDGET;
use crate::proof::encoding;
use crate::proof::hmac::{self, Hmac};
use crate::proof::standard_webhooks::StandardWebhooks;
use crate::proof::{Scheme, Secret, Unusable, Window};
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
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host and port.
    pub listen: String,
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

/// Reads the configuration: the defaults, this file, the environment.
pub fn read(file: Option<&Path>, secrets: Secrets) -> Result<Config, ConfigError> {
    let (raw, origins) = raw::read(file)?;
    interpret(raw, secrets).map_err(|error| match error {
        ConfigError::Key { key, mend, .. } => {
            ConfigError::Key { origin: origins.of(&key), key, mend }
        }
        error @ (ConfigError::File { .. } | ConfigError::Make { .. }) => error,
    })
}

/// The secret in this environment variable.
pub fn secret_from_env(variable: &str) -> Result<String, ConfigError> {
    raw::Secret::Env { env: variable.to_owned() }.resolve(variable)
}

fn interpret(raw: raw::Raw, secrets: Secrets) -> Result<Config, ConfigError> {
    let path =
        raw.store.url.strip_prefix("sqlite:").filter(|path| !path.is_empty()).ok_or_else(|| {
            ConfigError::at("store.url", "write sqlite: and the path of a file".to_owned())
        })?;
    let path = PathBuf::from(path);
    if raw.store.queue == 0 {
        return Err(ConfigError::at("store.queue", "at least 1 must be possible".to_owned()));
    }
    let retention = (!raw.store.retention.is_empty())
        .then(|| duration::duration(&raw.store.retention))
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
    let public_url = raw.server.public_url.trim_end_matches('/').to_owned();
    let mut warnings = Vec::new();
    let mut sources = Vec::new();
    for (name, raw) in raw.sources {
        sources.push(source(&name, raw, &public_url, &mut warnings)?);
    }
    let mut demo_secret = None;
    if sources.is_empty() {
        demo::require_loopback(&raw.server.listen, "no source is")?;
        let made = demo::secret(&path, "secret", secrets)?;
        let settings = dialect::Settings {
            name: DEMO.to_owned(),
            dialect: by_name("gateway", "sources.demo.dialect")?,
            scheme: Scheme::UrlToken(vec![Secret::new(&made.text)]),
            window: Window::default(),
            public_url: String::new(),
            provider: None,
            max_body_bytes: 256 << 10,
        };
        let source = Source::new(settings);
        sources.push(source.map_err(|bad| ConfigError::at("sources.demo", bad.to_string()))?);
        demo_secret = Some(made);
    }
    let mut api_keys = Vec::new();
    for (name, raw) in raw.api_keys {
        let new: ApiKey = api_key(name, raw, &mut warnings)?;
        if let Some(same) = api_keys.iter().find(|key: &&ApiKey| key.sha256 == new.sha256) {
            let mend = format!("the key is that of `{}` too; make another", same.name);
            return Err(ConfigError::at(&format!("api_keys.{}", new.name), mend));
        }
        api_keys.push(new);
    }
    let mut demo_key = None;
    if api_keys.is_empty() {
        demo::require_loopback(&raw.server.listen, "no API key is")?;
        match demo::secret(&path, "key", secrets) {
            Ok(made) => {
                api_keys.push(ApiKey::new(DEMO, &made.text, vec![Scope::Read, Scope::Register]));
                demo_key = Some(made);
            }
            // Most commands need no key.
            Err(_not_made) if secrets == Secrets::Find => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Config {
        server: Server { listen: raw.server.listen, public_url },
        store: Settings {
            queue: raw.store.queue,
            quarantine_max_rows: raw.quarantine.max_rows,
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
        warnings,
    })
}

fn by_name(name: &str, key: &str) -> Result<&'static dyn dialect::Dialect, ConfigError> {
    dialect::by_name(name).ok_or_else(|| {
        let known: Vec<_> = dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        let mend = format!("unknown dialect `{name}`; there are {}", known.join(", "));
        ConfigError::at(key, mend)
    })
}

fn source(
    name: &str,
    raw: raw::Source,
    server_url: &str,
    warnings: &mut Vec<String>,
) -> Result<Source, ConfigError> {
    let key = |rest: &str| format!("sources.{name}{rest}");
    let default = Window::default();
    let window = Window {
        max_age_seconds: raw.verify.max_age_seconds.map_or(default.max_age_seconds, i64::from),
        max_skew_seconds: raw.verify.max_skew_seconds.map_or(default.max_skew_seconds, i64::from),
    };
    let public_url = if !raw.public_url.is_empty() {
        raw.public_url
    } else if server_url.is_empty() {
        String::new()
    } else {
        format!("{server_url}/webhooks/{name}")
    };
    if !(1..=BODY_BUDGET).contains(&raw.max_body_bytes) {
        let mend = format!("write a number from 1 to {BODY_BUDGET}: more is never read at a time");
        return Err(ConfigError::at(&key(".max_body_bytes"), mend));
    }
    let settings = dialect::Settings {
        name: name.to_owned(),
        dialect: by_name(&raw.dialect, &key(".dialect"))?,
        scheme: scheme(name, raw.verify, warnings)?,
        window,
        public_url,
        provider: (!raw.provider.is_empty()).then_some(raw.provider),
        max_body_bytes: raw.max_body_bytes,
    };
    Source::new(settings).map_err(|bad| ConfigError::at(&key(""), bad.to_string()))
}

fn scheme(name: &str, raw: raw::Verify, warnings: &mut Vec<String>) -> Result<Scheme, ConfigError> {
    let key = |rest: &str| format!("sources.{name}.verify.{rest}");
    let unusable = |bad: Unusable| ConfigError::at(&key(bad.key), bad.mend);
    let only_for_hmac = raw.only_for_hmac();
    let mut secrets = Vec::new();
    for secret in raw.secrets.map(raw::OneOrMany::into_vec).unwrap_or_default() {
        let text = secret.resolve(&key("secrets"))?;
        if text.len() < SHORT_SECRET {
            warnings.push(format!(
                "{}: a secret has fewer than {SHORT_SECRET} characters and can be guessed",
                key("secrets")
            ));
        }
        secrets.push(Secret::new(&text));
    }
    if raw.scheme == "none" && (!secrets.is_empty() || only_for_hmac.is_some()) {
        let mend = "the scheme none takes nothing else; remove the other keys, or choose another \
                    scheme"
            .to_owned();
        return Err(ConfigError::at(&key("scheme"), mend));
    }
    if raw.scheme == "none" {
        warnings.push(format!(
            "source `{name}` takes whatever comes at its word: anyone who reaches it can write"
        ));
        return Ok(Scheme::None);
    }
    let needs_secrets = ["url-token", "signed-url", "hmac", "standard-webhooks", "native"];
    if !needs_secrets.contains(&raw.scheme.as_str()) {
        let mend = format!(
            "unknown scheme `{}`; there are {} and none",
            raw.scheme,
            needs_secrets.join(", ")
        );
        return Err(ConfigError::at(&key("scheme"), mend));
    }
    if raw.scheme != "hmac"
        && let Some(only) = only_for_hmac
    {
        let mend = format!("only the scheme hmac has this key, not {}; remove it", raw.scheme);
        return Err(ConfigError::at(&key(only), mend));
    }
    if secrets.is_empty() {
        let mend = format!("the scheme {} needs at least one secret", raw.scheme);
        return Err(ConfigError::at(&key("secrets"), mend));
    }
    Ok(match raw.scheme.as_str() {
        "url-token" => Scheme::UrlToken(secrets),
        "signed-url" => Scheme::SignedUrl(secrets),
        "standard-webhooks" => {
            Scheme::StandardWebhooks(StandardWebhooks::new(&secrets).map_err(unusable)?)
        }
        "hmac" => {
            let default = hmac::Settings::default();
            let settings = hmac::Settings {
                header: raw.header.unwrap_or(default.header),
                algorithm: raw.algorithm.unwrap_or(default.algorithm),
                encoding: raw.encoding.unwrap_or(default.encoding),
                prefix: raw.prefix.unwrap_or(default.prefix),
                separator: raw.separator.unwrap_or(default.separator),
                signed: raw.signed.unwrap_or(default.signed),
                timestamp: raw.timestamp.unwrap_or(default.timestamp),
                timestamp_unit: raw.timestamp_unit.unwrap_or(default.timestamp_unit),
                id_header: raw.id_header.unwrap_or(default.id_header),
                secret_encoding: raw.secret_encoding.unwrap_or(default.secret_encoding),
            };
            Scheme::Hmac(Hmac::new(&secrets, &settings).map_err(unusable)?)
        }
        _ => Scheme::Native(secrets),
    })
}

fn api_key(
    name: String,
    raw: raw::ApiKey,
    warnings: &mut Vec<String>,
) -> Result<ApiKey, ConfigError> {
    let key = |rest: &str| format!("api_keys.{name}{rest}");
    if !is_name(&name) {
        return Err(ConfigError::at(&key(""), dialect::BadSource::Name.to_string()));
    }
    let mut scopes = Vec::new();
    for scope in raw.scopes.map_or_else(|| vec!["read".to_owned()], raw::OneOrMany::into_vec) {
        scopes.push(match scope.as_str() {
            "read" => Scope::Read,
            "register" => Scope::Register,
            _ => {
                let mend = format!("unknown scope `{scope}`; there are read and register");
                return Err(ConfigError::at(&key(".scopes"), mend));
            }
        });
    }
    if scopes.is_empty() {
        let mend = "a key without a scope may do nothing; name read, register or both".to_owned();
        return Err(ConfigError::at(&key(".scopes"), mend));
    }
    match (raw.key, raw.sha256) {
        (Some(secret), None) => {
            let text = secret.resolve(&key(".key"))?;
            if text.len() < SHORT_SECRET {
                warnings.push(format!(
                    "{}: the key has fewer than {SHORT_SECRET} characters and can be guessed",
                    key(".key")
                ));
            }
            Ok(ApiKey::new(&name, &text, scopes))
        }
        (None, Some(hash)) => {
            let bytes = encoding::unhex(hash.as_bytes()).and_then(|bytes| bytes.try_into().ok());
            let sha256 = bytes.ok_or_else(|| {
                ConfigError::at(&key(".sha256"), "write the 64 digits of a SHA-256".to_owned())
            })?;
            Ok(ApiKey { name, sha256, scopes })
        }
        _ => {
            let mend = "give either `key` or `sha256`".to_owned();
            Err(ConfigError::at(&key(""), mend))
        }
    }
}
