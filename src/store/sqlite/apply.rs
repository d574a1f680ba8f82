//! What one delivery does to the tables. Runs inside the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, ToSql, params};

use super::erased;
use super::ledger::Ledger;
use super::recent::{self, ForeignId};
use super::row::{NO_RECORD, REGISTRATION, REPORT, REPORT_BY_FOREIGN_ID, SAID_AGAIN};
use super::value::Coded;
use crate::message::{
    Judged, Kind, MAX_NOTIFICATIONS, Notification, Outcome, Record, Tier, Timestamp,
};
use crate::store::{Delivery, Entry, QuarantineId, Stored};

/// Why a delivery was not applied.
#[derive(Debug)]
pub(super) enum NotApplied {
    /// The quarantine has no room. Nothing of the delivery may be kept.
    QuarantineFull,
    /// SQLite did not do it.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for NotApplied {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Applies every entry of a delivery, or none: what was written by a delivery that fails is taken
/// back.
pub(super) fn apply(
    db: &Connection,
    ledger: &mut Ledger,
    delivery: &Delivery,
) -> Result<Vec<Stored>, NotApplied> {
    // A single entry fails before its first write; only several need a place to fall back to.
    if delivery.entries.len() < 2 {
        return Applying { db, ledger, delivery }.entries();
    }
    let before = ledger.clone();
    db.prepare_cached("SAVEPOINT delivery")?.execute([])?;
    let results = Applying { db, ledger, delivery }.entries();
    // After some errors SQLite has taken the whole transaction back, savepoints included.
    if !db.is_autocommit() {
        if results.is_err() {
            db.prepare_cached("ROLLBACK TO delivery")?.execute([])?;
        }
        db.prepare_cached("RELEASE delivery")?.execute([])?;
    }
    if results.is_err() {
        *ledger = before;
    }
    results
}

struct Applying<'a> {
    db: &'a Connection,
    ledger: &'a mut Ledger,
    delivery: &'a Delivery,
}

impl Applying<'_> {
    fn entries(&mut self) -> Result<Vec<Stored>, NotApplied> {
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
            const RELEASE: &str = "DELETE FROM quarantine WHERE id = ?";
            let gone = self.db.prepare_cached(RELEASE)?.execute([id.as_bytes()])?;
            let gone = u64::try_from(gone).unwrap_or(0);
            self.ledger.quarantined = self.ledger.quarantined.saturating_sub(gone);
        }
        Ok(results)
    }

    fn notification(
        &mut self,
        index: u32,
        notification: &Notification,
        foreign_id: Option<&str>,
    ) -> Result<Stored, NotApplied> {
        let message = notification.statement().message;
        let known = self.ledger.known(self.db, message)?;
        if known.is_none() && self.is_erased(message.as_bytes())? {
            return Ok(Stored::Erased);
        }
        let identity = notification.identity();
        let stored = known.as_ref().is_some_and(|known| known.identities.contains(&identity));
        if !stored && known.as_ref().is_some_and(|k| k.notifications() >= MAX_NOTIFICATIONS) {
            if self.delivery.content.is_none() {
                return Ok(Stored::TooMany);
            }
            return self.quarantine(
                index,
                format!("the message has {MAX_NOTIFICATIONS} notifications, the most it may have"),
            );
        }
        let before = known.as_ref().and_then(|known| known.record.as_deref());
        let arrived_at = arrival(before, notification, self.delivery.received_at);
        let Judged { outcome, record, changed } =
            Record::judge(before, notification, arrived_at, stored);
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
            let after = recent::Entry::after(before, seq, identity, foreign_id, record);
            self.ledger.put(message, before, after);
        }
        Ok(Stored::Judged { message, outcome, record, new })
    }

    /// Whether what has this name was erased, and comes late.
    fn is_erased(&self, name: &[u8; 16]) -> rusqlite::Result<bool> {
        let Ledger { any_erased, hash_key, .. } = &*self.ledger;
        Ok(*any_erased && erased::is_erased(self.db, hash_key, name, self.delivery.received_at)?)
    }

    /// Adds a notification to the log, with what it did; says under which number.
    fn log(
        &mut self,
        known: Option<&recent::Entry>,
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

    /// Puts an entry aside. The same content is kept once and counted, also when there is no room
    /// for more; an entry that is read again stays as it is.
    fn quarantine(&mut self, index: u32, reason: String) -> Result<Stored, NotApplied> {
        const AGAIN: &str = "UPDATE quarantine SET times = times + 1 WHERE id = ?";
        const INSERT: &str = "INSERT INTO quarantine (id, source, entry, method, query, \
             content_type, reason, received_at, times, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)";
        if let Some(id) = self.delivery.replay_of {
            return Ok(Stored::Quarantined { id, reason });
        }
        let Some(content) = &self.delivery.content else {
            return Ok(Stored::TooMany);
        };
        let source = &self.delivery.source;
        let id = QuarantineId::of(source, content, index);
        if self.db.prepare_cached(AGAIN)?.execute([id.as_bytes()])? == 0 {
            if self.is_erased(id.as_bytes())? {
                return Ok(Stored::Erased);
            }
            if self.ledger.quarantined >= self.ledger.quarantine_max {
                return Err(NotApplied::QuarantineFull);
            }
            self.db.prepare_cached(INSERT)?.execute(params![
                id.as_bytes(),
                source,
                index,
                content.method,
                content.query,
                content.content_type,
                reason,
                self.delivery.received_at,
                content.body,
            ])?;
            self.ledger.quarantined += 1;
        }
        Ok(Stored::Quarantined { id, reason })
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
