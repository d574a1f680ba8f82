//! Memory budget of a service: how many bytes each use of memory may hold at a time.
//!
//! Whoever holds memory for a peer reserves its bytes first. The limits of all [`Share`]s add up to
//! [`TOTAL_BYTES`], so one use never takes the memory of another, and a reservation costs one atomic
//! operation. The process needs some 40 MiB beside that: code, stacks, SQLite's page caches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

const MIB: usize = 1 << 20;

/// Bytes of all shares together.
pub const TOTAL_BYTES: usize = 176 * MIB;

/// One use of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Bodies that are read, and deliveries that wait for their commit.
    Bodies,
    /// Bodies whose sender is not verified yet.
    UnverifiedBodies,
    /// Heads of requests that are not complete.
    Heads,
    /// Recent records that the writer keeps in memory.
    Cache,
    /// Answers and pages that are rendered or sent.
    Answers,
}

impl Share {
    /// Every share.
    pub const ALL: [Self; 5] =
        [Self::Bodies, Self::UnverifiedBodies, Self::Heads, Self::Cache, Self::Answers];

    /// Bytes that this share may hold at a time.
    pub const fn limit(self) -> usize {
        match self {
            Self::Bodies => 64 * MIB,
            Self::UnverifiedBodies | Self::Heads => 16 * MIB,
            Self::Cache => 48 * MIB,
            Self::Answers => 32 * MIB,
        }
    }

    /// The share's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::UnverifiedBodies => "unverified_bodies",
            Self::Heads => "heads",
            Self::Cache => "cache",
            Self::Answers => "answers",
        }
    }
}

/// The share has no room for these bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the memory budget is exhausted")]
pub struct Exhausted;

/// The budget of one service; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryBudget(Arc<Counters>);

/// Reserved bytes of each share.
#[derive(Debug, Default)]
struct Counters {
    bodies: Counter,
    unverified_bodies: Counter,
    heads: Counter,
    cache: Counter,
    answers: Counter,
}

/// A counter on a cache line of its own: shares are used by different threads.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

impl MemoryBudget {
    /// Reserves bytes of a share; zero bytes always fit.
    pub fn reserve(&self, share: Share, bytes: usize) -> Result<Reservation, Exhausted> {
        let mut reservation = Reservation { budget: self.clone(), share, bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Bytes of a share that are reserved now.
    pub fn reserved(&self, share: Share) -> usize {
        self.counter(share).load(Ordering::Relaxed)
    }

    fn counter(&self, share: Share) -> &AtomicUsize {
        let counters = &*self.0;
        let Counter(counter) = match share {
            Share::Bodies => &counters.bodies,
            Share::UnverifiedBodies => &counters.unverified_bodies,
            Share::Heads => &counters.heads,
            Share::Cache => &counters.cache,
            Share::Answers => &counters.answers,
        };
        counter
    }
}

/// Bytes taken from a share; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    share: Share,
    bytes: usize,
}

impl Reservation {
    /// Bytes that this reservation holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes; an error leaves the reservation as it was.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > 0 {
            self.take(bytes, false)?;
        }
        Ok(())
    }

    /// Reserves more bytes, beyond the limit too if nothing else holds any of the share: what is larger
    /// than the whole share could otherwise never be done.
    pub fn grow_or_alone(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.take(bytes, true)
    }

    /// Gives bytes back; at most what is held.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.counter().fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Holds exactly so many bytes from now on, whatever the limit is: for memory that is in use already,
    /// whose owner gives it back on its own.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.counter().fetch_add(bytes - self.bytes, Ordering::Relaxed);
            self.bytes = bytes;
        } else {
            self.shrink(self.bytes - bytes);
        }
    }

    /// Takes all bytes out; the reservation goes on with none.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self { budget: self.budget.clone(), share: self.share, bytes }
    }

    /// Moves the bytes to another share, if they fit there; else they stay in this one.
    pub fn move_to(&mut self, share: Share) -> Result<(), Exhausted> {
        if self.share == share {
            return Ok(());
        }
        let mut moved = self.budget.reserve(share, self.bytes)?;
        std::mem::swap(self, &mut moved);
        Ok(())
    }

    fn take(&mut self, bytes: usize, also_alone: bool) -> Result<(), Exhausted> {
        let before = self.counter().fetch_add(bytes, Ordering::Relaxed);
        let is_alone = also_alone && before == self.bytes;
        if before.saturating_add(bytes) > self.share.limit() && !is_alone {
            self.counter().fetch_sub(bytes, Ordering::Relaxed);
            return Err(Exhausted);
        }
        self.bytes += bytes;
        Ok(())
    }

    fn counter(&self) -> &AtomicUsize {
        self.budget.counter(self.share)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_total() {
        assert_eq!(Share::ALL.iter().map(|share| share.limit()).sum::<usize>(), TOTAL_BYTES);
    }

    #[test]
    fn a_full_share_takes_nothing_more_and_leaves_the_others_alone() {
        let budget = MemoryBudget::default();
        let mut all = budget.reserve(Share::Bodies, Share::Bodies.limit()).unwrap();
        assert_eq!(all.grow(1), Err(Exhausted));
        assert_eq!(budget.reserve(Share::Bodies, 1).unwrap_err(), Exhausted);
        assert_eq!(budget.reserved(Share::Bodies), Share::Bodies.limit());
        assert_eq!(budget.reserve(Share::Heads, 1).unwrap().bytes(), 1);
        all.shrink(2);
        let other = budget.reserve(Share::Bodies, 2).unwrap();
        drop((all, other));
        assert!(Share::ALL.iter().all(|share| budget.reserved(*share) == 0));
    }

    #[test]
    fn more_than_a_share_fits_only_alone() {
        let budget = MemoryBudget::default();
        let other = budget.reserve(Share::Bodies, 1).unwrap();
        let mut large = budget.reserve(Share::Bodies, 1).unwrap();
        assert_eq!(large.grow_or_alone(Share::Bodies.limit()), Err(Exhausted));
        drop(other);
        assert_eq!(large.grow_or_alone(Share::Bodies.limit()), Ok(()));
        assert_eq!(budget.reserve(Share::Bodies, 1).unwrap_err(), Exhausted);
    }

    #[test]
    fn moved_bytes_belong_to_the_other_share() {
        let budget = MemoryBudget::default();
        let mut body = budget.reserve(Share::UnverifiedBodies, 7).unwrap();
        body.move_to(Share::Bodies).unwrap();
        assert_eq!(budget.reserved(Share::UnverifiedBodies), 0);
        assert_eq!(budget.reserved(Share::Bodies), 7);
        body.set(9);
        assert_eq!(budget.reserved(Share::Bodies), 9);
        let all = budget.reserve(Share::Heads, Share::Heads.limit()).unwrap();
        assert_eq!(body.move_to(Share::Heads), Err(Exhausted));
        assert_eq!(body.bytes(), 9);
        drop((body, all));
        assert!(Share::ALL.iter().all(|share| budget.reserved(*share) == 0));
    }
}
