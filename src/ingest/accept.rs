//! Pipeline of a delivery: verify, read, store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::admission::{Admission, Entries};
use super::body::Body;
use super::counting;
use super::detached::Detached;
use super::outcome::{EntryResult, all_ignored, of_stored, to_store};
use super::rejection::Rejection;
use super::shutdown::Closing;
use super::turn::Turn;
use crate::dialect::{self, DecodeError, Source, Sources, kept_query};
use crate::memory_budget::{MemoryBudget, Reservation, Share};
use crate::message::{Destination, Notification, Timestamp};
use crate::metrics::{Metrics, SourceMetrics};
use crate::payload::RawPayload;
use crate::store::{Delivery, Entry, Removed, Store, StoreError, StoredEntry};
use crate::verify::{Headers, Request, Verified};

/// Maximum duration of a commit. After it, the sender is asked to retry.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(2);

/// Deliveries under way that are enough to keep the writer busy.
const MIN_BUSY_DELIVERIES: usize = 16;

/// Ingest pipeline: passes deliveries and registrations to the store.
pub struct Ingest {
    /// Sources in effect.
    pub sources: Sources,
    /// Metrics of deliveries and requests.
    pub metrics: Arc<Metrics>,
    /// Memory that requests may hold.
    pub budget: MemoryBudget,
    pub(crate) store: Arc<dyn Store>,
    /// Maximum number of deliveries under way; `slots` holds the free ones.
    max_in_flight: usize,
    slots: Arc<Semaphore>,
    entries: Entries,
    /// Shutdown signal: once given, no delivery is accepted.
    pub closing: Closing,
    probing: Mutex<()>,
}

/// Webhook as it was received.
pub struct Posted<'a> {
    /// Method.
    pub method: &'a str,
    /// Raw query, if present.
    pub query: Option<&'a str>,
    /// Content type, if given.
    pub content_type: Option<&'a str>,
    /// Headers.
    pub headers: &'a dyn Headers,
    /// Body.
    pub body: Body,
    /// Result of a verification by the URL alone, if it took place before the body was read.
    pub verified: Option<Verified>,
}

impl Ingest {
    /// Creates the pipeline for these sources, with at most `max_in_flight` deliveries under way.
    pub fn new(
        sources: Vec<Source>,
        store: Arc<dyn Store>,
        max_in_flight: usize,
        metrics: Arc<Metrics>,
        budget: MemoryBudget,
    ) -> Self {
        metrics.configure(counting::configured(&sources, &[]), metrics.began());
        Self {
            sources: Sources::new(sources),
            metrics,
            budget,
            store,
            max_in_flight,
            slots: Arc::new(Semaphore::new(max_in_flight)),
            entries: Entries::default(),
            closing: Closing::default(),
            probing: Mutex::new(()),
        }
    }

    /// Whether another delivery can be admitted; checked before any work is done for it.
    pub fn has_room(&self) -> Result<(), Rejection> {
        if self.closing.has_begun() {
            return Err(Rejection::Closing);
        }
        if self.is_full() { Err(Rejection::Overloaded) } else { Ok(()) }
    }

    /// Whether the maximum number of deliveries is under way.
    pub fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }

    /// Number of deliveries under way.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight.saturating_sub(self.slots.available_permits())
    }

    /// Maximum number of deliveries under way.
    pub fn capacity(&self) -> usize {
        self.max_in_flight
    }

    /// Replaces the sources in effect.
    pub fn replace_sources(&self, sources: Vec<Source>, now: Timestamp) {
        self.metrics.configure(counting::configured(&sources, &self.sources.all()), now);
        self.sources.replace(sources);
    }

    /// Whether enough deliveries are under way to keep the writer busy, so that another one may be shed.
    pub fn is_busy(&self) -> bool {
        self.in_flight() >= MIN_BUSY_DELIVERIES
    }

    /// Accepts a webhook: verifies it over its raw bytes, reads it, stores its entries, and returns once they
    /// are durable.
    pub async fn accept(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<Vec<EntryResult>, Rejection> {
        let counted = self.metrics.source(&source.name);
        let taken = self.take(source, posted, now, counted.as_deref()).await;
        if let Some(counted) = counted {
            match &taken {
                Ok(done) => counted.accepted(done.iter().map(EntryResult::outcome), now),
                Err(rejection) => counted.rejected(rejection.reason()),
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
    ) -> Result<Vec<EntryResult>, Rejection> {
        let turn = Turn::of(posted.body.content.len()).await;
        let proven = self.verify_delivery(source, posted, now);
        drop(turn);
        let VerifiedDelivery { content, read, verified, mut admission } = proven?;
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
                let entries = to_store(read);
                admission.charge(&self.entries, entries.len())?;
                if let Some(ignored) = all_ignored(&entries) {
                    return Ok(ignored);
                }
                let times: Vec<_> = entries.iter().map(counting::stated_at).collect();
                let stored = self.store(delivery(entries), Some(admission)).await?;
                if let Some(counted) = counted {
                    let new = stored.iter().zip(times).filter(|(one, _)| counting::is_new(one));
                    new.filter_map(|(_, time)| time)
                        .for_each(|time| counted.observe_age(time, now));
                }
                Ok(stored.into_iter().filter_map(of_stored).collect())
            }
            Err(DecodeError(reason)) => {
                let entry = Entry::Unreadable { index: 0, reason: reason.clone() };
                self.store(delivery(vec![entry]), Some(admission)).await?;
                Err(Rejection::NotEncoded(reason))
            }
        }
    }

    /// Steps that need no waiting: admission, verification and reading.
    fn verify_delivery(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<VerifiedDelivery, Rejection> {
        let slot = self.slot()?;
        if !self.entries.have_room(posted.body.content.len()) {
            return Err(Rejection::Overloaded);
        }
        let Posted { method, query, content_type, headers, mut body, verified } = posted;
        let request = Request { method, query, content_type, headers, body: &body.content };
        let verified = match verified {
            Some(verified) => verified,
            None => source.verify(&request, now).map_err(Rejection::Unverified)?,
        };
        if !source.take_turn() {
            return Err(Rejection::Rate);
        }
        body.bytes.move_to(Share::Bodies)?;
        let content = RawPayload {
            method: method.to_owned(),
            query: kept_query(query.unwrap_or_default()),
            content_type: content_type.map(str::to_owned),
            body: body.content,
        };
        let admission = Admission::new(slot, body.bytes);
        Ok(VerifiedDelivery { read: source.read(&content), content, verified, admission })
    }

    /// Stores a registration by the holder of this key.
    pub async fn register(
        &self,
        key: &str,
        notification: Notification,
        bytes: Reservation,
        now: Timestamp,
    ) -> Result<StoredEntry, Rejection> {
        let admission = Admission::new(self.slot()?, bytes);
        let entry = Entry::Notification {
            index: 0,
            notification: Box::new(notification),
            by_provider_id: false,
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
            .ok_or(Rejection::Store(StoreError::Stopped))
    }

    /// Erases everything about a destination. Late notifications about its messages are ignored for as long
    /// as a sender may still retry.
    pub async fn erase(&self, number: Destination, now: Timestamp) -> Result<Removed, StoreError> {
        let until = now.micros() + self.sources.max_age_seconds().saturating_mul(1_000_000);
        self.store.erase(number, now, Timestamp::from_micros(until).unwrap_or(now)).await
    }

    /// Whether the store can be written now.
    pub async fn is_ready(&self) -> Result<(), Rejection> {
        // One probe at a time, because anybody may request it.
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

    fn slot(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        self.has_room()?;
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_none| Rejection::Overloaded)
    }

    /// Stores a delivery. The caller may stop waiting, but a queued delivery stays queued, and holds its slot
    /// and its bytes until it is done. If the quarantine is full, the rest of the delivery is stored, and the
    /// sender has to retry.
    pub(crate) fn store(
        &self,
        delivery: Delivery,
        admission: Option<Admission>,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, Rejection>> + use<> {
        let store = Arc::clone(&self.store);
        let storing = Detached::new(async move {
            let _held = admission;
            store.ingest(delivery).await
        });
        async {
            let stored = timeout(COMMIT_DEADLINE, storing).await;
            let stored = stored.map_err(|_elapsed| Rejection::Slow)??;
            if stored.iter().any(|one| matches!(one, StoredEntry::QuarantineFull)) {
                return Err(Rejection::Store(StoreError::QuarantineFull));
            }
            Ok(stored)
        }
    }
}

/// Verified webhook, and the entries read from it.
struct VerifiedDelivery {
    content: RawPayload,
    read: Result<Vec<dialect::Entry>, DecodeError>,
    verified: Verified,
    admission: Admission,
}
