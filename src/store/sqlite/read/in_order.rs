//! Messages of the table in list order, from the integers that an index stores ([`list_order`]).
//!
//! Messages with the same integer are sorted. If there are very many of them, the index by id may be the
//! shorter way.

use std::ops::ControlFlow;
use std::rc::Rc;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql};

use crate::message::Shown;
use crate::store::sqlite::index::entry::{IndexEntry, IndexKey};
use crate::store::sqlite::index::merged_entries::MergedEntries;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::rows::list_order::{first_id, list_order};
use crate::store::sqlite::rows::record::{self, SHOWN_COLUMNS};
use crate::store::{Listing, Place, Write};

/// Maximum number of messages with one value that are read without also trying the index by id.
const MAX_EQUAL_ROWS: usize = 256;
/// Maximum number of entries of the index whose rows are read together.
const MAX_CHUNK_ENTRIES: usize = 256;
/// Column of the list-order value.
const VALUE: usize = SHOWN_COLUMNS + 1;

/// Queries that list messages. `?1` and `?2` are the key.
pub(crate) struct Select {
    /// Messages in the order of their values.
    pub(crate) by_value: ByValue,
    /// Those of the messages in the rows `?3` that are listed.
    pub(crate) by_rows: &'static str,
}

/// Way to find the listed messages in the order of their values.
pub(crate) enum ByValue {
    /// Entries of this key in the index.
    Index(IndexKey),
    /// Query for the messages from value `?3` to value `?4`.
    Query(&'static str),
}

/// Query for the columns of [`shown_columns`](record::shown_columns), `last` and the list-order value.
macro_rules! select_listed {
    ($($rest:tt)+) => {
        concat!(
            "SELECT ",
            $crate::store::sqlite::rows::record::shown_columns!(),
            ", last, message.list_order FROM ",
            $($rest)+
        )
    };
}
pub(crate) use select_listed;

/// Query of the table's messages in list order.
pub(crate) struct InOrder<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) runs: &'a Runs,
    pub(crate) select: Select,
    /// Parameters `?1` and `?2` of the queries.
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

    /// Visits the listed messages with values from `first` to `last`, in the order of their values, until a visit
    /// returns a result. Otherwise returns whether there are at most `most` of them; later ones are not visited.
    fn visit<R>(
        &self,
        (first, last): (i64, i64),
        most: usize,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<R>>,
    ) -> rusqlite::Result<ControlFlow<R, bool>> {
        match self.select.by_value {
            ByValue::Index(key) => {
                let runs = self.runs.having(key);
                let range =
                    [(first, 0), (last, i64::MAX)].map(|(value, n)| IndexEntry::new(key, value, n));
                self.visit_entries(&runs, range, most, visit)
            }
            ByValue::Query(query) => {
                let mut select = self.db.prepare_cached(query)?;
                let mut rows = select.query(&self.parameters(&[&first, &last])[..])?;
                let mut left = most;
                while let Some(row) = rows.next()? {
                    if left == 0 {
                        return Ok(ControlFlow::Continue(false));
                    }
                    left -= 1;
                    if let ControlFlow::Break(result) = visit(row)? {
                        return Ok(ControlFlow::Break(result));
                    }
                }
                Ok(ControlFlow::Continue(true))
            }
        }
    }

    /// Visits the listed messages among those of the entries in a range, until a visit returns a result. Otherwise
    /// returns whether there are at most `most` entries; the messages of later ones are not visited.
    fn visit_entries<R>(
        &self,
        runs: &[i64],
        [first, last]: [IndexEntry; 2],
        most: usize,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<R>>,
    ) -> rusqlite::Result<ControlFlow<R, bool>> {
        let mut entries = MergedEntries::new(self.db, runs, first, last)?;
        let mut select = self.db.prepare_cached(self.select.by_rows)?;
        let (mut left, mut count) = (most, self.limit.clamp(1, MAX_CHUNK_ENTRIES));
        loop {
            let mut chunk = Vec::with_capacity(count);
            while chunk.len() < count.min(left)
                && let Some(entry) = entries.next()?
            {
                chunk.push(Value::Integer(entry.n()));
            }
            if chunk.is_empty() {
                return Ok(ControlFlow::Continue(entries.next()?.is_none()));
            }
            left -= chunk.len();
            let mut rows = select.query(&self.parameters(&[&Rc::new(chunk)])[..])?;
            while let Some(row) = rows.next()? {
                if let ControlFlow::Break(result) = visit(row)? {
                    return Ok(ControlFlow::Break(result));
                }
            }
            count = (2 * count).min(MAX_CHUNK_ENTRIES);
        }
    }

    fn parameters<'p>(&'p self, others: &[&'p dyn ToSql]) -> Vec<&'p dyn ToSql> {
        let key: [&dyn ToSql; 2] = [&self.key.0, &self.key.1];
        key.into_iter().chain(others.iter().copied()).collect()
    }

    fn read_from(&self, first: i64, listing: &mut Listing) -> rusqlite::Result<Read> {
        let (mut value, mut equal_rows, mut before) = (first, 0, listing.messages.len());
        let mut end = None;
        let read = self.visit((first, self.until), usize::MAX, |row| {
            let next = row.get(VALUE)?;
            if next != value {
                if let Some(end) = end
                    && (self.has_enough(listing, next) || (self.is_timed_out)())
                {
                    return Ok(ControlFlow::Break(Read::UpTo(end)));
                }
                (value, equal_rows, before) = (next, 0, listing.messages.len());
            }
            equal_rows += 1;
            if equal_rows > MAX_EQUAL_ROWS {
                listing.cut(before);
                return Ok(ControlFlow::Break(Read::UpToEqualRows(value)));
            }
            end = end.max(self.add_if_matching(row, listing)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(read.break_value().unwrap_or(Read::All))
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
        let range = [IndexKey::from(first), IndexKey::Id([u8::MAX; 16])];
        let [first, last] = range.map(|id| IndexEntry::new(id, 0, 0));
        let read = self.visit_entries(&self.runs.all(), [first, last], max_rows, |row| {
            if row.get::<_, Option<i64>>(VALUE)? == Some(value) {
                let end = self.add_if_matching(row, equal_rows)?;
                if end.is_some()
                    && (equal_rows.messages.len() >= self.limit || (self.is_timed_out)())
                {
                    return Ok(ControlFlow::Break(end));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(match read {
            ControlFlow::Break(end) => Some(end),
            ControlFlow::Continue(true) => Some(None),
            ControlFlow::Continue(false) => None,
        })
    }

    /// Reads all messages of this value and keeps enough of them. Returns whether there are at most
    /// `max_rows`.
    fn read_by_value(
        &self,
        value: i64,
        max_rows: usize,
        equal_rows: &mut Listing,
    ) -> rusqlite::Result<bool> {
        let read = self.visit((value, value), max_rows, |row| {
            self.add_if_matching(row, equal_rows)?;
            if equal_rows.messages.len() > 2 * self.limit {
                equal_rows.keep_first(self.limit);
            }
            Ok(ControlFlow::<(), ()>::Continue(()))
        })?;
        Ok(matches!(read, ControlFlow::Continue(true)))
    }
}
