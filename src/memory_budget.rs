//! Memory budget of a service: how many bytes each use of memory may hold at a time.
//!
//! Code that holds memory for a peer reserves its bytes first. The limits of all [`Share`]s add up to
//! [`TOTAL_BYTES`], so one use never takes the memory of another, and a reservation costs one atomic
//! operation. The process needs [`PROCESS_BYTES`] beside that: code, stacks, SQLite's page caches,
//! filters of the index.
//!
//! Memory that only makes the service faster, such as a mapping of the database, may use what the shares
//! leave. That memory is given back when one of the shares comes under [pressure](Share::pressure).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

const MIB: usize = 1 << 20;

/// Memory of a process besides the shares, in bytes.
pub const PROCESS_BYTES: usize = 48 * MIB;

/// Limit of all shares together, in bytes.
pub const TOTAL_BYTES: usize = 176 * MIB;

/// One use of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Bodies being read, and deliveries waiting for their commit.
    Bodies,
    /// Bodies whose sender is not verified yet.
    UnverifiedBodies,
    /// Heads of incomplete requests.
    Heads,
    /// Cached records that the writer keeps in memory.
    Cache,
    /// Answers and pages that are being rendered or sent.
    Answers,
}

impl Share {
    /// Every share.
    pub const ALL: [Self; 5] =
        [Self::Bodies, Self::UnverifiedBodies, Self::Heads, Self::Cache, Self::Answers];

    /// Maximum number of bytes that this share may hold.
    pub const fn limit(self) -> usize {
        match self {
            Self::Bodies => 64 * MIB,
            Self::UnverifiedBodies | Self::Heads => 16 * MIB,
            Self::Cache => 48 * MIB,
            Self::Answers => 32 * MIB,
        }
    }

    /// Number of bytes from which on this share is under pressure. The cache never is, since it is normally
    /// full.
    pub const fn pressure(self) -> usize {
        match self {
            Self::Cache => usize::MAX,
            Self::Bodies | Self::UnverifiedBodies | Self::Heads | Self::Answers => self.limit() / 4,
        }
    }

    /// Name of the share in metrics.
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

/// Error: the share has no room for these bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the memory budget is exhausted")]
pub struct Exhausted;

/// Memory budget of one service; clones share it.
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
    relief: Relief,
}

/// Callback that gives back unneeded memory when a share comes under pressure.
#[derive(Default)]
struct Relief(Mutex<Option<Box<dyn Fn() + Send>>>);

impl fmt::Debug for Relief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relief")
    }
}

/// Counter on a cache line of its own: shares are used by different threads.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

impl MemoryBudget {
    /// Reserves bytes of a share; zero bytes always fit.
    pub fn reserve(&self, share: Share, bytes: usize) -> Result<Reservation, Exhausted> {
        let mut reservation = self.reservation(share);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Creates an empty reservation, which may grow.
    pub fn reservation(&self, share: Share) -> Reservation {
        Reservation { budget: self.clone(), share, bytes: 0 }
    }

    /// Bytes of a share that are reserved now.
    pub fn reserved(&self, share: Share) -> usize {
        self.counter(share).load(Ordering::Relaxed)
    }

    /// Whether a share is under pressure: memory that only makes the service faster must be given back.
    pub fn is_under_pressure(&self) -> bool {
        Share::ALL.iter().any(|share| self.reserved(*share) >= share.pressure())
    }

    /// Sets the callback that runs whenever a share comes under pressure. The callback must neither wait nor
    /// reserve.
    pub fn on_pressure(&self, relief: impl Fn() + Send + 'static) {
        let Relief(own) = &self.0.relief;
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(relief));
    }

    fn run_relief(&self) {
        let Relief(relief) = &self.0.relief;
        if let Some(relief) = &*relief.lock().unwrap_or_else(PoisonError::into_inner) {
            relief();
        }
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

/// Bytes reserved from a share; released when dropped.
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
        self.grow_within(bytes, self.share.limit())
    }

    /// Reserves more bytes if the share then holds at most `limit`, for a use that leaves the rest to others.
    pub fn grow_within(&mut self, bytes: usize, limit: usize) -> Result<(), Exhausted> {
        if bytes > 0 {
            self.take(bytes, limit, false)?;
        }
        Ok(())
    }

    /// Reserves more bytes, beyond the limit too if no other reservation holds any of the share: a use larger
    /// than the whole share would otherwise never succeed.
    pub fn grow_or_alone(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.take(bytes, self.share.limit(), true)
    }

    /// Releases bytes; at most those that are held.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.counter().fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Sets the reservation to exactly this many bytes, whatever the limit is: for memory that is already in
    /// use, whose owner releases it on its own.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.add(bytes - self.bytes);
            self.bytes = bytes;
        } else {
            self.shrink(self.bytes - bytes);
        }
    }

    /// Splits off all bytes; this reservation is empty afterwards.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self { budget: self.budget.clone(), share: self.share, bytes }
    }

    /// Moves the bytes to another share if they fit there; otherwise leaves them here.
    pub fn move_to(&mut self, share: Share) -> Result<(), Exhausted> {
        if self.share == share {
            return Ok(());
        }
        let mut moved = self.budget.reserve(share, self.bytes)?;
        std::mem::swap(self, &mut moved);
        Ok(())
    }

    fn take(&mut self, bytes: usize, limit: usize, also_alone: bool) -> Result<(), Exhausted> {
        let before = self.add(bytes);
        let is_alone = also_alone && before == self.bytes;
        if before.saturating_add(bytes) > limit && !is_alone {
            self.counter().fetch_sub(bytes, Ordering::Relaxed);
            return Err(Exhausted);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Adds bytes to the share and asks for relief if they bring it under pressure. Returns the bytes that the
    /// share had before.
    fn add(&self, bytes: usize) -> usize {
        let before = self.counter().fetch_add(bytes, Ordering::Relaxed);
        let pressure = self.share.pressure();
        if before < pressure && before.saturating_add(bytes) >= pressure {
            self.budget.run_relief();
        }
        before
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
    fn a_full_share_rejects_reservations_and_leaves_other_shares_alone() {
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
    fn a_reservation_beyond_the_limit_fits_only_alone() {
        let budget = MemoryBudget::default();
        let other = budget.reserve(Share::Bodies, 1).unwrap();
        let mut large = budget.reserve(Share::Bodies, 1).unwrap();
        assert_eq!(large.grow_or_alone(Share::Bodies.limit()), Err(Exhausted));
        drop(other);
        assert_eq!(large.grow_or_alone(Share::Bodies.limit()), Ok(()));
        assert_eq!(budget.reserve(Share::Bodies, 1).unwrap_err(), Exhausted);
    }

    #[test]
    fn relief_is_called_once_whenever_a_share_comes_under_pressure() {
        let (budget, calls) = (MemoryBudget::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        budget.on_pressure(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let cache = budget.reserve(Share::Cache, Share::Cache.limit()).unwrap();
        // Heads are charged by `set` alone.
        let mut heads = budget.reservation(Share::Heads);
        heads.set(Share::Heads.pressure() - 1);
        assert_eq!((budget.is_under_pressure(), calls.load(Ordering::Relaxed)), (false, 0));
        heads.set(Share::Heads.pressure());
        heads.set(Share::Heads.pressure() + 1);
        assert_eq!((budget.is_under_pressure(), calls.load(Ordering::Relaxed)), (true, 1));
        drop(heads);
        assert!(!budget.is_under_pressure());
        let bodies = budget.reserve(Share::Bodies, Share::Bodies.limit()).unwrap();
        assert_eq!((budget.is_under_pressure(), calls.load(Ordering::Relaxed)), (true, 2));
        drop((cache, bodies));
    }

    #[test]
    fn moved_bytes_are_charged_to_the_other_share() {
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
