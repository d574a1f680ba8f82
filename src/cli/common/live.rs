//! Live commands: executed by the server that holds the database, or on the file itself if no server runs.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::exit_code::{EX_NOINPUT, Failure};
use crate::admin::{self, Admin, Answer};
use crate::clock::Clock;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// Answer lines that may wait to be printed.
const MAX_QUEUED_ANSWERS: usize = 16;

/// Callback for each line of an answer, called as it arrives.
type OnLine<'a> = &'a mut dyn FnMut(Answer) -> Result<(), Failure>;

/// Executes a command and returns all lines of its answer; for commands with few lines.
pub(crate) fn run_command(config: Config, command: admin::Command) -> Result<Vec<Answer>, Failure> {
    let mut answers = Vec::new();
    run_command_each(config, command, &mut |answer| {
        answers.push(answer);
        Ok(())
    })?;
    Ok(answers)
}

/// Executes a command and passes on each line of its answer; for commands with any number of lines.
pub(crate) fn run_command_each(
    config: Config,
    command: admin::Command,
    tell: OnLine<'_>,
) -> Result<(), Failure> {
    if ask_each(&config.store.path, &command, tell)? {
        Ok(())
    } else {
        alone(config, command, tell)
    }
}

/// Asks the running server; `None` if none runs.
pub(crate) fn ask(
    database: &Path,
    command: &admin::Command,
) -> Result<Option<Vec<Answer>>, Failure> {
    let mut answers = Vec::new();
    let has_server = ask_each(database, command, &mut |answer| {
        answers.push(answer);
        Ok(())
    })?;
    Ok(has_server.then_some(answers))
}

/// Asks the running server; returns whether one runs.
fn ask_each(database: &Path, command: &admin::Command, tell: OnLine<'_>) -> Result<bool, Failure> {
    let mut stream = match admin::connect(database) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(false);
        }
        Err(error) => {
            return Err(Failure::unavailable(format!(
                "cannot reach the server's socket {}: {error}; run this as the server's user",
                admin::socket(database).display()
            )));
        }
    };
    let broken = |error: serde_json::Error| Failure::unavailable(error.to_string());
    let mut line = serde_json::to_vec(command).map_err(broken)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        tell(serde_json::from_str(&line?).map_err(broken)?)?;
    }
    Ok(true)
}

/// Opens the database itself, because no server holds it.
fn alone(config: Config, command: admin::Command, tell: OnLine<'_>) -> Result<(), Failure> {
    require_database(&config.store.path)?;
    let (store, closing) = SqliteStore::open(&config.store)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let metrics = Arc::new(Metrics::new(Clock::System.now()));
    let (max_in_flight, budget) = (config.store.max_in_flight, config.store.budget);
    let ingest = Ingest::new(config.sources, Arc::clone(&store), max_in_flight, metrics, budget);
    let ingest = Arc::new(ingest);
    let admin = Admin { ingest, store, clock: Clock::System, reload: None };
    let (answers, mut sent) = mpsc::channel(MAX_QUEUED_ANSWERS);
    let told = async move {
        while let Some(answer) = sent.recv().await {
            tell(answer)?;
        }
        Ok(())
    };
    let ((), told) = actix_web::rt::System::new()
        .block_on(async { tokio::join!(admin.execute(command, answers), told) });
    drop(admin);
    if closing.close() { told } else { Err(Failure::io("the database could not be closed")) }
}

/// Fails if there is no database, instead of creating one.
pub(crate) fn require_database(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let words = format!(
        "there is no database {}; give the server's configuration, and run this where it runs",
        path.display()
    );
    Err(Failure::new(EX_NOINPUT, words))
}

/// Failure that the answers of a command report, if any.
pub(crate) fn failures(failed: &[String], ended: bool) -> Result<(), Failure> {
    if !ended {
        let words = "the server ended the conversation; look at its log";
        return Err(Failure::unavailable(words));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(super::exit_code::EX_DATAERR, failed.join("\n")))
    }
}
