//! Arguments and dispatch of the commands on the database.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::{quarantine, restore, upkeep};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::output::Output;
use crate::config::Config;
use crate::config::duration::positive;
use crate::message::Destination;
use crate::store::sqlite;

/// Command on the database.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists, counts, shows, replays and drops quarantined webhooks.
    #[command(after_help = "Example: statusmirror quarantine list")]
    Quarantine {
        #[command(subcommand)]
        command: quarantine::Command,
    },
    /// Writes a backup of the database to a file. The server may be running.
    #[command(after_help = "Example: statusmirror backup /var/backups/mirror.db")]
    Backup {
        /// File to create. It must not exist.
        file: PathBuf,
    },
    /// Checks the whole database, and prints row counts and content hashes.
    #[command(after_help = "Example: statusmirror check /var/backups/mirror.db")]
    Check {
        /// Database that no server has open, such as a backup. Default: the configured database.
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Replaces the database by a backup. The server must be stopped. The old files are kept beside it, and
    /// erasures made since the backup are applied to it.
    #[command(after_help = "Example: statusmirror restore /var/backups/mirror.db")]
    Restore {
        /// Backup file.
        file: PathBuf,
    },
    /// Accepts the loss of the transactions behind the damage of a WAL, once.
    #[command(after_help = "Example: statusmirror accept-wal-loss 4c1f0d2a9be37755")]
    AcceptWalLoss {
        /// Salt of the WAL, as the failed start prints it.
        salt: String,
    },
    /// Erases everything about a phone number: messages, histories and quarantined entries.
    #[command(after_help = "Example: statusmirror erase --destination +393331234567 --yes")]
    Erase {
        /// Phone number in E.164 format.
        #[arg(long)]
        destination: Destination,
        #[command(flatten)]
        removal: upkeep::Removal,
    },
    /// Removes messages whose last notification, and quarantined entries whose arrival, is older than a given
    /// age.
    #[command(after_help = "Example: statusmirror prune --older-than 400d --dry-run")]
    Prune {
        /// Minimum age, like 400d. Default: store.retention.
        #[arg(long, value_name = "TIME", value_parser = positive)]
        older_than: Option<Duration>,
        #[command(flatten)]
        removal: upkeep::Removal,
    },
}

/// Executes a command. `load` reads the configuration, for commands that need it.
pub(crate) fn execute(
    command: Command,
    load: &dyn Fn() -> Result<Config, Failure>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match command {
        Command::Quarantine { command } => quarantine::run(load()?, command, out),
        Command::Backup { file } => upkeep::back_up(load()?, &file, out),
        Command::Check { file: Some(file), output } => upkeep::check(&file, output, out),
        Command::Check { file: None, output } => upkeep::check_own(&load()?, output, out),
        Command::Restore { file } => restore::run(&load()?, &file, out),
        Command::AcceptWalLoss { salt } => {
            let lost = sqlite::accept_wal_loss(&load()?.store.path, &salt)?;
            Ok(writeln!(out, "transactions discarded: {lost}; start the server")?)
        }
        Command::Erase { destination, removal } => {
            upkeep::erase(load()?, destination, &removal, out)
        }
        Command::Prune { older_than, removal } => upkeep::prune(load()?, older_than, &removal, out),
    }
}
