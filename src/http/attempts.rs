//! How often a client may fail to present a valid API key.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many attempts may fail one after the other.
pub const BURST: u32 = 60;
/// How long it takes until one more may fail.
pub const REFILL: Duration = Duration::from_secs(1);
/// How many addresses are remembered; of further ones, those that failed longest ago are forgotten.
pub const MOST_ADDRESSES: usize = 10_000;

/// The failed attempts of each address: a token bucket each, of which only a failure takes a token.
///
/// Asked after a key was found to be wrong, so that a right one is never limited. The crate `governor` cannot be asked without taking a token, and would so count the
/// requests with a right key too; nor has its table of addresses a bound. Hence a bucket of our own.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    /// The addresses by their latest failure.
    by_age: BTreeMap<u64, IpAddr>,
    failures: u64,
}

#[derive(Debug)]
struct Bucket {
    /// When nothing is missing any more. Says at every moment how much is.
    full_at: Instant,
    /// Which failure was its latest.
    latest: u64,
}

impl Attempts {
    /// How long this address must wait until it may fail again; none if it need not.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = table.buckets.get(&network(address))?.full_at.checked_duration_since(now)?;
        missing.checked_sub(REFILL * (BURST - 1)).filter(|wait| !wait.is_zero())
    }

    /// Counts a failed attempt. Requests that are judged at the same time may fail beyond what is
    /// left; that is paid back before the next one.
    pub fn fail(&self, address: IpAddr, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.fail(network(address), now);
    }

    /// How many addresses are remembered.
    pub fn addresses(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()
    }
}

impl Table {
    fn fail(&mut self, address: IpAddr, now: Instant) {
        self.failures += 1;
        let latest = self.failures;
        let bucket = self.buckets.entry(address).or_insert(Bucket { full_at: now, latest });
        bucket.full_at = bucket.full_at.max(now) + REFILL;
        let before = std::mem::replace(&mut bucket.latest, latest);
        self.by_age.remove(&before);
        self.by_age.insert(latest, address);
        if self.buckets.len() > MOST_ADDRESSES
            && let Some((_, stalest)) = self.by_age.pop_first()
        {
            self.buckets.remove(&stalest);
        }
    }
}

/// What counts as one client: whoever has an address of IPv6 has all 2⁶⁴ that begin like it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}
