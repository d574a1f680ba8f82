//! `statusmirror restore`: replaces the database by a backup.

use std::io::Write;
use std::path::Path;

use crate::cli::common::exit_code::{EX_NOINPUT, Failure};
use crate::cli::common::progress::Progress;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::dialect::Source;
use crate::message::Timestamp;
use crate::store::sqlite::{self, Restored};
use crate::verify::Window;

/// Replaces the database by a backup, and says which erasures to repeat because the backup and the old
/// database do not record them.
pub(crate) fn run(config: &Config, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    if !file.exists() {
        let message = format!("file not found: {}", config::absolute(file).display());
        return Err(Failure::new(EX_NOINPUT, message));
    }
    let now = Clock::System.now();
    let progress = Progress::start("restoring the database");
    let restored = sqlite::restore(&config.store, file, now)?;
    drop(progress);
    let Restored { set_aside, last_arrival, tombstones, removed, unread } = restored;
    writeln!(out, "restored: {}", config.store.path.display())?;
    for old in set_aside {
        writeln!(out, "set aside: {}", old.display())?;
    }
    writeln!(
        out,
        "erasures: {tombstones} applied to the backup; removed: {removed} messages and quarantined \
         entries"
    )?;
    let since = last_arrival.map_or_else(|| "ever".to_owned(), |at| format!("since {at}"));
    let repeat =
        "repeat with `statusmirror erase --destination NUMBER` every erasure that was made";
    if let Some(reason) = unread {
        writeln!(out, "The old database could not be read ({reason}): {repeat} {since}.")?;
    }
    // Tombstones are kept for as long as a sender may retry.
    let tombstone_seconds = config.sources.iter().map(Source::max_age_seconds).max();
    let tombstone_seconds =
        tombstone_seconds.unwrap_or(i64::from(Window::default().max_age_seconds));
    let tombstone_limit = now.micros().saturating_sub(tombstone_seconds.saturating_mul(1_000_000));
    if last_arrival.is_some_and(|at| at.micros() < tombstone_limit) {
        let until = Timestamp::from_micros(tombstone_limit).unwrap_or(Timestamp::EPOCH);
        writeln!(
            out,
            "Erasures are recorded for a limited time, and the backup is older: {repeat} {since} \
             and before {until}."
        )?;
    }
    Ok(())
}
