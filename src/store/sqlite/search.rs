//! All messages, newest acceptance first, of which some are wanted. Runs on a read thread.
//!
//! Only for the time of their acceptance there is an index, since each one costs a random page for every
//! message. So a search reads on from a place until it has enough, or has read for long, and says where the
//! next part begins.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::fold::each_back_from;
use super::recent::{Committed, Entry};
use super::row::{self, SHOWN_COLUMNS, shown_columns};
use crate::message::{MessageId, Record, Timestamp};
use crate::store::{Found, Place, Wanted, Write};

/// For so long a part is read at most; queries wait for the thread meanwhile.
const LONG: Duration = Duration::from_millis(50);
/// How many messages in memory are looked at in one piece: the writer may have to wait for it.
const AT_A_TIME: usize = 1_024;
/// Behind all messages that were accepted at the same time.
const LAST: [u8; 16] = [u8::MAX; 16];

/// Reads a part, and one message more to see whether it goes on.
pub(super) fn search(
    db: &Connection,
    recent: &Committed,
    wanted: &Wanted,
    after: Option<Place>,
    count: u32,
    write: Write,
) -> rusqlite::Result<Found> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let most = count.saturating_add(1);
    // Nothing has the time before which it must be, and an id above the greatest.
    let bound = wanted.to.map(|to| (Reverse(to), MessageId::from_bytes(LAST)));
    let begin = after.map(order).max(bound);
    let (mut lately, elsewhere) = in_memory(recent, wanted, begin);
    // One transaction, so that what a chain leads to is there.
    let together = db.unchecked_transaction()?;
    let mut found = Found::default();
    let settled = Settled { db: &together, wanted, begin, most, elsewhere: &elsewhere, write };
    let end = settled.add(&mut found)?;
    // What comes behind the end belongs to a later part.
    lately.retain(|(place, _, _)| end.is_none_or(|end| place.0 <= Reverse(end)));
    lately.sort_unstable_by_key(|(place, _, _)| *place);
    let mut added = 0;
    for ((_, id), record, last) in lately {
        if added < most && settled.is_spoken_of(last)? {
            found.listing.add(&record.shown(id), write);
            added += 1;
        }
    }
    found.listing.keep_first(most);
    if found.listing.messages.len() >= most {
        found.listing.keep_first(count);
        found.next = found.listing.messages.last().map(|last| last.place);
    } else {
        found.next = end.map(|accepted_at| Place { accepted_at, id: MessageId::from_bytes(LAST) });
    }
    found.without_number = recent.counts.without_number();
    Ok(found)
}

/// A place as lists are sorted: newest acceptance first, ties by id.
type Order = (Reverse<Timestamp>, MessageId);

fn order(place: Place) -> Order {
    (Reverse(place.accepted_at), place.id)
}

/// Which of the messages in memory are wanted, each with its last notification; and all that are there, of
/// which the table may say what is not true any more.
type InMemory = (Vec<(Order, Arc<Record>, i64)>, HashSet<MessageId>);

fn in_memory(recent: &Committed, wanted: &Wanted, begin: Option<Order>) -> InMemory {
    let (mut found, mut all) = (Vec::new(), HashSet::new());
    let mut first = 0;
    while let Some(entries) = recent.now().slots(first, AT_A_TIME) {
        for (id, entry) in entries {
            all.insert(id);
            let Entry { record: Some(record), last, .. } = &**entry else { continue };
            let place = (Reverse(record.accepted_at()), id);
            if begin.is_none_or(|begin| place > begin) && wanted.passes(&record.shown(id)) {
                found.push((place, Arc::clone(record), *last));
            }
        }
        first += AT_A_TIME;
    }
    (found, all)
}

/// What the table has.
struct Settled<'a> {
    db: &'a Connection,
    wanted: &'a Wanted,
    begin: Option<Order>,
    most: usize,
    elsewhere: &'a HashSet<MessageId>,
    write: Write,
}

impl Settled<'_> {
    /// Adds those that are wanted, until there are enough or it has taken long; says in that case up to
    /// which time of acceptance everything was read.
    fn add(&self, found: &mut Found) -> rusqlite::Result<Option<Timestamp>> {
        const SELECT: &str = concat!(
            "SELECT ",
            shown_columns!(),
            ", last FROM message WHERE accepted_at <= ? AND accepted_at >= ? \
             ORDER BY accepted_at DESC"
        );
        let since = Instant::now();
        let newest = self.begin.map_or(i64::MAX, |(Reverse(at), _)| at.micros());
        let oldest = self.wanted.from.map_or(i64::MIN, Timestamp::micros);
        let mut select = self.db.prepare_cached(SELECT)?;
        let mut rows = select.query([newest, oldest])?;
        let mut read: Option<Timestamp> = None;
        while let Some(row) = rows.next()? {
            let Some(shown) = row::shown(row)? else { continue };
            let at = shown.accepted_at;
            // Those accepted at the same time come in no order, so all of them have to be seen.
            if let Some(read) = read.filter(|read| at < *read)
                && (found.listing.messages.len() >= self.most || since.elapsed() > LONG)
            {
                return Ok(Some(read));
            }
            read = Some(at);
            let is_behind = self.begin.is_none_or(|begin| (Reverse(at), shown.id) > begin);
            if is_behind
                && !self.elsewhere.contains(&shown.id)
                && self.wanted.passes(&shown)
                && self.is_spoken_of(row.get(SHOWN_COLUMNS)?)?
            {
                found.listing.add(&shown, self.write);
            }
        }
        Ok(None)
    }

    /// Whether the source that is wanted said something in the chain that ends with this notification.
    fn is_spoken_of(&self, last: i64) -> rusqlite::Result<bool> {
        let Some(wanted) = &self.wanted.source else { return Ok(true) };
        let mut is_spoken_of = false;
        // What was known lately may have been removed since.
        each_back_from(self.db, last, "previous, source", |row| {
            is_spoken_of |= row.get_ref(1)?.as_str()? == wanted;
            Ok(())
        })
        .optional()?;
        Ok(is_spoken_of)
    }
}
