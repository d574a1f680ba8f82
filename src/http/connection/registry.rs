//! Connections of one worker, and the order in which they are closed when file descriptors or memory run
//! short.
//!
//! A connection that waits for its client holds a file descriptor and memory that another client may need. So
//! beyond a limit the connection that has waited longest is closed, first from the peer with the most such
//! connections, or with the most bytes of them. A fixed share for each peer would be no solution: behind a
//! proxy all peers are one. The wait for a request's head or body, or for the reading of an answer, begins
//! once: a client that sends or reads a byte now and then does not renew it.
//!
//! A connection is never closed for that while the service works on its request, or while it writes an answer
//! that needed a credential. Connections whose clients do not read an answer that needed no credential are
//! closed next, when no head or body has been waited for long: otherwise anyone could hold all descriptors
//! with public files, and each new connection would be the only one that waits. The body of a verified sender
//! is closed last: strangers who connect again and again, faster than an honest body arrives, would always
//! have waited for less time. But once verified senders hold more than half of a limit, their bodies are
//! closed first: otherwise one leaked callback URL could hold all of it.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::access::auth_limiter::network;
use crate::memory_budget::Reservation;

/// Divisor of the limit: one scan closes at most this part of it, so that scans cost little.
const SCAN_DIVISOR: usize = 64;
/// Divisor of the limit: while more memory than this part is being given back, no connection reads.
const RELEASING_DIVISOR: usize = 8;
/// Wait below which a client has hardly had the time to send a request or to read an answer.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// Minimum interval between two log lines about a shortage.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Event that a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A request's head from the client, or the end of a connection that is being closed.
    Head,
    /// The rest of a request's body from the client.
    Body,
    /// The rest of the body of a webhook or a registration from a verified sender.
    VerifiedBody,
    /// The client's reading of an answer that needed no credential.
    PublicAnswer,
    /// The service's answer, or the client's reading of an answer that needed a credential.
    Answer,
}

/// One connection in the registry.
pub(crate) struct Member {
    peer: IpAddr,
    phase: Cell<Phase>,
    /// Phase whose wait began at `since`.
    wait_phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Charged bytes of the unfinished request.
    charged_bytes: Cell<usize>,
    must_close: Cell<bool>,
    /// Bytes charged when the connection was asked to close.
    releasing: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    index: Cell<usize>,
    registry: Rc<Registry>,
}

/// Limits of a worker's connections.
pub(crate) struct Limits {
    /// Number of connections beyond which waiting ones are closed.
    pub(crate) connections: usize,
    /// Memory of unfinished requests, in bytes.
    pub(crate) head_bytes: usize,
}

/// Connections of one worker.
pub(crate) struct Registry {
    limits: Limits,
    members: RefCell<Vec<Rc<Member>>>,
    /// Number of members that were asked to close and are still registered.
    close_requests: Cell<usize>,
    /// Bytes of unfinished requests of all members.
    charged: RefCell<Reservation>,
    /// Bytes of members that were asked to close and have not given their memory back yet.
    releasing: Cell<usize>,
    descriptors: Resource,
    memory: Resource,
}

/// Resource that connections are closed for, and the time of the last log line about its shortage.
struct Resource {
    name: &'static str,
    warned: Cell<Option<Instant>>,
}

impl Registry {
    /// Registry of this worker thread, shared by all its listeners. `charged` reserves the memory of
    /// unfinished requests.
    pub(crate) fn of_this_thread(limits: Limits, charged: Reservation) -> Rc<Self> {
        thread_local! {
            static REGISTRY: OnceCell<Rc<Registry>> = const { OnceCell::new() };
        }
        REGISTRY.with(|registry| {
            Rc::clone(registry.get_or_init(|| {
                Rc::new(Self {
                    limits,
                    members: RefCell::default(),
                    close_requests: Cell::new(0),
                    charged: RefCell::new(charged),
                    releasing: Cell::new(0),
                    descriptors: Resource::new("file descriptors"),
                    memory: Resource::new("memory for unfinished requests"),
                })
            }))
        })
    }

    /// Adds a connection; asks others to close if there are too many.
    pub(crate) fn register(self: &Rc<Self>, peer: IpAddr) -> Rc<Member> {
        let mut members = self.members.borrow_mut();
        let member = Rc::new(Member {
            peer: network(peer),
            phase: Cell::new(Phase::Head),
            wait_phase: Cell::new(Phase::Head),
            since: Cell::new(Instant::now()),
            charged_bytes: Cell::new(0),
            must_close: Cell::new(false),
            releasing: Cell::new(0),
            waker: RefCell::default(),
            index: Cell::new(members.len()),
            registry: Rc::clone(self),
        });
        members.push(Rc::clone(&member));
        self.free_descriptors(&members);
        member
    }

    fn free_descriptors(&self, members: &[Rc<Member>]) {
        if members.len() - self.close_requests.get() <= self.limits.connections {
            return;
        }
        let goal = (self.limits.connections / SCAN_DIVISOR).max(1);
        let now = Instant::now();
        let mut order: [(&[Phase], Duration); 4] = [
            (&[Phase::Head, Phase::Body], LONG_WAIT),
            (&[Phase::PublicAnswer], LONG_WAIT),
            (&[Phase::Head, Phase::Body, Phase::PublicAnswer], Duration::ZERO),
            (&[Phase::VerifiedBody], Duration::ZERO),
        ];
        if charged_to_verified(members, |_| 1) > self.limits.connections / 2 {
            order.rotate_right(1);
        }
        let close_matching = |(phases, wait): (&[Phase], Duration)| {
            request_closes(members, goal, |member| {
                let has_waited = now.saturating_duration_since(member.since.get()) >= wait;
                usize::from(has_waited && phases.contains(&member.phase.get()))
            })
        };
        let closed = order.into_iter().map(close_matching).find(|closed| *closed > 0);
        self.descriptors.warn(closed.unwrap_or(0));
    }

    fn free_memory(&self) {
        let members = self.members.borrow();
        let goal = (self.limits.head_bytes / SCAN_DIVISOR).max(1);
        let charged_bytes = |member: &Member| member.charged_bytes.get();
        let verified_first =
            charged_to_verified(&members, charged_bytes) > self.limits.head_bytes / 2;
        let close_matching = |verified: bool| {
            request_closes(&members, goal, |member| {
                if member.is_verified() == verified { charged_bytes(member) } else { 0 }
            })
        };
        let closed = match close_matching(verified_first) {
            0 => close_matching(!verified_first),
            closed => closed,
        };
        self.memory.warn(closed);
    }
}

impl Resource {
    fn new(name: &'static str) -> Self {
        Self { name, warned: Cell::new(None) }
    }

    /// Logs that connections were closed for this resource, once in a while.
    fn warn(&self, closed: usize) {
        let now = Instant::now();
        if self.warned.get().is_none_or(|last| now - last > WARNING_INTERVAL) {
            self.warned.set(Some(now));
            tracing::warn!(
                closed,
                "shortage of {}; closing the connections that have waited longest for their \
                 clients",
                self.name
            );
        }
    }
}

/// Sum of `amount` over the members that read the body of a verified sender and may be asked to close.
fn charged_to_verified(members: &[Rc<Member>], amount: impl Fn(&Member) -> usize) -> usize {
    let counts = |member: &&Rc<Member>| member.is_verified() && !member.must_close.get();
    members.iter().filter(counts).map(|member| amount(member)).sum()
}

/// Members of one peer that may be asked to close.
#[derive(Default)]
struct PeerMembers<'a> {
    /// Sum of the amounts of the members.
    charged: usize,
    /// Members, each with its amount.
    members: Vec<(&'a Member, usize)>,
}

/// Asks members to close until the sum of their amounts reaches `goal`; returns the number of members asked.
/// Members with the amount 0 are not asked. The peer with the largest sum is asked first, and of its members
/// the one that has waited longest.
fn request_closes(members: &[Rc<Member>], goal: usize, amount: impl Fn(&Member) -> usize) -> usize {
    let mut peers: HashMap<IpAddr, PeerMembers<'_>> = HashMap::new();
    for member in members.iter().filter(|member| !member.must_close.get()) {
        let charged = amount(member);
        if charged > 0 {
            let peer = peers.entry(member.peer).or_default();
            peer.charged += charged;
            peer.members.push((member, charged));
        }
    }
    for peer in peers.values_mut() {
        // The member with the longest wait is the last one.
        peer.members.sort_unstable_by_key(|(member, _)| Reverse(member.since.get()));
    }
    let rank = |address: IpAddr, peer: &PeerMembers<'_>| {
        Some((peer.charged, Reverse(peer.members.last()?.0.since.get()), address))
    };
    let mut ranks: BinaryHeap<_> =
        peers.iter().filter_map(|(address, peer)| rank(*address, peer)).collect();
    let (mut released, mut requested) = (0, 0);
    while released < goal
        && let Some((_, _, address)) = ranks.pop()
        && let Some(peer) = peers.get_mut(&address)
        && let Some((member, charged)) = peer.members.pop()
    {
        member.request_close();
        requested += 1;
        released += charged;
        peer.charged -= charged;
        ranks.extend(rank(address, peer));
    }
    requested
}

impl Member {
    /// Sets the phase of the connection. The wait begins now, unless it is for the same phase of the same
    /// request as before.
    pub(crate) fn wait_for(&self, phase: Phase) {
        self.phase.set(phase);
        if self.wait_phase.replace(phase) != phase {
            self.since.set(Instant::now());
        }
    }

    /// Begins the wait for the rest of a request's head.
    pub(crate) fn start_head(&self) {
        self.since.set(Instant::now());
    }

    /// Ends the wait for a request's head: the head is complete.
    pub(crate) fn start_request(&self) {
        self.wait_phase.set(Phase::Answer);
        self.end_wait();
        self.cancel_close_request();
    }

    /// Ends a wait: the client has sent or read something. A further wait of the same request keeps its
    /// beginning.
    pub(crate) fn end_wait(&self) {
        self.phase.set(Phase::Answer);
        self.charge(0);
    }

    /// Whether the connection waits for the body of a verified sender.
    fn is_verified(&self) -> bool {
        self.phase.get() == Phase::VerifiedBody
    }

    /// Current phase of the connection.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Charges the connection for `bytes` of an unfinished request, in place of the bytes charged before. If
    /// the worker's connections exceed the limit, some of them are asked to close.
    pub(crate) fn charge(&self, bytes: usize) {
        let before = self.charged_bytes.get();
        if bytes == before || (self.must_close.get() && bytes > before) {
            return;
        }
        self.charged_bytes.set(bytes);
        let is_too_much = {
            let mut charged = self.registry.charged.borrow_mut();
            let sum = charged.bytes() - before + bytes;
            charged.set(sum);
            bytes > before && sum > self.registry.limits.head_bytes
        };
        if is_too_much {
            self.registry.free_memory();
        }
    }

    /// Whether the connection must not read now, because others still hold much memory that they were asked to
    /// give back. Its task is woken again after theirs. Otherwise all clients that send at the same moment would
    /// be read before the first connection is closed.
    pub(crate) fn must_wait_to_read(&self, waker: &Waker) -> bool {
        let Registry { limits, releasing, .. } = &*self.registry;
        let must_wait =
            !self.must_close.get() && releasing.get() > limits.head_bytes / RELEASING_DIVISOR;
        if must_wait {
            waker.wake_by_ref();
        }
        must_wait
    }

    /// Stores the waker of the connection's task.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Whether the connection must close unless a request has arrived.
    pub(crate) fn must_close(&self) -> bool {
        self.must_close.get()
    }

    /// Cancels the request to close, since the awaited input has arrived. Others may have to close instead.
    pub(crate) fn cancel_close_request(&self) {
        if self.withdraw_close_request() {
            self.registry.free_descriptors(&self.registry.members.borrow());
        }
    }

    /// Withdraws the request to close; returns whether there was one.
    fn withdraw_close_request(&self) -> bool {
        let was_requested = self.must_close.replace(false);
        if was_requested {
            self.registry.close_requests.set(self.registry.close_requests.get() - 1);
            self.registry.releasing.update(|bytes| bytes - self.releasing.take());
        }
        was_requested
    }

    /// Removes the connection from the registry.
    pub(crate) fn deregister(&self) {
        self.charge(0);
        self.withdraw_close_request();
        let mut members = self.registry.members.borrow_mut();
        let index = self.index.get();
        if index < members.len() {
            members.swap_remove(index);
            if let Some(moved) = members.get(index) {
                moved.index.set(index);
            }
        }
    }

    fn request_close(&self) {
        self.must_close.set(true);
        self.registry.close_requests.set(self.registry.close_requests.get() + 1);
        // The bytes count as being released: other connections do not read until they are freed.
        self.releasing.set(self.charged_bytes.get());
        self.registry.releasing.update(|bytes| bytes + self.releasing.get());
        self.charge(0);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
