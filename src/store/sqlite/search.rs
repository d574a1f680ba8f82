//! All messages, newest acceptance first, of which some are wanted. Runs on a read thread.
//!
//! Only for the time of their acceptance there is an index, since each one costs a random page for every
//! message. So a search reads on from a place until it has enough, or has read for long, and says where the
//! next part begins.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, ToSql, params};

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

/// A look at all messages in memory, piece by piece, so that the writer need not wait for it.
struct InPieces<'a> {
    recent: &'a Committed,
    first: usize,
    /// All messages that were there.
    seen: HashSet<MessageId>,
}

impl<'a> InPieces<'a> {
    fn new(recent: &'a Committed) -> Self {
        Self { recent, first: 0, seen: HashSet::new() }
    }

    /// Looks at the next piece; says whether there was one. A message that was written back and changed
    /// between two pieces is in another slot now, and is not looked at again.
    fn piece(&mut self, mut look: impl FnMut(MessageId, &Arc<Entry>)) -> bool {
        let recent = self.recent.now();
        let Some(entries) = recent.slots(self.first, AT_A_TIME) else { return false };
        for (id, entry) in entries {
            if self.seen.insert(id) {
                look(id, entry);
            }
        }
        self.first += AT_A_TIME;
        true
    }
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
        let mut found = Vec::new();
        let mut look = InPieces::new(self.recent);
        while look.piece(|id, entry| {
            let Entry { record: Some(record), last, .. } = &**entry else { return };
            let place = (Reverse(record.accepted_at()), id);
            if begin.is_none_or(|begin| place > begin) && self.wanted.passes(&record.shown(id)) {
                found.push((place, Arc::clone(record), *last));
            }
        }) {}
        (found, look.seen)
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
        macro_rules! select {
            ($places:literal) => {
                concat!(
                    "SELECT ",
                    shown_columns!(),
                    ", last FROM message INDEXED BY message_by_acceptance WHERE ",
                    $places,
                    " ORDER BY accepted_at DESC, id"
                )
            };
        }
        const EQUALS: &str = select!("accepted_at = ?1 AND id > ?2");
        const BEHIND: &str = select!("accepted_at < ?1 AND accepted_at >= ?2");
        let since = Instant::now();
        let begin = self.begin();
        let oldest = self.wanted.from.map_or(i64::MIN, Timestamp::micros);
        // Behind a place are the rest of those accepted at the same time, and those accepted before.
        if let Some((Reverse(at), id)) = begin
            && at.micros() >= oldest
        {
            let rest = params![at.micros(), id.as_bytes()];
            let end = self.add_rows(EQUALS, rest, listing, elsewhere, since)?;
            if end.is_some() {
                return Ok(end);
            }
        }
        let newest = begin.map_or(i64::MAX, |(Reverse(at), _id)| at.micros());
        self.add_rows(BEHIND, params![newest, oldest], listing, elsewhere, since)
    }

    /// Adds those of these rows that are wanted, until there are enough or it has taken long.
    fn add_rows(
        &self,
        select: &str,
        places: &[&dyn ToSql],
        listing: &mut Listing,
        elsewhere: &HashSet<MessageId>,
        since: Instant,
    ) -> rusqlite::Result<Option<Order>> {
        let mut select = self.db.prepare_cached(select)?;
        let mut rows = select.query(places)?;
        while let Some(row) = rows.next()? {
            let Some(shown_row) = row::shown(row)? else { continue };
            let shown = shown_row.shown();
            let place = (Reverse(shown.accepted_at), shown.id);
            if !elsewhere.contains(&shown.id)
                && self.wanted.passes(&shown)
                && self.is_spoken_of(row.get(SHOWN_COLUMNS)?)?
            {
                listing.add(&shown, self.write);
            }
            if listing.messages.len() > self.count || since.elapsed() > self.lasts {
                return Ok(Some(place));
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

#[cfg(test)]
mod tests {
    use super::super::recent::Changes;
    use super::*;
    use crate::budget::MemoryBudget;

    fn id(number: usize) -> MessageId {
        let mut bytes = [0; 16];
        bytes.split_at_mut(8).0.copy_from_slice(&number.to_be_bytes());
        MessageId::from_bytes(bytes)
    }

    #[test]
    fn a_message_that_moves_between_two_looks_is_seen_once() {
        let recent = Committed::new(&MemoryBudget::default());
        let publish = |changed: &[(usize, bool)]| {
            let mut changes = Changes::default();
            for (number, stays) in changed {
                let last = i64::try_from(*number).unwrap();
                if *stays {
                    changes.put(id(*number), Entry::new(None, Some(last), last));
                } else {
                    changes.remove(id(*number));
                }
            }
            recent.publish(&changes, 0);
        };
        for number in 0..=AT_A_TIME {
            publish(&[(number, true)]);
        }
        let mut looks = InPieces::new(&recent);
        let mut seen = Vec::new();
        assert!(looks.piece(|id, _| seen.push(id)));
        // Written back, its slot taken by another one, and changed.
        publish(&[(0, false)]);
        publish(&[(AT_A_TIME + 1, true)]);
        publish(&[(0, true)]);
        assert!(looks.piece(|id, _| seen.push(id)));
        assert!(!looks.piece(|_, _| ()));
        assert_eq!(seen.iter().filter(|seen| **seen == id(0)).count(), 1);
        assert_eq!(seen.len(), looks.seen.len());
    }
}
