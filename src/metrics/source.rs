//! Counters and last-seen times of one source.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    EntryOutcome, OutcomeLabels, PREFIX, ReasonLabels, RejectReason, SecretLabels, SourceLabels,
};
use crate::message::Timestamp;

/// Upper bounds of the histogram of notification ages, in seconds: up to a day.
const AGE_BUCKETS: [f64; 14] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0];
/// Marks a value that is not measured yet.
const UNMEASURED_SKEW: i64 = i64::MIN;

/// Metric families of all sources.
pub(crate) struct Families {
    accepted: Family<SourceLabels, Counter>,
    notifications: Family<OutcomeLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    age: Family<SourceLabels, Histogram, fn() -> Histogram>,
}

impl Families {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            accepted: Family::default(),
            notifications: Family::default(),
            rejected: Family::default(),
            age: Family::new_with_constructor(|| Histogram::new(AGE_BUCKETS)),
        };
        registry.register(
            "webhooks_accepted",
            "Webhooks that were answered 200",
            families.accepted.clone(),
        );
        registry.register(
            "webhooks_rejected",
            "Webhooks that were rejected, by reason; without a source if none is known yet",
            families.rejected.clone(),
        );
        registry.register(
            "notifications",
            "Entries of accepted webhooks, by outcome",
            families.notifications.clone(),
        );
        registry.register_with_unit(
            "notification_age",
            "Age of new notifications at their arrival: the time since the status time that they state",
            Unit::Seconds,
            families.age.clone(),
        );
        families
    }

    /// Counters of webhooks rejected before their source is known.
    pub(crate) fn without_source(&self) -> Counters<RejectReason> {
        let reasons =
            RejectReason::ALL.into_iter().filter(|reason| reason.applies_without_source());
        self.rejections("", reasons)
    }

    fn rejections(
        &self,
        source: &str,
        reasons: impl Iterator<Item = RejectReason>,
    ) -> Counters<RejectReason> {
        Counters::new(reasons, |reason| {
            let labels = ReasonLabels { source: source.to_owned(), reason: reason.name() };
            self.rejected.get_or_create_owned(&labels)
        })
    }

    /// Metrics of the source of this name. Keeps the known values, except those of its secrets.
    pub(crate) fn source(
        &self,
        name: &str,
        secrets: usize,
        known: Option<&SourceMetrics>,
        now: Timestamp,
    ) -> SourceMetrics {
        let labels = SourceLabels { source: name.to_owned() };
        let reasons = RejectReason::ALL.into_iter().filter(|reason| reason.applies_to_source());
        let known_or = |number: fn(&SourceMetrics) -> &AtomicI64, otherwise| {
            AtomicI64::new(known.map_or(otherwise, |known| number(known).load(Ordering::Relaxed)))
        };
        SourceMetrics {
            accepted: self.accepted.get_or_create_owned(&labels),
            entries: Counters::new(EntryOutcome::all(), |outcome| {
                let labels = OutcomeLabels { source: name.to_owned(), outcome: outcome.name() };
                self.notifications.get_or_create_owned(&labels)
            }),
            rejected: self.rejections(name, reasons),
            age: self.age.get_or_create_owned(&labels),
            accepted_at: known_or(|known| &known.accepted_at, now.micros()),
            skew: known_or(|known| &known.skew, UNMEASURED_SKEW),
            verified_at: (0..secrets).map(|_| AtomicI64::new(now.micros())).collect(),
        }
    }

    /// Removes the metrics of a source that no longer exists.
    pub(crate) fn remove(&self, name: &str) {
        let source = name.to_owned();
        let labels = SourceLabels { source: source.clone() };
        self.accepted.remove(&labels);
        self.age.remove(&labels);
        for outcome in EntryOutcome::all() {
            let outcome = outcome.name();
            self.notifications.remove(&OutcomeLabels { source: source.clone(), outcome });
        }
        for reason in RejectReason::ALL {
            self.rejected.remove(&ReasonLabels { source: source.clone(), reason: reason.name() });
        }
    }
}

/// Counters, age histogram and last-seen times of one source.
pub struct SourceMetrics {
    accepted: Counter,
    entries: Counters<EntryOutcome>,
    rejected: Counters<RejectReason>,
    age: Histogram,
    /// Time of the last accepted webhook, in microseconds since 1970.
    accepted_at: AtomicI64,
    /// Lead of the sender's clock, in seconds; [`UNMEASURED_SKEW`] while unknown.
    skew: AtomicI64,
    /// Time of the last verification by each secret, in microseconds since 1970.
    verified_at: Vec<AtomicI64>,
}

impl SourceMetrics {
    /// Records a verified webhook: the index of the secret that verified it, if any, and its signed time in
    /// seconds, if stated.
    pub fn verified(&self, secret: Option<usize>, signed_at: Option<i64>, now: Timestamp) {
        if let Some(verified_at) = secret.and_then(|place| self.verified_at.get(place)) {
            verified_at.store(now.micros(), Ordering::Relaxed);
        }
        if let Some(signed_at) = signed_at {
            self.skew.store(signed_at.saturating_sub(now.seconds()), Ordering::Relaxed);
        }
    }

    /// Counts an accepted webhook and its entries.
    pub fn accepted(&self, entries: impl Iterator<Item = EntryOutcome>, now: Timestamp) {
        self.accepted.inc();
        self.accepted_at.store(now.micros(), Ordering::Relaxed);
        entries.for_each(|entry| self.entries.add(entry));
    }

    /// Counts a rejected webhook.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected.add(reason);
    }

    /// Records the age of a new notification: the time from its stated status time to now.
    pub fn observe_age(&self, stated_at: Timestamp, now: Timestamp) {
        self.age.observe(seconds_since(stated_at.micros(), now));
    }
}

/// Health of a source since the process started or the source was added.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceHealth {
    /// Name of the source.
    pub name: String,
    /// Number of accepted webhooks.
    pub accepted: u64,
    /// Number of entries of accepted webhooks, by every possible outcome.
    pub entries: Vec<(EntryOutcome, u64)>,
    /// Number of rejected webhooks, by reason.
    pub rejected: Vec<(RejectReason, u64)>,
    /// Time since the last accepted webhook; before the first one, since the source was configured or the
    /// process started.
    pub since_accepted: Duration,
    /// Lead of the sender's clock over ours when it last signed a time, in seconds.
    pub clock_skew: Option<i64>,
}

impl SourceMetrics {
    /// Health of the source of this name at `now`.
    pub(crate) fn health(&self, name: &str, now: Timestamp) -> SourceHealth {
        let skew = self.skew.load(Ordering::Relaxed);
        SourceHealth {
            name: name.to_owned(),
            accepted: self.accepted.get(),
            entries: self.entries.counts(),
            rejected: self.rejected.counts(),
            since_accepted: since(self.accepted_at.load(Ordering::Relaxed), now),
            clock_skew: (skew != UNMEASURED_SKEW).then_some(skew),
        }
    }
}

/// One counter for each label value.
pub(crate) struct Counters<T>(Vec<(T, Counter)>);

impl<T: Copy + PartialEq> Counters<T> {
    fn new(values: impl Iterator<Item = T>, counter: impl Fn(T) -> Counter) -> Self {
        Self(values.map(|value| (value, counter(value))).collect())
    }

    pub(crate) fn add(&self, word: T) {
        if let Some((_, counter)) = self.0.iter().find(|(other, _)| *other == word) {
            counter.inc();
        }
    }

    /// Count of each label value.
    pub(crate) fn counts(&self) -> Vec<(T, u64)> {
        self.0.iter().map(|(word, counter)| (*word, counter.get())).collect()
    }
}

/// Gauges of the times at which each source was last seen, and of its clock skew.
pub(crate) fn last_seen_gauges(sources: &HashMap<String, Arc<SourceMetrics>>) -> Registry {
    let accepted = Family::<SourceLabels, Gauge<f64, AtomicU64>>::default();
    let verified = Family::<SecretLabels, Gauge<f64, AtomicU64>>::default();
    let skew = Family::<SourceLabels, Gauge>::default();
    for (name, source) in sources {
        let labels = SourceLabels { source: name.clone() };
        let seconds = |time: &AtomicI64| {
            Timestamp::from_micros(time.load(Ordering::Relaxed))
                .map_or(0.0, Timestamp::unix_seconds)
        };
        accepted.get_or_create(&labels).set(seconds(&source.accepted_at));
        for (secret, verified_at) in (0..).zip(&source.verified_at) {
            let labels = SecretLabels { source: name.clone(), secret };
            verified.get_or_create(&labels).set(seconds(verified_at));
        }
        let measured = source.skew.load(Ordering::Relaxed);
        if measured != UNMEASURED_SKEW {
            skew.get_or_create(&labels).set(measured);
        }
    }
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_with_unit(
        "last_accepted_timestamp",
        "Time at which the last webhook of the source was accepted; before the first one, the time at which \
         the source was configured or the process began",
        Unit::Seconds,
        accepted,
    );
    registry.register_with_unit(
        "last_secret_verified_timestamp",
        "Time at which the secret with this index in the configuration (from 0) last verified a webhook; \
         before the first one, the time at which the source was configured or the process began",
        Unit::Seconds,
        verified,
    );
    registry.register_with_unit(
        "sender_clock_skew",
        "Lead of the sender's clock over ours when it last signed a webhook; below zero if it was behind, \
         or if a retry kept its first time",
        Unit::Seconds,
        skew,
    );
    registry
}

fn seconds_since(micros: i64, now: Timestamp) -> f64 {
    since(micros, now).as_secs_f64()
}

fn since(micros: i64, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.micros().saturating_sub(micros)).unwrap_or(0))
}
