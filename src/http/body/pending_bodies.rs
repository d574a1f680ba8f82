//! Unfinished request bodies, and the order in which they are evicted when memory is short.
//!
//! Bodies of verified senders share one part of the memory budget, those of unverified senders another. A
//! stranger, or anyone who has one callback URL, could fill a part with bodies that never end. So a waiting
//! body can be evicted: when its part is full, the next chunk takes its memory. Small bodies are evicted
//! last, since sending many of them takes many connections. Large bodies are evicted from the group with the
//! most waiting bytes (an address of strangers, a source of verified senders), the oldest first: a webhook is
//! complete within milliseconds, and the body that has been unfinished longest is the likeliest to stay so. A
//! body that came in one piece never waits and takes no lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::access::auth_limiter::network;
use crate::memory_budget::Reservation;

/// Size in bytes up to which a body is evicted only if there is no larger one.
const SMALL_BODY_BYTES: usize = 4 << 10;

/// Sender of a waiting body, as it counts for eviction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// Clients of this network address.
    Client(IpAddr),
    /// Senders with a credential of this source or this API key.
    Verified(String),
}

/// Waiting bodies of one part of the memory budget.
#[derive(Debug, Default)]
pub(crate) struct WaitingBodies(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last_number: u64,
    bodies: HashMap<u64, Entry>,
    groups: HashMap<Group, Members>,
    /// Groups in order of eviction: the last one is evicted from first.
    ranks: BTreeMap<Rank, Group>,
}

/// Waiting bodies of one group of senders.
#[derive(Debug, Default)]
struct Members {
    bytes: usize,
    /// Sequence numbers of bodies above [`SMALL_BODY_BYTES`], oldest first.
    large: BTreeSet<u64>,
    /// Sequence numbers of the other bodies.
    small: BTreeSet<u64>,
}

/// Rank of a group for eviction: groups with large bodies first, then by waiting bytes, then by the age of
/// the oldest body. No two groups have the same rank.
type Rank = (bool, usize, Reverse<u64>);

#[derive(Debug)]
struct Entry {
    group: Group,
    reservation: Reservation,
    evicted: Arc<Notify>,
}

/// Error: the body was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evicted;

/// Guard of one waiting body; removes it when dropped.
pub(crate) struct WaitingBody<'a> {
    bodies: &'a WaitingBodies,
    number: u64,
    evicted: Arc<Notify>,
}

impl WaitingBodies {
    /// Adds a body to this group's waiting bodies. A body that waits again keeps its sequence number.
    pub(crate) fn wait(
        &self,
        number: &mut Option<u64>,
        group: Group,
        reservation: Reservation,
    ) -> WaitingBody<'_> {
        let evicted = Arc::new(Notify::new());
        let mut table = self.table();
        let number = *number.get_or_insert_with(|| {
            table.last_number += 1;
            table.last_number
        });
        table.add(number, Entry { group, reservation, evicted: Arc::clone(&evicted) });
        WaitingBody { bodies: self, number, evicted }
    }

    /// Evicts one body; returns `false` if none waits.
    pub(crate) fn evict(&self) -> bool {
        let mut table = self.table();
        let number = table.ranks.last_key_value().map(|((_, _, Reverse(number)), _)| *number);
        let evicted = number.and_then(|number| table.remove(number));
        evicted.inspect(|entry| entry.evicted.notify_one()).is_some()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Clients of this network address.
    pub(crate) fn for_client(client: IpAddr) -> Self {
        Self::Client(network(client))
    }
}

impl Table {
    fn add(&mut self, number: u64, entry: Entry) {
        let bytes = entry.reservation.bytes();
        self.change(&entry.group, |members| {
            members.bytes += bytes;
            members.by_size(bytes).insert(number);
        });
        self.bodies.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.bodies.remove(&number)?;
        let bytes = entry.reservation.bytes();
        self.change(&entry.group, |members| {
            members.bytes = members.bytes.saturating_sub(bytes);
            members.by_size(bytes).remove(&number);
        });
        Some(entry)
    }

    /// Changes a group's bodies and updates its rank.
    fn change(&mut self, group: &Group, change: impl FnOnce(&mut Members)) {
        let known = self.groups.remove_entry(group);
        let (group, mut members) = known.unwrap_or_else(|| (group.clone(), Members::default()));
        let ranked = members.rank().and_then(|rank| self.ranks.remove(&rank));
        change(&mut members);
        if let Some(rank) = members.rank() {
            self.ranks.insert(rank, ranked.unwrap_or_else(|| group.clone()));
            self.groups.insert(group, members);
        }
    }
}

impl Members {
    fn by_size(&mut self, bytes: usize) -> &mut BTreeSet<u64> {
        if bytes > SMALL_BODY_BYTES { &mut self.large } else { &mut self.small }
    }

    /// Rank of the group; `None` if it has no bodies.
    fn rank(&self) -> Option<Rank> {
        let oldest = self.large.first().or_else(|| self.small.first())?;
        Some((!self.large.is_empty(), self.bytes, Reverse(*oldest)))
    }
}

impl WaitingBody<'_> {
    /// Waits until the body is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Ends the wait when more of the body has arrived; returns its memory unless it was evicted.
    pub(crate) fn resume(self) -> Result<Reservation, Evicted> {
        self.bodies.table().remove(self.number).map(|entry| entry.reservation).ok_or(Evicted)
    }
}

impl Drop for WaitingBody<'_> {
    fn drop(&mut self) {
        self.bodies.table().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_budget::{MemoryBudget, Share};

    fn client(last: u8) -> Group {
        Group::for_client(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_oldest_large_body_of_the_group_with_the_most_bytes_is_evicted_first() {
        let (budget, bodies) = (MemoryBudget::default(), WaitingBodies::default());
        let wait = |last: u8, bytes: usize| {
            let reservation = budget.reserve(Share::UnverifiedBodies, bytes).unwrap();
            bodies.wait(&mut None, client(last), reservation)
        };
        let waiting = [
            wait(1, 100),
            wait(2, 60_000),
            wait(1, 50_000),
            wait(1, 50_000),
            wait(3, SMALL_BODY_BYTES),
            wait(2, 1),
        ];
        let mut order = Vec::new();
        let mut left: Vec<usize> = (0..waiting.len()).collect();
        while bodies.evict() {
            let table = bodies.table();
            let is_gone = |at: &usize| !table.bodies.contains_key(&waiting[*at].number);
            order.extend(left.extract_if(.., |at| is_gone(at)));
        }
        assert_eq!(order, [2, 1, 3, 4, 0, 5]);
        assert_eq!(budget.reserved(Share::UnverifiedBodies), 0);
        assert!(bodies.table().groups.is_empty());
        for body in waiting {
            assert_eq!(body.resume().err(), Some(Evicted));
        }
    }

    #[test]
    fn a_resumed_or_dropped_body_no_longer_waits() {
        let (budget, bodies) = (MemoryBudget::default(), WaitingBodies::default());
        let reservation = budget.reserve(Share::UnverifiedBodies, 9_000).unwrap();
        let mut number = None;
        let reservation = bodies.wait(&mut number, client(1), reservation).resume().unwrap();
        assert_eq!((reservation.bytes(), bodies.evict()), (9_000, false));
        // The body keeps its age.
        let younger = budget.reserve(Share::UnverifiedBodies, 9_000).unwrap();
        let younger = bodies.wait(&mut None, client(1), younger);
        let older = bodies.wait(&mut number, client(1), reservation);
        assert!(bodies.evict());
        assert_eq!(older.resume().err(), Some(Evicted));
        drop(younger);
        assert!(!bodies.evict());
        assert_eq!(budget.reserved(Share::UnverifiedBodies), 0);
    }
}
