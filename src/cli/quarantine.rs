//! `statusmirror quarantine`: on a live mirror through its socket, else on the file itself.

use std::io::Write;

use clap::Subcommand;

use super::{Failure, live};
use crate::admin::{self, Answer, Entry};
use crate::config::Config;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists what could not be understood, oldest first.
    #[command(after_help = "Example: statusmirror quarantine list")]
    List,
    /// Shows one entry whole.
    #[command(after_help = "Example: statusmirror quarantine show 0c0a2a4e-…")]
    Show {
        /// Its id.
        id: String,
    },
    /// Reads entries again with the present program and configuration.
    #[command(
        override_usage = "statusmirror quarantine replay <IDS>...\n       \
                          statusmirror quarantine replay --all",
        after_help = "Example: statusmirror quarantine replay --all"
    )]
    Replay {
        /// Their ids.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// Carries the command out and prints what comes of it.
pub(super) fn run(config: Config, command: Command, out: &mut impl Write) -> Result<(), Failure> {
    let command = match command {
        Command::List => admin::Command::List,
        Command::Show { id } => admin::Command::Show { id },
        Command::Replay { ids, all: _ } => admin::Command::Replay { ids },
    };
    let whole = matches!(command, admin::Command::Show { .. });
    let (mut failed, mut ended) = (Vec::new(), false);
    for answer in live::carry_out(config, command)? {
        match answer {
            Answer::Entry(entry) if whole => show(&entry, out)?,
            Answer::Entry(Entry { id, source, received_at, times, reason, .. }) => {
                writeln!(out, "{id}  {received_at}  {source}  {times}×  {reason}")?;
            }
            Answer::Replayed { id, outcome, reason } => match reason {
                Some(reason) => writeln!(out, "{id}  {outcome}: {reason}")?,
                None => writeln!(out, "{id}  {outcome}")?,
            },
            Answer::Error(words) => failed.push(words),
            Answer::Removed(_) | Answer::Waiting(_) | Answer::BackedUp | Answer::Reloaded(_) => {}
            Answer::End => ended = true,
        }
    }
    live::failures(&failed, ended)
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
