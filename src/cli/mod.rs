//! Command line: one file for each command.
//!
//! [`command`] parses the arguments and calls the command. [`configuration`] has the commands about the
//! configuration, [`database`] those on the database. [`common`] holds parts of several commands.

pub(crate) mod callback_url;
pub(crate) mod command;
pub(crate) mod common;
pub(crate) mod configuration;
pub(crate) mod database;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod reload;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod telemetry;
pub(crate) mod verify;

pub use self::command::run;
