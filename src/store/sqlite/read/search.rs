//! Search over all messages, newest acceptance first, with a filter. It runs on a read thread.
//!
//! Only the acceptance time has an index over all messages, because each index costs an entry for every message.
//! So a search reads on from a place until it has enough messages or has reached its time limit, and
//! returns the place where the next part begins.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::in_order::{ByValue, InOrder, Select, select_listed};
use super::snapshot::Snapshot;
use crate::message::{MessageId, Record};
use crate::store::sqlite::cache::entry::Entry;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::rows::list_order::list_order;
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::SHOWN_COLUMNS;
use crate::store::{Found, Listing, Place, SearchFilter, Write};

/// Cached messages examined under one lock, for which the writer may have to wait.
const CHUNK_RECORDS: usize = 1_024;

/// A search, with the place where this part begins.
pub(crate) struct Search<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) cache: &'a Cache,
    pub(crate) filter: &'a SearchFilter,
    /// Only messages after this place.
    pub(crate) after: Option<Place>,
    /// Maximum number of messages.
    pub(crate) count: usize,
    /// Time limit for the cached messages, and again for the table.
    pub(crate) time_limit: Duration,
    pub(crate) write: Write,
}

/// Scan of all cached messages, piece by piece, so that the writer does not wait for the whole scan.
struct CacheScan<'a> {
    cache: &'a Cache,
    first: usize,
    /// Ids of all cached messages seen.
    seen: HashSet<MessageId>,
}

impl<'a> CacheScan<'a> {
    fn new(cache: &'a Cache) -> Self {
        Self { cache, first: 0, seen: HashSet::new() }
    }

    /// Examines the next piece. Returns whether there was one. A message that was written back and changed
    /// between two pieces has another slot now, and is not examined again.
    fn next_chunk(&mut self, mut visit: impl FnMut(MessageId, &Arc<Entry>)) -> bool {
        let cache = self.cache.read();
        let Some(entries) = cache.slots(self.first, CHUNK_RECORDS) else { return false };
        for (id, entry) in entries {
            if self.seen.insert(id) {
                visit(id, entry);
            }
        }
        self.first += CHUNK_RECORDS;
        true
    }
}

/// Matching cached messages, each with its last notification; and the ids of all cached messages, for which
/// the table may be out of date.
type CachedMatches = (Vec<(Place, Arc<Record>, i64)>, HashSet<MessageId>);

impl Search<'_> {
    /// Reads a part, and one message more to see whether the search continues.
    pub(crate) fn read_part(&self) -> rusqlite::Result<Found> {
        let (cached, cached_ids) = self.cached_matches();
        // One transaction, so that the chain of each notification can be read to its end.
        let snapshot = Snapshot::begin(self.db)?;
        let mut found = Found::default();
        let listing = &mut found.listing;
        let end = self.add_stored(listing, &cached_ids)?;
        let end = self.add_cached(listing, cached, end)?.or(end);
        drop(snapshot);
        // Messages after the end belong to a later part.
        let in_part = |place: Place| end.is_none_or(|end| place <= end);
        let until_end = listing.messages.iter().filter(|message| in_part(message.place)).count();
        listing.keep_first(until_end.min(self.count));
        found.next = if until_end > self.count {
            listing.messages.last().map(|last| last.place)
        } else {
            end
        };
        found.without_destination = self.cache.without_destination();
        Ok(found)
    }

    /// Place after which this part begins.
    fn start(&self) -> Option<Place> {
        self.after.max(self.filter.to.map(Place::after_all_accepted_at))
    }

    fn cached_matches(&self) -> CachedMatches {
        let start = self.start();
        let mut found = Vec::new();
        let mut scan = CacheScan::new(self.cache);
        while scan.next_chunk(|id, entry| {
            let Entry { record: Some(record), last, .. } = &**entry else { return };
            let place = Place { accepted_at: record.accepted_at(), id };
            if start.is_none_or(|start| place > start) && self.filter.passes(&record.shown(id)) {
                found.push((place, Arc::clone(record), *last));
            }
        }) {}
        (found, scan.seen)
    }

    /// Adds the matching cached messages, newest first and not after the end, until there are enough or the
    /// time limit is reached; returns in that case the last place examined.
    fn add_cached(
        &self,
        listing: &mut Listing,
        mut cached: Vec<(Place, Arc<Record>, i64)>,
        end: Option<Place>,
    ) -> rusqlite::Result<Option<Place>> {
        let since = Instant::now();
        cached.retain(|(place, ..)| end.is_none_or(|end| *place <= end));
        cached.sort_unstable_by_key(|(place, ..)| *place);
        let mut added = 0;
        for (place, record, last) in cached {
            if self.has_source(last)? {
                listing.add(&record.shown(place.id), self.write);
                added += 1;
            }
            if added > self.count || since.elapsed() > self.time_limit {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Adds the matching messages of the table, until there are enough or the time limit is reached; returns
    /// in that case the place up to which everything was read.
    fn add_stored(
        &self,
        listing: &mut Listing,
        cached_ids: &HashSet<MessageId>,
    ) -> rusqlite::Result<Option<Place>> {
        let since = Instant::now();
        let runs = self.cache.runs.current();
        InOrder {
            db: self.db,
            runs: &runs,
            select: Select {
                by_value: ByValue::Query(select_listed!(
                    "message INDEXED BY message_by_acceptance WHERE ?1 IS NULL AND ?2 IS NULL \
                     AND list_order >= ?3 AND list_order <= ?4 ORDER BY list_order"
                )),
                by_rows: select_listed!("rarray(?3) AS entry CROSS JOIN message ON n = entry.value WHERE ?1 IS NULL AND ?2 IS NULL"),
            },
            key: (Value::Null, None),
            after: self.start(),
            until: self
                .filter
                .from
                .map_or(i64::MAX, |from| list_order(Place::after_all_accepted_at(from))),
            limit: self.count + 1,
            cached: &[],
            is_match: &|shown, row| {
                Ok(!cached_ids.contains(&shown.id)
                    && self.filter.passes(shown)
                    && self.has_source(row.get(SHOWN_COLUMNS)?)?)
            },
            is_timed_out: &|| since.elapsed() > self.time_limit,
            write: self.write,
        }
        .read(listing)
    }

    /// Whether the requested source has a notification in the chain that ends with this one.
    fn has_source(&self, last: i64) -> rusqlite::Result<bool> {
        let Some(source) = &self.filter.source else { return Ok(true) };
        let mut has_source = false;
        // A cached message may have been removed since.
        visit_backwards(self.db, last, "previous, source", |row| {
            has_source |= row.get_ref(1)?.as_str()? == source;
            Ok(())
        })
        .optional()?;
        Ok(has_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_budget::MemoryBudget;
    use crate::store::sqlite::cache::records::Changes;

    fn id(number: usize) -> MessageId {
        let mut bytes = [0; 16];
        bytes.split_at_mut(8).0.copy_from_slice(&number.to_be_bytes());
        MessageId::from_bytes(bytes)
    }

    #[test]
    fn a_message_cached_again_during_a_scan_is_seen_once() {
        let cache = Cache::new(&MemoryBudget::default());
        let publish = |changed: &[(usize, bool)]| {
            let mut changes = Changes::default();
            for (number, stays) in changed {
                let last = i64::try_from(*number).unwrap();
                if *stays {
                    changes.put(id(*number), Entry::new(None, None, Some(last), last));
                } else {
                    changes.remove(id(*number));
                }
            }
            cache.publish(&changes, 0);
        };
        for number in 0..=CHUNK_RECORDS {
            publish(&[(number, true)]);
        }
        let mut scan = CacheScan::new(&cache);
        let mut seen = Vec::new();
        assert!(scan.next_chunk(|id, _| seen.push(id)));
        // The message is written back, its slot reused by another one, and then it is changed.
        publish(&[(0, false)]);
        publish(&[(CHUNK_RECORDS + 1, true)]);
        publish(&[(0, true)]);
        assert!(scan.next_chunk(|id, _| seen.push(id)));
        assert!(!scan.next_chunk(|_, _| ()));
        assert_eq!(seen.iter().filter(|seen| **seen == id(0)).count(), 1);
        assert_eq!(seen.len(), scan.seen.len());
    }
}
