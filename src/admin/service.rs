//! Admin commands carried out on a store.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::protocol::{
    BackUp, BackedUp, Command, CountErase, CountPrune, CountWaiting, DropEntries, Erase, Line,
    Prune, Reload, Reloaded, Removed, Request, Show, Status, Waiting,
};
use super::socket::{read_command, wait_until_closed};
use super::status::{self, ServerStatus, SourceStatus};
use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::message::{Destination, Timestamp};
use crate::store::{self, Purge, Store, StoreError};

/// Lines of an answer that may wait for the client.
const MAX_QUEUED_LINES: usize = 16;
/// Maximum number of concurrent commands.
const MAX_CONCURRENT_COMMANDS: usize = 8;
/// Time allowed for a command to arrive.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the socket failed to accept a connection.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Order to the server to reload API keys, sources and the log level.
#[derive(Debug)]
pub struct ReloadOrder {
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
    pub reload: Option<mpsc::Sender<ReloadOrder>>,
}

impl Admin {
    /// Executes a command and sends the lines of its answer as they are produced. Stops early, where the
    /// command allows it, once the receiver is gone.
    pub async fn execute(&self, command: Command, lines: mpsc::Sender<Vec<u8>>) {
        let lines = Lines(lines);
        match command {
            Command::List(request) => self.list(request, &lines).await,
            Command::Show(request) => lines.only_reply::<Show>(self.show(request).await).await,
            Command::Replay(request) => self.replay_each(request, &lines).await,
            Command::DropEntries(request) => {
                lines.only_reply::<DropEntries>(self.drop_entries(request).await).await;
            }
            Command::Erase(request) => lines.only_reply::<Erase>(self.erase(request).await).await,
            Command::CountErase(request) => {
                lines.only_reply::<CountErase>(self.count_erase(request).await).await;
            }
            Command::Prune(request) => lines.only_reply::<Prune>(self.prune(request).await).await,
            Command::CountPrune(request) => {
                lines.only_reply::<CountPrune>(self.count_prune(request).await).await;
            }
            Command::CountWaiting(_) => {
                lines.only_reply::<CountWaiting>(self.count_waiting().await).await;
            }
            Command::BackUp(request) => {
                lines.only_reply::<BackUp>(self.back_up(request).await).await;
            }
            Command::Reload(request) => {
                lines.only_reply::<Reload>(self.reload(request).await).await;
            }
            Command::Status(_) => lines.only_reply::<Status>(self.status().await).await,
        }
        lines.line(&Line::<()>::End).await;
    }

    async fn erase(&self, Erase { destination }: Erase) -> Reply<Erase> {
        let removed = self.ingest.erase(parse_destination(&destination)?, self.clock.now()).await;
        Ok(removed.map_err(|error| error_chain(&error))?.into())
    }

    async fn count_erase(&self, CountErase { destination }: CountErase) -> Reply<CountErase> {
        self.count(Purge::Destination(parse_destination(&destination)?)).await
    }

    async fn prune(&self, Prune { older_than_seconds }: Prune) -> Reply<Prune> {
        let before = self.time_ago(Duration::from_secs(older_than_seconds));
        Ok(self.store.prune(before).await.map_err(|error| error_chain(&error))?.into())
    }

    async fn count_prune(&self, request: CountPrune) -> Reply<CountPrune> {
        let CountPrune { older_than_seconds } = request;
        self.count(Purge::Older(self.time_ago(Duration::from_secs(older_than_seconds)))).await
    }

    async fn count(&self, what: Purge) -> Result<Removed, String> {
        Ok(self.store.count_purge(what).await.map_err(|error| error_chain(&error))?.into())
    }

    async fn count_waiting(&self) -> Reply<CountWaiting> {
        let stats = self.store.stats().await.map_err(|error| error_chain(&error))?;
        Ok(Waiting(stats.prune_waiting))
    }

    async fn back_up(&self, BackUp { file }: BackUp) -> Reply<BackUp> {
        self.store.back_up(file).await.map_err(|error| error_chain(&*error))?;
        Ok(BackedUp)
    }

    async fn reload(&self, Reload { confirmed }: Reload) -> Reply<Reload> {
        let no_server = || "the server is stopping, or no server runs".to_owned();
        let (answer, reloaded) = oneshot::channel();
        let reload = self.reload.as_ref().ok_or_else(no_server)?;
        reload.send(ReloadOrder { confirmed, answer }).await.map_err(|_closed| no_server())?;
        reloaded.await.map_err(|_closed| no_server())?
    }

    async fn status(&self) -> Reply<Status> {
        let now = self.clock.now();
        let stats = self.store.stats().await.map_err(|error| error_chain(&error))?;
        let metrics = &self.ingest.metrics;
        let ((sources, without_source), started_at) = (metrics.health(now), metrics.started_at());
        let uptime_seconds = now.seconds().saturating_sub(started_at.seconds());
        Ok(ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: started_at.to_string(),
            uptime_seconds: u64::try_from(uptime_seconds).unwrap_or(0),
            not_ready: self.ingest.is_ready().await.err().map(|rejection| rejection.to_string()),
            deliveries_in_flight: self.ingest.slots.in_flight(),
            sources: sources.into_iter().map(SourceStatus::from).collect(),
            rejected_without_source: status::rejected(without_source),
            store: stats.into(),
        })
    }

    /// Runs the daily purge: removes records older than the retention, if one is set, and expired tombstones.
    pub async fn purge_daily(
        &self,
        retention: Option<Duration>,
    ) -> Result<Option<store::DailyPurge>, StoreError> {
        let retained_from = retention.map(|retention| self.time_ago(retention));
        self.store.purge_daily(retained_from, self.clock.now()).await
    }

    /// Time `age` before now.
    fn time_ago(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.now().micros().saturating_sub(age));
        // An age that reaches before 1970 matches nothing.
        before.unwrap_or(Timestamp::EPOCH)
    }

    /// Serves the admin socket of this database until the future is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_COMMANDS));
        loop {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        let _slot = slot;
                        if let Err(error) = admin.handle_connection(stream).await {
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
    async fn handle_connection(&self, stream: UnixStream) -> std::io::Result<()> {
        let (mut read, mut write) = stream.into_split();
        let (lines, mut sent) = mpsc::channel::<Vec<u8>>(MAX_QUEUED_LINES);
        let written = async move {
            while let Some(line) = sent.recv().await {
                write.write_all(&line).await?;
            }
            write.shutdown().await
        };
        let (read, written) = tokio::join!(self.handle_command(&mut read, lines), written);
        read.and(written)
    }

    async fn handle_command(
        &self,
        read: &mut OwnedReadHalf,
        lines: mpsc::Sender<Vec<u8>>,
    ) -> std::io::Result<()> {
        let command = match timeout(COMMAND_TIMEOUT, read_command(read)).await {
            Ok(command) => command?,
            Err(_elapsed) => Err("no complete admin command arrived in time".to_owned()),
        };
        match command {
            // A backup is abandoned when its client is gone.
            Ok(command @ Command::BackUp(_)) => tokio::select! {
                () = self.execute(command, lines) => {}
                () = wait_until_closed(read) => {}
            },
            Ok(command) => self.execute(command, lines).await,
            Err(message) => {
                let lines = Lines(lines);
                lines.line(&Line::<()>::Error(message)).await;
                lines.line(&Line::<()>::End).await;
            }
        }
        Ok(())
    }
}

/// Reply to a command, or the reason why it failed.
pub(crate) type Reply<Q> = Result<<Q as Request>::Reply, String>;

/// Receiver of the lines of an answer.
pub(crate) struct Lines(mpsc::Sender<Vec<u8>>);

impl Lines {
    /// Sends the only reply to a command.
    pub(crate) async fn only_reply<Q: Request>(&self, reply: Reply<Q>) {
        // If the client is gone, nothing is left to do.
        let _is_connected = self.reply::<Q>(reply).await;
    }

    /// Sends a reply. Returns whether the client is still there.
    pub(crate) async fn reply<Q: Request>(&self, reply: Reply<Q>) -> bool {
        self.line(&reply.map_or_else(Line::Error, Line::Reply)).await
    }

    async fn line<R: Serialize>(&self, line: &Line<R>) -> bool {
        // Serializing these types cannot fail.
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        self.0.send(text).await.is_ok()
    }
}

fn parse_destination(destination: &str) -> Result<Destination, String> {
    destination.parse().map_err(|error| format!("the destination is {error}"))
}

/// Message of an error followed by its causes.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
