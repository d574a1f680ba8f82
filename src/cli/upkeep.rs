//! `statusmirror backup`, `check`, `erase` and `prune`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{EX_NOINPUT, Failure, live};
use crate::admin::{self, Answer, Removed};
use crate::config::Config;
use crate::message::Destination;
use crate::proof::encoding::hex;
use crate::store::sqlite::{self, Hashed};

/// Writes a copy of the database to a file.
pub(super) fn back_up(config: Config, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    // The server has a working directory of its own.
    let file = std::path::absolute(file)?;
    carry_out(config, admin::Command::BackUp { file: file.clone() })?;
    Ok(writeln!(out, "{}", file.display())?)
}

/// Removes all that names a number.
pub(super) fn erase(
    config: Config,
    number: Destination,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let kept = kept_copies(&config.store.path);
    let command = admin::Command::Erase { destination: number.to_string() };
    let Some(Removed { messages, quarantined, wal_emptied }) = carry_out(config, command)? else {
        return Err(Failure::unavailable("the server did not say what it erased"));
    };
    writeln!(out, "erased: {messages} messages, {quarantined} entries of the quarantine")?;
    if !wal_emptied {
        writeln!(
            out,
            "The WAL still holds it: another program reads the database, or takes the WAL over. \
             Run this again when it does not."
        )?;
    }
    for copy in kept {
        writeln!(out, "{} was kept when the database was migrated; remove it", copy.display())?;
    }
    Ok(())
}

/// Removes what is older than so much.
pub(super) fn prune(
    config: Config,
    older_than: Duration,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let command = admin::Command::Prune { older_than_seconds: older_than.as_secs() };
    let Some(Removed { messages, quarantined, .. }) = carry_out(config, command)? else {
        return Err(Failure::unavailable("the server did not say what it removed"));
    };
    Ok(writeln!(out, "removed: {messages} messages, {quarantined} entries of the quarantine")?)
}

fn carry_out(config: Config, command: admin::Command) -> Result<Option<Removed>, Failure> {
    let (mut failed, mut ended, mut removed) = (Vec::new(), false, None);
    for answer in live::carry_out(config, command)? {
        match answer {
            Answer::Removed(what) => removed = Some(what),
            Answer::Error(words) => failed.push(words),
            Answer::End => ended = true,
            Answer::BackedUp | Answer::Entry(_) | Answer::Replayed { .. } | Answer::Reloaded(_) => {
            }
        }
    }
    live::failures(&failed, ended)?;
    Ok(removed)
}

/// Checks the configured database. A running server has it copied first: a check reads for long,
/// which would keep the WAL from being taken over.
pub(super) fn check_own(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let database = config.store.path.clone();
    live::require_database(&database)?;
    // The server has a working directory of its own.
    let copy = std::path::absolute(beside(&database, ".check"))?;
    let _removed = RemovedAtTheEnd(&copy);
    drop(fs::remove_file(&copy));
    match live::ask(&database, &admin::Command::BackUp { file: copy.clone() })? {
        Some(_) => check(&copy, out),
        None => check(&database, out),
    }
}

/// Checks a database that no server has open.
pub(super) fn check(file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    if !file.exists() {
        let words = format!("there is no file {}", super::whole(file).display());
        return Err(Failure::new(EX_NOINPUT, words));
    }
    let contents = sqlite::contents(file)?;
    let mut line = |name: &str, Hashed { rows, sha256 }: &Hashed| {
        writeln!(out, "{name}  {rows}  sha256 {}", hex(sha256))
    };
    line("records:   ", &contents.records)?;
    line("history:   ", &contents.history)?;
    line("quarantine:", &contents.quarantine)?;
    Ok(writeln!(out, "sound")?)
}

/// The copies that migrations have kept beside the database.
fn kept_copies(database: &Path) -> Vec<PathBuf> {
    let versions = 1..sqlite::VERSION;
    let copies = versions.map(|version| beside(database, &format!(".version-{version}")));
    copies.filter(|copy| copy.exists()).collect()
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A file that is removed when this is dropped.
struct RemovedAtTheEnd<'a>(&'a Path);

impl Drop for RemovedAtTheEnd<'_> {
    fn drop(&mut self) {
        drop(fs::remove_file(self.0));
    }
}
