//! Exit codes (sysexits.h), and the failure that ends a command with one.

use std::io::{self};

use super::process;
use crate::config::ConfigError;
use crate::store::sqlite::OpenError;

/// Exit codes of sysexits.h.
pub(crate) const EX_USAGE: i32 = 64;

pub(crate) const EX_DATAERR: i32 = 65;

pub(crate) const EX_NOINPUT: i32 = 66;

pub(crate) const EX_UNAVAILABLE: i32 = 69;

pub(crate) const EX_SOFTWARE: i32 = 70;

pub(crate) const EX_CANTCREAT: i32 = 73;

pub(crate) const EX_IOERR: i32 = 74;

pub(crate) const EX_TEMPFAIL: i32 = 75;

pub(crate) const EX_NOPERM: i32 = 77;

pub(crate) const EX_CONFIG: i32 = 78;

/// Failure of a command: its exit code and message. Without a message, nothing is printed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Prints the message and returns the exit code.
    pub(crate) fn report(&self) -> i32 {
        if !self.message.is_empty() {
            process::print_with_timeout(self.line());
        }
        self.code
    }

    pub(crate) fn line(&self) -> String {
        format!("statusmirror: {}\n", self.message)
    }

    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(EX_IOERR, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(EX_UNAVAILABLE, message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let is_unreadable = |error: &ConfigError| matches!(error, ConfigError::Unreadable { .. });
        let lacks_permission = match &error {
            ConfigError::Several(mistakes) => mistakes.iter().all(is_unreadable),
            one @ (ConfigError::Unreadable { .. }
            | ConfigError::File { .. }
            | ConfigError::Unconfirmed(_)
            | ConfigError::Make { .. }
            | ConfigError::Key { .. }) => is_unreadable(one),
        };
        let code = if lacks_permission { EX_NOPERM } else { EX_CONFIG };
        Self::new(code, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // The reader of standard output, such as `head`, has all that it wanted.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(0, "");
        }
        Self::io(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                EX_NOPERM
            }
            OpenError::ReadOnly { .. } => EX_NOPERM,
            OpenError::File { .. } | OpenError::NoRoom { .. } => EX_CANTCREAT,
            OpenError::InUse { .. } => EX_TEMPFAIL,
            OpenError::Foreign { .. }
            | OpenError::Version { .. }
            | OpenError::Damaged { .. }
            | OpenError::BackupBesideWal { .. }
            | OpenError::NotRestorable { .. }
            | OpenError::WalDamaged { .. }
            | OpenError::WalSound { .. } => EX_DATAERR,
            OpenError::Filesystem { .. } | OpenError::Linked { .. } => EX_CONFIG,
            OpenError::NotDurable { .. }
            | OpenError::Database { .. }
            | OpenError::Readers { .. }
            | OpenError::Thread { .. } => EX_IOERR,
        };
        Self::new(code, crate::admin::service::error_chain(&error))
    }
}
