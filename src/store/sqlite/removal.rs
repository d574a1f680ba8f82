//! Removing messages: all that names a number, or all that is older than some time.
//!
//! A read thread finds what is to go, in small pieces; the writer removes it, in small transactions
//! among those of the deliveries, so that neither holds up the webhooks.

use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::time::sleep;

use super::command::{Act, Task};
use super::erased::remember;
use super::fold::each_back_from;
use super::ledger::Ledger;
use super::recent::Committed;
use super::row::message_id;
use super::{SqliteStore, purge, quarantine, queries};
use crate::content::Content;
use crate::message::{Destination, MessageId, Timestamp};
use crate::store::{Key, Page, QuarantineId, Quarantined, Removed, StoreError};

/// How many notifications are looked through in one read.
const NOTIFICATIONS_AT_A_TIME: i64 = 2_000;
/// How many messages are folded in one transaction.
pub(super) const FOLDED_AT_A_TIME: usize = 1_000;
/// How many entries of the quarantine are: their bodies may be large.
const ENTRIES_AT_A_TIME: u32 = 8;
/// How many messages of a list are removed in one transaction.
const LISTED_AT_A_TIME: u32 = 100;
/// How many rows are removed in one transaction.
pub(super) const REMOVED_AT_A_TIME: usize = 100;
/// How often to try to begin the WAL anew, and how long to wait in between.
const CUTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

impl SqliteStore {
    /// See [`Store::erase`](crate::store::Store::erase).
    pub(super) async fn remove_number(
        &self,
        number: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError> {
        let clock = self.readers.query(move |db| purge::tombstone_clock(db, now)).await?;
        // As long as promised, also by a clock that is ahead of this one.
        let late = until.micros().saturating_add(clock.micros() - now.micros());
        let until = Timestamp::from_micros(late).unwrap_or(until);
        let messages =
            self.remove_found(Some(until), move |db, after| naming(db, number, after)).await?;
        let mut removed = Removed { messages, quarantined: 0, wal_emptied: false };
        // What came meanwhile.
        loop {
            let act: Act = Box::new(move |db, ledger| {
                let messages = listed(db, &ledger.committed, number)?;
                remove(db, ledger, &messages, Some(until))
            });
            match self.act(act).await? {
                0 => break,
                more => removed.messages += more,
            }
        }
        let mut after = 0;
        loop {
            let piece = self.readers.query(move |db| quarantined_naming(db, number, after)).await?;
            removed.quarantined += self.remove_entries(piece.found, Some(until)).await?;
            let Some(next) = piece.next else { break };
            after = next;
        }
        removed.wal_emptied = self.empty_wal().await?;
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
            for messages in piece.found.chunks(REMOVED_AT_A_TIME) {
                let messages = messages.to_vec();
                removed += self
                    .act(Box::new(move |db, ledger| remove(db, ledger, &messages, until)))
                    .await?;
            }
            let Some(next) = piece.next else { return Ok(removed) };
            after = next;
        }
    }

    pub(super) async fn remove_entries(
        &self,
        entries: Vec<QuarantineId>,
        until: Option<Timestamp>,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for entries in entries.chunks(REMOVED_AT_A_TIME) {
            let entries = entries.to_vec();
            removed += self
                .act(Box::new(move |db, ledger| remove_quarantined(db, ledger, &entries, until)))
                .await?;
        }
        Ok(removed)
    }

    /// Begins the WAL anew, which also a short read can be in the way of; says whether it did.
    async fn empty_wal(&self) -> Result<bool, StoreError> {
        for _ in 0..CUTS {
            if self.task(Task::Cut).await? {
                return Ok(true);
            }
            sleep(PAUSE).await;
        }
        Ok(false)
    }
}

/// A piece of a table: what was found in it, and where to go on; none at the end.
pub(super) struct Piece<T> {
    pub(super) found: Vec<T>,
    pub(super) next: Option<i64>,
}

/// The messages whose history names this number anywhere.
pub(super) fn naming(
    db: &Connection,
    number: Destination,
    after: i64,
) -> rusqlite::Result<Piece<MessageId>> {
    const TEXTS: &str = "SELECT message, destination, concat_ws(char(10), reference_service, \
         reference_action, reference_key, provider_name, provider_id, provider_status, \
         provider_code, provider_message) FROM notification WHERE seq > ? AND seq <= ?";
    let Some(until) = end_of_piece(db, "notification", "seq", after, NOTIFICATIONS_AT_A_TIME)?
    else {
        return Ok(Piece { found: Vec::new(), next: None });
    };
    let mut found = Vec::new();
    let mut select = db.prepare_cached(TEXTS)?;
    let mut rows = select.query([after, until])?;
    while let Some(row) = rows.next()? {
        let named = row.get::<_, Option<Destination>>(1)? == Some(number)
            || number.is_named_in(row.get_ref(2)?.as_bytes()?);
        if named {
            found.push(message_id(row, 0)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(Piece { found, next: Some(until) })
}

/// The quarantined entries that name this number anywhere.
pub(super) fn quarantined_naming(
    db: &Connection,
    number: Destination,
    after: i64,
) -> rusqlite::Result<Piece<QuarantineId>> {
    let entries = quarantine::entries(db, after, ENTRIES_AT_A_TIME)?;
    let next = entries.last().map(|entry| entry.place);
    let names = |entry: &Quarantined| {
        let Content { query, content_type, body, .. } = &entry.content;
        let texts = [query.as_str(), content_type.as_deref().unwrap_or_default(), &entry.reason];
        texts
            .map(str::as_bytes)
            .into_iter()
            .chain([body.as_slice()])
            .any(|text| number.is_named_in(text))
    };
    let found = entries.iter().filter(|entry| names(entry)).map(|entry| entry.id).collect();
    Ok(Piece { found, next })
}

/// Where a piece of so many rows of this table ends; none behind the last row.
pub(super) fn end_of_piece(
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

/// Removes these messages with their histories. With a time until which they could come late, that
/// is remembered.
pub(super) fn remove(
    db: &Connection,
    ledger: &mut Ledger,
    messages: &[MessageId],
    until: Option<Timestamp>,
) -> rusqlite::Result<u64> {
    const GIVEN: &str = "UPDATE progress SET last_seq = max(last_seq, ?), last_n = max(last_n, ?), \
         without_number = ?";
    let mut removed = 0;
    for id in messages {
        let Some(known) = ledger.known(db, *id)? else { continue };
        let n = known.row.as_ref().map(|row| row.n);
        ledger.removed(*id, &known);
        if let Some(until) = until {
            remember(db, &ledger.hash_key, id.as_bytes(), until)?;
            ledger.any_erased = true;
        }
        let mut gone = Vec::new();
        each_back_from(db, known.last, "previous, seq, source, provider_id", |row| {
            gone.push((row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?));
            Ok(())
        })?;
        for (seq, source, provider_id) in &gone {
            let seq: &i64 = seq;
            db.prepare_cached("DELETE FROM notification WHERE seq = ?")?.execute([seq])?;
            db.prepare_cached("DELETE FROM foreign_id WHERE source = ? AND id = ? AND n = ?")?
                .execute(params![source, provider_id, n])?;
        }
        db.prepare_cached("DELETE FROM message WHERE n = ?")?.execute([n])?;
        db.prepare_cached(GIVEN)?.execute(params![
            known.last,
            n.unwrap_or(0),
            ledger.folded_without_number
        ])?;
        removed += 1;
    }
    Ok(removed)
}

/// The messages that are listed under this number.
fn listed(
    db: &Connection,
    recent: &Committed,
    number: Destination,
) -> rusqlite::Result<Vec<MessageId>> {
    let page = Page { count: LISTED_AT_A_TIME, before: None, after: None };
    let listing = queries::list(db, recent, &Key::Destination(number), page, |_, _| {})?;
    Ok(listing.messages.into_iter().map(|message| message.place.id).collect())
}

/// Removes these entries of the quarantine.
pub(super) fn remove_quarantined(
    db: &Connection,
    ledger: &mut Ledger,
    entries: &[QuarantineId],
    until: Option<Timestamp>,
) -> rusqlite::Result<u64> {
    let mut removed = 0;
    for id in entries {
        if let Some(until) = until {
            remember(db, &ledger.hash_key, id.as_bytes(), until)?;
            ledger.any_erased = true;
        }
        removed += u64::from(quarantine::remove(db, &mut ledger.quarantine, *id)?);
    }
    Ok(removed)
}
