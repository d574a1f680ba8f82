//! `statusmirror backup`, `check`, `erase` and `prune`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use crate::admin::{BackUp, BackedUp, CountErase, CountPrune, Erase, Prune, Removed};
use crate::cli::common::config_file::read_config;
use crate::cli::common::confirmation::{Confirmed, is_confirmed};
use crate::cli::common::exit_code::{EX_NOINPUT, EX_USAGE, Failure};
use crate::cli::common::live::run_command;
use crate::cli::common::output::{Output, Report, print_json};
use crate::cli::common::progress::Progress;
use crate::cli::common::{copies, live};
use crate::config::{self, Config, Secrets};
use crate::message::Destination;
use crate::store::sqlite::{self, Contents, Hashed};
use crate::verify::encoding::hex;

/// Whether to remove without asking, or not at all, and the output.
#[derive(Args)]
pub(crate) struct Removal {
    #[command(flatten)]
    confirmed: Confirmed,
    #[command(flatten)]
    output: Output,
}

/// Result of an erasure as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Erased {
    /// Amount found before the erasure.
    to_remove: Amount,
    /// Amount removed; `None` with `--dry-run`.
    removed: Option<Amount>,
    /// Whether the WAL no longer holds any of the erased data; `None` with `--dry-run`.
    wal_emptied: Option<bool>,
    database: PathBuf,
    /// Copies of the database, which are not changed.
    copies: Vec<PathBuf>,
}

/// Result of a prune as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pruned {
    older_than_seconds: u64,
    /// Amount found before the prune.
    to_remove: Amount,
    /// Amount removed; `None` with `--dry-run`.
    removed: Option<Amount>,
}

/// Number of messages and quarantined entries.
#[derive(Serialize)]
struct Amount {
    messages: u64,
    quarantined: u64,
}

impl From<&Removed> for Amount {
    fn from(Removed { messages, quarantined, .. }: &Removed) -> Self {
        Self { messages: *messages, quarantined: *quarantined }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, quarantined } = self;
        let message = if *messages == 1 { "message" } else { "messages" };
        let entry = if *quarantined == 1 { "entry" } else { "entries" };
        write!(f, "{messages} {message}, {quarantined} quarantined {entry}")
    }
}

/// Writes a copy of the database to a file.
pub(crate) fn back_up(config: Config, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    // The server has a working directory of its own.
    let file = std::path::absolute(file)?;
    let progress = Progress::start("copying the database");
    let BackedUp = run_command(config, BackUp { file: file.clone() })?;
    drop(progress);
    Ok(writeln!(out, "{}", file.display())?)
}

/// Erases everything about a destination.
pub(crate) fn erase(
    config: Config,
    number: Destination,
    removal: &Removal,
    out: &mut impl Write,
) -> Result<(), Failure> {
    removal.check()?;
    let is_json = removal.output.is_json();
    let (file, database) = (config.file.clone(), config.store.path.clone());
    let destination = number.to_string();
    let counted = run_command(config, CountErase { destination: destination.clone() })?;
    let to_remove = Amount::from(&counted);
    if !is_json {
        writeln!(out, "to erase: {to_remove}")?;
        writeln!(out, "in: {0} and {0}-wal", database.display())?;
    }
    let copies = find_copies(&database, is_json, out)?;
    let mut erased = Erased { to_remove, removed: None, wal_emptied: None, database, copies };
    if is_confirmed(&removal.confirmed)? {
        let config = read_config(file.as_deref(), Secrets::Optional)?;
        let progress = Progress::start("erasing");
        let removed = run_command(config, Erase { destination })?;
        drop(progress);
        erased.removed = Some(Amount::from(&removed));
        erased.wal_emptied = Some(removed.wal_emptied);
    }
    if is_json {
        return print_json(&erased, out);
    }
    if let Some(removed) = erased.removed {
        writeln!(out, "erased: {removed}")?;
    }
    if erased.wal_emptied == Some(false) {
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
    removal: &Removal,
    out: &mut impl Write,
) -> Result<(), Failure> {
    removal.check()?;
    let is_json = removal.output.is_json();
    let older_than = older_than.or(config.retention).ok_or_else(|| {
        Failure::new(EX_USAGE, "store.retention is not set; give an age, like --older-than 400d")
    })?;
    let older_than_seconds = older_than.as_secs();
    let file = config.file.clone();
    let to_remove = Amount::from(&run_command(config, CountPrune { older_than_seconds })?);
    if !is_json {
        writeln!(out, "to remove: {to_remove}")?;
    }
    let mut pruned = Pruned { older_than_seconds, to_remove, removed: None };
    if is_confirmed(&removal.confirmed)? {
        let config = read_config(file.as_deref(), Secrets::Optional)?;
        let progress = Progress::start("pruning");
        let removed = run_command(config, Prune { older_than_seconds })?;
        drop(progress);
        pruned.removed = Some(Amount::from(&removed));
    }
    if is_json {
        return print_json(&pruned, out);
    }
    match pruned.removed {
        Some(removed) => Ok(writeln!(out, "removed: {removed}")?),
        None => Ok(()),
    }
}

/// Copies of the database, which an erasure does not change. Names them, unless the output is JSON.
fn find_copies(
    database: &Path,
    is_json: bool,
    out: &mut impl Write,
) -> Result<Vec<PathBuf>, Failure> {
    let copies = match copies::find_copies(database) {
        Ok(copies) => copies,
        Err(error) => {
            let database = database.display();
            let message = format!(
                "cannot search for copies beside {database}: {error}; check for copies yourself"
            );
            if is_json {
                drop(writeln!(io::stderr(), "{message}"));
            } else {
                writeln!(out, "{message}")?;
            }
            return Ok(Vec::new());
        }
    };
    if !is_json {
        for copy in &copies {
            writeln!(
                out,
                "{} is a copy, and is not changed; delete the copy if it is older than the erasure",
                copy.display()
            )?;
        }
    }
    Ok(copies)
}

impl Removal {
    /// Rejects JSON output without a decision: it has no question.
    fn check(&self) -> Result<(), Failure> {
        if self.output.is_json() && !self.confirmed.is_decided() {
            let message = "nothing was removed: with --format json, give --yes or --dry-run";
            return Err(Failure::new(EX_USAGE, message));
        }
        Ok(())
    }
}

/// Checks the configured database. If a server runs, checks a copy that the server makes: a check reads for
/// long, which would keep the WAL from being checkpointed.
pub(crate) fn check_own(
    config: &Config,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let database = config.store.path.clone();
    live::require_database(&database)?;
    // The server has a working directory of its own.
    let copy = format!(".check-{}", Uuid::new_v4().simple());
    let copy = std::path::absolute(sqlite::with_suffix(&database, &copy))?;
    let _removed = RemoveOnDrop(&copy);
    let progress = Progress::start("copying the database");
    let copied = live::ask(&database, BackUp { file: copy.clone() })?;
    drop(progress);
    if copied.is_none() {
        return check(&database, output, out);
    }
    let progress = Progress::start("checking the copy");
    // Removed once open, so that an interrupted check leaves no file behind.
    let contents = sqlite::contents_once_open(&copy, || drop(fs::remove_file(&copy)))?;
    drop(progress);
    output.print(&Checked::new(&contents), out)
}

/// Checks a database that no server has open.
pub(crate) fn check(file: &Path, output: Output, out: &mut impl Write) -> Result<(), Failure> {
    if !file.exists() {
        let message = format!("file not found: {}", config::absolute(file).display());
        return Err(Failure::new(EX_NOINPUT, message));
    }
    let progress = Progress::start("checking the database");
    let contents = sqlite::contents(file)?;
    drop(progress);
    output.print(&Checked::new(&contents), out)
}

/// Contents of a database without damage.
#[derive(Serialize)]
struct Checked {
    records: Table,
    history: Table,
    quarantine: Table,
}

/// Number of rows, and hash of their contents in hexadecimal digits.
#[derive(Serialize)]
struct Table {
    rows: u64,
    sha256: String,
}

impl Checked {
    fn new(contents: &Contents) -> Self {
        let table = |Hashed { rows, sha256 }: &Hashed| Table { rows: *rows, sha256: hex(sha256) };
        Self {
            records: table(&contents.records),
            history: table(&contents.history),
            quarantine: table(&contents.quarantine),
        }
    }
}

impl Report for Checked {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, Table { rows, sha256 }: &Table| {
            writeln!(out, "{name}  {rows}  sha256 {sha256}")
        };
        line("records:   ", &self.records)?;
        line("history:   ", &self.history)?;
        line("quarantine:", &self.quarantine)?;
        writeln!(out, "sound")
    }
}

/// Guard that removes a file when dropped.
struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        drop(fs::remove_file(self.0));
    }
}
