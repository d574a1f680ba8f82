//! Commands for a mirror: carried out by the server that has it, else on the file itself.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use super::{EX_NOINPUT, Failure};
use crate::admin::{self, Admin, Answer};
use crate::clock::Clock;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// Carries a command out and returns all lines of its answer.
pub(super) fn carry_out(config: Config, command: admin::Command) -> Result<Vec<Answer>, Failure> {
    match ask(&config.store.path, &command)? {
        Some(answers) => Ok(answers),
        None => alone(config, command),
    }
}

/// Asks the running server; none if there is none.
pub(super) fn ask(
    database: &Path,
    command: &admin::Command,
) -> Result<Option<Vec<Answer>>, Failure> {
    let mut stream = match admin::connect(database) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
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
    let mut answers = Vec::new();
    for line in BufReader::new(stream).lines() {
        answers.push(serde_json::from_str(&line?).map_err(broken)?);
    }
    Ok(Some(answers))
}

/// Opens the database itself, as no server has it.
fn alone(config: Config, command: admin::Command) -> Result<Vec<Answer>, Failure> {
    require_database(&config.store.path)?;
    let (store, closing) = SqliteStore::open(&config.store)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let metrics = Arc::new(Metrics::new(Clock::System.now()));
    let (queue, budget) = (config.store.queue, config.store.budget);
    let ingest = Ingest::new(config.sources, Arc::clone(&store), queue, metrics, budget);
    let ingest = Arc::new(ingest);
    let admin = Admin { ingest, store, clock: Clock::System, reload: None };
    let answers = actix_web::rt::System::new().block_on(admin.execute(command));
    if closing.close() { Ok(answers) } else { Err(Failure::io("the database could not be closed")) }
}

/// Refuses to make a database where none is.
pub(super) fn require_database(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let words = format!(
        "there is no database {}; give the server's configuration, and run this where it runs",
        path.display()
    );
    Err(Failure::new(EX_NOINPUT, words))
}

/// The failure that a command's answers tell of, if they do.
pub(super) fn failures(failed: &[String], ended: bool) -> Result<(), Failure> {
    if !ended {
        let words = "the server ended the conversation; look at its log";
        return Err(Failure::unavailable(words));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(super::EX_DATAERR, failed.join("\n"))) }
}
