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

use super::entry::Entry;
use super::fold::each_back_from;
use super::recent::Committed;
use super::row::{self, SHOWN_COLUMNS, shown_columns};
use crate::message::{MessageId, Record, Timestamp};
use crate::store::{Found, Listing, Place, Wanted, Write};

/// How many messages in memory are looked at in one piece: the writer may have to wait for it.
const AT_A_TIME: usize = 1_024;
/// Behind all messages that were accepted at the same time.
const LAST: [u8; 16] = [u8::MAX; 16];

/// A search, and where a part of it begins.
pub(super) struct Search<'a> {
    pub(super) db: &'a Connection,
    pub(super) recent: &'a Committed,
    pub(super) wanted: &'a Wanted,
    /// Only messages behind this place.
    pub(super) after: Option<Place>,
    /// At most so many.
    pub(super) count: usize,
    /// How long what is in memory is read, and then what is in the table.
    pub(super) lasts: Duration,
    pub(super) write: Write,
}

/// A place as lists are sorted: newest acceptance first, ties by id.
type Order = (Reverse<Timestamp>, MessageId);

fn order(place: Place) -> Order {
    (Reverse(place.accepted_at), place.id)
}

/// Which of the messages in memory are wanted, each with its last notification; and all that are there, of
/// which the table may say what is not true any more.
type InMemory = (Vec<(Order, Arc<Record>, i64)>, HashSet<MessageId>);

impl Search<'_> {
    /// Reads a part, and one message more to see whether it goes on.
    pub(super) fn part(&self) -> rusqlite::Result<Found> {
        let (lately, elsewhere) = self.in_memory();
        // One transaction, so that what a chain leads to is there.
        let together = self.db.unchecked_transaction()?;
        let mut found = Found::default();
        let listing = &mut found.listing;
        let end = self.add_settled(listing, &elsewhere)?;
        let end = self.add_lately(listing, lately, end)?.or(end);
        drop(together);
        // What comes behind the end belongs to a later part.
        let in_part = |place: Place| end.is_none_or(|end| order(place) <= end);
        let until_end = listing.messages.iter().filter(|message| in_part(message.place)).count();
        listing.keep_first(until_end.min(self.count));
        found.next = if until_end > self.count {
            listing.messages.last().map(|last| last.place)
        } else {
            end.map(|(Reverse(accepted_at), id)| Place { accepted_at, id })
        };
        found.without_number = self.recent.counts.without_number();
        Ok(found)
    }

    /// Where this part begins: behind this place.
    fn begin(&self) -> Option<Order> {
        // Nothing has the time before which it must be, and an id above the greatest.
        let bound = self.wanted.to.map(|to| (Reverse(to), MessageId::from_bytes(LAST)));
        self.after.map(order).max(bound)
    }

    fn in_memory(&self) -> InMemory {
        let begin = self.begin();
        let (mut found, mut all) = (Vec::new(), HashSet::new());
        let mut first = 0;
        while let Some(entries) = self.recent.now().slots(first, AT_A_TIME) {
            for (id, entry) in entries {
                // It may have been written back and changed meanwhile, and be in another slot now.
                if !all.insert(id) {
                    continue;
                }
                let Entry { record: Some(record), last, .. } = &**entry else { continue };
                let place = (Reverse(record.accepted_at()), id);
                if begin.is_none_or(|begin| place > begin) && self.wanted.passes(&record.shown(id))
                {
                    found.push((place, Arc::clone(record), *last));
                }
            }
            first += AT_A_TIME;
        }
        (found, all)
    }

    /// Adds those in memory that are wanted, newest first and not behind the end, until there are enough or
    /// it has taken long; says in that case up to where.
    fn add_lately(
        &self,
        listing: &mut Listing,
        mut lately: Vec<(Order, Arc<Record>, i64)>,
        end: Option<Order>,
    ) -> rusqlite::Result<Option<Order>> {
        let since = Instant::now();
        lately.retain(|(place, ..)| end.is_none_or(|end| *place <= end));
        lately.sort_unstable_by_key(|(place, ..)| *place);
        let mut added = 0;
        for (place, record, last) in lately {
            if self.is_spoken_of(last)? {
                listing.add(&record.shown(place.1), self.write);
                added += 1;
            }
            if added > self.count || since.elapsed() > self.lasts {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Adds those of the table that are wanted, until there are enough or it has taken long; says in that
    /// case up to where everything was read.
    fn add_settled(
        &self,
        listing: &mut Listing,
        elsewhere: &HashSet<MessageId>,
    ) -> rusqlite::Result<Option<Order>> {
        const SELECT: &str = concat!(
            "SELECT ",
            shown_columns!(),
            ", last FROM message WHERE accepted_at <= ? AND accepted_at >= ? \
             ORDER BY accepted_at DESC"
        );
        let since = Instant::now();
        let begin = self.begin();
        let newest = begin.map_or(i64::MAX, |(Reverse(at), id)| {
            // So that it goes on where all of this time were seen.
            if id == MessageId::from_bytes(LAST) { at.micros() - 1 } else { at.micros() }
        });
        let oldest = self.wanted.from.map_or(i64::MIN, Timestamp::micros);
        let mut select = self.db.prepare_cached(SELECT)?;
        let mut rows = select.query([newest, oldest])?;
        let mut read: Option<Timestamp> = None;
        while let Some(row) = rows.next()? {
            let Some(shown) = row::shown(row)? else { continue };
            let at = shown.accepted_at;
            // Those accepted at the same time come in no order, so all of them have to be seen.
            if let Some(read) = read.filter(|read| at < *read)
                && (listing.messages.len() > self.count || since.elapsed() > self.lasts)
            {
                return Ok(Some((Reverse(read), MessageId::from_bytes(LAST))));
            }
            read = Some(at);
            let is_behind = begin.is_none_or(|begin| (Reverse(at), shown.id) > begin);
            if is_behind
                && !elsewhere.contains(&shown.id)
                && self.wanted.passes(&shown)
                && self.is_spoken_of(row.get(SHOWN_COLUMNS)?)?
            {
                listing.add(&shown, self.write);
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
