//! What is counted and measured while the service runs, for whoever watches it.
//!
//! Instruments are found once and then cost a few atomic operations; a label is a name from the
//! configuration or a word of this program, never anything that was sent. What can be looked up when
//! somebody asks is not counted here.

mod labels;
mod source;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use self::labels::{Became, Cause};
use self::labels::{Route, RouteAndStatus};
use self::source::{Counters, Families};
pub use self::source::{SourceHealth, SourceMetrics};
use crate::message::Timestamp;

/// What the name of every metric begins with.
pub const PREFIX: &str = "statusmirror";

/// All instruments of a process.
pub struct Metrics {
    registry: Registry,
    began: Timestamp,
    families: Families,
    sources: RwLock<HashMap<String, Arc<SourceMetrics>>>,
    /// Webhooks that were refused before it was known that they are for a source.
    refused: Counters<Cause>,
    requests: Family<RouteAndStatus, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    commits: Commits,
}

/// A source as it is configured.
pub struct Configured<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many secrets it has.
    pub secrets: usize,
    /// Whether it is another one than before under this name.
    pub changed: bool,
}

impl Metrics {
    /// The instruments of a process that begins now.
    pub fn new(began: Timestamp) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(version));
        let families = Families::register(&mut registry);
        let refused = families.refused_by_nobody();
        let requests = Family::default();
        registry.register(
            "api_requests",
            "Requests under /api and /ui by route and status of the answer",
            requests.clone(),
        );
        let request_seconds: Family<Route, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 4.0, 8)));
        registry.register_with_unit(
            "api_request_duration",
            "From a request's headers to its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let commits = Commits::default();
        registry.register(
            "commit_deliveries",
            "Deliveries that were committed together: the size of a batch",
            commits.deliveries.clone(),
        );
        registry.register(
            "commit_entries",
            "Entries of deliveries that were committed together",
            commits.entries.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "From the beginning of a batch's transaction until it is durable",
            Unit::Seconds,
            commits.seconds.clone(),
        );
        let sources = RwLock::default();
        Self { registry, began, families, sources, refused, requests, request_seconds, commits }
    }

    /// When the process began.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// From now on these are the sources. What was counted of one that is still there stays.
    pub fn configure<'a>(
        &self,
        configured: impl IntoIterator<Item = Configured<'a>>,
        now: Timestamp,
    ) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *sources);
        for Configured { name, secrets, changed } in configured {
            let known = before.remove(name);
            let source = match known {
                Some(known) if !changed => known,
                known => Arc::new(self.families.source(name, secrets, known.as_deref(), now)),
            };
            sources.insert(name.to_owned(), source);
        }
        for name in before.keys() {
            self.families.forget(name);
        }
    }

    /// Those of the source of this name; none if there is no such source.
    pub fn source(&self, name: &str) -> Option<Arc<SourceMetrics>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// A webhook was refused, which is for the source of this name, if it is known and there is one.
    pub fn refused(&self, source: Option<&str>, cause: Cause) {
        match source.and_then(|name| self.source(name)) {
            Some(source) => source.refused(cause),
            None => self.refused.add(cause),
        }
    }

    /// A request under this route was answered with this status.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RouteAndStatus { route, status }).inc();
        self.request_seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// Those of a store.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// How the sources are doing, by name; and how many webhooks were refused before it was known that they
    /// are for one, by cause.
    pub fn health(&self, now: Timestamp) -> (Vec<SourceHealth>, Vec<(&'static str, u64)>) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        let mut sources: Vec<_> =
            sources.iter().map(|(name, source)| source.health(name, now)).collect();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        (sources, self.refused.counted(Cause::name))
    }

    /// Adds all that was counted and measured to a text in the `OpenMetrics` format, without its end.
    pub fn write(&self, text: &mut String, now: Timestamp) -> fmt::Result {
        text::encode_registry(text, &self.registry)?;
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        text::encode_registry(text, &source::times(&sources, now))
    }
}

/// How a store commits.
#[derive(Debug, Clone)]
pub struct Commits {
    deliveries: Histogram,
    entries: Histogram,
    seconds: Histogram,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            deliveries: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            entries: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
        }
    }
}

impl Commits {
    /// So many deliveries with so many entries were committed together.
    pub fn committed(&self, deliveries: usize, entries: usize, took: Duration) {
        let number = |number| u32::try_from(number).map_or(f64::INFINITY, f64::from);
        self.deliveries.observe(number(deliveries));
        self.entries.observe(number(entries));
        self.seconds.observe(took.as_secs_f64());
    }
}
