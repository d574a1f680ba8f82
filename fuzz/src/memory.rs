//! A store that knows the same messages for ever: whatever it is told, the next input finds it as
//! this one did.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use statusmirror::message::{
    Added, Channel, Destination, Identity, Kind, MessageId, Notification, Outcome, Record,
    Reference, StatedProvider, Statement, Status, Timestamp,
};
use statusmirror::store::notifier::{LatestChange, Notifier, Waiting};
use statusmirror::store::{
    Cause, Changes, DailyPurge, Delivery, Entry, Filter, Found, History, Hour, HourlyCount, Key,
    Listing, Message, Page, Part, PayloadHash, Place, Purge, Purged, QuarantineId, Quarantined,
    Removed, SearchFilter, Stats, Store, StoreError, StoredEntry, StoredNotification, Write,
    WriteChange,
};

/// The recipient of every message.
pub const NUMBER: &str = "393331234567";
/// The reference key of every message.
pub const REFERENCE: &str = "order/7 ü";
/// The provider's id of every message, at the source `twilio`.
pub const FOREIGN: &str = "SM1";
/// How many messages there are: more than a page can have.
pub const MESSAGES: u8 = 103;

/// The store.
pub struct Memory {
    said: Vec<Notification>,
    messages: Vec<Message>,
}

impl Memory {
    /// The store with its messages.
    pub fn new() -> Self {
        let said: Vec<_> = (0..MESSAGES).map(notification).collect();
        let message = |notification: &Notification| Message {
            id: notification.statement().message,
            record: Record::of(notification, arrival()).expect("it is valid"),
        };
        let mut messages: Vec<_> = said.iter().map(message).collect();
        messages.sort_by_key(|message| (-message.record.accepted_at().micros(), message.id));
        Self { said, messages }
    }

    /// The messages in the order of lists.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// When everything arrived: 2026-02-12T14:51:00Z.
fn arrival() -> Timestamp {
    Timestamp::from_micros(1_770_907_860_000_000).expect("a time of our days")
}

/// Five messages each have the same time, so that pages end between equal times.
fn notification(number: u8) -> Notification {
    let rcs = number.is_multiple_of(3);
    let hours = i64::from(number / 5);
    let accepted_at = Timestamp::from_micros(arrival().micros() - hours * 3_600_000_000);
    let reference = Reference::new(Some("SHOP".to_owned()), None, Some(REFERENCE.to_owned()));
    let statement = Statement {
        message: MessageId::from_bytes([number; 16]),
        kind: Kind::Report,
        status: if rcs { Status::Read } else { Status::Sent },
        stated_at: None,
        accepted_at,
        channel: if rcs { Channel::Rcs } else { Channel::Sms },
        destination: Destination::from_digits(NUMBER).ok(),
        reference: reference.expect("it is short"),
        provider: StatedProvider {
            name: "twilio".to_owned(),
            id: FOREIGN.to_owned(),
            status: "sent".to_owned(),
            code: String::new(),
            message: String::new(),
        },
        segments: (!rcs).then_some(1),
    };
    Notification::new(statement, Added::default())
}

#[async_trait]
impl Store for Memory {
    async fn ingest(&self, delivery: Delivery) -> Result<Vec<StoredEntry>, StoreError> {
        let Delivery { source, received_at, content, entries, .. } = delivery;
        let mut stored = Vec::new();
        for entry in entries {
            stored.push(match entry {
                Entry::Notification { notification, .. } => {
                    let message = notification.statement().message;
                    let before = self.message(message).await?.map(|message| message.record);
                    let new = before.is_none();
                    let is_stored = self.said.contains(&notification);
                    let judged =
                        Record::judge(before.as_ref(), &notification, received_at, is_stored);
                    let record = judged.record.map(Arc::new);
                    StoredEntry::Judged { message, outcome: judged.outcome, record, new }
                }
                Entry::Unreadable { index, reason } => {
                    let content = content.as_ref().expect("only webhooks are not understood");
                    StoredEntry::Quarantined {
                        id: PayloadHash::of(&source, content).entry(index),
                        reason,
                    }
                }
                Entry::Ignored { reason } => StoredEntry::Ignored { reason },
            });
        }
        Ok(stored)
    }

    async fn holds(&self, wanted: Vec<(MessageId, Identity)>) -> Result<bool, StoreError> {
        let is_held = |(message, identity): &(MessageId, Identity)| {
            self.said
                .iter()
                .any(|said| said.statement().message == *message && said.identity() == *identity)
        };
        Ok(wanted.iter().all(is_held))
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.messages.iter().find(|message| message.id == id).cloned())
    }

    async fn list(&self, key: Key, page: Page, write: Write) -> Result<Listing, StoreError> {
        let is_theirs = match key {
            Key::Destination(number) => Destination::from_digits(NUMBER) == Ok(number),
            Key::Reference(key) => key == REFERENCE,
            Key::Foreign { source, id } => source == "twilio" && id == FOREIGN,
        };
        let is_wanted = |message: &&Message| {
            let accepted_at = message.record.accepted_at();
            let follows = page.after.is_none_or(|place| {
                (-accepted_at.micros(), message.id) > (-place.accepted_at.micros(), place.id)
            });
            is_theirs && follows && page.before.is_none_or(|before| accepted_at < before)
        };
        let count = usize::try_from(page.count).expect("a page is small");
        let mut listing = Listing::default();
        for Message { id, record } in self.messages.iter().filter(is_wanted) {
            listing.add(&record.shown(*id), write);
        }
        listing.more = listing.messages.len() > count;
        listing.messages.truncate(count);
        Ok(listing)
    }

    async fn search(
        &self,
        wanted: Arc<SearchFilter>,
        after: Option<Place>,
        count: u32,
        write: Write,
    ) -> Result<Found, StoreError> {
        let order = |place: Place| (-place.accepted_at.micros(), place.id);
        let mut found = Found::default();
        for Message { id, record } in &self.messages {
            let place = Place { accepted_at: record.accepted_at(), id: *id };
            let follows = after.is_none_or(|after| order(place) > order(after));
            let is_spoken_of = wanted.source.as_deref().is_none_or(|source| source == "twilio");
            if follows && is_spoken_of && wanted.passes(&record.shown(*id)) {
                found.listing.add(&record.shown(*id), write);
            }
        }
        let count = usize::try_from(count).expect("a page is small");
        if found.listing.messages.len() > count {
            found.listing.keep_first(count);
            found.next = found.listing.messages.last().map(|last| last.place);
        }
        Ok(found)
    }

    async fn hourly_counts(&self, _: Hour) -> Result<Vec<HourlyCount>, StoreError> {
        Ok(Vec::new())
    }

    async fn history(&self, id: MessageId, _: Part) -> Result<Option<History>, StoreError> {
        let Some(message) = self.message(id).await? else { return Ok(None) };
        let said = self.said.iter().filter(|said| said.statement().message == id);
        let said = said.map(|notification| StoredNotification {
            source: "twilio".to_owned(),
            received_at: arrival(),
            outcome: Outcome::Applied,
            status: notification.statement().status,
            stated_at: notification.statement().stated_at,
            channel: notification.statement().channel,
            destination: notification.statement().destination,
            reference: notification.reference().clone(),
            provider: notification.provider().clone(),
        });
        let said: Vec<_> = said.collect();
        let steps = (1..).zip(&said).map(|(number, said)| said.step(number)).collect();
        Ok(Some(History { record: Some(message.record), steps, in_full: said, begin: 0 }))
    }

    async fn notifications(
        &self,
        _: Vec<i64>,
        _: usize,
    ) -> Result<Option<Vec<StoredNotification>>, StoreError> {
        Ok(None)
    }

    fn subscribe(&self, id: MessageId) -> Waiting {
        Notifier::default().subscribe(id)
    }

    fn latest_change(&self) -> LatestChange {
        Notifier::default().subscribe_latest()
    }

    async fn changes(
        &self,
        after: i64,
        _: Arc<Filter>,
        _: WriteChange,
    ) -> Result<Changes, StoreError> {
        Ok(Changes { last: after, ..Changes::default() })
    }

    async fn quarantine(&self, _: i64, _: u32) -> Result<Vec<Quarantined>, StoreError> {
        Ok(Vec::new())
    }

    async fn erase(
        &self,
        _: Destination,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Removed, StoreError> {
        Ok(Removed { messages: 0, quarantined: 0, wal_emptied: true })
    }

    async fn prune(&self, _: Timestamp) -> Result<Purged, StoreError> {
        Ok(Purged::default())
    }

    async fn purge_daily(
        &self,
        _: Option<Timestamp>,
        _: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError> {
        Ok(None)
    }

    async fn drop_quarantined(&self, _: Vec<QuarantineId>) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn count_purge(&self, _: Purge) -> Result<Purged, StoreError> {
        Ok(Purged::default())
    }

    async fn back_up(&self, _: PathBuf) -> Result<(), Cause> {
        Ok(())
    }

    fn lineage(&self) -> u32 {
        0
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        Ok(Stats {
            database_bytes: 0,
            wal_bytes: 0,
            quarantined: 0,
            quarantined_bytes: 0,
            without_destination: 0,
            prune_waiting: 0,
            oldest_unfinished: None,
        })
    }

    async fn quarantined(&self, _: QuarantineId) -> Result<Option<Quarantined>, StoreError> {
        Ok(None)
    }
}
