//! Feed from the notification log to the listeners: one thread reads and renders, one task per worker wakes
//! its listeners.
//!
//! A commit wakes the thread, not the listeners. The thread waits between two reads of the notification log,
//! longer the more listeners there are, so that one wake-up carries many events. A worker's task compares the
//! changes with each listener's filter and wakes only those that get events, a few at a time: in between, the
//! worker serves other requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{Notify, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::render::{MIN_READ_INTERVAL, write_event};
use super::ring::{BatchesAfter, Next, Ring};
use crate::http::concurrency_limit::{self, ConcurrencyLimit};
use crate::ingest::ShutdownSignal;
use crate::store::{Filter, Store, StoreError};

/// Maximum interval between two reads of the notification log.
const MAX_READ_INTERVAL: Duration = Duration::from_millis(100);
/// Interval until the thread retries after a failed read of the notification log.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Number of listeners woken before the task yields.
const WAKES_PER_TURN: usize = 16;
/// Number of listeners whose filters are checked before the task yields.
const CHECKS_PER_TURN: usize = 64;

/// Event feed, shared by all listeners.
pub(crate) struct Live {
    pub(crate) ring: Ring,
    store: Arc<dyn Store>,
    shutdown: Arc<ShutdownSignal>,
    /// Number of the latest change in the ring.
    last: watch::Sender<i64>,
    listeners: ConcurrencyLimit,
    has_thread: AtomicBool,
    /// Wakes the thread when somebody listens again.
    listener_added: Notify,
}

impl Live {
    /// Creates a feed without listeners, for at most `limit` of them.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        shutdown: &Arc<ShutdownSignal>,
        limit: usize,
    ) -> Arc<Self> {
        let last = store.latest_change().current();
        Arc::new(Self {
            ring: Ring::new(last),
            store: Arc::clone(store),
            shutdown: Arc::clone(shutdown),
            last: watch::Sender::new(last),
            listeners: ConcurrencyLimit::new(limit),
            has_thread: AtomicBool::new(false),
            listener_added: Notify::new(),
        })
    }

    /// Permit for one more listener, `None` at the limit. The first one starts the thread.
    pub(crate) fn add_listener(self: &Arc<Self>) -> Option<concurrency_limit::Permit> {
        let permit = self.listeners.take()?;
        if !self.has_thread.swap(true, Ordering::SeqCst) {
            let live = Arc::clone(self);
            let run = move || match runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime.block_on(live.read()),
                Err(error) => tracing::error!(%error, "events cannot be read"),
            };
            if let Err(error) = thread::Builder::new().name("events".to_owned()).spawn(run) {
                tracing::error!(%error, "events cannot be read");
                self.has_thread.store(false, Ordering::SeqCst);
                return None;
            }
        }
        self.listener_added.notify_one();
        Some(permit)
    }

    /// Reads the notification log while somebody listens, until the service stops.
    async fn read(&self) {
        tokio::select! {
            () = self.shutdown.triggered() => {}
            () = self.read_loop() => {}
        }
    }

    async fn read_loop(&self) {
        let mut latest = self.store.latest_change();
        let all = Arc::new(Filter::default());
        loop {
            if self.listeners.in_use() == 0 {
                self.ring.restart(self.ring.last());
                self.listener_added.notified().await;
                // Listeners that came meanwhile read the notification log up to here.
                self.ring.restart(latest.current());
                continue;
            }
            latest.wait_until_above(self.ring.last()).await;
            match self.store.changes(self.ring.last(), Arc::clone(&all), write_event).await {
                Ok(changes) => {
                    let more = changes.more;
                    self.ring.add(changes);
                    self.last.send_replace(self.ring.last());
                    if !more {
                        sleep(self.interval()).await;
                    }
                }
                Err(StoreError::Overloaded) => sleep(self.interval()).await,
                Err(error) => {
                    // Listeners read the notification log themselves, and are told the reason if they cannot
                    // either.
                    tracing::warn!(%error, "events cannot be read for all listeners");
                    self.ring.restart(latest.current());
                    self.last.send_replace(self.ring.last());
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        let millis = u64::try_from(self.listeners.in_use() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(millis).clamp(MIN_READ_INTERVAL, MAX_READ_INTERVAL)
    }
}

/// State of one listener, known to its worker.
pub(crate) struct Listener {
    filter: Arc<Filter>,
    /// Number of the last change that was checked for this listener.
    position: Cell<i64>,
    /// Whether the listener waits to be woken.
    is_waiting: Cell<bool>,
    wakeup: Notify,
}

impl Listener {
    /// Number of the last change that was checked for this listener.
    pub(crate) fn position(&self) -> i64 {
        self.position.get()
    }

    /// Sets the number of the last change that was checked.
    pub(crate) fn set_position(&self, position: i64) {
        self.position.set(position);
    }

    /// Next events in the ring for the listener.
    pub(crate) fn next(&self, ring: &Ring) -> Next {
        ring.next(self.position.get(), &self.filter)
    }

    /// Waits until there are events for the listener, or it is behind the ring.
    pub(crate) async fn wait(&self) {
        self.is_waiting.set(true);
        self.wakeup.notified().await;
    }

    /// Ends the wait: the listener is no longer woken.
    pub(crate) fn stop_waiting(&self) {
        self.is_waiting.set(false);
    }
}

/// Membership of a listener in its worker's hub, removed when dropped.
pub(crate) struct Membership {
    listener: Rc<Listener>,
    hub: Rc<Hub>,
    number: u64,
}

impl Membership {
    /// Adds a listener that has all changes up to `position` to this worker's hub.
    pub(crate) fn new(live: &Arc<Live>, filter: Filter, position: i64) -> Self {
        let hub = Hub::of_this_worker(live);
        let listener = Rc::new(Listener {
            filter: Arc::new(filter),
            position: Cell::new(position),
            is_waiting: Cell::new(false),
            wakeup: Notify::new(),
        });
        let number = hub.next_number.get();
        hub.next_number.set(number + 1);
        hub.listeners.borrow_mut().insert(number, Rc::clone(&listener));
        Self { listener, hub, number }
    }

    /// State of the listener.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Filter of the listener.
    pub(crate) fn filter(&self) -> Arc<Filter> {
        Arc::clone(&self.listener.filter)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.listeners.borrow_mut().remove(&self.number);
    }
}

/// Listeners of one worker.
struct Hub {
    live: Arc<Live>,
    listeners: RefCell<BTreeMap<u64, Rc<Listener>>>,
    next_number: Cell<u64>,
}

thread_local! {
    static HUB: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
}

impl Hub {
    /// Hub of this worker, created and started on first use.
    fn of_this_worker(live: &Arc<Live>) -> Rc<Self> {
        HUB.with_borrow_mut(|hub_slot| {
            if let Some(hub) = hub_slot.as_ref().filter(|hub| Arc::ptr_eq(&hub.live, live)) {
                return Rc::clone(hub);
            }
            let hub = Rc::new(Self {
                live: Arc::clone(live),
                listeners: RefCell::default(),
                next_number: Cell::new(0),
            });
            spawn_local(Rc::clone(&hub).run());
            Rc::clone(hub_slot.insert(hub))
        })
    }

    async fn run(self: Rc<Self>) {
        let mut last = self.live.last.subscribe();
        let mut seen = *last.borrow_and_update();
        // The sender lives as long as this hub.
        while last.changed().await.is_ok() {
            seen = self.wake_listeners(seen).await;
        }
    }

    /// Wakes the listeners that get events of the changes after `seen`; returns the number of the last change
    /// checked.
    async fn wake_listeners(&self, seen: i64) -> i64 {
        let BatchesAfter { batches, after, last } = self.live.ring.after(seen);
        let (mut next, mut checked, mut woken) = (0, 0, 0);
        loop {
            let listener = {
                let listeners = self.listeners.borrow();
                let Some((number, listener)) = listeners.range(next..).next() else { return last };
                next = number + 1;
                Rc::clone(listener)
            };
            if listener.is_waiting.get() {
                checked += 1;
                let position = listener.position.get();
                let is_behind = position < seen.max(after);
                if is_behind
                    || batches.iter().any(|batch| batch.has_match(position, &listener.filter))
                {
                    woken += 1;
                    listener.is_waiting.set(false);
                    listener.wakeup.notify_one();
                } else {
                    listener.position.set(last.max(position));
                }
            }
            if woken >= WAKES_PER_TURN || checked >= CHECKS_PER_TURN {
                (woken, checked) = (0, 0);
                yield_now().await;
            }
        }
    }
}
