//! Parts of several commands.
//!
//! [`exit_code`] maps errors to exit codes. [`live`] sends a command to the running server, or opens the file if
//! none runs. [`confirmation`] asks before a command removes data. [`output`] prints results as text or JSON.
//! [`progress`] shows that a long command is at work.

pub(crate) mod config_file;
pub(crate) mod confirmation;
pub(crate) mod copies;
pub(crate) mod exit_code;
pub(crate) mod key_expiry;
pub(crate) mod live;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod tls;
