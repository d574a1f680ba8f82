//! Request bodies whose rest is waited for, and which of them goes when memory is short.
//!
//! Bodies of verified senders share one part of the memory budget, those of all others another one. A
//! stranger, or whoever has one callback URL, could fill a part with bodies that never end. So a body
//! that waits can be evicted: when its part is full, the next chunk takes its room. Small bodies are the
//! last to go, since to send many of those takes many connections. Of the others one goes that comes
//! from the group with the most waiting bytes (an address of strangers, a source of verified senders), the
//! oldest first: a webhook is complete within milliseconds, and what is unfinished for longest is the
//! likeliest to stay so. A body that came in one piece never waits and takes no lock.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::attempts::network;
use crate::budget::Reservation;

/// Most bytes of a body that is evicted only if there is no larger one.
const SMALL: usize = 4 << 10;

/// Who a body that waits is from, as far as it counts for eviction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// Whoever is at this address.
    Client(IpAddr),
    /// Whoever has a credential of this source or this API key.
    Verified(String),
}

/// All bodies that wait in one part of the memory budget.
#[derive(Debug, Default)]
pub(crate) struct WaitingBodies(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    arrived: u64,
    /// The bodies in the order in which they began to wait.
    bodies: BTreeMap<u64, Entry>,
    /// Waiting bytes of each group.
    groups: HashMap<Group, usize>,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    room: Reservation,
    evicted: Arc<Notify>,
}

/// The body was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evicted;

/// One body that waits; no longer when dropped.
pub(crate) struct WaitingBody<'a> {
    bodies: &'a WaitingBodies,
    place: u64,
    evicted: Arc<Notify>,
}

impl WaitingBodies {
    /// A body of this group begins to wait, or waits again in the place that it had.
    pub(crate) fn wait(
        &self,
        place: &mut Option<u64>,
        group: Group,
        room: Reservation,
    ) -> WaitingBody<'_> {
        let evicted = Arc::new(Notify::new());
        let mut table = self.table();
        let place = *place.get_or_insert_with(|| {
            table.arrived += 1;
            table.arrived
        });
        *table.groups.entry(group.clone()).or_default() += room.bytes();
        table.bodies.insert(place, Entry { group, room, evicted: Arc::clone(&evicted) });
        WaitingBody { bodies: self, place, evicted }
    }

    /// Evicts one body, if any waits.
    pub(crate) fn evict(&self) -> bool {
        let mut table = self.table();
        let order = |(_, entry): &(&u64, &Entry)| {
            (entry.room.bytes() > SMALL, table.groups.get(&entry.group).copied())
        };
        // Of equal ones the last one in this order, which is the oldest.
        let found = table.bodies.iter().rev().max_by_key(order).map(|(place, _)| *place);
        let evicted = found.and_then(|place| table.remove(place));
        evicted.inspect(|entry| entry.evicted.notify_one()).is_some()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Whoever is at this address.
    pub(crate) fn of_client(client: IpAddr) -> Self {
        Self::Client(network(client))
    }
}

impl Table {
    fn remove(&mut self, place: u64) -> Option<Entry> {
        let entry = self.bodies.remove(&place)?;
        if let Some(bytes) = self.groups.get_mut(&entry.group) {
            *bytes = bytes.saturating_sub(entry.room.bytes());
            if *bytes == 0 {
                self.groups.remove(&entry.group);
            }
        }
        Some(entry)
    }
}

impl WaitingBody<'_> {
    /// Waits until it is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// More of it has arrived; gives its memory back, if it still has it.
    pub(crate) fn go_on(self) -> Result<Reservation, Evicted> {
        self.bodies.table().remove(self.place).map(|entry| entry.room).ok_or(Evicted)
    }
}

impl Drop for WaitingBody<'_> {
    fn drop(&mut self) {
        self.bodies.table().remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{MemoryBudget, Share};

    fn client(last: u8) -> Group {
        Group::of_client(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_oldest_large_body_of_the_group_with_the_most_bytes_is_evicted_first() {
        let (budget, bodies) = (MemoryBudget::default(), WaitingBodies::default());
        let wait = |last: u8, bytes: usize| {
            let room = budget.reserve(Share::UnverifiedBodies, bytes).unwrap();
            bodies.wait(&mut None, client(last), room)
        };
        let waiting = [
            wait(1, 100),
            wait(2, 60_000),
            wait(1, 50_000),
            wait(1, 50_000),
            wait(3, SMALL),
            wait(2, 1),
        ];
        let mut order = Vec::new();
        let mut left: Vec<usize> = (0..waiting.len()).collect();
        while bodies.evict() {
            let table = bodies.table();
            let is_gone = |at: &usize| !table.bodies.contains_key(&waiting[*at].place);
            order.extend(left.extract_if(.., |at| is_gone(at)));
        }
        assert_eq!(order, [2, 1, 3, 4, 0, 5]);
        assert_eq!(budget.reserved(Share::UnverifiedBodies), 0);
        assert!(bodies.table().groups.is_empty());
        for body in waiting {
            assert_eq!(body.go_on().err(), Some(Evicted));
        }
    }

    #[test]
    fn a_body_that_goes_on_or_is_given_up_waits_no_longer() {
        let (budget, bodies) = (MemoryBudget::default(), WaitingBodies::default());
        let room = budget.reserve(Share::UnverifiedBodies, 9_000).unwrap();
        let mut place = None;
        let room = bodies.wait(&mut place, client(1), room).go_on().unwrap();
        assert_eq!((room.bytes(), bodies.evict()), (9_000, false));
        // It keeps its age.
        let younger = budget.reserve(Share::UnverifiedBodies, 9_000).unwrap();
        let younger = bodies.wait(&mut None, client(1), younger);
        let older = bodies.wait(&mut place, client(1), room);
        assert!(bodies.evict());
        assert_eq!(older.go_on().err(), Some(Evicted));
        drop(younger);
        assert!(!bodies.evict());
        assert_eq!(budget.reserved(Share::UnverifiedBodies), 0);
    }
}
