//! `statusmirror backup`, `check`, `erase` and `prune`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use crate::admin::{BackUp, BackedUp, CountErase, CountPrune, Erase, Prune, Removed};
use crate::cli::common::config_file::read_config;
use crate::cli::common::confirmation::{Confirmed, is_confirmed};
use crate::cli::common::exit_code::{EX_NOINPUT, EX_USAGE, Failure};
use crate::cli::common::live::run_command;
use crate::cli::common::{copies, live};
use crate::config::{self, Config, Secrets};
use crate::message::Destination;
use crate::store::sqlite::{self, Contents, Hashed};
use crate::verify::encoding::hex;

/// Writes a copy of the database to a file.
pub(crate) fn back_up(config: Config, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    // The server has a working directory of its own.
    let file = std::path::absolute(file)?;
    let BackedUp = run_command(config, BackUp { file: file.clone() })?;
    Ok(writeln!(out, "{}", file.display())?)
}

/// Erases everything about a destination.
pub(crate) fn erase(
    config: Config,
    number: Destination,
    confirmed: &Confirmed,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (file, database) = (config.file.clone(), config.store.path.clone());
    let destination = number.to_string();
    let counted = run_command(config, CountErase { destination: destination.clone() })?;
    writeln!(out, "to erase: {}", amount(&counted))?;
    writeln!(out, "in: {0} and {0}-wal", database.display())?;
    list_copies(&database, out)?;
    if !is_confirmed(confirmed)? {
        return Ok(());
    }
    let config = read_config(file.as_deref(), Secrets::Optional)?;
    let erased = run_command(config, Erase { destination })?;
    writeln!(out, "erased: {}", amount(&erased))?;
    if !erased.wal_emptied {
        writeln!(
            out,
            "The WAL still holds the erased data: another program reads the database or \
             checkpoints the WAL. Run this command again when that program has finished."
        )?;
    }
    Ok(())
}

/// Prunes messages and quarantined entries of at least this age.
pub(crate) fn prune(
    config: Config,
    older_than: Option<Duration>,
    confirmed: &Confirmed,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let older_than = older_than.or(config.retention).ok_or_else(|| {
        Failure::new(EX_USAGE, "store.retention is not set; give an age, like --older-than 400d")
    })?;
    let older_than_seconds = older_than.as_secs();
    let file = config.file.clone();
    let counted = run_command(config, CountPrune { older_than_seconds })?;
    writeln!(out, "to remove: {}", amount(&counted))?;
    if !is_confirmed(confirmed)? {
        return Ok(());
    }
    let config = read_config(file.as_deref(), Secrets::Optional)?;
    let pruned = run_command(config, Prune { older_than_seconds })?;
    Ok(writeln!(out, "removed: {}", amount(&pruned))?)
}

fn amount(Removed { messages, quarantined, .. }: &Removed) -> String {
    let message = if *messages == 1 { "message" } else { "messages" };
    let entry = if *quarantined == 1 { "entry" } else { "entries" };
    format!("{messages} {message}, {quarantined} quarantined {entry}")
}

/// Names every copy, since an erasure removes nothing from copies.
fn list_copies(database: &Path, out: &mut impl Write) -> Result<(), Failure> {
    match copies::find_copies(database) {
        Ok(copies) => {
            for copy in copies {
                writeln!(
                    out,
                    "{} is a copy, and is not changed; delete the copy if it is older than the \
                     erasure",
                    copy.display()
                )?;
            }
        }
        Err(error) => {
            let database = database.display();
            writeln!(
                out,
                "cannot search for copies beside {database}: {error}; check for copies yourself"
            )?;
        }
    }
    Ok(())
}

/// Checks the configured database. If a server runs, checks a copy that the server makes: a check reads for
/// long, which would keep the WAL from being checkpointed.
pub(crate) fn check_own(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let database = config.store.path.clone();
    live::require_database(&database)?;
    // The server has a working directory of its own.
    let copy = format!(".check-{}", Uuid::new_v4().simple());
    let copy = std::path::absolute(sqlite::with_suffix(&database, &copy))?;
    let _removed = RemoveOnDrop(&copy);
    match live::ask(&database, BackUp { file: copy.clone() })? {
        // Removed once open, so that an interrupted check leaves no file behind.
        Some(BackedUp) => {
            report(&sqlite::contents_once_open(&copy, || drop(fs::remove_file(&copy)))?, out)
        }
        None => check(&database, out),
    }
}

/// Checks a database that no server has open.
pub(crate) fn check(file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    if !file.exists() {
        let message = format!("file not found: {}", config::absolute(file).display());
        return Err(Failure::new(EX_NOINPUT, message));
    }
    report(&sqlite::contents(file)?, out)
}

fn report(contents: &Contents, out: &mut impl Write) -> Result<(), Failure> {
    let mut line = |name: &str, Hashed { rows, sha256 }: &Hashed| {
        writeln!(out, "{name}  {rows}  sha256 {}", hex(sha256))
    };
    line("records:   ", &contents.records)?;
    line("history:   ", &contents.history)?;
    line("quarantine:", &contents.quarantine)?;
    Ok(writeln!(out, "sound")?)
}

/// Guard that removes a file when dropped.
struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        drop(fs::remove_file(self.0));
    }
}
