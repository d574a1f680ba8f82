//! From the log to the listeners: one thread reads and renders, one task per worker wakes its listeners.
//!
//! A commit wakes the thread, not the listeners. The thread waits between two looks at the log, longer the more
//! listeners there are, so that one wake-up carries many events. A worker's task looks at what each of its
//! listeners wants and wakes only those that are given something, a few at a time: between them the worker
//! serves other requests.

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

use super::ring::{Behind, Next, Ring};
use super::{LOOK_INTERVAL, write_event};
use crate::http::places::{self, Places};
use crate::ingest::Ingest;
use crate::store::{Filter, Store, StoreError};

/// The longest time between two looks at the log.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The time after which the thread looks again when the log could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Listeners that are woken at a time.
const WAKES_TOGETHER: usize = 16;
/// Listeners whose filters are looked at at a time.
const LOOKS_TOGETHER: usize = 64;

/// All who listen to changes.
pub(crate) struct Live {
    pub(super) ring: Ring,
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    /// The latest change in the ring.
    last: watch::Sender<i64>,
    listeners: Places,
    has_thread: AtomicBool,
    /// Tells the thread that somebody listens again.
    wanted: Notify,
}

impl Live {
    /// Nobody listens yet, and at most so many may.
    pub(crate) fn new(store: &Arc<dyn Store>, ingest: &Arc<Ingest>, limit: usize) -> Arc<Self> {
        let last = store.latest_change().now();
        Arc::new(Self {
            ring: Ring::new(last),
            store: Arc::clone(store),
            ingest: Arc::clone(ingest),
            last: watch::Sender::new(last),
            listeners: Places::new(limit),
            has_thread: AtomicBool::new(false),
            wanted: Notify::new(),
        })
    }

    /// A place for one more listener; none if there are as many as there may be.
    pub(super) fn open(self: &Arc<Self>) -> Option<places::Place> {
        let place = self.listeners.take()?;
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
        self.wanted.notify_one();
        Some(place)
    }

    /// Reads the log for as long as somebody listens, until the service stops.
    async fn read(&self) {
        tokio::select! {
            () = self.ingest.closing.begins() => {}
            () = self.read_on() => {}
        }
    }

    async fn read_on(&self) {
        let mut latest = self.store.latest_change();
        let all = Arc::new(Filter::default());
        loop {
            if self.listeners.taken() == 0 {
                self.ring.restart(self.ring.last());
                self.wanted.notified().await;
                // Whoever came meanwhile reads the log up to here.
                self.ring.restart(latest.now());
                continue;
            }
            latest.exceeds(self.ring.last()).await;
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
                    // Listeners read on for themselves, and are told the reason if they cannot either.
                    tracing::warn!(%error, "events cannot be read for all listeners");
                    self.ring.restart(latest.now());
                    self.last.send_replace(self.ring.last());
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        let millis = u64::try_from(self.listeners.taken() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(millis).clamp(LOOK_INTERVAL, MAX_LOOK_INTERVAL)
    }
}

/// One who listens, as its worker knows it.
pub(super) struct Listener {
    filter: Arc<Filter>,
    /// All changes up to this number were looked at.
    position: Cell<i64>,
    /// Whether it waits to be woken.
    waits: Cell<bool>,
    woken: Notify,
}

impl Listener {
    /// All changes up to this number were looked at.
    pub(super) fn position(&self) -> i64 {
        self.position.get()
    }

    /// Goes on behind this number.
    pub(super) fn go_on(&self, position: i64) {
        self.position.set(position);
    }

    /// The next events for it.
    pub(super) fn next(&self, ring: &Ring) -> Next {
        ring.next(self.position.get(), &self.filter)
    }

    /// Waits until there are events for it, or it is behind the ring.
    pub(super) async fn wait(&self) {
        self.waits.set(true);
        self.woken.notified().await;
    }

    /// It is not woken any more.
    pub(super) fn stop_waiting(&self) {
        self.waits.set(false);
    }
}

/// A listener's place among those of its worker.
pub(super) struct Place {
    listener: Rc<Listener>,
    hub: Rc<Hub>,
    number: u64,
}

impl Place {
    /// A listener of this worker, behind this number.
    pub(super) fn new(live: &Arc<Live>, filter: Filter, position: i64) -> Self {
        let hub = Hub::here(live);
        let listener = Rc::new(Listener {
            filter: Arc::new(filter),
            position: Cell::new(position),
            waits: Cell::new(false),
            woken: Notify::new(),
        });
        let number = hub.number.get();
        hub.number.set(number + 1);
        hub.listeners.borrow_mut().insert(number, Rc::clone(&listener));
        Self { listener, hub, number }
    }

    /// The listener.
    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Its filter.
    pub(super) fn filter(&self) -> Arc<Filter> {
        Arc::clone(&self.listener.filter)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.listeners.borrow_mut().remove(&self.number);
    }
}

/// The listeners of one worker.
struct Hub {
    live: Arc<Live>,
    listeners: RefCell<BTreeMap<u64, Rc<Listener>>>,
    number: Cell<u64>,
}

thread_local! {
    static HUB: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
}

impl Hub {
    /// That of this worker, which begins now if there is none yet.
    fn here(live: &Arc<Live>) -> Rc<Self> {
        HUB.with_borrow_mut(|here| {
            if let Some(hub) = here.as_ref().filter(|hub| Arc::ptr_eq(&hub.live, live)) {
                return Rc::clone(hub);
            }
            let hub = Rc::new(Self {
                live: Arc::clone(live),
                listeners: RefCell::default(),
                number: Cell::new(0),
            });
            spawn_local(Rc::clone(&hub).run());
            Rc::clone(here.insert(hub))
        })
    }

    async fn run(self: Rc<Self>) {
        let mut last = self.live.last.subscribe();
        let mut seen = *last.borrow_and_update();
        // The sender is there for as long as this is.
        while last.changed().await.is_ok() {
            seen = self.wake(seen).await;
        }
    }

    /// Wakes those that are given something of what came behind this number; says up to where it looked.
    async fn wake(&self, seen: i64) -> i64 {
        let Behind { batches, after, last } = self.live.ring.behind(seen);
        let (mut next, mut looks, mut wakes) = (0, 0, 0);
        loop {
            let listener = {
                let listeners = self.listeners.borrow();
                let Some((number, listener)) = listeners.range(next..).next() else { return last };
                next = number + 1;
                Rc::clone(listener)
            };
            if listener.waits.get() {
                looks += 1;
                let position = listener.position.get();
                let is_behind = position < seen.max(after);
                if is_behind || batches.iter().any(|batch| batch.has(position, &listener.filter)) {
                    wakes += 1;
                    listener.waits.set(false);
                    listener.woken.notify_one();
                } else {
                    listener.position.set(last.max(position));
                }
            }
            if wakes >= WAKES_TOGETHER || looks >= LOOKS_TOGETHER {
                (wakes, looks) = (0, 0);
                yield_now().await;
            }
        }
    }
}
