//! What is counted of a source, and when it was last heard of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::PREFIX;
use super::labels::{Became, Cause, OfCause, OfOutcome, OfSecret, OfSource};
use crate::message::Timestamp;

/// The ages of notifications that are told apart, in seconds: up to a day.
const AGES: [f64; 14] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0];
/// That there is no such number yet.
const NONE: i64 = i64::MIN;

/// What is counted of all sources.
pub(super) struct Families {
    accepted: Family<OfSource, Counter>,
    notifications: Family<OfOutcome, Counter>,
    refused: Family<OfCause, Counter>,
    age: Family<OfSource, Histogram, fn() -> Histogram>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            accepted: Family::default(),
            notifications: Family::default(),
            refused: Family::default(),
            age: Family::new_with_constructor(|| Histogram::new(AGES)),
        };
        registry.register(
            "webhooks_accepted",
            "Webhooks that were answered 200",
            families.accepted.clone(),
        );
        registry.register(
            "webhooks_refused",
            "Webhooks that were not, by cause; without a source if there is none or nobody looked",
            families.refused.clone(),
        );
        registry.register(
            "notifications",
            "Entries of webhooks that were accepted, by what became of them",
            families.notifications.clone(),
        );
        registry.register_with_unit(
            "notification_age",
            "From the time that a notification states for its status to its arrival, if it is new",
            Unit::Seconds,
            families.age.clone(),
        );
        families
    }

    /// The counters of what is refused before it is known to be for a source.
    pub(super) fn refused_by_nobody(&self) -> Counters<Cause> {
        let causes = Cause::ALL.into_iter().filter(|cause| cause.needs_no_source());
        self.refusals("", causes)
    }

    fn refusals(&self, source: &str, causes: impl Iterator<Item = Cause>) -> Counters<Cause> {
        Counters::new(causes, |cause| {
            let labels = OfCause { source: source.to_owned(), cause: cause.name() };
            self.refused.get_or_create_owned(&labels)
        })
    }

    /// Those of the source of this name. What was known of it stays, but for its secrets.
    pub(super) fn source(
        &self,
        name: &str,
        secrets: usize,
        known: Option<&SourceMetrics>,
        now: Timestamp,
    ) -> SourceMetrics {
        let of_source = OfSource { source: name.to_owned() };
        let causes = Cause::ALL.into_iter().filter(|cause| cause.needs_source());
        let kept = |number: fn(&SourceMetrics) -> &AtomicI64, otherwise| {
            AtomicI64::new(known.map_or(otherwise, |known| number(known).load(Ordering::Relaxed)))
        };
        SourceMetrics {
            accepted: self.accepted.get_or_create_owned(&of_source),
            entries: Counters::new(Became::all(), |became| {
                let labels = OfOutcome { source: name.to_owned(), outcome: became.name() };
                self.notifications.get_or_create_owned(&labels)
            }),
            refused: self.refusals(name, causes),
            age: self.age.get_or_create_owned(&of_source),
            accepted_at: kept(|known| &known.accepted_at, now.micros()),
            skew: kept(|known| &known.skew, NONE),
            verified_at: (0..secrets).map(|_| AtomicI64::new(now.micros())).collect(),
        }
    }

    /// There is no source of this name any more.
    pub(super) fn forget(&self, name: &str) {
        let source = name.to_owned();
        let of_source = OfSource { source: source.clone() };
        self.accepted.remove(&of_source);
        self.age.remove(&of_source);
        for became in Became::all() {
            let outcome = became.name();
            self.notifications.remove(&OfOutcome { source: source.clone(), outcome });
        }
        for cause in Cause::ALL {
            self.refused.remove(&OfCause { source: source.clone(), cause: cause.name() });
        }
    }
}

/// What is counted and measured of one source.
pub struct SourceMetrics {
    accepted: Counter,
    entries: Counters<Became>,
    refused: Counters<Cause>,
    age: Histogram,
    /// In microseconds since 1970, as the others.
    accepted_at: AtomicI64,
    /// In seconds.
    skew: AtomicI64,
    /// For each secret.
    verified_at: Vec<AtomicI64>,
}

impl SourceMetrics {
    /// A webhook was proven to be authentic by the secret in this place, if it has any, and was signed
    /// at this time, in seconds, if that was said.
    pub fn verified(&self, secret: Option<usize>, signed_at: Option<i64>, now: Timestamp) {
        if let Some(verified_at) = secret.and_then(|place| self.verified_at.get(place)) {
            verified_at.store(now.micros(), Ordering::Relaxed);
        }
        if let Some(signed_at) = signed_at {
            self.skew.store(signed_at.saturating_sub(now.seconds()), Ordering::Relaxed);
        }
    }

    /// A webhook was accepted.
    pub fn accepted(&self, entries: impl Iterator<Item = Became>, now: Timestamp) {
        self.accepted.inc();
        self.accepted_at.store(now.micros(), Ordering::Relaxed);
        entries.for_each(|entry| self.entries.add(entry));
    }

    /// A webhook was refused.
    pub fn refused(&self, cause: Cause) {
        self.refused.add(cause);
    }

    /// Something new was said, of a status that the message had since this time.
    pub fn said(&self, stated_at: Timestamp, now: Timestamp) {
        self.age.observe(seconds_since(stated_at.micros(), now));
    }
}

/// How a source is doing, since the process began or since it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceHealth {
    /// The source's name.
    pub name: String,
    /// How many webhooks were accepted.
    pub accepted: u64,
    /// How many entries of those became what, of all there is to become.
    pub entries: Vec<(&'static str, u64)>,
    /// How many webhooks were refused, by cause.
    pub refused: Vec<(&'static str, u64)>,
    /// How long ago the last webhook was accepted; before the first one, since the source is there.
    pub since_accepted: Duration,
    /// How far ahead of ours the sender's clock was when it last signed a time, in seconds.
    pub clock_skew: Option<i64>,
}

impl SourceMetrics {
    /// How the source of this name is doing now.
    pub(super) fn health(&self, name: &str, now: Timestamp) -> SourceHealth {
        let skew = self.skew.load(Ordering::Relaxed);
        SourceHealth {
            name: name.to_owned(),
            accepted: self.accepted.get(),
            entries: self.entries.counted(Became::name),
            refused: self.refused.counted(Cause::name),
            since_accepted: since(self.accepted_at.load(Ordering::Relaxed), now),
            clock_skew: (skew != NONE).then_some(skew),
        }
    }
}

/// A counter for each of some words.
pub(super) struct Counters<T>(Vec<(T, Counter)>);

impl<T: Copy + PartialEq> Counters<T> {
    fn new(words: impl Iterator<Item = T>, counter: impl Fn(T) -> Counter) -> Self {
        Self(words.map(|word| (word, counter(word))).collect())
    }

    pub(super) fn add(&self, word: T) {
        if let Some((_, counter)) = self.0.iter().find(|(other, _)| *other == word) {
            counter.inc();
        }
    }

    /// What was counted of each word.
    pub(super) fn counted(&self, name: fn(T) -> &'static str) -> Vec<(&'static str, u64)> {
        self.0.iter().map(|(word, counter)| (name(*word), counter.get())).collect()
    }
}

/// When the sources were last heard of, as it is now.
pub(super) fn times(sources: &HashMap<String, Arc<SourceMetrics>>, now: Timestamp) -> Registry {
    let accepted = Family::<OfSource, Gauge<f64, AtomicU64>>::default();
    let verified = Family::<OfSecret, Gauge<f64, AtomicU64>>::default();
    let skew = Family::<OfSource, Gauge>::default();
    for (name, source) in sources {
        let of_source = OfSource { source: name.clone() };
        let since = |time: &AtomicI64| seconds_since(time.load(Ordering::Relaxed), now);
        accepted.get_or_create(&of_source).set(since(&source.accepted_at));
        for (secret, verified_at) in (0..).zip(&source.verified_at) {
            let labels = OfSecret { source: name.clone(), secret };
            verified.get_or_create(&labels).set(since(verified_at));
        }
        let measured = source.skew.load(Ordering::Relaxed);
        if measured != NONE {
            skew.get_or_create(&of_source).set(measured);
        }
    }
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_with_unit(
        "since_accepted",
        "Since the last webhook of the source was accepted; before the first one since the source was \
         configured or the process began",
        Unit::Seconds,
        accepted,
    );
    registry.register_with_unit(
        "since_secret_verified",
        "Since the secret in this place of the configuration, from 0, last proved a webhook; before \
         the first one since the source was configured so or the process began",
        Unit::Seconds,
        verified,
    );
    registry.register_with_unit(
        "sender_clock_skew",
        "The time that the last authentic webhook was signed at, less that of its arrival: above zero \
         the sender's clock is ahead; a retry that keeps its first time is below",
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
