//! Connections of one worker, and which of them are closed when descriptors run short.
//!
//! A connection that waits for its client holds a descriptor that another client may need. So beyond the
//! limit the one that has waited longest is closed, first from the peer with the most such connections.
//! A fixed share for each peer would be no solution: behind a proxy all peers are one. A connection whose
//! request is under way is never closed for that.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::attempts::network;

/// One scan closes at most this part of the limit, so that the scans cost little.
const PART: usize = 64;
/// How often a shortage is logged at most.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client: a request's head, or the end of a connection that is closed.
    Head,
    /// The client: the rest of a request's body.
    Body,
    /// The service, or the client's reading of an answer.
    Answer,
}

/// One connection in the registry.
pub(super) struct Member {
    peer: IpAddr,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    is_asked_to_leave: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    place: Cell<usize>,
    registry: Rc<Registry>,
}

/// Connections of one worker.
pub(crate) struct Registry {
    limit: usize,
    members: RefCell<Vec<Rc<Member>>>,
    /// Members that were asked to leave and have not.
    leaving: Cell<usize>,
    warned: Cell<Option<Instant>>,
}

impl Registry {
    /// Registry of this thread, which is a worker; all its listeners share it.
    pub(crate) fn of_this_thread(limit: usize) -> Rc<Self> {
        thread_local! {
            static REGISTRY: OnceCell<Rc<Registry>> = const { OnceCell::new() };
        }
        REGISTRY.with(|registry| Rc::clone(registry.get_or_init(|| Self::new(limit))))
    }

    /// Registry that keeps at most so many connections while some of them wait for their clients.
    fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit,
            members: RefCell::default(),
            leaving: Cell::new(0),
            warned: Cell::new(None),
        })
    }

    /// Adds a connection; asks others to leave if there are too many.
    pub(super) fn enter(self: &Rc<Self>, peer: IpAddr) -> Rc<Member> {
        let mut members = self.members.borrow_mut();
        let member = Rc::new(Member {
            peer: network(peer),
            phase: Cell::new(Phase::Head),
            since: Cell::new(Instant::now()),
            is_asked_to_leave: Cell::new(false),
            waker: RefCell::default(),
            place: Cell::new(members.len()),
            registry: Rc::clone(self),
        });
        members.push(Rc::clone(&member));
        if members.len() - self.leaving.get() > self.limit {
            self.make_room(&members);
        }
        member
    }

    fn make_room(&self, members: &[Rc<Member>]) {
        let mut waiting: HashMap<IpAddr, Vec<&Rc<Member>>> = HashMap::new();
        for member in members {
            if member.phase.get() != Phase::Answer && !member.is_asked_to_leave.get() {
                waiting.entry(member.peer).or_default().push(member);
            }
        }
        let mut peers = BinaryHeap::new();
        for members in waiting.values_mut() {
            // The longest wait is the last one.
            members.sort_unstable_by_key(|member| Reverse(member.since.get()));
        }
        let rank = |peer: IpAddr, members: &[&Rc<Member>]| {
            Some((members.len(), Reverse(members.last()?.since.get()), peer))
        };
        peers.extend(waiting.iter().filter_map(|(peer, members)| rank(*peer, members)));
        let mut asked = 0;
        while asked < (self.limit / PART).max(1)
            && let Some((_, _, peer)) = peers.pop()
            && let Some(members) = waiting.get_mut(&peer)
        {
            if let Some(member) = members.pop() {
                member.ask_to_leave();
                asked += 1;
            }
            peers.extend(rank(peer, members));
        }
        self.warn(asked);
    }

    fn warn(&self, closed: usize) {
        let now = Instant::now();
        if self.warned.get().is_none_or(|last| now - last > BETWEEN_WARNINGS) {
            self.warned.set(Some(now));
            tracing::warn!(
                closed,
                "file descriptors run short; closing connections that wait longest for their clients"
            );
        }
    }
}

impl Member {
    /// Sets what the connection waits for; the wait begins now, unless it is the same one.
    pub(super) fn wait_for(&self, phase: Phase) {
        if self.phase.replace(phase) != phase {
            self.since.set(Instant::now());
        }
    }

    /// Sets what the connection waits for, where the time of the wait does not matter.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// What the connection waits for.
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Remembers whom to wake; all wakes of a connection go to one task.
    pub(super) fn wakes(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Whether the connection must close unless a request has come.
    pub(super) fn is_asked_to_leave(&self) -> bool {
        self.is_asked_to_leave.get()
    }

    /// The connection need not leave: a request has come.
    pub(super) fn stay(&self) {
        if self.is_asked_to_leave.replace(false) {
            self.registry.leaving.set(self.registry.leaving.get() - 1);
        }
    }

    /// Removes the connection.
    pub(super) fn leave(&self) {
        self.stay();
        let mut members = self.registry.members.borrow_mut();
        let place = self.place.get();
        if place < members.len() {
            members.swap_remove(place);
            if let Some(moved) = members.get(place) {
                moved.place.set(place);
            }
        }
    }

    fn ask_to_leave(&self) {
        self.is_asked_to_leave.set(true);
        self.registry.leaving.set(self.registry.leaving.get() + 1);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
