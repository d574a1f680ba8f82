//! `statusmirror quarantine`: through the socket of a running server, or on the file itself if none runs.

use std::io::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use crate::admin::{Entry, List, Replay, Replayed, Show};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::live;
use crate::cli::common::output::{Output, Report};
use crate::config::Config;

/// Quarantine command.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists quarantined entries, oldest first.
    #[command(after_help = "Example: statusmirror quarantine list")]
    List(Output),
    /// Shows one entry in full.
    #[command(after_help = "Example: statusmirror quarantine show 0c0a2a4e-…")]
    Show {
        /// Id of the entry.
        id: String,
    },
    /// Replays entries with the current program and configuration.
    #[command(
        override_usage = "statusmirror quarantine replay <IDS>...\n       \
                          statusmirror quarantine replay --all",
        after_help = "Example: statusmirror quarantine replay --all"
    )]
    Replay {
        /// Ids of the entries.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// Replay all entries.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
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

/// Executes the command and prints its answer.
pub(crate) fn run(config: Config, command: Command, out: &mut impl Write) -> Result<(), Failure> {
    match command {
        Command::List(output) => {
            live::run_command_each(config, List {}, |entry| output.print(&Listed::from(entry), out))
        }
        Command::Show { id } => show(&live::run_command(config, Show { id })?, out),
        Command::Replay { ids, all: _ } => {
            live::run_command_each(config, Replay { ids }, |Replayed { id, outcome, reason }| {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                Ok(writeln!(out, "{id}  {outcome}{reason}")?)
            })
        }
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
