//! What one delivery does to the tables. Runs inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::erased;
use super::ledger::Ledger;
use super::row::{self, Coded, RECORD_COLUMNS, bind_indexed, bind_status, record_columns};
use crate::message::{Judged, Kind, MAX_NOTIFICATIONS, Notification, Record, Tier, Timestamp};
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
    let mut applying = Applying { db, ledger: *ledger, delivery };
    // A single entry fails before its first write; only several need a place to fall back to.
    let results = if delivery.entries.len() < 2 {
        applying.entries()?
    } else {
        db.prepare_cached("SAVEPOINT delivery")?.execute([])?;
        let results = applying.entries();
        // After some errors SQLite has taken the whole transaction back, savepoints included.
        if !db.is_autocommit() {
            if results.is_err() {
                db.prepare_cached("ROLLBACK TO delivery")?.execute([])?;
            }
            db.prepare_cached("RELEASE delivery")?.execute([])?;
        }
        results?
    };
    *ledger = applying.ledger;
    Ok(results)
}

struct Applying<'a> {
    db: &'a Connection,
    ledger: Ledger,
    delivery: &'a Delivery,
}

/// What the tables hold of a message.
struct Known {
    n: i64,
    notifications: u32,
    record: Option<Record>,
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
        let known = self.known(notification)?;
        if known.is_none() && self.is_erased(notification.statement().message.as_bytes())? {
            return Ok(Stored::Erased);
        }
        let stored = match &known {
            Some(known) => self.is_stored(known.n, notification)?,
            None => false,
        };
        if !stored && known.as_ref().is_some_and(|k| k.notifications >= MAX_NOTIFICATIONS) {
            if self.delivery.content.is_none() {
                return Ok(Stored::TooMany);
            }
            return self.quarantine(
                index,
                format!("the message has {MAX_NOTIFICATIONS} notifications, the most it may have"),
            );
        }
        let before = known.as_ref().and_then(|known| known.record.as_ref());
        let arrived_at = arrival(before, notification, self.delivery.received_at);
        let judged = Record::judge(before.cloned(), notification, arrived_at, stored);
        let new = before.is_none();
        if stored {
            self.renew(known.as_ref(), notification, arrived_at, &judged)?;
        } else {
            self.store(known.as_ref(), notification, foreign_id, arrived_at, &judged)?;
        }
        Ok(Stored::Judged {
            message: notification.statement().message,
            outcome: judged.outcome,
            record: judged.record.map(Box::new),
            new,
        })
    }

    fn known(&self, notification: &Notification) -> rusqlite::Result<Option<Known>> {
        const SELECT: &str =
            concat!("SELECT ", record_columns!(), ", n, notifications FROM message WHERE id = ?");
        self.db
            .prepare_cached(SELECT)?
            .query_row([notification.statement().message.as_bytes()], |row| {
                Ok(Known {
                    record: row::record(row)?,
                    n: row.get(RECORD_COLUMNS)?,
                    notifications: row.get(RECORD_COLUMNS + 1)?,
                })
            })
            .optional()
    }

    /// Whether what has this name was erased, and comes late.
    fn is_erased(&self, name: &[u8; 16]) -> rusqlite::Result<bool> {
        let Ledger { any_erased, hash_key, .. } = &self.ledger;
        Ok(*any_erased && erased::is_erased(self.db, hash_key, name, self.delivery.received_at)?)
    }

    fn is_stored(&self, n: i64, notification: &Notification) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM notification WHERE n = ? AND identity = ?")?
            .exists(params![n, notification.identity().as_bytes()])
    }

    /// Stores a notification for the first time.
    fn store(
        &mut self,
        known: Option<&Known>,
        notification: &Notification,
        foreign_id: Option<&str>,
        arrived_at: Timestamp,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        let arrival = known.map_or(0, |known| known.notifications);
        let n = match known {
            None => self.insert_message(notification, judged)?,
            Some(known) => {
                self.update_message(known, arrival + 1, judged)?;
                known.n
            }
        };
        self.insert_notification(n, arrival, notification, arrived_at, judged)?;
        if let Some(id) = foreign_id {
            self.db
                .prepare_cached(
                    "INSERT OR IGNORE INTO foreign_id (source, id, n) VALUES (?, ?, ?)",
                )?
                .execute(params![self.delivery.source, id, n])?;
        }
        self.log_change(known, n, arrival, judged)
    }

    /// Notes that a stored notification came again. Only a registration's repetition counts.
    fn renew(
        &self,
        known: Option<&Known>,
        notification: &Notification,
        arrived_at: Timestamp,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        const RENEW: &str = "UPDATE notification SET ordered_at = ? WHERE n = ? AND identity = ? \
             RETURNING arrival";
        let Some(known) = known.filter(|_| notification.statement().kind == Kind::Registration)
        else {
            return Ok(());
        };
        let arrival: u32 =
            self.db.prepare_cached(RENEW)?.query_row(
                params![arrived_at, known.n, notification.identity().as_bytes()],
                |row| row.get(0),
            )?;
        self.update_message(known, known.notifications, judged)?;
        self.log_change(Some(known), known.n, arrival, judged)
    }

    fn insert_message(
        &mut self,
        notification: &Notification,
        judged: &Judged,
    ) -> rusqlite::Result<i64> {
        const INSERT: &str = "INSERT INTO message (n, id, notifications, status, status_arrived_at, \
             channel, reference_service, reference_action, provider_name, provider_id, \
             provider_status, provider_code, provider_message, segments, ranks, began_accepted, \
             began_stated, began_arrived, destination, reference_key) \
             VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let mut insert = self.db.prepare_cached(INSERT)?;
        let n = self.ledger.last_n + 1;
        insert.raw_bind_parameter(1, n)?;
        insert.raw_bind_parameter(2, notification.statement().message.as_bytes())?;
        if let Some(record) = &judged.record {
            bind_status(&mut insert, 3, record)?;
            bind_indexed(&mut insert, 15, record)?;
        } else {
            for parameter in 3..=19 {
                insert.raw_bind_parameter(parameter, None::<i64>)?;
            }
        }
        insert.raw_execute()?;
        self.ledger.last_n = n;
        Ok(n)
    }

    /// Leaves the columns alone that indexes read, if none of them has changed: each costs a page of
    /// its index, even if it is given the value it has.
    fn update_message(
        &self,
        known: &Known,
        notifications: u32,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        const COUNT: &str = "UPDATE message SET notifications = ? WHERE n = ?";
        const STATUS: &str = "UPDATE message SET notifications = ?, status = ?, \
             status_arrived_at = ?, channel = ?, reference_service = ?, reference_action = ?, \
             provider_name = ?, provider_id = ?, provider_status = ?, provider_code = ?, \
             provider_message = ?, segments = ?, ranks = ? WHERE n = ?";
        const ALL: &str = "UPDATE message SET notifications = ?, status = ?, \
             status_arrived_at = ?, channel = ?, reference_service = ?, reference_action = ?, \
             provider_name = ?, provider_id = ?, provider_status = ?, provider_code = ?, \
             provider_message = ?, segments = ?, ranks = ?, began_accepted = ?, \
             began_stated = ?, began_arrived = ?, destination = ?, reference_key = ? WHERE n = ?";
        let after = judged.record.as_ref().filter(|after| known.record.as_ref() != Some(*after));
        let Some(after) = after else {
            self.db.prepare_cached(COUNT)?.execute(params![notifications, known.n])?;
            return Ok(());
        };
        let indexes_stay =
            known.record.as_ref().is_some_and(|before| row::indexed_alike(before, after));
        let mut update = self.db.prepare_cached(if indexes_stay { STATUS } else { ALL })?;
        update.raw_bind_parameter(1, notifications)?;
        bind_status(&mut update, 2, after)?;
        if indexes_stay {
            update.raw_bind_parameter(14, known.n)?;
        } else {
            bind_indexed(&mut update, 14, after)?;
            update.raw_bind_parameter(19, known.n)?;
        }
        update.raw_execute().map(drop)
    }

    fn insert_notification(
        &self,
        n: i64,
        arrival: u32,
        notification: &Notification,
        arrived_at: Timestamp,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        const INSERT: &str = "INSERT INTO notification (n, identity, arrival, received_at, \
             ordered_at, source, registration, outcome, status, stated_at, accepted_at, channel, destination, \
             reference_service, reference_action, reference_key, provider_name, provider_id, \
             provider_status, provider_code, provider_message, segments) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let received_at = self.delivery.received_at;
        let said = notification.statement();
        let (reference, provider) = (notification.reference(), notification.provider());
        self.db
            .prepare_cached(INSERT)?
            .execute(params![
                n,
                notification.identity().as_bytes(),
                arrival,
                received_at,
                (arrived_at != received_at).then_some(arrived_at),
                self.delivery.source,
                said.kind == Kind::Registration,
                Coded(judged.outcome),
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
            ])
            .map(drop)
    }

    fn log_change(
        &self,
        known: Option<&Known>,
        n: i64,
        arrival: u32,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        if !judged.changed {
            return Ok(());
        }
        let previous = known.and_then(|known| known.record.as_ref()).map(|r| Coded(r.status));
        self.db
            .prepare_cached("INSERT INTO change (n, arrival, previous) VALUES (?, ?, ?)")?
            .execute(params![n, arrival, previous])
            .map(drop)
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
