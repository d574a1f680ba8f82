//! Registry of all instruments, and their text exposition.

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

use super::labels::PREFIX;
use super::labels::{RejectReason, RouteLabels, RouteStatusLabels};
use super::source;
use super::source::{Counters, Families, SourceHealth, SourceMetrics};
use crate::message::Timestamp;

/// All instruments of a process.
pub struct Metrics {
    registry: Registry,
    started_at: Timestamp,
    families: Families,
    sources: RwLock<HashMap<String, Arc<SourceMetrics>>>,
    /// Webhooks rejected before their source was known.
    rejected: Counters<RejectReason>,
    requests: Family<RouteStatusLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    commits: Commits,
}

/// Source as configured.
pub struct Configured<'a> {
    /// Name of the source.
    pub name: &'a str,
    /// Number of secrets.
    pub secrets: usize,
    /// Whether the source differs from the previous one of this name.
    pub changed: bool,
}

impl Metrics {
    /// Creates the instruments of a process that starts now.
    pub fn new(started_at: Timestamp) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(version));
        let families = Families::register(&mut registry);
        let rejected = families.without_source();
        let requests = Family::default();
        registry.register(
            "api_requests",
            "Requests under /api and /ui by route and status of the answer",
            requests.clone(),
        );
        let request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 4.0, 8)));
        registry.register_with_unit(
            "api_request_duration",
            "Time from a request's headers to its response",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let commits = Commits::default();
        registry.register(
            "commit_deliveries",
            "Deliveries per committed batch",
            commits.deliveries.clone(),
        );
        registry.register("commit_entries", "Entries per committed batch", commits.entries.clone());
        registry.register_with_unit(
            "commit_duration",
            "Time from the start of a batch's transaction until it is durable",
            Unit::Seconds,
            commits.seconds.clone(),
        );
        let sources = RwLock::default();
        Self {
            registry,
            started_at,
            families,
            sources,
            rejected,
            requests,
            request_seconds,
            commits,
        }
    }

    /// Start time of the process.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Sets the configured sources. Counters of a source that stays are kept.
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
            self.families.remove(name);
        }
    }

    /// Metrics of the source of this name; `None` if there is no such source.
    pub fn source(&self, name: &str) -> Option<Arc<SourceMetrics>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// Counts a rejected webhook, for the source of this name if it is known and exists.
    pub fn rejected(&self, source: Option<&str>, reason: RejectReason) {
        match source.and_then(|name| self.source(name)) {
            Some(source) => source.rejected(reason),
            None => self.rejected.add(reason),
        }
    }

    /// Counts an answered request under this route, with its status and duration.
    pub fn answered(&self, route: &'static str, status: u16, duration: Duration) {
        self.requests.get_or_create(&RouteStatusLabels { route, status }).inc();
        self.request_seconds.get_or_create(&RouteLabels { route }).observe(duration.as_secs_f64());
    }

    /// Commit metrics of the store.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Health of the sources, ordered by name; and the webhooks rejected before their source was known, by
    /// reason.
    pub fn health(&self, now: Timestamp) -> (Vec<SourceHealth>, Vec<(RejectReason, u64)>) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        let mut sources: Vec<_> =
            sources.iter().map(|(name, source)| source.health(name, now)).collect();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        (sources, self.rejected.counts())
    }

    /// Appends all metrics to a text in the `OpenMetrics` format, without the final `# EOF`.
    pub fn write(&self, text: &mut String) -> fmt::Result {
        text::encode_registry(text, &self.registry)?;
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        text::encode_registry(text, &source::last_seen_gauges(&sources))
    }
}

/// Commit metrics of a store: batch sizes and durations.
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
    /// Records one batch: its deliveries, its entries and its duration.
    pub fn committed(&self, deliveries: usize, entries: usize, duration: Duration) {
        let number = |number| u32::try_from(number).map_or(f64::INFINITY, f64::from);
        self.deliveries.observe(number(deliveries));
        self.entries.observe(number(entries));
        self.seconds.observe(duration.as_secs_f64());
    }
}
