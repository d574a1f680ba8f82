//! What is asked of the tables, and of what was said lately. Runs on a read thread.
//!
//! What was said lately comes before what the tables say of the same message, which may be behind.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::fold::{each_back_from, load};
use super::recent::Committed;
use super::row::{self, RECORD_COLUMNS, SAID_AGAIN, record_columns, said_columns};
use crate::message::{Identity, MessageId, Record, Timestamp};
use crate::store::{History, Key, Listing, Message, Page, QuarantineId, Quarantined};

/// Whether all of these notifications are stored.
pub(super) fn holds(
    db: &Connection,
    recent: &Committed,
    notifications: &[(MessageId, Identity)],
) -> rusqlite::Result<bool> {
    for (message, identity) in notifications {
        let lately = recent.now().get(*message).cloned();
        let known = match lately {
            Some(known) => Some(known),
            None => load(db, *message)?.map(Arc::new),
        };
        if !known.is_some_and(|known| known.identities.contains(identity)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the table knows of a message.
pub(super) fn message(db: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    const SELECT: &str = concat!("SELECT ", record_columns!(), " FROM message WHERE id = ?");
    let record = db.prepare_cached(SELECT)?.query_row([id.as_bytes()], row::record).optional()?;
    Ok(record.flatten().map(|record| Message { id, record }))
}

/// Everything that was said of a message.
pub(super) fn history(
    db: &Connection,
    recent: &Committed,
    id: MessageId,
) -> rusqlite::Result<Option<History>> {
    const MESSAGE: &str = concat!("SELECT ", record_columns!(), ", last FROM message WHERE id = ?");
    let lately = recent.now().get(id).cloned();
    // One transaction, so that record and history belong together.
    let both = db.unchecked_transaction()?;
    let found = match lately {
        Some(entry) => Some((entry.record.as_deref().cloned(), entry.last)),
        None => both
            .prepare_cached(MESSAGE)?
            .query_row([id.as_bytes()], |row| {
                Ok((row::record(row)?, row.get::<_, i64>(RECORD_COLUMNS)?))
            })
            .optional()?,
    };
    let Some((record, last)) = found else { return Ok(None) };
    let mut said = Vec::new();
    let read = each_back_from(&both, last, concat!("previous, kind, ", said_columns!()), |row| {
        if row.get::<_, i64>(1)? != SAID_AGAIN {
            said.push(row::said(row, 2)?);
        }
        Ok(())
    });
    // What was known lately may have been removed since.
    if read.optional()?.is_none() {
        return Ok(None);
    }
    said.reverse();
    Ok(Some(History { record, said }))
}

/// Quarantined entries after this place, their bodies left empty.
pub(super) fn quarantine(
    db: &Connection,
    after: i64,
    count: u32,
) -> rusqlite::Result<Vec<Quarantined>> {
    const SELECT: &str = "SELECT q, id, source, entry, method, query, content_type, x'', \
         reason, received_at, times FROM quarantine WHERE q > ? ORDER BY q LIMIT ?";
    db.prepare_cached(SELECT)?.query_map(params![after, count], row::quarantined)?.collect()
}

/// One quarantined entry, whole.
pub(super) fn quarantined(
    db: &Connection,
    id: QuarantineId,
) -> rusqlite::Result<Option<Quarantined>> {
    const SELECT: &str = "SELECT q, id, source, entry, method, query, content_type, body, \
         reason, received_at, times FROM quarantine WHERE id = ?";
    db.prepare_cached(SELECT)?.query_row([id.as_bytes()], row::quarantined).optional()
}

/// Reads a page of a list, and one message more to see whether it goes on. To be done in a transaction
/// that has not read anything yet: what the tables are behind with is looked for first.
pub(super) fn list(
    db: &Connection,
    recent: &Committed,
    key: &Key,
    page: Page,
) -> rusqlite::Result<Listing> {
    let wanted = usize::try_from(page.count).unwrap_or(usize::MAX).saturating_add(1);
    // One bound, because SQLite takes only the first for where to begin in the index. Behind a
    // bound of time alone nothing has this time and an id above the greatest.
    let (place, before) = (page.after, page.before.map(Timestamp::micros));
    let begin = match place.map(|place| (place.accepted_at.micros(), place.id)) {
        Some((at, id)) if before.is_none_or(|before| at < before) => (at, id),
        _ => (before.unwrap_or(i64::MAX), MessageId::from_bytes([u8::MAX; 16])),
    };
    let lately = lately(recent, key, begin, wanted);
    let elsewhere: HashSet<MessageId> = lately.iter().map(|(id, _)| *id).collect();
    let mut lately = lately
        .into_iter()
        .filter_map(|(id, record)| Some(Message { id, record: Record::clone(&*record?) }))
        .peekable();
    let mut messages: Vec<Message> = Vec::new();
    let mut place = begin;
    loop {
        let settled = settled(db, key, place, wanted)?;
        let last = settled.last().map(place_of).filter(|_| settled.len() == wanted);
        for message in settled.into_iter().filter(|message| !elsewhere.contains(&message.id)) {
            let earlier = |other: &Message| is_before(place_of(other), place_of(&message));
            while let Some(other) = lately.next_if(earlier) {
                messages.push(other);
            }
            messages.push(message);
        }
        match last {
            // What the table is behind with was left out, and more may follow.
            Some(last) if messages.len() < wanted => place = last,
            _ => break,
        }
    }
    messages.extend(lately.take(wanted.saturating_sub(messages.len())));
    let more = messages.len() >= wanted;
    messages.truncate(wanted - 1);
    Ok(Listing { messages, more })
}

/// What is listed lately behind a place, up to so many messages, and what only the table lists there.
fn lately(
    recent: &Committed,
    key: &Key,
    begin: (i64, MessageId),
    most: usize,
) -> Vec<(MessageId, Option<Arc<Record>>)> {
    let mut found = 0;
    recent
        .now()
        .listed(key, begin)
        .take_while(|(_, record)| {
            let enough = found == most;
            found += usize::from(record.is_some());
            !enough
        })
        .map(|(id, record)| (id, record.cloned()))
        .collect()
}

/// What the table lists behind a place.
fn settled(
    db: &Connection,
    key: &Key,
    begin: (i64, MessageId),
    most: usize,
) -> rusqlite::Result<Vec<Message>> {
    macro_rules! select {
        ($from:literal) => {
            concat!(
                "SELECT ",
                record_columns!(),
                ", message.id FROM ",
                $from,
                " AND accepted_at <= ?3 ORDER BY accepted_at DESC"
            )
        };
    }
    const BY_DESTINATION: &str = select!("message WHERE destination = ?1 AND ?2 IS NULL");
    const BY_REFERENCE: &str = select!("message WHERE reference_key = ?1 AND ?2 IS NULL");
    const BY_FOREIGN: &str =
        select!("foreign_id AS f JOIN message USING (n) WHERE f.source = ?1 AND f.id = ?2");
    let (sql, first, second): (_, Value, _) = match key {
        Key::Destination(number) => {
            (BY_DESTINATION, i64::try_from(number.number()).unwrap_or(i64::MAX).into(), None)
        }
        Key::Reference(text) => (BY_REFERENCE, text.clone().into(), None),
        Key::Foreign { source, id } => (BY_FOREIGN, source.clone().into(), Some(id.as_str())),
    };
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(params![first, second, begin.0], |row| {
        Ok(row::record(row)?.map(|record| (row::message_id(row, RECORD_COLUMNS), record)))
    })?;
    let mut messages: Vec<Message> = Vec::with_capacity(most);
    for row in rows {
        let Some((id, record)) = row? else { continue };
        let message = Message { id: id?, record };
        if !is_before(begin, place_of(&message)) {
            continue;
        }
        // Those accepted at the same time come in no order, so all of them have to be seen.
        let of_this_time = |last: &Message| place_of(last).0 == place_of(&message).0;
        if messages.len() >= most && !messages.last().is_some_and(of_this_time) {
            break;
        }
        messages.push(message);
        if messages.len() >= 2 * most {
            first_of(&mut messages, most);
        }
    }
    first_of(&mut messages, most);
    Ok(messages)
}

/// Brings messages into the order of lists, and leaves so many.
fn first_of(messages: &mut Vec<Message>, most: usize) {
    messages.sort_by_key(|message| {
        let (at, id) = place_of(message);
        (Reverse(at), id)
    });
    messages.truncate(most);
}

fn place_of(message: &Message) -> (i64, MessageId) {
    (message.record.accepted_at().micros(), message.id)
}

/// Whether a place comes before another: newest acceptance first, ties by id.
fn is_before((one_at, one): (i64, MessageId), (other_at, other): (i64, MessageId)) -> bool {
    one_at > other_at || (one_at == other_at && one < other)
}
