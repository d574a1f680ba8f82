//! Configuration: from files and environment variables to typed settings. The only reader of the environment.
//!
//! Layers, each over the one before: `config/statusmirror.toml` (embedded, every default), the configuration
//! file, the environment. [`layers`] holds the text form, and where each setting comes from; [`load`] makes
//! the typed [`settings`] of it; [`reload_guard`] knows what a reload may change. An error names the file or
//! variable, the key, and the remedy.
//!
//! The defaults are `config/statusmirror.toml` itself, embedded as the first layer, so that file cannot say
//! anything untrue.

pub(crate) mod bootstrap;
pub mod duration;
pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod load;
pub(crate) mod reload_guard;
pub(crate) mod secret;
pub(crate) mod settings;
pub(crate) mod sources_and_keys;
pub(crate) mod store_url;

pub use self::bootstrap::{DEMO_NAME, GeneratedSecret, Secrets};
pub(crate) use self::bootstrap::{generate_secret, write_secret_file};
pub use self::error::ConfigError;
pub use self::layers::locate::locate;
pub use self::layers::provenance::Setting;
pub(crate) use self::layers::read::DEFAULTS_TOML;
#[cfg(feature = "otlp")]
pub use self::layers::read::names_collector;
pub(crate) use self::layers::regular_file::absolute;
pub use self::load::{database, listen, read, read_for_reload, secret_from_env};
pub use self::reload_guard::Running;
pub use self::settings::{Config, Log, Server};
pub use self::store_url::permissions_warning;
