//! Commands that change or look into a live mirror, over a Unix socket beside the database.
//!
//! A command is one line of JSON, its answer one or more; the connection then ends. Only the owner
//! of the files may connect. With no server running the same commands run on the opened file.

mod protocol;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

pub use self::protocol::{Answer, Command, Entry, Reloaded, Removed};
pub use self::socket::{bind, connect, socket};
use self::socket::{gone, read_command};
use crate::clock::Clock;
use crate::ingest::{Done, Ingest};
use crate::message::{Destination, Timestamp};
use crate::store::{self, Purge, QuarantineId, Quarantined, Store, StoreError};

/// How many entries of the quarantine are read at a time.
const AT_A_TIME: u32 = 100;
/// How many commands are carried out at a time.
const AT_ONCE: usize = 8;
/// How long a command may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to leave a socket alone that cannot be used.
const PAUSE: Duration = Duration::from_secs(1);

/// A request to read API keys and sources again.
#[derive(Debug)]
pub struct Reload {
    /// Whether as many may be removed as the configuration does not have any more.
    pub confirmed: bool,
    /// Takes what it changed, or why it changed nothing.
    pub answer: oneshot::Sender<Result<Reloaded, String>>,
}

/// Carries commands out.
#[derive(Clone)]
pub struct Admin {
    /// The way in.
    pub ingest: Arc<Ingest>,
    /// The way out.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Clock,
    /// Where to ask for a reload; none if no server runs.
    pub reload: Option<mpsc::Sender<Reload>>,
}

impl Admin {
    /// Carries a command out and returns all lines of its answer.
    pub async fn execute(&self, command: Command) -> Vec<Answer> {
        let mut answers = match self.answers(command).await {
            Ok(answers) => answers,
            Err(error) => vec![Answer::Error(error)],
        };
        answers.push(Answer::End);
        answers
    }

    async fn answers(&self, command: Command) -> Result<Vec<Answer>, String> {
        match command {
            Command::List => {
                let rows = self.all().await.map_err(|error| words(&error))?;
                Ok(rows.into_iter().map(|row| Answer::Entry(row.into())).collect())
            }
            Command::Show { id } => Ok(vec![Answer::Entry(self.one(&id).await?.into())]),
            Command::Replay { ids } => {
                let ids = if ids.is_empty() {
                    let rows = self.all().await.map_err(|error| words(&error))?;
                    rows.into_iter().map(|row| row.id.to_string()).collect()
                } else {
                    ids
                };
                let mut answers = Vec::with_capacity(ids.len());
                for id in ids {
                    // What one entry meets with does not keep the others back.
                    answers.push(self.replay(&id).await.unwrap_or_else(Answer::Error));
                }
                Ok(answers)
            }
            Command::Erase { destination } => {
                let number = number(&destination)?;
                let removed = self.ingest.erase(number, self.clock.now()).await;
                removed.map(|removed| vec![Answer::Removed(removed.into())]).map_err(|e| words(&e))
            }
            Command::CountErase { destination } => {
                self.count(Purge::Number(number(&destination)?)).await
            }
            Command::Prune { older_than_seconds } => {
                let before = self.before(Duration::from_secs(older_than_seconds));
                let purged = self.store.prune(before).await;
                purged.map(|purged| vec![Answer::Removed(purged.into())]).map_err(|e| words(&e))
            }
            Command::CountPrune { older_than_seconds } => {
                let before = self.before(Duration::from_secs(older_than_seconds));
                self.count(Purge::Older(before)).await
            }
            Command::CountWaiting => {
                let vitals = self.store.vitals().await.map_err(|error| words(&error))?;
                Ok(vec![Answer::Waiting(vitals.prune_waiting)])
            }
            Command::BackUp { file } => {
                self.store.back_up(file).await.map_err(|error| words(&*error))?;
                Ok(vec![Answer::BackedUp])
            }
            Command::Reload { confirmed } => {
                let gone = || "the server is stopping, or none runs".to_owned();
                let (answer, reloaded) = oneshot::channel();
                let reload = self.reload.as_ref().ok_or_else(gone)?;
                reload.send(Reload { confirmed, answer }).await.map_err(|_closed| gone())?;
                let reloaded = reloaded.await.map_err(|_closed| gone())??;
                Ok(vec![Answer::Reloaded(reloaded)])
            }
        }
    }

    /// Does what has to be done once a day: removes what arrived longer ago than the retention, if there
    /// is one, and forgets tombstones.
    pub async fn purge_daily(
        &self,
        retention: Option<Duration>,
    ) -> Result<Option<store::DailyPurge>, StoreError> {
        let retained_from = retention.map(|retention| self.before(retention));
        self.store.purge_daily(retained_from, self.clock.now()).await
    }

    async fn count(&self, what: Purge) -> Result<Vec<Answer>, String> {
        let counted = self.store.count_purge(what).await;
        counted.map(|counted| vec![Answer::Removed(counted.into())]).map_err(|e| words(&e))
    }

    /// The time so long ago.
    fn before(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.now().micros().saturating_sub(age));
        // What would be older than time itself is nothing.
        before.unwrap_or(Timestamp::EPOCH)
    }

    async fn all(&self) -> Result<Vec<Quarantined>, StoreError> {
        let mut all: Vec<Quarantined> = Vec::new();
        loop {
            let after = all.last().map_or(0, |row| row.place);
            let rows = self.store.quarantine(after, AT_A_TIME).await?;
            if rows.is_empty() {
                return Ok(all);
            }
            all.extend(rows);
        }
    }

    async fn one(&self, id: &str) -> Result<Quarantined, String> {
        let unknown = || {
            format!("nothing with the id {id} is in quarantine; see `statusmirror quarantine list`")
        };
        let name = QuarantineId::parse(id).ok_or_else(unknown)?;
        let row = self.store.quarantined(name).await.map_err(|error| words(&error))?;
        row.ok_or_else(unknown)
    }

    async fn replay(&self, id: &str) -> Result<Answer, String> {
        let row = self.one(id).await?;
        let done = self.ingest.replay(row).await;
        let done = done.map_err(|error| format!("{id}: {}", words(&error)))?;
        let (outcome, reason) = match done {
            Done::Judged { outcome, .. } => (outcome.name(), None),
            Done::Quarantined { reason, .. } => ("quarantined", Some(reason)),
            Done::Ignored { reason } => ("ignored", Some(reason)),
        };
        Ok(Answer::Replayed { id: id.to_owned(), outcome: outcome.to_owned(), reason })
    }

    /// Listens on the socket of this database until the future is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = admin.converse(stream).await {
                            tracing::warn!(%error, "an admin command broke off");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot be used");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        let (mut read, mut write) = stream.into_split();
        let answers = match timeout(PATIENCE, read_command(&mut read)).await {
            Ok(command) => match command? {
                // A copy that nobody waits for any more is not finished.
                Ok(command @ Command::BackUp { .. }) => tokio::select! {
                    answers = self.execute(command) => answers,
                    () = gone(&mut read) => return Ok(()),
                },
                Ok(command) => self.execute(command).await,
                Err(words) => vec![Answer::Error(words), Answer::End],
            },
            Err(_elapsed) => {
                vec![
                    Answer::Error("no whole admin command arrived in time".to_owned()),
                    Answer::End,
                ]
            }
        };
        for answer in answers {
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            write.write_all(&line).await?;
        }
        write.shutdown().await
    }
}

fn number(destination: &str) -> Result<Destination, String> {
    destination.parse().map_err(|error| format!("the destination is {error}"))
}

/// An error and what lies beneath it.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}
