//! Limit on failed authentication, per client.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failed attempts that a client may make in a row.
pub const BURST_FAILURES: u32 = 60;
/// Time until a client may fail once more.
pub const REFILL_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of addresses remembered. Beyond it, the address whose latest failure is oldest is
/// forgotten.
pub const MAX_ADDRESSES: usize = 10_000;

/// Failed attempts by address: one token bucket each, from which only a failure takes a token.
///
/// Checked only after a key was found to be wrong, so that a valid key is never limited. The crate `governor`
/// cannot be asked without taking a token, so it would also count requests with a valid key; nor does its
/// table of addresses have a bound. Hence a bucket of our own.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    /// Addresses by the number of their latest failure.
    by_age: BTreeMap<u64, IpAddr>,
    failures: u64,
}

#[derive(Debug)]
struct Bucket {
    /// Time at which the bucket is full again. Determines the missing tokens at every moment.
    full_at: Instant,
    /// Number of the address's latest failure.
    latest: u64,
}

impl Attempts {
    /// Time this address must wait until it may fail again; `None` if it need not wait.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = table.buckets.get(&network(address))?.full_at.checked_duration_since(now)?;
        missing.checked_sub(REFILL_INTERVAL * (BURST_FAILURES - 1)).filter(|wait| !wait.is_zero())
    }

    /// Counts a failed attempt. Requests that are judged at the same time may exceed the limit; the excess
    /// must refill before the next attempt.
    pub fn count_failure(&self, address: IpAddr, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.count_failure(network(address), now);
    }

    /// Number of addresses remembered.
    pub fn addresses(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()
    }
}

impl Table {
    fn count_failure(&mut self, address: IpAddr, now: Instant) {
        self.failures += 1;
        let latest = self.failures;
        let bucket = self.buckets.entry(address).or_insert(Bucket { full_at: now, latest });
        bucket.full_at = bucket.full_at.max(now) + REFILL_INTERVAL;
        let before = std::mem::replace(&mut bucket.latest, latest);
        self.by_age.remove(&before);
        self.by_age.insert(latest, address);
        if self.buckets.len() > MAX_ADDRESSES
            && let Some((_, stalest)) = self.by_age.pop_first()
        {
            self.buckets.remove(&stalest);
        }
    }
}

/// Address that identifies one client: an IPv4 address, or the /64 network of an IPv6 address, since a client
/// with one IPv6 address usually has all 2⁶⁴ of its network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}
