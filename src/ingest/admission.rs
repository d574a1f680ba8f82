//! What a delivery takes of what there is, from its admission to its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::Refusal;
use crate::budget::Reservation;

/// Entries beside the first of each delivery that may wait for their commit: a writer on a slow disk commits
/// them in a quarter of a second.
const MAX_ENTRIES: usize = 8_192;
/// Bytes of a body for each of the entries that it is expected to have at least.
const BODY_BYTES_EACH: usize = 1 << 10;
/// Bytes that an entry takes in memory beside its texts.
const ENTRY_BYTES: usize = 512;

/// Entries that wait for their commit, beside the first of each delivery. The slots bound those.
#[derive(Clone, Default)]
pub(super) struct Entries(Arc<AtomicUsize>);

impl Entries {
    /// Whether a body of this length is worth being verified and read: a delivery that cannot be queued
    /// is best rejected before it costs anything.
    pub(super) fn have_room(&self, body_bytes: usize) -> bool {
        let waiting = self.0.load(Ordering::Relaxed);
        waiting == 0 || waiting + body_bytes / BODY_BYTES_EACH <= MAX_ENTRIES
    }

    /// Takes room for so many; more than may wait if no other entries wait.
    fn take(&self, entries: usize) -> Result<Taken, Refusal> {
        let before = self.0.fetch_add(entries, Ordering::Relaxed);
        let taken = Taken { entries, of: self.clone() };
        if before > 0 && before + entries > MAX_ENTRIES {
            return Err(Refusal::Overloaded);
        }
        Ok(taken)
    }
}

/// Room for entries; given back when dropped.
struct Taken {
    entries: usize,
    of: Entries,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.entries, Ordering::Relaxed);
    }
}

/// What a delivery takes; given back when dropped.
pub(super) struct Admission {
    _slot: OwnedSemaphorePermit,
    bytes: Reservation,
    entries: Option<Taken>,
}

impl Admission {
    /// A slot, and the bytes of the body.
    pub(super) fn new(slot: OwnedSemaphorePermit, bytes: Reservation) -> Self {
        Self { _slot: slot, bytes, entries: None }
    }

    /// Takes what the entries need that were read, or nothing. The first one needs what the body held.
    pub(super) fn charge(&mut self, of: &Entries, entries: usize) -> Result<(), Refusal> {
        let Some(more @ 1..) = entries.checked_sub(1) else { return Ok(()) };
        let taken = of.take(more)?;
        // Their texts are parts of the body.
        self.bytes.grow_or_alone(self.bytes.bytes() + entries.saturating_mul(ENTRY_BYTES))?;
        self.entries = Some(taken);
        Ok(())
    }
}
