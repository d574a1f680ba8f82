//! Application of a delivery to the tables, inside the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, ToSql, params};

use super::state::WriterState;
use crate::message::{
    Judged, Kind, MAX_NOTIFICATIONS, Notification, Outcome, Record, Tier, Timestamp,
};
use crate::store::sqlite::cache::entry::{self, ForeignId};
use crate::store::sqlite::quarantine::{self, NewEntry};
use crate::store::sqlite::rows::column::Coded;
use crate::store::sqlite::rows::record::{
    NO_RECORD, REGISTRATION, RENEWAL, REPORT, REPORT_BY_FOREIGN_ID,
};
use crate::store::sqlite::rows::tombstones;
use crate::store::{Delivery, Entry, PayloadHash, StoredEntry};

/// Applies all entries of a delivery. After an error the transaction must be rolled back.
pub(crate) fn apply(
    db: &Connection,
    state: &mut WriterState,
    delivery: &Delivery,
) -> rusqlite::Result<Vec<StoredEntry>> {
    Apply { db, state, delivery, hash: None }.entries()
}

struct Apply<'a> {
    db: &'a Connection,
    state: &'a mut WriterState,
    delivery: &'a Delivery,
    /// Ids of the raw payload and of its entries, once an entry had to go to quarantine.
    hash: Option<PayloadHash>,
}

impl Apply<'_> {
    fn entries(&mut self) -> rusqlite::Result<Vec<StoredEntry>> {
        let mut results = Vec::with_capacity(self.delivery.entries.len());
        for entry in &self.delivery.entries {
            results.push(match entry {
                Entry::Notification { index, notification, by_provider_id } => {
                    self.notification(*index, notification, *by_provider_id)?
                }
                Entry::Unreadable { index, reason } => self.quarantine(*index, reason.clone())?,
                Entry::Ignored { reason } => StoredEntry::Ignored { reason: reason.clone() },
            });
        }
        let all_interpreted =
            !results.iter().any(|result| matches!(result, StoredEntry::Quarantined { .. }));
        if let Some(id) = self.delivery.replay_of.filter(|_| all_interpreted) {
            quarantine::remove(self.db, &mut self.state.counters.quarantine, id)?;
        }
        Ok(results)
    }

    fn notification(
        &mut self,
        index: u32,
        notification: &Notification,
        by_provider_id: bool,
    ) -> rusqlite::Result<StoredEntry> {
        let message = notification.statement().message;
        let known = self.state.entry(self.db, message)?;
        if known.is_none() && self.is_erased(message.as_bytes())? {
            return Ok(StoredEntry::Erased);
        }
        let identity = notification.identity();
        let stored = known.as_ref().is_some_and(|known| known.identities.contains(&identity));
        let is_full = known.as_ref().is_some_and(|known| known.log_rows() >= MAX_NOTIFICATIONS);
        if !stored && is_full {
            return self.too_many(index);
        }
        let before = known.as_ref().and_then(|known| known.record.as_deref());
        let arrived_at = arrival(before, notification, self.delivery.received_at);
        let Judged { outcome, record, changed } =
            Record::judge(before, notification, arrived_at, stored);
        // A renewed registration gets a row of its own.
        if stored && changed && is_full {
            return self.too_many(index);
        }
        let new = before.is_none();
        let record = record.map(Arc::new);
        // Of repeated notifications only a registration can matter, if it was not the last one.
        if !stored || changed {
            let kind = match notification.statement().kind {
                Kind::Registration if stored => RENEWAL,
                Kind::Registration => REGISTRATION,
                Kind::Report if by_provider_id => REPORT_BY_FOREIGN_ID,
                Kind::Report => REPORT,
            };
            let seq =
                self.log(known.as_deref(), kind, notification, arrived_at, outcome, changed)?;
            // The same that a start reads from the notification log: the flag, and the provider's id beside it.
            let foreign_id = (kind == REPORT_BY_FOREIGN_ID).then(|| ForeignId {
                source: self.delivery.source.clone(),
                id: notification.provider().id.clone(),
            });
            self.state.count(before, record.as_deref());
            let record = record.clone();
            let identity = (!stored).then_some(identity);
            let after = entry::Entry::after(known.as_deref(), seq, identity, foreign_id, record);
            self.state.changes.put(message, after);
        }
        Ok(StoredEntry::Judged { message, outcome, record, new })
    }

    /// Quarantines an entry about a message that has the maximum number of rows in the notification log.
    fn too_many(&mut self, index: u32) -> rusqlite::Result<StoredEntry> {
        if self.delivery.content.is_none() {
            return Ok(StoredEntry::TooMany);
        }
        self.quarantine(
            index,
            format!("the message has {MAX_NOTIFICATIONS} notifications, the maximum"),
        )
    }

    /// Whether the message or entry with this id was erased, so that this is a late retry.
    fn is_erased(&self, name: &[u8; 16]) -> rusqlite::Result<bool> {
        let WriterState { counters, hash_key, .. } = &*self.state;
        Ok(counters.any_erased && tombstones::is_erased(self.db, hash_key, name)?)
    }

    /// Appends a notification with its outcome to the notification log. Returns its number.
    fn log(
        &mut self,
        known: Option<&entry::Entry>,
        kind: i64,
        notification: &Notification,
        arrived_at: Timestamp,
        outcome: Outcome,
        changed: bool,
    ) -> rusqlite::Result<i64> {
        const INSERT: &str = "INSERT INTO notification (seq, message, previous, identity, kind, \
             changed_from, received_at, ordered_at, source, outcome, status, stated_at, accepted_at, \
             channel, destination, reference_service, reference_action, reference_key, \
             provider_name, provider_id, provider_status, provider_code, provider_message, segments) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let seq = self.state.counters.last_seq + 1;
        let received_at = self.delivery.received_at;
        let statement = notification.statement();
        let (reference, provider) = (notification.reference(), notification.provider());
        let status_before = known.and_then(|known| known.record.as_ref()).map(|r| Coded(r.status));
        let changed_from = match &status_before {
            Some(status) => status.to_sql()?,
            None => NO_RECORD.into(),
        };
        self.db.prepare_cached(INSERT)?.execute(params![
            seq,
            statement.message.as_bytes(),
            known.map(|known| known.last),
            notification.identity().as_bytes(),
            kind,
            changed.then_some(changed_from),
            received_at,
            (arrived_at != received_at).then_some(arrived_at),
            self.delivery.source,
            Coded(outcome),
            Coded(statement.status),
            statement.stated_at,
            statement.accepted_at,
            Coded(statement.channel),
            statement.destination,
            reference.service(),
            reference.action(),
            reference.key(),
            provider.name,
            provider.id,
            provider.status,
            provider.code,
            provider.message,
            statement.segments,
        ])?;
        self.state.counters.last_seq = seq;
        Ok(seq)
    }

    /// Quarantines an entry. The same entry is kept once and counted, also when there is no room for more. A
    /// replayed entry stays as it is.
    fn quarantine(&mut self, index: u32, reason: String) -> rusqlite::Result<StoredEntry> {
        if let Some(id) = self.delivery.replay_of {
            return Ok(StoredEntry::Quarantined { id, reason });
        }
        let Some(content) = &self.delivery.content else {
            return Ok(StoredEntry::TooMany);
        };
        let Delivery { source, url_covered, received_at, .. } = self.delivery;
        let hash = self.hash.get_or_insert_with(|| PayloadHash::of(source, content)).clone();
        let id = hash.entry(index);
        if quarantine::count_repeat(self.db, &mut self.state.counters.quarantine, id, *url_covered)?
        {
            return Ok(StoredEntry::Quarantined { id, reason });
        }
        if self.is_erased(id.as_bytes())? {
            return Ok(StoredEntry::Erased);
        }
        let new = NewEntry {
            source,
            content,
            hash: &hash,
            entry: index,
            url_covered: Some(*url_covered),
            reason: &reason,
            received_at: *received_at,
        };
        let is_stored = quarantine::insert(self.db, &mut self.state.counters.quarantine, &new)?;
        Ok(if is_stored {
            StoredEntry::Quarantined { id, reason }
        } else {
            StoredEntry::QuarantineFull
        })
    }
}

/// Arrival time that counts for the order. Registrations are ordered by their arrival, and the last one wins
/// even if the clock was set back since the one before.
fn arrival(
    before: Option<&Record>,
    notification: &Notification,
    received_at: Timestamp,
) -> Timestamp {
    let latest = match notification.statement().kind {
        Kind::Report => None,
        Kind::Registration => before
            .and_then(|record| record.destination.as_ref())
            .map(|claim| claim.rank)
            .filter(|rank| rank.tier == Tier::Registered)
            .and_then(|rank| Timestamp::from_micros(1 - rank.at)),
    };
    latest.map_or(received_at, |latest| latest.max(received_at))
}
