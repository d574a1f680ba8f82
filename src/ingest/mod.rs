//! The way of what comes in: verify, read, store, in this order and for every source alike.
//!
//! Knows neither HTTP nor SQL. What can be refused without work is refused first.

mod admission;
mod body;
mod closing;
mod counted;
mod entries;
mod repeat;
mod replay;
mod turn;
mod unattended;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::admission::{Admission, Entries};
pub use self::body::{BODY_BUDGET, Body};
pub use self::closing::Closing;
pub use self::entries::Done;
use self::entries::{joined, split};
use self::turn::Turn;
use self::unattended::Unattended;
use crate::budget::{Exhausted, MemoryBudget, Reservation, Share};
use crate::content::Content;
use crate::dialect::{self, NotEncoded, Source, Sources, kept_query};
use crate::message::{Destination, Notification, Timestamp};
use crate::metrics::{Metrics, SourceMetrics};
use crate::proof::{Headers, Request, Unproven, Verified};
use crate::store::{Delivery, Entry, Removed, Store, StoreError, Stored};

/// How long a commit may take before the sender is asked to come again.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(2);

/// So many deliveries under way keep the writer busy.
const A_FEW: usize = 16;

/// Takes deliveries and registrations to the store.
pub struct Ingest {
    /// Who posts.
    pub sources: Sources,
    /// Where all of it is counted.
    pub metrics: Arc<Metrics>,
    /// Memory that requests may hold.
    pub budget: MemoryBudget,
    store: Arc<dyn Store>,
    /// How many deliveries may be under way, and what is left of that.
    queue: usize,
    slots: Arc<Semaphore>,
    entries: Entries,
    /// Whether nothing is taken any more.
    pub closing: Closing,
    probing: Mutex<()>,
}

/// Why a delivery was not taken.
#[derive(Debug, Error)]
pub enum Refusal {
    /// As many deliveries or bytes are under way as may be.
    #[error("too many deliveries are under way")]
    Overloaded,
    /// The source has sent more than its `max_rate` allows.
    #[error("more deliveries than `max_rate` allows")]
    Rate,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    Closing,
    /// No or a wrong proof, or one from another time.
    #[error("not proven to be authentic")]
    Unproven(#[source] Unproven),
    /// The proof is right, but too old, and not all of what is said is stored already.
    #[error("the proof is too old")]
    TooOld,
    /// Authentic, but not what the source's dialect is written in; it is in quarantine.
    #[error("not understood: {0}")]
    NotEncoded(String),
    /// The commit takes longer than [`COMMIT_DEADLINE`]. It may still happen.
    #[error("the commit takes too long")]
    Slow,
    /// The store did not take it.
    #[error("the store did not take it")]
    Store(#[from] StoreError),
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Self::Overloaded
    }
}

/// A webhook as it was received.
pub struct Posted<'a> {
    /// The method.
    pub method: &'a str,
    /// The raw query, if there is one.
    pub query: Option<&'a str>,
    /// The content type, if one was given.
    pub content_type: Option<&'a str>,
    /// The headers.
    pub headers: &'a dyn Headers,
    /// The body.
    pub body: Body,
    /// What verified it already, if its address does.
    pub verified: Option<Verified>,
}

impl Ingest {
    /// Takes deliveries of these sources, at most `queue` at a time.
    pub fn new(
        sources: Vec<Source>,
        store: Arc<dyn Store>,
        queue: usize,
        metrics: Arc<Metrics>,
        budget: MemoryBudget,
    ) -> Self {
        metrics.configure(counted::configured(&sources, &[]), metrics.began());
        Self {
            sources: Sources::new(sources),
            metrics,
            budget,
            store,
            queue,
            slots: Arc::new(Semaphore::new(queue)),
            entries: Entries::default(),
            closing: Closing::default(),
            probing: Mutex::new(()),
        }
    }

    /// Whether there is room for another delivery; asked before any work is done for one.
    pub fn has_room(&self) -> Result<(), Refusal> {
        if self.closing.has_begun() {
            return Err(Refusal::Closing);
        }
        if self.is_full() { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Whether as many deliveries are under way as may be.
    pub fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }

    /// How many deliveries are under way.
    pub fn under_way(&self) -> usize {
        self.queue.saturating_sub(self.slots.available_permits())
    }

    /// How many may be.
    pub fn capacity(&self) -> usize {
        self.queue
    }

    /// From now on there are these sources.
    pub fn replace_sources(&self, sources: Vec<Source>, now: Timestamp) {
        self.metrics.configure(counted::configured(&sources, &self.sources.all()), now);
        self.sources.replace(sources);
    }

    /// Whether enough deliveries are under way, so that another one may be refused.
    pub fn is_busy(&self) -> bool {
        self.under_way() >= A_FEW
    }

    /// Takes a webhook: verifies it over its raw bytes, reads it, stores what it says, and returns
    /// once that is durable.
    pub async fn accept(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<Vec<Done>, Refusal> {
        let counted = self.metrics.source(&source.name);
        let taken = self.take(source, posted, now, counted.as_deref()).await;
        if let Some(counted) = counted {
            match &taken {
                Ok(done) => counted.accepted(done.iter().map(Done::became), now),
                Err(refusal) => counted.refused(refusal.cause()),
            }
        }
        taken
    }

    async fn take(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
        counted: Option<&SourceMetrics>,
    ) -> Result<Vec<Done>, Refusal> {
        let turn = Turn::of(posted.body.content.len()).await;
        let proven = self.prove(source, posted, now);
        drop(turn);
        let Proven { content, read, verified, mut admission } = proven?;
        let Verified { too_old, secret, signed_at, .. } = verified;
        if let Some(counted) = counted {
            counted.verified(secret, signed_at, now);
        }
        if too_old {
            return self.repeat(read).await;
        }
        let delivery = |entries| Delivery {
            source: source.name.clone(),
            received_at: now,
            content: Some(content),
            url_covered: source.covers_url(),
            entries,
            replay_of: None,
        };
        match read {
            Ok(read) => {
                let (entries, ignored) = split(read);
                admission.charge(&self.entries, entries.len())?;
                let stored = if entries.is_empty() {
                    Vec::new()
                } else {
                    let times: Vec<_> = entries.iter().map(counted::stated_at).collect();
                    let stored = self.store(delivery(entries), Some(admission)).await?;
                    if let Some(counted) = counted {
                        let new = stored.iter().zip(times).filter(|(one, _)| counted::is_new(one));
                        new.filter_map(|(_, time)| time).for_each(|time| counted.said(time, now));
                    }
                    stored
                };
                Ok(joined(stored, ignored))
            }
            Err(NotEncoded(reason)) => {
                let entry = Entry::Unreadable { index: 0, reason: reason.clone() };
                self.store(delivery(vec![entry]), Some(admission)).await?;
                Err(Refusal::NotEncoded(reason))
            }
        }
    }

    /// What can be done with a webhook before anything must be waited for.
    fn prove(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<Proven, Refusal> {
        let slot = self.slot()?;
        if !self.entries.have_room(posted.body.content.len()) {
            return Err(Refusal::Overloaded);
        }
        let Posted { method, query, content_type, headers, mut body, verified } = posted;
        let request = Request { method, query, content_type, headers, body: &body.content };
        let verified = match verified {
            Some(verified) => verified,
            None => source.verify(&request, now).map_err(Refusal::Unproven)?,
        };
        if !source.take_turn() {
            return Err(Refusal::Rate);
        }
        body.bytes.move_to(Share::Bodies)?;
        let content = Content {
            method: method.to_owned(),
            query: kept_query(query.unwrap_or_default()),
            content_type: content_type.map(str::to_owned),
            body: body.content,
        };
        let admission = Admission::new(slot, body.bytes);
        Ok(Proven { read: source.read(&content), content, verified, admission })
    }

    /// Takes a registration by the holder of this key.
    pub async fn register(
        &self,
        key: &str,
        notification: Notification,
        bytes: Reservation,
        now: Timestamp,
    ) -> Result<Stored, Refusal> {
        let admission = Admission::new(self.slot()?, bytes);
        let entry = Entry::Notification {
            index: 0,
            notification: Box::new(notification),
            foreign_id: None,
        };
        let delivery = Delivery {
            source: format!("api:{key}"),
            received_at: now,
            content: None,
            url_covered: false,
            entries: vec![entry],
            replay_of: None,
        };
        self.store(delivery, Some(admission))
            .await?
            .pop()
            .ok_or(Refusal::Store(StoreError::Stopped))
    }

    /// Removes all that names this number. What comes of it late, while a sender may still try, is
    /// ignored.
    pub async fn erase(&self, number: Destination, now: Timestamp) -> Result<Removed, StoreError> {
        let until = now.micros() + self.sources.max_age_seconds().saturating_mul(1_000_000);
        self.store.erase(number, now, Timestamp::from_micros(until).unwrap_or(now)).await
    }

    /// Whether the store can be written now.
    pub async fn is_ready(&self) -> Result<(), Refusal> {
        // One at a time, because strangers may ask too.
        let _turn = self.probing.lock().await;
        self.has_room()?;
        let nothing = Delivery {
            source: String::new(),
            received_at: Timestamp::EPOCH,
            content: None,
            url_covered: false,
            entries: Vec::new(),
            replay_of: None,
        };
        self.store(nothing, None).await.map(drop)
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.has_room()?;
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_none| Refusal::Overloaded)
    }

    /// Stores a delivery. Who asked may stop waiting, but what is queued stays so, and holds its
    /// slot and its bytes until it is done. If the quarantine is full, the rest of the delivery is stored,
    /// and the sender has to come again.
    fn store(
        &self,
        delivery: Delivery,
        admission: Option<Admission>,
    ) -> impl Future<Output = Result<Vec<Stored>, Refusal>> + use<> {
        let store = Arc::clone(&self.store);
        let storing = Unattended::new(async move {
            let _held = admission;
            store.ingest(delivery).await
        });
        async {
            let stored = timeout(COMMIT_DEADLINE, storing).await;
            let stored = stored.map_err(|_elapsed| Refusal::Slow)??;
            if stored.iter().any(|one| matches!(one, Stored::QuarantineFull)) {
                return Err(Refusal::Store(StoreError::QuarantineFull));
            }
            Ok(stored)
        }
    }
}

/// A webhook that is authentic, and what it says.
struct Proven {
    content: Content,
    read: Result<Vec<dialect::Entry>, NotEncoded>,
    verified: Verified,
    admission: Admission,
}
