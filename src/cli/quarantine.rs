//! `statusmirror quarantine`: on a live mirror through its socket, else on the file itself.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use super::{EX_DATAERR, EX_NOINPUT, Failure};
use crate::admin::{self, Admin, Answer, Entry};
use crate::config::Config;
use crate::ingest::Ingest;
use crate::store::Store;
use crate::store::sqlite::{Settings, SqliteStore};

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
    let answers = match ask(&config, &command)? {
        Some(answers) => answers,
        None => alone(config, command)?,
    };
    let mut failed = Vec::new();
    for answer in answers {
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
            Answer::End if failed.is_empty() => return Ok(()),
            Answer::End => return Err(Failure::new(EX_DATAERR, failed.join("\n"))),
        }
    }
    Err(Failure::unavailable("the server ended the conversation; look at its log"))
}

fn show(entry: &Entry, out: &mut impl Write) -> Result<(), Failure> {
    let Entry { id, source, received_at, times, reason, entry, method, query, content_type, body } =
        entry;
    writeln!(out, "id:           {id}")?;
    writeln!(out, "source:       {source}")?;
    writeln!(out, "received:     {received_at}, {times}×")?;
    writeln!(out, "reason:       {reason}")?;
    writeln!(out, "entry:        {entry}")?;
    writeln!(out, "method:       {method}")?;
    writeln!(out, "query:        {query}")?;
    writeln!(out, "content type: {}", content_type.as_deref().unwrap_or("none"))?;
    writeln!(out)?;
    out.write_all(body)?;
    Ok(writeln!(out)?)
}

/// Asks the running server; none if there is none.
fn ask(config: &Config, command: &admin::Command) -> Result<Option<Vec<Answer>>, Failure> {
    let mut stream = match admin::connect(&config.store.path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(Failure::unavailable(format!(
                "cannot reach the server's socket {}: {error}; run this as the server's user",
                admin::socket(&config.store.path).display()
            )));
        }
    };
    let broken = |error: serde_json::Error| Failure::unavailable(error.to_string());
    let mut line = serde_json::to_vec(command).map_err(broken)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answers = Vec::new();
    for line in BufReader::new(stream).lines() {
        answers.push(serde_json::from_str(&line?).map_err(broken)?);
    }
    Ok(Some(answers))
}

/// Opens the database itself, as no server has it.
fn alone(config: Config, command: admin::Command) -> Result<Vec<Answer>, Failure> {
    if !config.store.path.exists() {
        let words = format!(
            "there is no database {}; give the server's configuration, and run this where it runs",
            config.store.path.display()
        );
        return Err(Failure::new(EX_NOINPUT, words));
    }
    let (store, closing) = SqliteStore::open(&Settings {
        path: config.store.path,
        queue: config.store.queue,
        quarantine_max_rows: config.quarantine_max_rows,
        lock_wait: Duration::ZERO,
    })?;
    let store: Arc<dyn Store> = Arc::new(store);
    let ingest = Arc::new(Ingest::new(config.sources, Arc::clone(&store), config.store.queue));
    let admin = Admin { ingest, store };
    let answers = actix_web::rt::System::new().block_on(admin.execute(command));
    if closing.close() { Ok(answers) } else { Err(Failure::io("the database could not be closed")) }
}
