//! What is asked of the tables, and of what was said lately. Runs on a read thread.
//!
//! What was said lately comes before what the tables say of the same message, which may be behind.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::fold::load;
use super::recent::Committed;
use super::row::{self, record_columns, shown_columns};
use crate::message::{Identity, MessageId, Timestamp};
use crate::store::{Key, Listing, Message, Page, Write};

/// With more than so many messages accepted at the same time a list asks for them in the order of their ids.
const FEW_EQUALS: usize = 4_096;

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

/// Reads a page of a list, and one message more to see whether it goes on. What the table is behind with
/// is looked for first, and then the table is read in one piece.
pub(super) fn list(
    db: &Connection,
    recent: &Committed,
    key: &Key,
    page: Page,
    write: Write,
) -> rusqlite::Result<Listing> {
    let wanted = usize::try_from(page.count).unwrap_or(usize::MAX).saturating_add(1);
    // One bound, because SQLite takes only the first for where to begin in the index. Behind a
    // bound of time alone nothing has this time and an id above the greatest.
    let (place, before) = (page.after, page.before.map(Timestamp::micros));
    let begin = match place.map(|place| (place.accepted_at.micros(), place.id)) {
        Some((at, id)) if before.is_none_or(|before| at < before) => (at, id),
        _ => (before.unwrap_or(i64::MAX), MessageId::from_bytes([u8::MAX; 16])),
    };
    let lately = recent.now().listed(key, begin, wanted);
    let elsewhere: HashSet<MessageId> = lately.iter().map(|(id, _)| *id).collect();
    let mut listing = Listing::default();
    for (id, record) in &lately {
        if let Some(record) = record {
            listing.add(&record.shown(*id), write);
        }
    }
    add_settled(db, key, begin, wanted, &elsewhere, write, &mut listing)?;
    listing.more = listing.messages.len() >= wanted;
    listing.messages.truncate(wanted - 1);
    Ok(listing)
}

/// Adds what the table lists behind a place, and leaves the first so many.
fn add_settled(
    db: &Connection,
    key: &Key,
    begin: (i64, MessageId),
    most: usize,
    elsewhere: &HashSet<MessageId>,
    write: Write,
    listing: &mut Listing,
) -> rusqlite::Result<()> {
    macro_rules! select {
        ($from:literal) => {
            concat!(
                "SELECT ",
                shown_columns!(),
                " FROM ",
                $from,
                " AND accepted_at <= ?3 ORDER BY accepted_at DESC"
            )
        };
    }
    const BY_DESTINATION: &str = select!("message WHERE destination = ?1 AND ?2 IS NULL");
    const BY_REFERENCE: &str = select!("message WHERE reference_key = ?1 AND ?2 IS NULL");
    const BY_FOREIGN: &str =
        select!("foreign_id AS f JOIN message USING (n) WHERE f.source = ?1 AND f.id = ?2");
    let sql = match key {
        Key::Destination(_) => BY_DESTINATION,
        Key::Reference(_) => BY_REFERENCE,
        Key::Foreign { .. } => BY_FOREIGN,
    };
    let (first, second) = parameters(key);
    let mut select = db.prepare_cached(sql)?;
    let mut newest = begin.0;
    'below: loop {
        let mut rows = select.query(params![first, second, newest])?;
        let (mut at, mut equals) = (newest, 0);
        while let Some(row) = rows.next()? {
            let Some(shown_row) = row::shown(row)? else { continue };
            let shown = shown_row.shown();
            let place = (shown.accepted_at.micros(), shown.id);
            // Those accepted at the same time come in no order, so all of them have to be seen.
            let is_earlier = place.0 < at;
            (at, equals) = if is_earlier { (place.0, 1) } else { (at, equals + 1) };
            let found = listing.messages.len();
            if found >= 2 * most || (found >= most && is_earlier) {
                listing.keep_first(most);
                let last = listing.messages.last();
                if last.is_some_and(|last| last.place.accepted_at.micros() > at) {
                    return Ok(());
                }
            }
            if is_before(begin, place) && !elsewhere.contains(&shown.id) {
                listing.add(&shown, write);
            }
            if equals > FEW_EQUALS {
                let after = (begin.0 == at).then_some(begin.1);
                if !add_equals(db, key, at, after, most, elsewhere, write, listing)? {
                    return Ok(());
                }
                newest = at - 1;
                continue 'below;
            }
        }
        listing.keep_first(most);
        return Ok(());
    }
}

/// Adds the first so many of those that were accepted at this time and have a greater id than this one, and
/// leaves the first of all; says whether a list may go on behind them. There are many of them, and the index
/// of all messages has them in their order; so there is no need to see each of them.
#[expect(clippy::too_many_arguments, reason = "a part of the one above")]
fn add_equals(
    db: &Connection,
    key: &Key,
    at: i64,
    after: Option<MessageId>,
    most: usize,
    elsewhere: &HashSet<MessageId>,
    write: Write,
    listing: &mut Listing,
) -> rusqlite::Result<bool> {
    macro_rules! select {
        ($listed:literal) => {
            concat!(
                "SELECT ",
                shown_columns!(),
                " FROM message INDEXED BY message_by_acceptance \
                 WHERE accepted_at = ?3 AND id > ?4 AND ",
                $listed,
                " ORDER BY id"
            )
        };
    }
    let sql = match key {
        Key::Destination(_) => select!("destination = ?1 AND ?2 IS NULL"),
        Key::Reference(_) => select!("reference_key = ?1 AND ?2 IS NULL"),
        Key::Foreign { .. } => select!(
            "EXISTS (SELECT 1 FROM foreign_id AS f \
             WHERE f.source = ?1 AND f.id = ?2 AND f.n = message.n)"
        ),
    };
    let known: HashSet<MessageId> = listing.messages.iter().map(|known| known.place.id).collect();
    let (first, second) = parameters(key);
    let after = after.map_or_else(Vec::new, |after| after.as_bytes().to_vec());
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query(params![first, second, at, after])?;
    let mut seen = 0;
    while seen < most
        && let Some(row) = rows.next()?
    {
        let Some(shown_row) = row::shown(row)? else { continue };
        let shown = shown_row.shown();
        if !elsewhere.contains(&shown.id) {
            seen += 1;
            if !known.contains(&shown.id) {
                listing.add(&shown, write);
            }
        }
    }
    listing.keep_first(most);
    Ok(seen < most)
}

/// What a key is in the tables.
fn parameters(key: &Key) -> (Value, Option<&str>) {
    match key {
        Key::Destination(number) => {
            (i64::try_from(number.number()).unwrap_or(i64::MAX).into(), None)
        }
        Key::Reference(text) => (text.clone().into(), None),
        Key::Foreign { source, id } => (source.clone().into(), Some(id.as_str())),
    }
}

/// Whether a place comes before another: newest acceptance first, ties by id.
fn is_before((one_at, one): (i64, MessageId), (other_at, other): (i64, MessageId)) -> bool {
    one_at > other_at || (one_at == other_at && one < other)
}
