//! What became of the messages of each hour: written with what changes it, in the same transaction.
//!
//! A message moves from one sum to another when its record changes, so a sum is what would be counted now,
//! and goes on counting what was removed since.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, ToSql, params};

use super::row::{self, record_columns};
use super::value::Coded;
use crate::message::{Channel, Record, Status};
use crate::store::{Counted, Hour, OTHER_CODES, Sum, Took, is_counted_by_itself};

/// How many codes of an hour and channel have counts of their own.
const MAX_CODES: i64 = 200;

/// What is counted beside the statuses, whose numbers the schema has.
const DELIVERY: i64 = 6;

/// What an hour's sums tell apart.
type Kind = (Hour, Channel, Counted);

/// How the sums change in a transaction.
#[derive(Clone, Default)]
pub(super) struct Changed(HashMap<Kind, i64>);

impl Changed {
    /// A record became another one.
    pub(super) fn moved(&mut self, before: Option<&Record>, after: Option<&Record>) {
        self.replace(before.map(of_status), after.map(of_status));
        let is_read = after.is_some_and(|after| after.status == Status::Read);
        // That it was read later says nothing of how long the delivery took.
        let delivered = before.filter(|_| !is_read).and_then(of_delivery);
        self.replace(delivered, after.and_then(of_delivery));
    }

    /// A message is counted there now, and not here any more.
    fn replace(&mut self, here: Option<Kind>, there: Option<Kind>) {
        if here == there {
            return;
        }
        for (kind, more) in [(here, -1), (there, 1)] {
            if let Some(kind) = kind {
                *self.0.entry(kind).or_default() += more;
            }
        }
    }

    /// Writes the changes, so that there are none any more.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut by_code = Vec::new();
        for ((Hour(hour), channel, counted), messages) in self.0.drain() {
            if messages == 0 {
                continue;
            }
            match counted {
                Counted::Status { status, code } if code.is_empty() => {
                    add(db, params![hour, Coded(channel), Coded(status), code, messages])?;
                }
                Counted::Status { status, code } => {
                    by_code.push((Reverse(messages), hour, channel, status, code));
                }
                Counted::Delivery(took) => {
                    let class = took.class().to_string();
                    add(db, params![hour, Coded(channel), DELIVERY, class, messages])?;
                }
            }
        }
        // The most frequent first, so that those are not among the others.
        by_code.sort_unstable();
        for (Reverse(messages), hour, channel, status, code) in by_code {
            add_code(db, hour, channel, status, &code, messages)?;
        }
        Ok(())
    }
}

/// Adds messages to a count, which begins with them if there is none.
fn add(db: &Connection, count: &[&dyn ToSql]) -> rusqlite::Result<()> {
    const ADD: &str = "INSERT INTO hourly (hour, channel, kind, detail, messages) \
         VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages";
    db.prepare_cached(ADD)?.execute(count).map(drop)
}

/// Adds messages to the count of a code. Only the first [`MAX_CODES`] of an hour and channel have a count of
/// their own. They keep it, even when nothing is left in it: so a message is always taken from the count that
/// it was added to.
fn add_code(
    db: &Connection,
    hour: i64,
    channel: Channel,
    status: Status,
    code: &str,
    messages: i64,
) -> rusqlite::Result<()> {
    const OWN: &str = "UPDATE hourly SET messages = messages + ?5 \
         WHERE hour = ?1 AND channel = ?2 AND kind = ?3 AND detail = ?4";
    const COUNTED: &str = "SELECT count(*) FROM hourly WHERE hour = ?1 AND channel = ?2 \
         AND kind IN (?3, ?4) AND detail NOT IN ('', ?5)";
    let (at, kind) = (Coded(channel), Coded(status));
    let own = params![hour, at, kind, code, messages];
    if code == OTHER_CODES {
        return add(db, own);
    }
    if db.prepare_cached(OWN)?.execute(own)? > 0 {
        return Ok(());
    }
    let failures = [Status::Rejected, Status::Undelivered].map(Coded);
    let of_failures = params![hour, at, failures[0], failures[1], OTHER_CODES];
    let counted: i64 = db.prepare_cached(COUNTED)?.query_row(of_failures, |row| row.get(0))?;
    // What is taken away was counted, and not under its own code.
    let has_own = messages > 0 && counted < MAX_CODES;
    let code = if has_own { code } else { OTHER_CODES };
    add(db, params![hour, at, kind, code, messages])
}

fn of_status(record: &Record) -> Kind {
    let status = record.status;
    let code = &record.provider().code;
    let is_failure = matches!(status, Status::Rejected | Status::Undelivered);
    let counted = is_failure && is_counted_by_itself(code);
    let code = if counted { code.clone() } else { String::new() };
    (Hour::of(record.accepted_at()), record.channel(), Counted::Status { status, code })
}

fn of_delivery(record: &Record) -> Option<Kind> {
    let took = Took::between(record.accepted_at(), record.status_changed_at());
    let hour = Hour::of(record.accepted_at());
    (record.status == Status::Delivered).then(|| (hour, record.channel(), Counted::Delivery(took)))
}

/// Makes the sums of all records in the table, in a file of an earlier version, which had none.
pub(super) fn make(db: &Connection) -> rusqlite::Result<()> {
    const SELECT: &str = concat!("SELECT ", record_columns!(), " FROM message");
    let mut changed = Changed::default();
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        changed.moved(None, row::record(row)?.as_ref());
    }
    changed.write(db)?;
    db.execute("UPDATE progress SET summed = 1", []).map(drop)
}

/// Whether the sums were made.
pub(super) fn are_made(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT summed FROM progress", [], |row| row.get(0))
}

/// The sums since an hour. Runs on a read thread.
pub(super) fn sums(db: &Connection, Hour(since): Hour) -> rusqlite::Result<Vec<Sum>> {
    const SELECT: &str = "SELECT hour, channel, kind, detail, messages FROM hourly \
         WHERE hour >= ? AND messages > 0";
    db.prepare_cached(SELECT)?.query_map([since], sum)?.collect()
}

fn sum(row: &Row<'_>) -> rusqlite::Result<Sum> {
    let Coded(channel) = row.get(1)?;
    let detail = row.get_ref(3)?.as_str()?;
    let counted = if row.get::<_, i64>(2)? == DELIVERY {
        let class = detail.parse().ok().and_then(Took::from_class);
        Counted::Delivery(class.ok_or(FromSqlError::InvalidType)?)
    } else {
        let Coded(status) = row.get(2)?;
        Counted::Status { status, code: detail.to_owned() }
    };
    let messages = row.get::<_, i64>(4)?;
    let messages = u64::try_from(messages).map_err(|_below| FromSqlError::OutOfRange(messages))?;
    Ok(Sum { hour: Hour(row.get(0)?), channel, counted, messages })
}
