//! Hourly counts of messages, written in the transaction that changes them.
//!
//! A message moves from one count to another when its record changes, so a count equals what a count of the
//! records now would give, plus the messages that were removed since.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, ToSql, params};

use super::column::Coded;
use super::record::{self, record_columns};
use crate::message::{Channel, Record, Status};
use crate::store::{CountKind, DeliveryTime, Hour, HourlyCount, OTHER_CODES, has_own_count};

/// Maximum number of codes per hour and channel with a count of their own.
const MAX_CODES: i64 = 200;

/// Kind of the counts of time to delivery, after the numbers that the schema gives the statuses.
const DELIVERY_KIND: i64 = 6;

/// Key of an hourly count.
type Kind = (Hour, Channel, CountKind);

/// Changes of the hourly counts in a transaction.
#[derive(Clone, Default)]
pub(crate) struct Changed(HashMap<Kind, i64>);

impl Changed {
    /// Counts the change of a message's record.
    pub(crate) fn count_change(&mut self, before: Option<&Record>, after: Option<&Record>) {
        self.replace(before.map(status_kind), after.map(status_kind));
        let is_read = after.is_some_and(|after| after.status == Status::Read);
        // A later READ says nothing about how long the delivery took.
        let delivered = before.filter(|_| !is_read).and_then(delivery_kind);
        self.replace(delivered, after.and_then(delivery_kind));
    }

    /// Moves a message from one count to another.
    fn replace(&mut self, before: Option<Kind>, after: Option<Kind>) {
        if before == after {
            return;
        }
        for (kind, more) in [(before, -1), (after, 1)] {
            if let Some(kind) = kind {
                *self.0.entry(kind).or_default() += more;
            }
        }
    }

    /// Writes the changes to the table and clears them.
    pub(crate) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut by_code = Vec::new();
        for ((Hour(hour), channel, kind), messages) in self.0.drain() {
            if messages == 0 {
                continue;
            }
            match kind {
                CountKind::Status { status, code } if code.is_empty() => {
                    add(db, params![hour, Coded(channel), Coded(status), code, messages])?;
                }
                CountKind::Status { status, code } => {
                    by_code.push((Reverse(messages), hour, channel, status, code));
                }
                CountKind::Delivery(took) => {
                    let class = took.class().to_string();
                    add(db, params![hour, Coded(channel), DELIVERY_KIND, class, messages])?;
                }
            }
        }
        // The most frequent codes come first, so that they get a count of their own.
        by_code.sort_unstable();
        for (Reverse(messages), hour, channel, status, code) in by_code {
            add_code(db, hour, channel, status, &code, messages)?;
        }
        Ok(())
    }
}

/// Adds messages to a count, which is created if it does not exist.
fn add(db: &Connection, count: &[&dyn ToSql]) -> rusqlite::Result<()> {
    const INSERT_COUNT: &str = "INSERT INTO hourly (hour, channel, kind, detail, messages) \
         VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages";
    db.prepare_cached(INSERT_COUNT)?.execute(count).map(drop)
}

/// Adds messages to the count of a code. Only the first [`MAX_CODES`] codes of an hour and channel have a
/// count of their own. They keep it even when it is zero, so a message is always subtracted from the count
/// that it was added to.
fn add_code(
    db: &Connection,
    hour: i64,
    channel: Channel,
    status: Status,
    code: &str,
    messages: i64,
) -> rusqlite::Result<()> {
    const UPDATE_OWN_CODE: &str = "UPDATE hourly SET messages = messages + ?5 \
         WHERE hour = ?1 AND channel = ?2 AND kind = ?3 AND detail = ?4";
    const SELECT_CODES: &str = "SELECT count(*) FROM hourly WHERE hour = ?1 AND channel = ?2 \
         AND kind IN (?3, ?4) AND detail NOT IN ('', ?5)";
    let (at, kind) = (Coded(channel), Coded(status));
    let own = params![hour, at, kind, code, messages];
    if code == OTHER_CODES {
        return add(db, own);
    }
    if db.prepare_cached(UPDATE_OWN_CODE)?.execute(own)? > 0 {
        return Ok(());
    }
    let failures = [Status::Rejected, Status::Undelivered].map(Coded);
    let of_failures = params![hour, at, failures[0], failures[1], OTHER_CODES];
    let counted: i64 = db.prepare_cached(SELECT_CODES)?.query_row(of_failures, |row| row.get(0))?;
    // A subtracted message was counted before, but not under its own code.
    let has_own = messages > 0 && counted < MAX_CODES;
    let code = if has_own { code } else { OTHER_CODES };
    add(db, params![hour, at, kind, code, messages])
}

fn status_kind(record: &Record) -> Kind {
    let status = record.status;
    let code = &record.provider().code;
    let is_failure = matches!(status, Status::Rejected | Status::Undelivered);
    let has_own = is_failure && has_own_count(code);
    let code = if has_own { code.clone() } else { String::new() };
    (Hour::of(record.accepted_at()), record.channel(), CountKind::Status { status, code })
}

fn delivery_kind(record: &Record) -> Option<Kind> {
    let took = DeliveryTime::between(record.accepted_at(), record.status_changed_at());
    let hour = Hour::of(record.accepted_at());
    (record.status == Status::Delivered)
        .then(|| (hour, record.channel(), CountKind::Delivery(took)))
}

/// Makes the hourly counts of all records in the table, for a file of an earlier version without counts.
pub(crate) fn build(db: &Connection) -> rusqlite::Result<()> {
    const SELECT: &str = concat!("SELECT ", record_columns!(), " FROM message");
    let mut changed = Changed::default();
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        changed.count_change(None, record::record(row)?.as_ref());
    }
    changed.write(db)?;
    db.execute("UPDATE progress SET summed = 1", []).map(drop)
}

/// Whether the hourly counts of this file were made.
pub(crate) fn are_built(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT summed FROM progress", [], |row| row.get(0))
}

/// Hourly counts since an hour. Runs on a read thread.
pub(crate) fn hourly_counts(
    db: &Connection,
    Hour(since): Hour,
) -> rusqlite::Result<Vec<HourlyCount>> {
    const SELECT: &str = "SELECT hour, channel, kind, detail, messages FROM hourly \
         WHERE hour >= ? AND messages > 0";
    db.prepare_cached(SELECT)?.query_map([since], hourly_count)?.collect()
}

fn hourly_count(row: &Row<'_>) -> rusqlite::Result<HourlyCount> {
    let Coded(channel) = row.get(1)?;
    let detail = row.get_ref(3)?.as_str()?;
    let kind = if row.get::<_, i64>(2)? == DELIVERY_KIND {
        let class = detail.parse().ok().and_then(DeliveryTime::from_class);
        CountKind::Delivery(class.ok_or(FromSqlError::InvalidType)?)
    } else {
        let Coded(status) = row.get(2)?;
        CountKind::Status { status, code: detail.to_owned() }
    };
    let messages = row.get::<_, i64>(4)?;
    let messages = u64::try_from(messages).map_err(|_below| FromSqlError::OutOfRange(messages))?;
    Ok(HourlyCount { hour: Hour(row.get(0)?), channel, kind, messages })
}
