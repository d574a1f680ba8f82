//! Live commands: executed by the server that holds the database, or on the file itself if no server runs.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::exit_code::{EX_DATAERR, EX_NOINPUT, Failure};
use crate::admin::{self, Admin, Line, Request};
use crate::clock::Clock;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// Lines of an answer that may wait to be read.
const MAX_QUEUED_LINES: usize = 16;

/// Callback for each line of an answer, called as it arrives.
type OnLine<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// Executes a command that has one reply.
pub(crate) fn run_command<Q: Request>(config: Config, request: Q) -> Result<Q::Reply, Failure> {
    let mut reply = None;
    run_command_each(config, request, |only| {
        reply = Some(only);
        Ok(())
    })?;
    reply.ok_or_else(no_reply)
}

/// Executes a command and passes on each reply as it arrives. Fails at the end if a part of the command
/// failed.
pub(crate) fn run_command_each<Q: Request>(
    config: Config,
    request: Q,
    mut on_reply: impl FnMut(Q::Reply) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut answer = Answer::default();
    let mut on_line = |line: &[u8]| answer.read::<Q>(line, &mut on_reply);
    let command = request.into();
    if !ask_each(&config.store.path, &command, &mut on_line)? {
        run_on_file(config, command, &mut on_line)?;
    }
    answer.end()
}

/// Asks the running server for the one reply to a command; `None` if no server runs.
pub(crate) fn ask<Q: Request>(database: &Path, request: Q) -> Result<Option<Q::Reply>, Failure> {
    let (mut reply, mut answer) = (None, Answer::default());
    let mut on_reply = |only| {
        reply = Some(only);
        Ok(())
    };
    let has_server =
        ask_each(database, &request.into(), &mut |line| answer.read::<Q>(line, &mut on_reply))?;
    if !has_server {
        return Ok(None);
    }
    answer.end()?;
    reply.map(Some).ok_or_else(no_reply)
}

fn no_reply() -> Failure {
    Failure::unavailable("the server did not reply; check its log")
}

/// State of an answer that is being read.
#[derive(Default)]
struct Answer {
    errors: Vec<String>,
    has_ended: bool,
}

impl Answer {
    /// Reads a line and passes on its reply.
    fn read<Q: Request>(
        &mut self,
        line: &[u8],
        on_reply: &mut dyn FnMut(Q::Reply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let line: Line<Q::Reply> =
            serde_json::from_slice(line).map_err(|error| invalid_answer(&error))?;
        match line {
            Line::Reply(reply) => on_reply(reply)?,
            Line::Error(message) => self.errors.push(message),
            Line::End => self.has_ended = true,
        }
        Ok(())
    }

    /// Failure that the lines reported, if any.
    fn end(self) -> Result<(), Failure> {
        if !self.has_ended {
            let message = "the server closed the connection early; check its log";
            return Err(Failure::unavailable(message));
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(EX_DATAERR, self.errors.join("\n")))
        }
    }
}

fn invalid_answer(error: &serde_json::Error) -> Failure {
    Failure::unavailable(error.to_string())
}

/// Failure of the connection to the server. It must not be taken for a closed standard output.
fn connection_lost(error: &io::Error) -> Failure {
    Failure::unavailable(format!("lost the connection to the server: {error}; check its log"))
}

/// Asks the running server; returns whether one runs.
fn ask_each(
    database: &Path,
    command: &admin::Command,
    on_line: OnLine<'_>,
) -> Result<bool, Failure> {
    let mut stream = match admin::connect(database) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(false);
        }
        Err(error) => {
            return Err(Failure::unavailable(format!(
                "cannot reach the server's socket {}: {error}; run this command as the server's \
                 user",
                admin::socket(database).display()
            )));
        }
    };
    let mut line = serde_json::to_vec(command).map_err(|error| invalid_answer(&error))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(|error| connection_lost(&error))?;
    for line in BufReader::new(stream).split(b'\n') {
        on_line(&line.map_err(|error| connection_lost(&error))?)?;
    }
    Ok(true)
}

/// Opens the database itself, because no server holds it.
fn run_on_file(
    config: Config,
    command: admin::Command,
    on_line: OnLine<'_>,
) -> Result<(), Failure> {
    require_database(&config.store.path)?;
    let (store, closing) = SqliteStore::open(&config.store)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let metrics = Arc::new(Metrics::new(Clock::System.now()));
    let (max_in_flight, budget) = (config.store.max_in_flight, config.store.budget);
    let ingest = Ingest::new(config.sources, Arc::clone(&store), max_in_flight, metrics, budget);
    let ingest = Arc::new(ingest);
    let admin = Admin { ingest, store, clock: Clock::System, reload: None };
    let (lines, mut sent) = mpsc::channel::<Vec<u8>>(MAX_QUEUED_LINES);
    let read = async move {
        while let Some(line) = sent.recv().await {
            on_line(&line)?;
        }
        Ok(())
    };
    let ((), read) = actix_web::rt::System::new()
        .block_on(async { tokio::join!(admin.execute(command, lines), read) });
    drop(admin);
    if closing.close() { read } else { Err(Failure::io("the database could not be closed")) }
}

/// Fails if there is no database, instead of creating one.
pub(crate) fn require_database(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let message = format!(
        "there is no data here: no database is at {}; run this command with the server's \
         configuration, in the server's working directory",
        path.display()
    );
    Err(Failure::new(EX_NOINPUT, message))
}
