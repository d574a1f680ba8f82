//! Command line: one file for each command.
//!
//! [`command`] parses the arguments and calls the command. [`common`] holds what several commands share.

pub(crate) mod callback_url;
pub(crate) mod check_config;
pub(crate) mod command;
pub(crate) mod common;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod print_config;
pub(crate) mod quarantine;
pub(crate) mod reload;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod telemetry;
pub(crate) mod upkeep;
pub(crate) mod verify;

pub use self::command::run;
