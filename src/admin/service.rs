//! Admin commands carried out on a store.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::protocol::{Answer, Command, Reloaded};
use super::socket::{gone, read_command};
use crate::clock::Clock;
use crate::ingest::{EntryResult, Ingest};
use crate::message::{Destination, Timestamp};
use crate::store::{self, Purge, QuarantineId, Quarantined, Store, StoreError};

/// Quarantined entries read at a time; each may have a long query.
const PAGE_ENTRIES: u32 = 16;
/// Answer lines that may wait for the client.
const MAX_QUEUED_ANSWERS: usize = 16;
/// Maximum number of concurrent commands.
const MAX_CONCURRENT_COMMANDS: usize = 8;
/// Time allowed for a command to arrive.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the socket failed to accept a connection.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Request to reload API keys and sources.
#[derive(Debug)]
pub struct Reload {
    /// Confirms that sources and keys missing from the configuration are removed, however many.
    pub confirmed: bool,
    /// Receives the changes, or the reason why nothing changed.
    pub answer: oneshot::Sender<Result<Reloaded, String>>,
}

/// Executes admin commands.
#[derive(Clone)]
pub struct Admin {
    /// Write path: replays and erasures.
    pub ingest: Arc<Ingest>,
    /// Read and maintenance path.
    pub store: Arc<dyn Store>,
    /// Clock.
    pub clock: Clock,
    /// Channel for reload requests; `None` if no server runs.
    pub reload: Option<mpsc::Sender<Reload>>,
}

impl Admin {
    /// Executes a command and sends the lines of its answer as they are produced. Stops early, where the
    /// command allows it, once the receiver is gone.
    pub async fn execute(&self, command: Command, answers: mpsc::Sender<Answer>) {
        if let Err(error) = self.answer(command, &answers).await {
            drop(answers.send(Answer::Error(error)).await);
        }
        drop(answers.send(Answer::End).await);
    }

    async fn answer(&self, command: Command, answers: &mpsc::Sender<Answer>) -> Result<(), String> {
        let answer = match command {
            Command::List => return self.list(answers).await,
            Command::Replay { ids } => return self.replay_each(ids, answers).await,
            Command::Show { id } => {
                let id = QuarantineId::parse(&id).ok_or_else(|| unknown(&id))?;
                Answer::Entry(self.one(id).await?.into())
            }
            Command::Erase { destination } => {
                let number = number(&destination)?;
                let removed = self.ingest.erase(number, self.clock.now()).await;
                Answer::Removed(removed.map_err(|error| words(&error))?.into())
            }
            Command::CountErase { destination } => {
                self.count(Purge::Number(number(&destination)?)).await?
            }
            Command::Prune { older_than_seconds } => {
                let before = self.before(Duration::from_secs(older_than_seconds));
                let purged = self.store.prune(before).await.map_err(|error| words(&error))?;
                Answer::Removed(purged.into())
            }
            Command::CountPrune { older_than_seconds } => {
                let before = self.before(Duration::from_secs(older_than_seconds));
                self.count(Purge::Older(before)).await?
            }
            Command::CountWaiting => {
                let stats = self.store.stats().await.map_err(|error| words(&error))?;
                Answer::Waiting(stats.prune_waiting)
            }
            Command::BackUp { file } => {
                self.store.back_up(file).await.map_err(|error| words(&*error))?;
                Answer::BackedUp
            }
            Command::Reload { confirmed } => {
                let gone = || "the server is stopping, or none runs".to_owned();
                let (answer, reloaded) = oneshot::channel();
                let reload = self.reload.as_ref().ok_or_else(gone)?;
                reload.send(Reload { confirmed, answer }).await.map_err(|_closed| gone())?;
                Answer::Reloaded(reloaded.await.map_err(|_closed| gone())??)
            }
        };
        drop(answers.send(answer).await);
        Ok(())
    }

    /// Sends every quarantined entry, oldest first, without bodies.
    async fn list(&self, answers: &mpsc::Sender<Answer>) -> Result<(), String> {
        let mut after = 0;
        loop {
            let rows = self.page(after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.place;
            for row in rows {
                if answers.send(Answer::Entry(row.into())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Replays the named entries, or all if none is named. An error with one entry does not stop the others.
    async fn replay_each(
        &self,
        ids: Vec<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), String> {
        let all = ids.is_empty();
        for id in ids {
            let replayed = match QuarantineId::parse(&id) {
                Some(id) => self.replay(id).await,
                None => Err(unknown(&id)),
            };
            if answers.send(replayed.unwrap_or_else(Answer::Error)).await.is_err() {
                return Ok(());
            }
        }
        // The ids are collected first, because a replay may move an entry to another place.
        let ids = if all { self.ids().await? } else { Vec::new() };
        for id in ids {
            let replayed = self.replay(id).await.unwrap_or_else(Answer::Error);
            if answers.send(replayed).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs the daily purge: removes records older than the retention, if one is set, and expired tombstones.
    pub async fn purge_daily(
        &self,
        retention: Option<Duration>,
    ) -> Result<Option<store::DailyPurge>, StoreError> {
        let retained_from = retention.map(|retention| self.before(retention));
        self.store.purge_daily(retained_from, self.clock.now()).await
    }

    async fn count(&self, what: Purge) -> Result<Answer, String> {
        let counted = self.store.count_purge(what).await.map_err(|error| words(&error))?;
        Ok(Answer::Removed(counted.into()))
    }

    /// Time `age` before now.
    fn before(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.now().micros().saturating_sub(age));
        // An age that reaches before 1970 matches nothing.
        before.unwrap_or(Timestamp::EPOCH)
    }

    /// Next page of entries after this place.
    async fn page(&self, after: i64) -> Result<Vec<Quarantined>, String> {
        self.store.quarantine(after, PAGE_ENTRIES).await.map_err(|error| words(&error))
    }

    /// Ids of all entries.
    async fn ids(&self) -> Result<Vec<QuarantineId>, String> {
        let (mut ids, mut after) = (Vec::new(), 0);
        loop {
            let rows = self.page(after).await?;
            let Some(last) = rows.last() else { return Ok(ids) };
            after = last.place;
            ids.extend(rows.iter().map(|row| row.id));
        }
    }

    async fn one(&self, id: QuarantineId) -> Result<Quarantined, String> {
        let row = self.store.quarantined(id).await.map_err(|error| words(&error))?;
        row.ok_or_else(|| unknown(&id.to_string()))
    }

    async fn replay(&self, id: QuarantineId) -> Result<Answer, String> {
        let row = self.one(id).await?;
        let done = self.ingest.replay(row).await;
        let done = done.map_err(|error| format!("{id}: {}", words(&error)))?;
        let (outcome, reason) = match done {
            EntryResult::Judged { outcome, .. } => (outcome.name(), None),
            EntryResult::Quarantined { reason, .. } => ("quarantined", Some(reason)),
            EntryResult::Ignored { reason } => ("ignored", Some(reason)),
        };
        Ok(Answer::Replayed { id: id.to_string(), outcome: outcome.to_owned(), reason })
    }

    /// Serves the admin socket of this database until the future is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(MAX_CONCURRENT_COMMANDS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = admin.converse(stream).await {
                            tracing::warn!(%error, "an admin command ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot be used");
                    sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Reads one command and writes the lines of its answer as they are produced, so that an answer of any
    /// length takes little memory.
    async fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        let (mut read, mut write) = stream.into_split();
        let (answers, mut sent) = mpsc::channel(MAX_QUEUED_ANSWERS);
        let written = async move {
            while let Some(answer) = sent.recv().await {
                let mut line = serde_json::to_vec(&answer)?;
                line.push(b'\n');
                write.write_all(&line).await?;
            }
            write.shutdown().await
        };
        let (read, written) = tokio::join!(self.carry_out(&mut read, answers), written);
        read.and(written)
    }

    async fn carry_out(
        &self,
        read: &mut OwnedReadHalf,
        answers: mpsc::Sender<Answer>,
    ) -> std::io::Result<()> {
        let command = match timeout(COMMAND_TIMEOUT, read_command(read)).await {
            Ok(command) => command?,
            Err(_elapsed) => Err("no whole admin command arrived in time".to_owned()),
        };
        match command {
            // A backup is abandoned when its client is gone.
            Ok(command @ Command::BackUp { .. }) => tokio::select! {
                () = self.execute(command, answers) => {}
                () = gone(read) => {}
            },
            Ok(command) => self.execute(command, answers).await,
            Err(words) => {
                drop(answers.send(Answer::Error(words)).await);
                drop(answers.send(Answer::End).await);
            }
        }
        Ok(())
    }
}

fn unknown(id: &str) -> String {
    format!("nothing with the id {id} is in quarantine; see `statusmirror quarantine list`")
}

fn number(destination: &str) -> Result<Destination, String> {
    destination.parse().map_err(|error| format!("the destination is {error}"))
}

/// Message of an error followed by its causes.
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
