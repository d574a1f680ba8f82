//! Loading: typed settings, and the errors on the way to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bootstrap::{DEMO_NAME, Secrets};
use super::error::ConfigError;
use super::reload_guard::Running;
use super::settings::{Config, Log, Server, require_settings};
use super::store_url::permissions_warning;
use super::{bootstrap, duration, secret, sources_and_keys, store_url};
use crate::access::api_key::{ApiKey, Scope};
use crate::access::trusted_proxies::TrustedProxies;
use crate::clock::Clock;
use crate::config::layers::provenance::misspelt_variables;
use crate::config::layers::regular_file::absolute;
use crate::config::layers::{raw, read};
use crate::dialect::{self, Source};
use crate::message::Timestamp;
use crate::store::sqlite::Settings;
use crate::verify::{Scheme, Secret, Window};

/// Reads the configuration: the defaults, this file, the environment.
pub fn read(file: Option<&Path>, secrets: Secrets) -> Result<Config, ConfigError> {
    read_with(file, secrets, None)
}

/// Reads the configuration again for a running service. Its listeners decide whether demo secrets are
/// allowed, and those are kept beside its database. A change that would leave no source or no key, or remove
/// more than half of either, must be confirmed.
pub fn read_for_reload(
    file: Option<&Path>,
    running: &Running,
    is_confirmed: bool,
) -> Result<Config, ConfigError> {
    let config = read_with(file, Secrets::Create, Some(running))?;
    if !is_confirmed {
        running.check_removals(&config)?;
    }
    Ok(config)
}

/// Listen address of a server with this configuration, even if other settings are wrong.
pub fn listen(file: Option<&Path>) -> Result<String, ConfigError> {
    Ok(read::read(file)?.0.server.listen)
}

/// Database path of a server with this configuration, even if other settings are wrong.
pub fn database(file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let path = store_url::path(&read::read(file)?.0.store.url);
    Ok(absolute(&path.map_err(|remedy| ConfigError::at("store.url", remedy))?))
}

fn read_with(
    file: Option<&Path>,
    secrets: Secrets,
    running: Option<&Running>,
) -> Result<Config, ConfigError> {
    let (raw, origins) = read::read(file)?;
    // Checked before any secret is created.
    if secrets == Secrets::Create {
        require_settings(file, origins.has_no_settings)?;
    }
    let settings = origins.settings(&raw);
    let secret_files = raw.secret_files(file);
    let config = interpret(raw, secrets, running, Clock::System.now());
    let config = config.map_err(|error| match error {
        ConfigError::Key { key, remedy, .. } => {
            ConfigError::Key { origin: origins.fix_location(&key), key, remedy }
        }
        error @ (ConfigError::File { .. }
        | ConfigError::Unreadable { .. }
        | ConfigError::Unconfirmed(_)
        | ConfigError::Make { .. }) => error,
    })?;
    let mut warnings = config.warnings;
    warnings.extend(misspelt_variables(&settings));
    let (start_only, has_no_settings) = (origins.start_only(), origins.has_no_settings);
    let file = file.map(Path::to_owned);
    Ok(Config { secret_files, warnings, settings, file, has_no_settings, start_only, ..config })
}

/// Secret in this environment variable.
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
        store_url::path(&raw.store.url).map_err(|remedy| ConfigError::at("store.url", remedy))?;
    let path = absolute(&written_database);
    if raw.store.max_in_flight == 0 {
        return Err(ConfigError::at(
            "store.max_in_flight",
            "write a number of at least 1".to_owned(),
        ));
    }
    let retention = (!raw.store.retention.is_empty())
        .then(|| duration::positive(&raw.store.retention))
        .transpose()
        .map_err(|message| ConfigError::at("store.retention", message))?;
    let external_checkpoints = match raw.store.checkpoints.as_str() {
        "own" => false,
        "external" => true,
        _ => return Err(ConfigError::at("store.checkpoints", "use own or external".to_owned())),
    };
    if !["auto", "pretty", "json"].contains(&raw.log.format.as_str()) {
        return Err(ConfigError::at("log.format", "use auto, pretty or json".to_owned()));
    }
    if !["error", "warn", "info", "debug", "trace"].contains(&raw.log.level.as_str()) {
        let remedy = "use error, warn, info, debug or trace".to_owned();
        return Err(ConfigError::at("log.level", remedy));
    }
    let server = server(raw.server)?;
    let listening = running.map_or(&server, |running| &running.server);
    let database = running.map_or(&path, |running| &running.database);
    let mut warnings: Vec<_> = permissions_warning(&path).into_iter().collect();
    let mut sources = Vec::new();
    for (name, raw) in raw.sources {
        sources.push(sources_and_keys::source(&name, raw, &server.public_url, &mut warnings)?);
    }
    let mut demo_secret = None;
    if sources.is_empty()
        && running.is_none_or(Running::allows_demo_source)
        && let Some(generated) =
            bootstrap::demo_secret("server.listen", &listening.listen, database, "secret", secrets)?
    {
        let settings = dialect::Settings {
            name: DEMO_NAME.to_owned(),
            dialect: sources_and_keys::by_name("gateway", "sources.demo.dialect")?,
            scheme: Scheme::UrlToken(vec![Secret::new(&generated.text)]),
            window: Window::default(),
            public_url: String::new(),
            provider: None,
            max_body_bytes: 256 << 10,
            max_rate: None,
        };
        let source = Source::new(settings);
        sources.push(source.map_err(|bad| ConfigError::at("sources.demo", bad.to_string()))?);
        demo_secret = Some(generated);
    }
    let mut api_keys = Vec::new();
    for (name, raw) in raw.api_keys {
        let new: ApiKey = sources_and_keys::api_key(name, raw, now, &mut warnings)?;
        if let Some(duplicate) = api_keys.iter().find(|key: &&ApiKey| key.sha256 == new.sha256) {
            let remedy = format!("`{}` has the same key; create another key", duplicate.name);
            return Err(ConfigError::at(&format!("api_keys.{}", new.name), remedy));
        }
        api_keys.push(new);
    }
    let mut demo_key = None;
    if api_keys.is_empty() && running.is_none_or(Running::allows_demo_key) {
        let (key, listen) = match &listening.internal_listen {
            Some(listen) => ("server.internal_listen", listen),
            None => ("server.listen", &listening.listen),
        };
        demo_key = bootstrap::demo_secret(key, listen, database, "key", secrets)?;
        if let Some(generated) = &demo_key {
            let scopes = vec![Scope::Read, Scope::Register];
            api_keys.push(ApiKey::new(DEMO_NAME, &generated.text, scopes));
        }
    }
    Ok(Config {
        server,
        store: Settings {
            max_in_flight: raw.store.max_in_flight,
            quarantine_max_rows: raw.quarantine.max_rows,
            quarantine_max_bytes: raw.quarantine.max_bytes,
            allow_network_filesystem: raw.store.allow_network_filesystem,
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
        has_no_settings: false,
        written_database,
        start_only: BTreeMap::new(),
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
