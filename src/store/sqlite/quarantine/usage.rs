//! How much each source has in quarantine, and whether there is room for more.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::super::open::Settings;
use super::unsigned;

/// What is in quarantine.
#[derive(Clone, Copy, Default)]
struct Amount {
    entries: u64,
    bytes: u64,
}

/// What is in quarantine, source by source, and how much may be.
#[derive(Clone)]
pub(in super::super) struct Usage {
    most: Amount,
    all: Amount,
    by_source: Arc<BTreeMap<String, Amount>>,
    /// Entries in `quarantine_6`.
    to_be_moved: u64,
}

impl Usage {
    /// Asks the tables.
    pub(in super::super) fn read(db: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        let to_be_moved: i64 =
            db.query_row("SELECT count(*) FROM quarantine_6", [], |row| row.get(0))?;
        let mut select = db.prepare("SELECT source, entries, bytes FROM quarantine_usage")?;
        let amount = |row: &Row<'_>| {
            Ok((row.get(0)?, Amount { entries: unsigned(row, 1)?, bytes: unsigned(row, 2)? }))
        };
        let by_source: BTreeMap<String, Amount> =
            select.query_map([], amount)?.collect::<Result<_, _>>()?;
        let sum = |part: fn(&Amount) -> u64| by_source.values().map(part).sum();
        Ok(Self {
            most: Amount {
                entries: settings.quarantine_max_rows,
                bytes: settings.quarantine_max_bytes,
            },
            all: Amount {
                entries: sum(|amount| amount.entries),
                bytes: sum(|amount| amount.bytes),
            },
            by_source: Arc::new(by_source),
            to_be_moved: u64::try_from(to_be_moved).unwrap_or(0),
        })
    }

    /// How many entries there are.
    pub(in super::super) fn entries(&self) -> u64 {
        self.all.entries + self.to_be_moved
    }

    /// How many bytes they take, without those that have to be moved.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.all.bytes
    }

    /// Whether there are entries of an earlier version.
    pub(in super::super) fn is_to_be_moved(&self) -> bool {
        self.to_be_moved > 0
    }

    /// Whether another entry of this source fits, which needs so many bytes. One source may use at most
    /// half of what there is.
    pub(super) fn has_room(&self, source: &str, bytes: u64) -> bool {
        let own = self.by_source.get(source).copied().unwrap_or_default();
        self.entries() < self.most.entries
            && own.entries < self.most.entries.div_ceil(2)
            && self.all.bytes.saturating_add(bytes) <= self.most.bytes
            && own.bytes.saturating_add(bytes) <= self.most.bytes.div_ceil(2)
    }

    /// Counts an entry of this source that was added.
    pub(super) fn add(
        &mut self,
        db: &Connection,
        source: &str,
        bytes: u64,
    ) -> rusqlite::Result<()> {
        self.change(db, source, |amount| Amount {
            entries: amount.entries + 1,
            bytes: amount.bytes + bytes,
        })
    }

    /// Counts an entry of this source that was removed.
    pub(super) fn subtract(
        &mut self,
        db: &Connection,
        source: &str,
        bytes: u64,
    ) -> rusqlite::Result<()> {
        self.change(db, source, |amount| Amount {
            entries: amount.entries.saturating_sub(1),
            bytes: amount.bytes.saturating_sub(bytes),
        })
    }

    /// Counts an entry that was moved, or removed before it was.
    pub(super) fn is_moved(&mut self) {
        self.to_be_moved = self.to_be_moved.saturating_sub(1);
    }

    fn change(
        &mut self,
        db: &Connection,
        source: &str,
        change: impl Fn(Amount) -> Amount,
    ) -> rusqlite::Result<()> {
        const WRITE: &str = "INSERT INTO quarantine_usage (source, entries, bytes) \
             VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE SET entries = excluded.entries, \
             bytes = excluded.bytes";
        self.all = change(self.all);
        let by_source = Arc::make_mut(&mut self.by_source);
        let own = change(by_source.get(source).copied().unwrap_or_default());
        by_source.insert(source.to_owned(), own);
        let number = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        db.prepare_cached(WRITE)?
            .execute(params![source, number(own.entries), number(own.bytes)])
            .map(drop)
    }
}
