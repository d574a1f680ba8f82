//! What one delivery does to the tables. Runs inside the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, ToSql, params};

use super::entry::{self, ForeignId};
use super::ledger::Ledger;
use super::quarantine::New;
use super::row::{NO_RECORD, REGISTRATION, REPORT, REPORT_BY_FOREIGN_ID, SAID_AGAIN};
use super::value::Coded;
use super::{erased, quarantine};
use crate::message::{
    Judged, Kind, MAX_NOTIFICATIONS, Notification, Outcome, Record, Tier, Timestamp,
};
use crate::store::{Delivery, Entry, PayloadHash, Stored};

/// Applies every entry of a delivery. After an error the transaction must be rolled back.
pub(super) fn apply(
    db: &Connection,
    ledger: &mut Ledger,
    delivery: &Delivery,
) -> rusqlite::Result<Vec<Stored>> {
    Applying { db, ledger, delivery, hash: None }.entries()
}

struct Applying<'a> {
    db: &'a Connection,
    ledger: &'a mut Ledger,
    delivery: &'a Delivery,
    /// The names of the raw payload and of its entries, once an entry had to go to quarantine.
    hash: Option<PayloadHash>,
}

impl Applying<'_> {
    fn entries(&mut self) -> rusqlite::Result<Vec<Stored>> {
        let mut results = Vec::with_capacity(self.delivery.entries.len());
        for entry in &self.delivery.entries {
            results.push(match entry {
                Entry::Notification { index, notification, foreign_id } => {
                    self.notification(*index, notification, foreign_id.as_deref())?
                }
                Entry::Unreadable { index, reason } => self.quarantine(*index, reason.clone())?,
            });
        }
        let understood = !results.iter().any(|result| matches!(result, Stored::Quarantined { .. }));
        if let Some(id) = self.delivery.replay_of.filter(|_| understood) {
            quarantine::remove(self.db, &mut self.ledger.quarantine, id)?;
        }
        Ok(results)
    }

    fn notification(
        &mut self,
        index: u32,
        notification: &Notification,
        foreign_id: Option<&str>,
    ) -> rusqlite::Result<Stored> {
        let message = notification.statement().message;
        let known = self.ledger.known(self.db, message)?;
        if known.is_none() && self.is_erased(message.as_bytes())? {
            return Ok(Stored::Erased);
        }
        let identity = notification.identity();
        let stored = known.as_ref().is_some_and(|known| known.identities.contains(&identity));
        let is_full = known.as_ref().is_some_and(|known| known.logged() >= MAX_NOTIFICATIONS);
        if !stored && is_full {
            return self.too_many(index);
        }
        let before = known.as_ref().and_then(|known| known.record.as_deref());
        let arrived_at = arrival(before, notification, self.delivery.received_at);
        let Judged { outcome, record, changed } =
            Record::judge(before, notification, arrived_at, stored);
        // A registration that is renewed has a row of its own.
        if stored && changed && is_full {
            return self.too_many(index);
        }
        let new = before.is_none();
        let record = record.map(Arc::new);
        // Of what is said again only a registration can matter, if it was not the last one.
        if !stored || changed {
            let kind = match (notification.statement().kind, foreign_id) {
                (Kind::Registration, _) if stored => SAID_AGAIN,
                (Kind::Registration, _) => REGISTRATION,
                (Kind::Report, Some(_)) => REPORT_BY_FOREIGN_ID,
                (Kind::Report, None) => REPORT,
            };
            let seq =
                self.log(known.as_deref(), kind, notification, arrived_at, outcome, changed)?;
            let foreign_id = foreign_id
                .map(|id| ForeignId { source: self.delivery.source.clone(), id: id.to_owned() });
            self.ledger.count(before, record.as_deref());
            let record = record.clone();
            let before = known.as_deref();
            let identity = (!stored).then_some(identity);
            let after = entry::Entry::after(before, seq, identity, foreign_id, record);
            self.ledger.put(message, before, after);
        }
        Ok(Stored::Judged { message, outcome, record, new })
    }

    /// Puts aside an entry about a message that has as many rows in the log as it may have.
    fn too_many(&mut self, index: u32) -> rusqlite::Result<Stored> {
        if self.delivery.content.is_none() {
            return Ok(Stored::TooMany);
        }
        self.quarantine(
            index,
            format!("the message has {MAX_NOTIFICATIONS} notifications, the most it may have"),
        )
    }

    /// Whether what has this name was erased, and comes late.
    fn is_erased(&self, name: &[u8; 16]) -> rusqlite::Result<bool> {
        let Ledger { any_erased, hash_key, .. } = &*self.ledger;
        Ok(*any_erased && erased::is_erased(self.db, hash_key, name)?)
    }

    /// Adds a notification to the log, with what it did; says under which number.
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
        let seq = self.ledger.last_seq + 1;
        let received_at = self.delivery.received_at;
        let said = notification.statement();
        let (reference, provider) = (notification.reference(), notification.provider());
        let status_before = known.and_then(|known| known.record.as_ref()).map(|r| Coded(r.status));
        let changed_from = match &status_before {
            Some(status) => status.to_sql()?,
            None => NO_RECORD.into(),
        };
        self.db.prepare_cached(INSERT)?.execute(params![
            seq,
            said.message.as_bytes(),
            known.map(|known| known.last),
            notification.identity().as_bytes(),
            kind,
            changed.then_some(changed_from),
            received_at,
            (arrived_at != received_at).then_some(arrived_at),
            self.delivery.source,
            Coded(outcome),
            Coded(said.status),
            said.stated_at,
            said.accepted_at,
            Coded(said.channel),
            said.destination,
            reference.service(),
            reference.action(),
            reference.key(),
            provider.name,
            provider.id,
            provider.status,
            provider.code,
            provider.message,
            said.segments,
        ])?;
        self.ledger.last_seq = seq;
        Ok(seq)
    }

    /// Puts an entry into quarantine. The same entry is kept once and counted, also when there is no
    /// room for more. An entry that is read again stays as it is.
    fn quarantine(&mut self, index: u32, reason: String) -> rusqlite::Result<Stored> {
        if let Some(id) = self.delivery.replay_of {
            return Ok(Stored::Quarantined { id, reason });
        }
        let Some(content) = &self.delivery.content else {
            return Ok(Stored::TooMany);
        };
        let Delivery { source, url_covered, received_at, .. } = self.delivery;
        let hash = self.hash.get_or_insert_with(|| PayloadHash::of(source, content)).clone();
        let id = hash.entry(index);
        if quarantine::count_again(self.db, &mut self.ledger.quarantine, id, *url_covered)? {
            return Ok(Stored::Quarantined { id, reason });
        }
        if self.is_erased(id.as_bytes())? {
            return Ok(Stored::Erased);
        }
        let new = New {
            source,
            content,
            hash: &hash,
            entry: index,
            url_covered: Some(*url_covered),
            reason: &reason,
            received_at: *received_at,
        };
        let is_stored = quarantine::insert(self.db, &mut self.ledger.quarantine, &new)?;
        Ok(if is_stored { Stored::Quarantined { id, reason } } else { Stored::QuarantineFull })
    }
}

/// When a notification counts as arrived. Registrations are ordered by their arrival, and the last
/// one wins also if the clock was set back since the one before.
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
