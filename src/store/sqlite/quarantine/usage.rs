//! Quarantine usage by source, and its limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::store::sqlite::Settings;
use crate::store::sqlite::rows::column::unsigned;

/// Size of a part of the quarantine.
#[derive(Clone, Copy, Default)]
struct Amount {
    entries: u64,
    bytes: u64,
}

/// Quarantine usage, in total and by source, with its limits.
#[derive(Clone)]
pub(crate) struct Usage {
    limits: Amount,
    total: Amount,
    by_source: Arc<BTreeMap<String, Amount>>,
    /// Number of entries in `quarantine_6`.
    unmoved: u64,
}

impl Usage {
    /// Reads the usage from the tables.
    pub(crate) fn read(db: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        let unmoved: i64 =
            db.query_row("SELECT count(*) FROM quarantine_6", [], |row| row.get(0))?;
        let mut select = db.prepare("SELECT source, entries, bytes FROM quarantine_usage")?;
        let amount = |row: &Row<'_>| {
            Ok((row.get(0)?, Amount { entries: unsigned(row, 1)?, bytes: unsigned(row, 2)? }))
        };
        let by_source: BTreeMap<String, Amount> =
            select.query_map([], amount)?.collect::<Result<_, _>>()?;
        let sum = |part: fn(&Amount) -> u64| by_source.values().map(part).sum();
        Ok(Self {
            limits: Amount {
                entries: settings.quarantine_max_rows,
                bytes: settings.quarantine_max_bytes,
            },
            total: Amount {
                entries: sum(|amount| amount.entries),
                bytes: sum(|amount| amount.bytes),
            },
            by_source: Arc::new(by_source),
            unmoved: u64::try_from(unmoved).unwrap_or(0),
        })
    }

    /// Number of entries, including those not moved yet.
    pub(crate) fn entries(&self) -> u64 {
        self.total.entries + self.unmoved
    }

    /// Size of the entries in bytes, without those not moved yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.total.bytes
    }

    /// Whether entries of an earlier version remain to be moved.
    pub(crate) fn has_unmoved(&self) -> bool {
        self.unmoved > 0
    }

    /// Whether another entry of this source with this many bytes fits. One source may use at most half of the
    /// limits.
    pub(crate) fn has_room(&self, source: &str, bytes: u64) -> bool {
        let own = self.by_source.get(source).copied().unwrap_or_default();
        self.entries() < self.limits.entries
            && own.entries < self.limits.entries.div_ceil(2)
            && self.total.bytes.saturating_add(bytes) <= self.limits.bytes
            && own.bytes.saturating_add(bytes) <= self.limits.bytes.div_ceil(2)
    }

    /// Counts a new entry of this source.
    pub(crate) fn add(
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

    /// Counts the removal of an entry of this source.
    pub(crate) fn subtract(
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

    /// Counts an entry as moved, or as removed before it was moved.
    pub(crate) fn count_moved(&mut self) {
        self.unmoved = self.unmoved.saturating_sub(1);
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
        self.total = change(self.total);
        let by_source = Arc::make_mut(&mut self.by_source);
        let own = change(by_source.get(source).copied().unwrap_or_default());
        by_source.insert(source.to_owned(), own);
        let number = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        db.prepare_cached(WRITE)?
            .execute(params![source, number(own.entries), number(own.bytes)])
            .map(drop)
    }
}
