//! Erasure of everything that names a destination.
//!
//! A read thread finds the messages in small pieces; the writer removes them in small transactions between
//! those of the deliveries, so that neither holds up the webhooks.

use std::time::Duration;

use rusqlite::Connection;
use tokio::time::sleep;

use crate::message::{Destination, MessageId, Timestamp};
use crate::payload::RawPayload;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::read::messages;
use crate::store::sqlite::rows::record::message_id;
use crate::store::sqlite::rows::tombstones;
use crate::store::sqlite::write::command::{Action, Task};
use crate::store::sqlite::write::remove_messages;
use crate::store::sqlite::{SqliteStore, quarantine};
use crate::store::{Key, Page, QuarantineId, Quarantined, Removed, StoreError};

/// Notifications examined in one read.
const CHUNK_NOTIFICATIONS: i64 = 2_000;
/// Quarantined entries examined in one read: their bodies may be large.
const CHUNK_ENTRIES: u32 = 8;
/// Messages of a list removed in one transaction.
const CHUNK_LISTED_MESSAGES: u32 = 100;
/// Messages or quarantined entries removed in one transaction.
pub(crate) const TRANSACTION_REMOVALS: usize = 100;
/// Maximum number of attempts to empty the WAL, and the pause between two attempts.
const TRUNCATE_ATTEMPTS: u32 = 20;
const TRUNCATE_RETRY_PAUSE: Duration = Duration::from_millis(250);

impl SqliteStore {
    /// See [`Store::erase`](crate::store::Store::erase).
    pub(crate) async fn erase_destination(
        &self,
        destination: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError> {
        let clock = self.readers.query(move |db| tombstones::clock(db, now)).await?;
        // Tombstones last as long as promised, also by a clock that is ahead of this one.
        let late = until.micros().saturating_add(clock.micros() - now.micros());
        let until = Timestamp::from_micros(late).unwrap_or(until);
        let messages = self
            .remove_found(Some(until), move |db, after| messages_naming(db, destination, after))
            .await?;
        let mut removed = Removed { messages, quarantined: 0, wal_emptied: false };
        // Messages that arrived meanwhile.
        loop {
            let action: Action = Box::new(move |db, state| {
                let messages = listed(db, &state.cache, destination)?;
                remove_messages::remove(db, state, &messages, Some(until))
            });
            match self.run_action(action).await? {
                0 => break,
                more => removed.messages += more,
            }
        }
        let mut after = 0;
        loop {
            let piece =
                self.readers.query(move |db| quarantined_naming(db, destination, after)).await?;
            removed.quarantined += self.remove_entries(piece.found, Some(until)).await?;
            let Some(next) = piece.next else { break };
            after = next;
        }
        removed.wal_emptied = self.truncate_wal().await?;
        Ok(removed)
    }

    /// Removes the messages that are found, piece by piece.
    async fn remove_found(
        &self,
        until: Option<Timestamp>,
        find: impl Fn(&Connection, i64) -> rusqlite::Result<Piece<MessageId>> + Copy + Send + 'static,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut after = 0;
        loop {
            let piece = self.readers.query(move |db| find(db, after)).await?;
            for messages in piece.found.chunks(TRANSACTION_REMOVALS) {
                let messages = messages.to_vec();
                removed += self
                    .run_action(Box::new(move |db, state| {
                        remove_messages::remove(db, state, &messages, until)
                    }))
                    .await?;
            }
            let Some(next) = piece.next else { return Ok(removed) };
            after = next;
        }
    }

    /// Removes these quarantined entries. With `until`, leaves tombstones that last until then.
    pub(crate) async fn remove_entries(
        &self,
        entries: Vec<QuarantineId>,
        until: Option<Timestamp>,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for entries in entries.chunks(TRANSACTION_REMOVALS) {
            let entries = entries.to_vec();
            removed += self
                .run_action(Box::new(move |db, state| {
                    remove_messages::remove_quarantined(db, state, &entries, until)
                }))
                .await?;
        }
        Ok(removed)
    }

    /// Empties the WAL, which even a short read can block. Returns whether it succeeded.
    async fn truncate_wal(&self) -> Result<bool, StoreError> {
        for _ in 0..TRUNCATE_ATTEMPTS {
            if self.run_task(Task::TruncateWal).await? {
                return Ok(true);
            }
            sleep(TRUNCATE_RETRY_PAUSE).await;
        }
        Ok(false)
    }
}

/// Matches in a piece of a table, and the place to continue from; none at the end.
pub(crate) struct Piece<T> {
    pub(crate) found: Vec<T>,
    pub(crate) next: Option<i64>,
}

/// Messages with this destination anywhere in their history.
pub(crate) fn messages_naming(
    db: &Connection,
    destination: Destination,
    after: i64,
) -> rusqlite::Result<Piece<MessageId>> {
    const SELECT_TEXTS: &str = "SELECT message, destination, concat_ws(char(10), reference_service, \
         reference_action, reference_key, provider_name, provider_id, provider_status, \
         provider_code, provider_message) FROM notification WHERE seq > ? AND seq <= ?";
    let Some(until) = end_of_piece(db, "notification", "seq", after, CHUNK_NOTIFICATIONS)? else {
        return Ok(Piece { found: Vec::new(), next: None });
    };
    let mut found = Vec::new();
    let mut select = db.prepare_cached(SELECT_TEXTS)?;
    let mut rows = select.query([after, until])?;
    while let Some(row) = rows.next()? {
        let named = row.get::<_, Option<Destination>>(1)? == Some(destination)
            || destination.occurs_in(row.get_ref(2)?.as_bytes()?);
        if named {
            found.push(message_id(row, 0)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(Piece { found, next: Some(until) })
}

/// Quarantined entries that contain this destination anywhere.
pub(crate) fn quarantined_naming(
    db: &Connection,
    destination: Destination,
    after: i64,
) -> rusqlite::Result<Piece<QuarantineId>> {
    let entries = quarantine::entries(db, after, CHUNK_ENTRIES)?;
    let next = entries.last().map(|entry| entry.place);
    let names = |entry: &Quarantined| {
        let RawPayload { query, content_type, body, .. } = &entry.content;
        let texts = [query.as_str(), content_type.as_deref().unwrap_or_default(), &entry.reason];
        texts
            .map(str::as_bytes)
            .into_iter()
            .chain([body.as_slice()])
            .any(|text| destination.occurs_in(text))
    };
    let found = entries.iter().filter(|entry| names(entry)).map(|entry| entry.id).collect();
    Ok(Piece { found, next })
}

/// End of a piece of `rows` rows of this table; none after the last row.
pub(crate) fn end_of_piece(
    db: &Connection,
    table: &str,
    key: &str,
    after: i64,
    rows: i64,
) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(&format!(
        "SELECT max({key}) FROM (SELECT {key} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?)"
    ))?
    .query_row([after, rows], |row| row.get(0))
}

/// Messages listed under this destination.
fn listed(
    db: &Connection,
    cache: &Cache,
    destination: Destination,
) -> rusqlite::Result<Vec<MessageId>> {
    let page = Page { count: CHUNK_LISTED_MESSAGES, before: None, after: None };
    let listing = messages::list(db, cache, &Key::Destination(destination), page, |_, _| {})?;
    Ok(listing.messages.into_iter().map(|message| message.place.id).collect())
}
