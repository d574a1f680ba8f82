//! List order in the indexes: newest acceptance first, ties by id.
//!
//! An index stores one integer for a message's place in that order, which takes no more room than the time
//! alone would. Gateways state whole seconds, so many messages have the same acceptance time: for a whole
//! second the integer continues with the beginning of the id. Messages that still have the same integer are
//! sorted when they are read. If there are very many of them, the index by id may be the shorter way.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::record::{self, SHOWN_COLUMNS};
use crate::message::{MessageId, Shown};
use crate::store::{Listing, Place, Write};

/// Number of list-order values per second.
const VALUES_PER_SECOND: i64 = 1 << 25;
/// Offset of the values that stand for an id. The values before it stand for times until the next second.
const ID_OFFSET: i64 = 1 << 20;
/// Microseconds per second.
const MICROS: i64 = 1_000_000;
/// Maximum number of messages with one value that are read without also trying the index by id.
const MAX_EQUAL_ROWS: usize = 256;

/// List-order value of a place: greater for a message that comes later in lists, or equal if both were
/// accepted at the same time.
pub(crate) fn list_order(place: Place) -> i64 {
    let accepted_at = place.accepted_at.micros();
    let (second, after) = (accepted_at.div_euclid(MICROS), accepted_at.rem_euclid(MICROS));
    let within =
        if after == 0 { ID_OFFSET + beginning(second, head(place.id)) } else { MICROS - after };
    within - second * VALUES_PER_SECOND
}

/// First half of an id.
fn head(id: MessageId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// The beginning of an id in 24 bits: its first 23 bits, plus a term that separates ids that begin with a
/// time (UUID version 7) within about a second of this one. Never smaller for a greater id.
fn beginning(second: i64, head: u64) -> i64 {
    const BEFORE: i64 = 524; // milliseconds
    const WITHIN: u64 = 2_048 << 16; // as such ids have them: milliseconds and 16 bits
    let first = u64::try_from(second * 1_000 - BEFORE).unwrap_or(0) << 16;
    let timed = head.clamp(first, first.saturating_add(WITHIN)) - first;
    // Both terms have 23 bits, so the sum always fits.
    i64::try_from((head >> 41) + (timed >> 4)).unwrap_or(i64::MAX)
}

/// The first id that can have this value.
fn first_id(number: i64) -> MessageId {
    let (second, wanted) =
        (-number.div_euclid(VALUES_PER_SECOND), number.rem_euclid(VALUES_PER_SECOND) - ID_OFFSET);
    let (mut below, mut found) = (0, u64::MAX);
    while below < found {
        let middle = below + (found - below) / 2;
        if beginning(second, middle) < wanted {
            below = middle + 1;
        } else {
            found = middle;
        }
    }
    MessageId::from_bytes((u128::from(found) << 64).to_be_bytes())
}

/// Queries that list messages; `?1` and `?2` are the key.
pub(crate) struct Select {
    /// Messages from value `?3` to value `?4`, in the order of their values.
    pub(crate) by_number: &'static str,
    /// All messages from id `?3` on, in the order of their ids; the value is NULL for those that are not
    /// listed.
    pub(crate) by_id: &'static str,
}

/// Queries for the messages of a table that meet the condition. Both read the columns of
/// [`shown_columns`](record::shown_columns), `last` and the list-order value.
macro_rules! select {
    ($from:literal WHERE $condition:literal, of each $is_listed:literal) => {
        $crate::store::sqlite::rows::list_order::Select {
            by_number: concat!(
                "SELECT ",
                $crate::store::sqlite::rows::record::shown_columns!(),
                ", last, list_order FROM ",
                $from,
                " WHERE ",
                $condition,
                " AND list_order >= ?3 AND list_order <= ?4 ORDER BY list_order"
            ),
            by_id: concat!(
                "SELECT ",
                $crate::store::sqlite::rows::record::shown_columns!(),
                ", last, CASE WHEN ",
                $is_listed,
                " THEN list_order END FROM message WHERE message.id >= ?3 ORDER BY message.id"
            ),
        }
    };
}
pub(crate) use select;

/// Query of the table's messages in list order.
pub(crate) struct InOrder<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) select: Select,
    /// Parameters `?1` and `?2` of the queries.
    pub(crate) key: (Value, Option<&'a str>),
    /// Only messages after this place.
    pub(crate) after: Option<Place>,
    /// Only messages up to this value.
    pub(crate) until: i64,
    /// Number of messages after which reading stops.
    pub(crate) enough: usize,
    /// Sorted values of messages that are listed in addition, from the cache; they count towards `enough`.
    pub(crate) beside: &'a [i64],
    /// Whether a message matches. The row has the shown columns and then the message's last notification.
    pub(crate) is_wanted: &'a dyn Fn(&Shown<'_>, &Row<'_>) -> rusqlite::Result<bool>,
    /// Whether the time limit is reached.
    pub(crate) is_late: &'a dyn Fn() -> bool,
    pub(crate) write: Write,
}

/// Extent of what was read.
enum Read {
    /// All messages.
    All,
    /// Messages up to this place.
    UpTo(Place),
    /// Messages before this value, which very many messages share.
    UpToCrowd(i64),
}

impl InOrder<'_> {
    /// Adds the first matching messages to the listing, until there are enough or the time limit is reached;
    /// returns in that case the place up to which all messages were read.
    pub(crate) fn read(&self, listing: &mut Listing) -> rusqlite::Result<Option<Place>> {
        let mut first = self.after.map_or(i64::MIN, list_order);
        loop {
            match self.read_from(first, listing)? {
                Read::All => return Ok(None),
                Read::UpTo(place) => return Ok(Some(place)),
                Read::UpToCrowd(number) => {
                    let end = self.read_crowd(number, listing)?;
                    if end.is_some() {
                        return Ok(end);
                    }
                    first = number + 1;
                }
            }
        }
    }

    fn read_from(&self, first: i64, listing: &mut Listing) -> rusqlite::Result<Read> {
        let mut select = self.db.prepare_cached(self.select.by_number)?;
        let mut rows = select.query(params![self.key.0, self.key.1, first, self.until])?;
        let (mut number, mut equals, mut before) = (first, 0, listing.messages.len());
        let mut end = None;
        while let Some(row) = rows.next()? {
            let next = row.get(SHOWN_COLUMNS + 1)?;
            if next != number {
                if let Some(end) = end
                    && (self.has_enough(listing, next) || (self.is_late)())
                {
                    return Ok(Read::UpTo(end));
                }
                (number, equals, before) = (next, 0, listing.messages.len());
            }
            equals += 1;
            if equals > MAX_EQUAL_ROWS {
                listing.cut(before);
                return Ok(Read::UpToCrowd(number));
            }
            end = end.max(self.see(row, listing)?);
        }
        Ok(Read::All)
    }

    /// Adds a message if it is after the start place and matches. Returns its place if it is after the start
    /// place.
    fn see(&self, row: &Row<'_>, listing: &mut Listing) -> rusqlite::Result<Option<Place>> {
        let Some(shown_row) = record::shown(row)? else { return Ok(None) };
        let shown = shown_row.shown();
        let place = Place { accepted_at: shown.accepted_at, id: shown.id };
        if self.after.is_some_and(|after| place <= after) {
            return Ok(None);
        }
        if (self.is_wanted)(&shown, row)? {
            listing.add(&shown, self.write);
        }
        Ok(Some(place))
    }

    /// Whether there are enough messages before this value.
    fn has_enough(&self, listing: &Listing, number: i64) -> bool {
        let beside = self.beside.partition_point(|beside| *beside < number);
        listing.messages.len() + beside >= self.enough
    }

    /// Adds the messages of one value that very many messages share. Either all of them are read and sorted,
    /// or messages are read in the order of their ids until enough have this value: whichever takes fewer
    /// rows, up to a factor.
    fn read_crowd(&self, number: i64, listing: &mut Listing) -> rusqlite::Result<Option<Place>> {
        let mut rows = MAX_EQUAL_ROWS;
        loop {
            rows *= 2;
            let mut crowd = Listing::default();
            let by_id = self.read_by_id(number, rows, &mut crowd)?;
            let is_read = by_id.is_some() || {
                crowd = Listing::default();
                self.read_whole(number, rows, &mut crowd)?
            };
            if is_read {
                listing.append(&crowd);
                return Ok(by_id.flatten());
            }
        }
    }

    /// Reads at most `most` messages in the order of their ids, until enough of them have this value or the
    /// time limit is reached; returns in that case the place reached. None if there are more messages.
    #[expect(clippy::option_option, reason = "not finished, or finished and up to where")]
    fn read_by_id(
        &self,
        number: i64,
        most: usize,
        crowd: &mut Listing,
    ) -> rusqlite::Result<Option<Option<Place>>> {
        let first = match self.after {
            Some(after) if list_order(after) == number => after.id,
            _ => first_id(number),
        };
        let mut select = self.db.prepare_cached(self.select.by_id)?;
        let mut rows = select.query(params![self.key.0, self.key.1, first.as_bytes()])?;
        for _ in 0..most {
            let Some(row) = rows.next()? else { return Ok(Some(None)) };
            if row.get::<_, Option<i64>>(SHOWN_COLUMNS + 1)? == Some(number) {
                let end = self.see(row, crowd)?;
                if end.is_some() && (crowd.messages.len() >= self.enough || (self.is_late)()) {
                    return Ok(Some(end));
                }
            }
        }
        Ok(None)
    }

    /// Reads all messages of this value and keeps enough of them. Returns whether there are at most `most`.
    fn read_whole(&self, number: i64, most: usize, crowd: &mut Listing) -> rusqlite::Result<bool> {
        let mut select = self.db.prepare_cached(self.select.by_number)?;
        let mut rows = select.query(params![self.key.0, self.key.1, number, number])?;
        for _ in 0..most {
            let Some(row) = rows.next()? else { return Ok(true) };
            self.see(row, crowd)?;
            if crowd.messages.len() > 2 * self.enough {
                crowd.keep_first(self.enough);
            }
        }
        Ok(rows.next()?.is_none())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Timestamp;

    fn id() -> impl Strategy<Value = MessageId> {
        let anything = any::<u128>();
        let small = 0..5_000_u128;
        // Ids with a time within two seconds of the first second below.
        let timed = (-2_000..2_000_i64, any::<u128>()).prop_map(|(milliseconds, rest)| {
            let time = u128::from((1_770_907_680_000 + milliseconds).cast_unsigned());
            (time << 80) | (rest >> 48)
        });
        prop_oneof![anything, small, timed, Just(0), Just(u128::MAX)]
            .prop_map(|id| MessageId::from_bytes(id.to_be_bytes()))
    }

    fn place() -> impl Strategy<Value = Place> {
        let seconds = prop_oneof![
            Just(1_770_907_680_000_000),
            (0..3_i64).prop_map(|second| second * MICROS),
            Just(-62_167_219_200_000_000),
            Just(253_402_300_799_000_000)
        ];
        let rest = prop_oneof![Just(0), Just(1), Just(999_999), 0..MICROS];
        (seconds, rest, id()).prop_map(|(second, rest, id)| {
            let accepted_at = Timestamp::from_micros(second + rest).unwrap();
            Place { accepted_at, id }
        })
    }

    proptest! {
        #[test]
        fn numbers_are_in_the_order_of_lists(one in place(), other in place()) {
            let (first, second) = if one <= other { (one, other) } else { (other, one) };
            prop_assert!(list_order(first) <= list_order(second), "{first:?} {second:?}");
            if first.accepted_at != second.accepted_at {
                prop_assert!(list_order(first) < list_order(second), "{first:?} {second:?}");
            }
        }

        #[test]
        fn no_id_of_a_number_comes_before_its_first(place in place()) {
            let number = list_order(place);
            let first = first_id(number);
            prop_assert!(first <= place.id);
            if place.accepted_at.micros() % MICROS == 0 {
                prop_assert_eq!(list_order(Place { id: first, ..place }), number);
            }
        }
    }

    #[test]
    fn random_ids_of_one_second_have_numbers_of_their_own() {
        let accepted_at = Timestamp::from_micros(1_770_907_680_000_000).unwrap();
        for bits in [0, 1_770_907_680_500_u128 << 80] {
            // The ids differ only in their first bits, or in the bits after their time.
            let shift = if bits == 0 { 128 - 18 } else { 72 };
            let mut numbers: Vec<_> = (0..128_u128)
                .map(|number| MessageId::from_bytes((bits | (number << shift)).to_be_bytes()))
                .map(|id| list_order(Place { accepted_at, id }))
                .collect();
            numbers.dedup();
            assert_eq!(numbers.len(), 128);
        }
    }
}
