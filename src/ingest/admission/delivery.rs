//! Admission of a delivery: slot, memory and entries that a delivery holds until its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

use crate::ingest::Rejection;
use crate::memory_budget::Reservation;

/// Maximum number of entries, beside the first of each delivery, that may wait for their commit: a writer on
/// a slow disk commits them in a quarter of a second.
const MAX_ENTRIES: usize = 8_192;
/// Bytes of body from which at least one entry is expected.
const BODY_BYTES_PER_ENTRY: usize = 1 << 10;
/// Memory of an entry beside its texts, in bytes.
const ENTRY_BYTES: usize = 512;

/// Entries that wait for their commit, beside the first of each delivery. The slots bound the first ones.
#[derive(Clone, Default)]
pub(crate) struct Entries(Arc<AtomicUsize>);

impl Entries {
    /// Whether a body of this length is worth verifying and reading: a delivery that cannot be queued is best
    /// rejected before it costs anything.
    pub(crate) fn have_room(&self, body_bytes: usize) -> bool {
        let waiting = self.0.load(Ordering::Relaxed);
        waiting == 0 || waiting + body_bytes / BODY_BYTES_PER_ENTRY <= MAX_ENTRIES
    }

    /// Reserves room for this many entries. May exceed the maximum if no other entries wait.
    fn take(&self, entries: usize) -> Result<EntryRoom, Rejection> {
        let before = self.0.fetch_add(entries, Ordering::Relaxed);
        let room = EntryRoom { entries, total: self.clone() };
        if before > 0 && before + entries > MAX_ENTRIES {
            return Err(Rejection::Overloaded);
        }
        Ok(room)
    }
}

/// Reserved room for entries; released when dropped.
struct EntryRoom {
    entries: usize,
    total: Entries,
}

impl Drop for EntryRoom {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.entries, Ordering::Relaxed);
    }
}

/// Resources that a delivery holds; released when dropped.
pub(crate) struct Admission {
    _slot: OwnedSemaphorePermit,
    bytes: Reservation,
    entries: Option<EntryRoom>,
}

impl Admission {
    /// Starts with a slot and the bytes of the body.
    pub(crate) fn new(slot: OwnedSemaphorePermit, bytes: Reservation) -> Self {
        Self { _slot: slot, bytes, entries: None }
    }

    /// Charges the entries that were read, or fails without a charge. The first entry is covered by the slot
    /// and the body's bytes.
    pub(crate) fn charge(&mut self, total: &Entries, entries: usize) -> Result<(), Rejection> {
        let Some(more @ 1..) = entries.checked_sub(1) else { return Ok(()) };
        let room = total.take(more)?;
        // The texts of the entries are parts of the body.
        self.bytes.grow_or_alone(self.bytes.bytes() + entries.saturating_mul(ENTRY_BYTES))?;
        self.entries = Some(room);
        Ok(())
    }
}
