//! Messages of the table in list order, from the integers that an index stores ([`list_order`]).
//!
//! Messages with the same integer are sorted. If there are very many of them, the index by id may be the
//! shorter way.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql};

use crate::message::Shown;
use crate::store::sqlite::index::merged_rows::RunStatements;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::rows::column::Bytes16;
use crate::store::sqlite::rows::list_order::{first_id, list_order};
use crate::store::sqlite::rows::record::{self, SHOWN_COLUMNS};
use crate::store::{Listing, Place, Write};

/// Maximum number of messages with one value that are read without also trying the index by id.
const MAX_EQUAL_ROWS: usize = 256;
/// Column of the message id.
const ID: usize = 0;
/// Column of the list-order value.
const VALUE: usize = SHOWN_COLUMNS + 1;

/// Queries that list messages. `?1` is a run of the index; `?2` and `?3` are the key.
pub(crate) struct Select {
    /// Runs to read for `by_value`, with the base last; only the base if the query reads no run.
    pub(crate) runs: Vec<i64>,
    /// Messages from value `?4` to value `?5`, in the order of their values.
    pub(crate) by_value: &'static str,
    /// All messages of a run from id `?4` on, in the order of their ids; the value is NULL for those that are
    /// not listed.
    pub(crate) by_id: &'static str,
}

/// Queries for the messages of a table that meet the condition. Both read the columns of
/// [`shown_columns`](record::shown_columns), `last` and the list-order value.
macro_rules! select {
    ($runs:expr, $from:literal WHERE $condition:literal ORDER BY $value:literal,
     of each $is_listed:literal) => {
        $crate::store::sqlite::read::in_order::Select {
            runs: $runs,
            by_value: concat!(
                "SELECT ",
                $crate::store::sqlite::rows::record::shown_columns!(),
                ", last, ",
                $value,
                " FROM ",
                $from,
                " WHERE ",
                $condition,
                " AND ",
                $value,
                " >= ?4 AND ",
                $value,
                " <= ?5 ORDER BY ",
                $value
            ),
            by_id: concat!(
                "SELECT ",
                $crate::store::sqlite::rows::record::shown_columns!(),
                ", last, CASE WHEN ",
                $is_listed,
                " THEN message.list_order END FROM message_index AS ids \
                 CROSS JOIN message ON message.n = ids.n \
                 WHERE ids.run = ?1 AND ids.kind = 0 AND ids.key >= ?4 ORDER BY ids.key"
            ),
        }
    };
}
pub(crate) use select;

/// Query of the table's messages in list order.
pub(crate) struct InOrder<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) runs: &'a Runs,
    pub(crate) select: Select,
    /// Parameters `?2` and `?3` of the queries.
    pub(crate) key: (Value, Option<&'a str>),
    /// Only messages after this place.
    pub(crate) after: Option<Place>,
    /// Only messages up to this value.
    pub(crate) until: i64,
    /// Number of messages after which reading stops.
    pub(crate) limit: usize,
    /// Sorted values of messages that are listed in addition, from the cache; they count towards `limit`.
    pub(crate) cached: &'a [i64],
    /// Whether a message matches. The row has the shown columns and then the message's last notification.
    pub(crate) is_match: &'a dyn Fn(&Shown<'_>, &Row<'_>) -> rusqlite::Result<bool>,
    /// Whether the time limit is reached.
    pub(crate) is_timed_out: &'a dyn Fn() -> bool,
    pub(crate) write: Write,
}

/// Extent of what was read.
enum Read {
    /// All messages.
    All,
    /// Messages up to this place.
    UpTo(Place),
    /// Messages before this value, which very many messages share.
    UpToEqualRows(i64),
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
                Read::UpToEqualRows(value) => {
                    let end = self.read_equal_rows(value, listing)?;
                    if end.is_some() {
                        return Ok(end);
                    }
                    first = value + 1;
                }
            }
        }
    }

    fn prepare(&self, sql: &str, runs: &[i64]) -> rusqlite::Result<RunStatements<'_>> {
        RunStatements::prepare(self.db, sql, runs)
    }

    fn parameters<'p>(&'p self, others: &[&'p dyn ToSql]) -> Vec<&'p dyn ToSql> {
        let key: [&dyn ToSql; 2] = [&self.key.0, &self.key.1];
        key.into_iter().chain(others.iter().copied()).collect()
    }

    fn read_from(&self, first: i64, listing: &mut Listing) -> rusqlite::Result<Read> {
        let mut select = self.prepare(self.select.by_value, &self.select.runs)?;
        let mut rows = select.query::<i64>(&self.parameters(&[&first, &self.until]), VALUE)?;
        let (mut value, mut equal_rows, mut before) = (first, 0, listing.messages.len());
        let mut end = None;
        while let Some(row) = rows.next()? {
            let next = row.get(VALUE)?;
            if next != value {
                if let Some(end) = end
                    && (self.has_enough(listing, next) || (self.is_timed_out)())
                {
                    return Ok(Read::UpTo(end));
                }
                (value, equal_rows, before) = (next, 0, listing.messages.len());
            }
            equal_rows += 1;
            if equal_rows > MAX_EQUAL_ROWS {
                listing.cut(before);
                return Ok(Read::UpToEqualRows(value));
            }
            end = end.max(self.add_if_matching(row, listing)?);
        }
        Ok(Read::All)
    }

    /// Adds a message if it is after the start place and matches. Returns its place if it is after the start
    /// place.
    fn add_if_matching(
        &self,
        row: &Row<'_>,
        listing: &mut Listing,
    ) -> rusqlite::Result<Option<Place>> {
        let Some(shown_row) = record::shown(row)? else { return Ok(None) };
        let shown = shown_row.shown();
        let place = Place { accepted_at: shown.accepted_at, id: shown.id };
        if self.after.is_some_and(|after| place <= after) {
            return Ok(None);
        }
        if (self.is_match)(&shown, row)? {
            listing.add(&shown, self.write);
        }
        Ok(Some(place))
    }

    /// Whether there are enough messages before this value.
    fn has_enough(&self, listing: &Listing, value: i64) -> bool {
        let cached = self.cached.partition_point(|cached| *cached < value);
        listing.messages.len() + cached >= self.limit
    }

    /// Adds the messages of one value that very many messages share. Either all of them are read and sorted,
    /// or messages are read in the order of their ids until enough have this value: whichever takes fewer
    /// rows, up to a factor.
    fn read_equal_rows(
        &self,
        value: i64,
        listing: &mut Listing,
    ) -> rusqlite::Result<Option<Place>> {
        let mut rows = MAX_EQUAL_ROWS;
        loop {
            rows *= 2;
            let mut equal_rows = Listing::default();
            let by_id = self.read_by_id(value, rows, &mut equal_rows)?;
            let is_read = by_id.is_some() || {
                equal_rows = Listing::default();
                self.read_by_value(value, rows, &mut equal_rows)?
            };
            if is_read {
                listing.append(&equal_rows);
                return Ok(by_id.flatten());
            }
        }
    }

    /// Reads at most `max_rows` messages in the order of their ids, until enough of them have this value or
    /// the time limit is reached; returns in that case the place reached. None if there are more messages.
    #[expect(clippy::option_option, reason = "not finished, or finished and up to where")]
    fn read_by_id(
        &self,
        value: i64,
        max_rows: usize,
        equal_rows: &mut Listing,
    ) -> rusqlite::Result<Option<Option<Place>>> {
        let first = match self.after {
            Some(after) if list_order(after) == value => after.id,
            _ => first_id(value),
        };
        let mut select = self.prepare(self.select.by_id, &self.runs.all())?;
        let mut rows = select.query::<Bytes16>(&self.parameters(&[first.as_bytes()]), ID)?;
        for _ in 0..max_rows {
            let Some(row) = rows.next()? else { return Ok(Some(None)) };
            if row.get::<_, Option<i64>>(VALUE)? == Some(value) {
                let end = self.add_if_matching(row, equal_rows)?;
                if end.is_some()
                    && (equal_rows.messages.len() >= self.limit || (self.is_timed_out)())
                {
                    return Ok(Some(end));
                }
            }
        }
        Ok(None)
    }

    /// Reads all messages of this value and keeps enough of them. Returns whether there are at most
    /// `max_rows`.
    fn read_by_value(
        &self,
        value: i64,
        max_rows: usize,
        equal_rows: &mut Listing,
    ) -> rusqlite::Result<bool> {
        let mut select = self.prepare(self.select.by_value, &self.select.runs)?;
        let mut rows = select.query::<i64>(&self.parameters(&[&value, &value]), VALUE)?;
        for _ in 0..max_rows {
            let Some(row) = rows.next()? else { return Ok(true) };
            self.add_if_matching(row, equal_rows)?;
            if equal_rows.messages.len() > 2 * self.limit {
                equal_rows.keep_first(self.limit);
            }
        }
        Ok(rows.next()?.is_none())
    }
}
