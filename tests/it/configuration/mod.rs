//! Configuration: settings, files, secrets, and reloads.

mod config_file;
mod init;
mod reload;
mod reload_safety;
mod secrets;
mod settings;
