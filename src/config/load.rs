//! Loading: typed settings, and the errors on the way to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bootstrap::{DEMO_NAME, Secrets};
use super::error::{ConfigError, Mistakes};
use super::reload_guard::Running;
use super::settings::{Config, Log, Server, require_settings};
use super::store_url::permissions_warning;
use super::{bootstrap, duration, secret, sources_and_keys, store_url};
use crate::access::api_key::{ApiKey, Scope};
use crate::access::trusted_proxies::TrustedProxies;
use crate::clock::Clock;
use crate::config::layers::provenance::misspelt_variables;
use crate::config::layers::raw;
use crate::config::layers::read::Layers;
use crate::config::layers::regular_file::absolute;
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
    Ok(Layers::read(file)?.into_raw()?.server.listen)
}

/// Database path of a server with this configuration, even if other settings are wrong.
pub fn database(file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let path = store_url::path(&Layers::read(file)?.into_raw()?.store.url);
    Ok(absolute(&path.map_err(|remedy| ConfigError::at("store.url", remedy))?))
}

fn read_with(
    file: Option<&Path>,
    secrets: Secrets,
    running: Option<&Running>,
) -> Result<Config, ConfigError> {
    let (raw, origins, mistakes) = Layers::read(file)?.into_parts();
    // Checked before any secret is created.
    if secrets == Secrets::Create {
        require_settings(file, origins.has_no_settings)?;
    }
    let settings = origins.settings(&raw);
    let secret_files = raw.secret_files(file);
    let config = interpret(raw, secrets, running, Clock::System.now(), mistakes);
    let config = config.map_err(|mistakes| origins.locate(mistakes))?;
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

/// Typed settings; or all mistakes, to which `mistakes` belong.
fn interpret(
    raw: raw::Raw,
    secrets: Secrets,
    running: Option<&Running>,
    now: Timestamp,
    mut mistakes: Mistakes,
) -> Result<Config, Mistakes> {
    let written_database = store_url::path(&raw.store.url);
    let written_database =
        mistakes.value(written_database.map_err(|remedy| ConfigError::at("store.url", remedy)));
    if raw.store.max_in_flight == 0 {
        let remedy = "write a number of at least 1".to_owned();
        mistakes.add(ConfigError::at("store.max_in_flight", remedy));
    }
    let retention = (!raw.store.retention.is_empty())
        .then(|| duration::positive(&raw.store.retention))
        .transpose()
        .map_err(|message| ConfigError::at("store.retention", message));
    let retention = mistakes.value(retention).flatten();
    require_one_of(
        "store.checkpoints",
        &raw.store.checkpoints,
        &["own", "external"],
        &mut mistakes,
    );
    require_one_of("log.format", &raw.log.format, &["auto", "pretty", "json"], &mut mistakes);
    let levels = ["error", "warn", "info", "debug", "trace"];
    require_one_of("log.level", &raw.log.level, &levels, &mut mistakes);
    let server = mistakes.value(server(raw.server));
    let public_url = server.as_ref().map(|server| server.public_url.as_str()).unwrap_or_default();
    let mut warnings = Vec::new();
    let mut sources = Vec::new();
    for (name, raw) in raw.sources {
        let source = sources_and_keys::source(&name, raw, public_url, &mut warnings, &mut mistakes);
        sources.extend(source);
    }
    let mut api_keys: Vec<ApiKey> = Vec::new();
    for (name, raw) in raw.api_keys {
        let key = sources_and_keys::api_key(name, raw, now, &mut warnings, &mut mistakes);
        let Some(new) = key else { continue };
        if let Some(duplicate) = api_keys.iter().find(|key| key.sha256 == new.sha256) {
            let remedy = format!("`{}` has the same key; create another key", duplicate.name);
            mistakes.add(ConfigError::at(&format!("api_keys.{}", new.name), remedy));
        }
        api_keys.push(new);
    }
    let (Some(written_database), Some(server)) = (written_database, server) else {
        return Err(mistakes);
    };
    let path = absolute(&written_database);
    warnings.splice(0..0, permissions_warning(&path));
    let mut config = Config {
        server,
        store: Settings {
            max_in_flight: raw.store.max_in_flight,
            quarantine_max_rows: raw.quarantine.max_rows,
            quarantine_max_bytes: raw.quarantine.max_bytes,
            allow_network_filesystem: raw.store.allow_network_filesystem,
            external_checkpoints: raw.store.checkpoints == "external",
            runtime_directory: raw::runtime_directory(),
            ..Settings::new(path)
        },
        retention,
        log: Log { level: raw.log.level, format: raw.log.format },
        sources,
        api_keys,
        demo_secret: None,
        demo_key: None,
        secret_files: Vec::new(),
        warnings,
        settings: Vec::new(),
        file: None,
        has_no_settings: false,
        written_database,
        start_only: BTreeMap::new(),
    };
    // A mistake may be the reason why there is no source or no key.
    if mistakes.is_empty() {
        add_demo_source(&mut config, secrets, running, &mut mistakes);
        add_demo_key(&mut config, secrets, running, &mut mistakes);
    }
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// Rejects a value that is none of these.
fn require_one_of(key: &str, value: &str, values: &[&str], mistakes: &mut Mistakes) {
    if !values.contains(&value)
        && let Some((last, others)) = values.split_last()
    {
        mistakes.add(ConfigError::at(key, format!("use {} or {last}", others.join(", "))));
    }
}

/// Adds the demo source if no source is configured.
fn add_demo_source(
    config: &mut Config,
    secrets: Secrets,
    running: Option<&Running>,
    mistakes: &mut Mistakes,
) {
    if !config.sources.is_empty() || !running.is_none_or(Running::allows_demo_source) {
        return;
    }
    let listen = running.map_or(&config.server, |running| &running.server).listen.clone();
    let database = running.map_or(&config.store.path, |running| &running.database);
    let secret = bootstrap::demo_secret("server.listen", &listen, database, "secret", secrets);
    let Some(Some(generated)) = mistakes.value(secret) else { return };
    let source = sources_and_keys::by_name("gateway", "sources.demo.dialect").and_then(|dialect| {
        let settings = dialect::Settings {
            name: DEMO_NAME.to_owned(),
            dialect,
            scheme: Scheme::UrlToken(vec![Secret::new(&generated.text)]),
            window: Window::default(),
            public_url: String::new(),
            provider: None,
            max_body_bytes: 256 << 10,
            max_rate: None,
        };
        Source::new(settings).map_err(|bad| ConfigError::at("sources.demo", bad.to_string()))
    });
    config.sources.extend(mistakes.value(source));
    config.demo_secret = Some(generated);
}

/// Adds the demo key if no API key is configured.
fn add_demo_key(
    config: &mut Config,
    secrets: Secrets,
    running: Option<&Running>,
    mistakes: &mut Mistakes,
) {
    if !config.api_keys.is_empty() || !running.is_none_or(Running::allows_demo_key) {
        return;
    }
    let server = running.map_or(&config.server, |running| &running.server);
    let database = running.map_or(&config.store.path, |running| &running.database);
    let (key, listen) = match &server.internal_listen {
        Some(listen) => ("server.internal_listen", listen),
        None => ("server.listen", &server.listen),
    };
    let key = mistakes.value(bootstrap::demo_secret(key, listen, database, "key", secrets));
    if let Some(Some(generated)) = key {
        let scopes = vec![Scope::Read, Scope::Register];
        config.api_keys.push(ApiKey::new(DEMO_NAME, &generated.text, scopes));
        config.demo_key = Some(generated);
    }
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
