//! `statusmirror quarantine`: through the socket of a running server, or on the file itself if none runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::admin::{DropEntries, Dropped, Entry, List, Replay, Replayed, Selection, Show};
use crate::cli::common::config_file::read_config;
use crate::cli::common::confirmation::{Confirmed, is_confirmed};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::live;
use crate::cli::common::output::{Output, Report};
use crate::config::{Config, Secrets};

/// Maximum number of reasons in the result of a command.
const MAX_REASONS: usize = 5;

/// Number of entries that one admin command removes. The command must not be too long for the server.
const IDS_PER_COMMAND: usize = 10_000;

/// Quarantine command.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists quarantined entries, oldest first.
    #[command(after_help = "Example: statusmirror quarantine list --source gateway")]
    List {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        output: Output,
    },
    /// Counts quarantined entries by source and reason, the most frequent first.
    #[command(after_help = "Example: statusmirror quarantine summary")]
    Summary {
        #[command(flatten)]
        filters: Filters,
    },
    /// Shows one entry in full.
    #[command(after_help = "Example: statusmirror quarantine show 0c0a2a4e-…")]
    Show {
        /// Id of the entry.
        id: String,
    },
    /// Replays entries with the current program and configuration.
    #[command(
        override_usage = "statusmirror quarantine replay <IDS>...\n       \
                          statusmirror quarantine replay --all [--source <NAME>] [--reason <TEXT>]",
        after_help = "Example: statusmirror quarantine replay --all"
    )]
    Replay {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Removes entries permanently. Prints how many, and asks. Backups keep them.
    #[command(
        override_usage = "statusmirror quarantine drop [OPTIONS] <IDS>...\n       \
                          statusmirror quarantine drop [OPTIONS] --all [--source <NAME>] \
                          [--reason <TEXT>]",
        after_help = "Example: statusmirror quarantine drop --all --reason LOST_AT_SEA --dry-run"
    )]
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}

/// Filters of quarantined entries.
#[derive(Args)]
pub(crate) struct Filters {
    /// Select the entries of this source.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    source: Option<String>,
    /// Select the entries whose reason contains this text, in upper or lower case.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
}

impl Filters {
    fn selection(self) -> Selection {
        Selection { ids: Vec::new(), source: self.source, reason: self.reason }
    }
}

/// Entries that a command changes: named, or all that the filters match.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Ids of the entries.
    #[arg(required_unless_present = "all", conflicts_with_all = ["source", "reason"])]
    ids: Vec<String>,
    /// All entries, or all that the filters select.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filters: Filters,
}

impl Chosen {
    fn selection(self) -> Selection {
        let Self { ids, all: _, filters } = self;
        Selection { ids, ..filters.selection() }
    }
}

/// Executes the command and prints its answer.
pub(crate) fn run(config: Config, command: Command, out: &mut impl Write) -> Result<(), Failure> {
    match command {
        Command::List { filters, output } => list(config, filters.selection(), output, out),
        Command::Summary { filters } => summary(config, filters.selection(), out),
        Command::Show { id } => show(&live::run_command(config, Show { id })?, out),
        Command::Replay { chosen } => replay(config, chosen.selection(), out),
        Command::Drop { chosen, confirmed } => {
            drop_entries(config, chosen.selection(), &confirmed, out)
        }
    }
}

/// Line of a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    source: String,
    received_at: String,
    /// Number of arrivals.
    times: u32,
    reason: String,
}

impl From<Entry> for Listed {
    fn from(Entry { id, source, received_at, times, reason, .. }: Entry) -> Self {
        Self { id, source, received_at, times, reason }
    }
}

impl Report for Listed {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { id, source, received_at, times, reason } = self;
        writeln!(out, "{id}  {received_at}  {source}  {times}×  {reason}")
    }
}

fn list(
    config: Config,
    selection: Selection,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let hint = no_match_hint(&config, &selection);
    let mut is_empty = true;
    live::run_command_each(config, List { selection }, |entry| {
        is_empty = false;
        output.print(&Listed::from(entry), out)
    })?;
    if is_empty {
        print_hint(&hint);
    }
    Ok(())
}

fn summary(config: Config, selection: Selection, out: &mut impl Write) -> Result<(), Failure> {
    let hint = no_match_hint(&config, &selection);
    let mut counts = Counts::default();
    live::run_command_each(config, List { selection }, |Entry { source, reason, .. }| {
        counts.add((source, reason));
        Ok(())
    })?;
    if counts.total() == 0 {
        print_hint(&hint);
    }
    write_summary(&counts, usize::MAX, out)
}

/// Writes the counts by source and reason, the most frequent first. Sums up those after `max_lines` lines.
fn write_summary(
    counts: &Counts<(String, String)>,
    max_lines: usize,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let sorted = counts.sorted();
    let others: u64 = sorted.iter().skip(max_lines).map(|(_, count)| count).sum();
    let greatest = sorted.first().map_or(0, |(_, count)| *count).max(others);
    let width = greatest.to_string().len();
    for ((source, reason), count) in sorted.iter().take(max_lines) {
        writeln!(out, "{count:>width$}  {source}  {reason}")?;
    }
    if others > 0 {
        writeln!(out, "{others:>width$}  with other reasons")?;
    }
    Ok(())
}

/// Prints the outcome of each entry, and last the result.
fn replay(config: Config, selection: Selection, out: &mut impl Write) -> Result<(), Failure> {
    let hint = no_match_hint(&config, &selection);
    let mut replayed: u64 = 0;
    let mut kept = Counts::default();
    let ended = live::run_command_each(config, Replay { selection }, |entry| {
        let Replayed { id, outcome, reason, is_understood } = entry;
        let reason = reason.unwrap_or_default();
        let colon = if reason.is_empty() { "" } else { ": " };
        writeln!(out, "{id}  {outcome}{colon}{reason}")?;
        replayed += 1;
        if !is_understood {
            kept.add(reason);
        }
        Ok(())
    });
    if replayed > 0 {
        writeln!(out, "{}", replay_result(replayed, &kept))?;
    } else if ended.is_ok() {
        print_hint(&hint);
    }
    ended
}

/// Result of a replay, like `0 of 730 understood; still in quarantine: 700 × …, 30 × …`.
fn replay_result(replayed: u64, kept: &Counts<String>) -> String {
    let sorted = kept.sorted();
    let mut result = format!("{} of {replayed} understood", replayed - kept.total());
    let named = sorted.iter().take(MAX_REASONS);
    let mut reasons: Vec<_> = named.map(|(reason, count)| format!("{count} × {reason}")).collect();
    let others: u64 = sorted.iter().skip(MAX_REASONS).map(|(_, count)| count).sum();
    if others > 0 {
        reasons.push(format!("{others} × other reasons, in the lines above"));
    }
    if !reasons.is_empty() {
        result += "; still in quarantine: ";
        result += &reasons.join(", ");
    }
    result
}

/// Counts the selected entries by source and reason, asks, and removes exactly those that were counted.
fn drop_entries(
    config: Config,
    selection: Selection,
    confirmed: &Confirmed,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (file, hint) = (config.file.clone(), no_match_hint(&config, &selection));
    let (mut ids, mut counts) = (BTreeSet::new(), Counts::default());
    live::run_command_each(config, List { selection }, |Entry { id, source, reason, .. }| {
        // An entry may be named twice.
        if ids.insert(id) {
            counts.add((source, reason));
        }
        Ok(())
    })?;
    if ids.is_empty() {
        print_hint(&hint);
    }
    writeln!(out, "to drop: {}", amount(counts.total()))?;
    write_summary(&counts, MAX_REASONS, out)?;
    if !is_confirmed(confirmed)? {
        return Ok(());
    }
    let ids: Vec<_> = ids.into_iter().collect();
    let mut dropped = 0;
    for ids in ids.chunks(IDS_PER_COMMAND) {
        let config = read_config(file.as_deref(), Secrets::Optional)?;
        let Dropped(removed) = live::run_command(config, DropEntries { ids: ids.to_vec() })?;
        dropped += removed;
    }
    Ok(writeln!(out, "dropped: {}", amount(dropped))?)
}

fn amount(entries: u64) -> String {
    let entry = if entries == 1 { "entry" } else { "entries" };
    format!("{entries} quarantined {entry}")
}

/// Explanation of an empty answer.
fn no_match_hint(config: &Config, Selection { source, reason, .. }: &Selection) -> String {
    let known: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    match source {
        Some(source) if !known.contains(&source.as_str()) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!(
                "no quarantined entry matches; no source `{source}` is configured; configured \
                 sources: {known}"
            )
        }
        None if reason.is_none() => "the quarantine is empty".to_owned(),
        Some(_) | None => "no quarantined entry matches".to_owned(),
    }
}

/// Prints a hint on standard error, so that standard output has entries only.
fn print_hint(hint: &str) {
    drop(writeln!(io::stderr(), "{hint}"));
}

/// Number of entries by a key.
struct Counts<K>(BTreeMap<K, u64>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Counts<K> {
    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The counts, greatest first; equal counts in the order of their keys.
    fn sorted(&self) -> Vec<(&K, u64)> {
        let mut sorted: Vec<_> = self.0.iter().map(|(key, count)| (key, *count)).collect();
        sorted.sort_by_key(|(_, count)| Reverse(*count));
        sorted
    }
}

fn show(entry: &Entry, out: &mut impl Write) -> Result<(), Failure> {
    let Entry { id, source, received_at, times, reason, method, query, .. } = entry;
    let Entry { entry, url_covered, content_type, body, .. } = entry;
    let covered = match url_covered {
        Some(true) => "covered by the verification",
        Some(false) => "not covered by the verification; a replay ignores its parameters",
        None => {
            "not recorded by the version that received it; assumed to be covered if the source's \
             verification covers it today"
        }
    };
    writeln!(out, "id:           {id}")?;
    writeln!(out, "source:       {source}")?;
    writeln!(out, "received:     {received_at}, {times}×")?;
    writeln!(out, "reason:       {reason}")?;
    writeln!(out, "entry:        {entry}")?;
    writeln!(out, "method:       {method}")?;
    writeln!(out, "query:        {query}")?;
    writeln!(out, "url:          {covered}")?;
    writeln!(out, "content type: {}", content_type.as_deref().unwrap_or("none"))?;
    writeln!(out)?;
    out.write_all(body)?;
    Ok(writeln!(out)?)
}
