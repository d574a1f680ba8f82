//! Filter of the ids of all messages in the index.
//!
//! Most ids that the writer looks for are new. To find that the index lacks an id takes a look at the filter of each
//! run, and a search of the base, which costs the more the larger the file is. This filter takes one access to
//! memory.
//!
//! The filter is not stored. A thread fills it after a start, and again once it has twice as many ids. Until then the
//! writer searches the index.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::blocks::Block;
use super::entry::{IndexEntry, IndexKey};
use super::filter::{Filter, KeyBits};
use super::runs::Runs;

/// Number of ids for which the filter of a small file has room.
const MIN_IDS: usize = 65_536;
/// Maximum number of ids for which a filter has room: 8 MiB, and as much again while one replaces another. With more
/// ids in it, more of the others pass.
const MAX_IDS: usize = 5_500_000;
/// Bits set for each id. With three, one id in 90 passes that the index lacks; with 10 million ids in the largest
/// filter, one in 20, and with 30 million, four in ten.
const PROBES: u32 = 3;
/// Number of blocks that are read before a pause, so that filling leaves the processor to the webhooks.
const BLOCKS_PER_PAUSE: usize = 32;
/// Pause while a filter is filled.
const PAUSE: Duration = Duration::from_millis(1);

/// Filter of all ids in the index. Without its thread it knows nothing, so every id may be in the index.
#[derive(Default)]
pub(crate) struct IdFilter {
    filter: Option<Filter>,
    /// Number of ids that may be added before the filter is filled again.
    room: usize,
    /// Hashes of the ids that were added since filling began; none while no filter is being filled.
    added: Option<Vec<u64>>,
    thread: Option<Thread>,
}

/// Thread that fills filters.
pub(crate) struct Thread {
    /// Asks for a filter.
    pub(crate) requests: SyncSender<()>,
    /// Filters that are filled; none if one could not be filled.
    pub(crate) filled: Receiver<Option<Filled>>,
}

/// Filter with all ids of the index.
pub(crate) struct Filled {
    filter: Filter,
    ids: usize,
}

impl IdFilter {
    /// Starts with a thread, which is asked for a first filter at the next call of [`advance`](Self::advance).
    pub(crate) fn new(thread: Thread) -> Self {
        Self { thread: Some(thread), ..Self::default() }
    }

    /// Whether the index may have the id with this hash.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(&KeyBits::of(hash, PROBES)))
    }

    /// Adds the id with this hash. To be called in the transaction in which the index gets the id.
    pub(crate) fn add(&mut self, hash: u64) {
        if let Some(filter) = &mut self.filter {
            filter.add(&KeyBits::of(hash, PROBES));
        }
        if let Some(added) = &mut self.added {
            added.push(hash);
        }
        self.room = self.room.saturating_sub(1);
    }

    /// Takes a filter that is filled, or asks for one if it is time. To be called after a commit: a filter that is
    /// filled from then on has all ids that were added before.
    pub(crate) fn advance(&mut self) {
        let Some(thread) = &self.thread else { return };
        let Some(added) = &self.added else {
            if self.room == 0 && thread.requests.try_send(()).is_ok() {
                self.added = Some(Vec::new());
            }
            return;
        };
        match thread.filled.try_recv() {
            Ok(Some(Filled { mut filter, ids })) => {
                for hash in added {
                    filter.add(&KeyBits::of(*hash, PROBES));
                }
                *self = Self {
                    filter: Some(filter),
                    room: ids.max(MIN_IDS),
                    added: None,
                    thread: self.thread.take(),
                };
            }
            Ok(None) => (self.added, self.room) = (None, MIN_IDS),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => *self = Self::default(),
        }
    }
}

/// Fills a filter at each request, until the requests end.
pub(crate) fn fill_all(
    db: &Connection,
    requests: &Receiver<()>,
    filled: &SyncSender<Option<Filled>>,
    may_continue: impl Fn() -> bool,
) {
    while requests.recv().is_ok() {
        // The pages that it read are not needed again.
        let filled_once = fill(db, &may_continue)
            .and_then(|filter| db.execute_batch("PRAGMA shrink_memory").map(|()| filter));
        let filter = filled_once.unwrap_or_else(|error| {
            tracing::warn!(%error, "the filter of message ids was not filled; new messages cost more");
            None
        });
        if filled.send(filter).is_err() {
            return;
        }
    }
}

/// Filter of all ids in the index, with room for twice as many; none if it may not continue. The base is read last:
/// entries move there, so each is met although every block is read by itself.
fn fill(db: &Connection, may_continue: &impl Fn() -> bool) -> rusqlite::Result<Option<Filled>> {
    const COUNT_AT_MOST: &str = "SELECT coalesce((SELECT max(n) FROM message) - \
         (SELECT min(n) FROM message) + 1, 0)";
    let messages: i64 = db.query_row(COUNT_AT_MOST, [], |row| row.get(0))?;
    let messages = usize::try_from(messages).unwrap_or(0);
    let room = messages.max(MIN_IDS).saturating_add(messages).min(MAX_IDS);
    let (mut filter, mut ids) = (Filter::for_keys(room), 0);
    let (runs, mut blocks) = (Runs::read(db)?, 0);
    for run in runs.all() {
        let mut next = Block::of(db, run, &IndexEntry::MIN)?;
        while let Some(block) = next.take() {
            if !may_continue() {
                return Ok(None);
            }
            for entry in &block.entries {
                if let Some(key @ IndexKey::Id(_)) = entry.key() {
                    filter.add(&KeyBits::of(runs.hash(key), PROBES));
                    ids += 1;
                }
            }
            // Entries by id come first.
            let is_id = |entry: &IndexEntry| matches!(entry.key(), Some(IndexKey::Id(_)));
            if block.entries.last().is_none_or(is_id) {
                next = block.next(db)?;
            }
            blocks += 1;
            if blocks % BLOCKS_PER_PAUSE == 0 {
                thread::sleep(PAUSE);
            }
        }
    }
    tracing::debug!(ids, "filled the filter of message ids");
    Ok(Some(Filled { filter, ids }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const MIN: u64 = 65_536;

    /// Filter with the other ends of its channels.
    fn with_thread() -> (IdFilter, Receiver<()>, SyncSender<Option<Filled>>) {
        let (requests, requested) = sync_channel(1);
        let (sender, filled) = sync_channel(1);
        (IdFilter::new(Thread { requests, filled }), requested, sender)
    }

    /// Hash number `number`.
    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn filled(hashes: &[u64]) -> Filled {
        let mut filter = Filter::for_keys(MIN_IDS);
        for hash in hashes {
            filter.add(&KeyBits::of(*hash, PROBES));
        }
        Filled { filter, ids: hashes.len() }
    }

    #[test]
    fn an_id_added_while_the_filter_is_filled_is_contained() {
        let (mut ids, requested, sender) = with_thread();
        ids.advance();
        requested.try_recv().unwrap();
        ids.add(hash(1));
        assert!(ids.may_contain(hash(3)), "not filled yet");
        sender.send(Some(filled(&[hash(2)]))).unwrap();
        ids.advance();
        ids.add(hash(4));
        assert_eq!(
            [1, 2, 3, 4].map(|number| ids.may_contain(hash(number))),
            [true, true, false, true]
        );
    }

    #[test]
    fn a_filter_with_twice_as_many_ids_is_filled_again() {
        let (mut ids, requested, sender) = with_thread();
        ids.advance();
        requested.try_recv().unwrap();
        let many = (0..=MIN).map(hash).collect::<Vec<_>>();
        sender.send(Some(filled(&many))).unwrap();
        ids.advance();
        for number in 1..=MIN {
            ids.add(hash(number + 1_000_000));
        }
        ids.advance();
        requested.try_recv().unwrap_err();
        ids.add(hash(0));
        ids.advance();
        requested.try_recv().unwrap();
        sender.send(None).unwrap();
        ids.advance();
        let passed = (2_000_000..2_000_100).filter(|number| ids.may_contain(hash(*number)));
        assert!(ids.may_contain(hash(1_000_001)) && passed.count() < 50, "the filter stays");
    }
}
