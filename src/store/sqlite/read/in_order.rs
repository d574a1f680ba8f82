//! Messages of the table in list order, from the integers that an index stores ([`list_order`]).
//!
//! Messages with the same integer are sorted. If there are very many of them, the index by id may be the
//! shorter way.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use crate::message::Shown;
use crate::store::sqlite::rows::list_order::{first_id, list_order};
use crate::store::sqlite::rows::record::{self, SHOWN_COLUMNS};
use crate::store::{Listing, Place, Write};

/// Maximum number of messages with one value that are read without also trying the index by id.
const MAX_EQUAL_ROWS: usize = 256;

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
        $crate::store::sqlite::read::in_order::Select {
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
    pub(crate) cached: &'a [i64],
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
        let cached = self.cached.partition_point(|cached| *cached < number);
        listing.messages.len() + cached >= self.enough
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
