//! State of the running server, for `statusmirror status`.

use serde::{Deserialize, Serialize};

use crate::message::Timestamp;
use crate::metrics::{RejectReason, SourceHealth};
use crate::store::Stats;

/// State of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Version of the server.
    pub version: String,
    /// Start time of the process.
    pub started_at: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Reason why no webhook can be stored now; `None` if one can.
    pub not_ready: Option<String>,
    /// Number of deliveries that wait for their commit.
    pub deliveries_in_flight: usize,
    /// Sources, ordered by name.
    pub sources: Vec<SourceStatus>,
    /// Webhooks rejected before their source was known, since the start.
    pub rejected_without_source: Vec<Rejected>,
    /// State of the store.
    pub store: StoreStatus,
}

/// State of a source since the start of the process or the addition of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Name of the source.
    pub name: String,
    /// Number of accepted webhooks.
    pub accepted: u64,
    /// Accepted webhooks per second. The server leaves it at 0; a client compares two answers.
    pub accepted_per_second: f64,
    /// Seconds since the last accepted webhook; `None` before the first one.
    pub seconds_since_accepted: Option<u64>,
    /// Rejected webhooks, by reason.
    pub rejected: Vec<Rejected>,
    /// Lead of the sender's clock over ours when it last signed a time, in seconds.
    pub clock_skew_seconds: Option<i64>,
}

/// Number of webhooks rejected for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Name of the reason, as in the metrics.
    pub reason: String,
    /// Number of webhooks.
    pub webhooks: u64,
}

/// Figures of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Size of the WAL, in bytes.
    pub wal_bytes: u64,
    /// Number of quarantined entries.
    pub quarantined: u64,
    /// Size of the quarantined entries, in bytes.
    pub quarantined_bytes: u64,
    /// Number of messages without a destination.
    pub without_destination: u64,
    /// Number of messages and quarantined entries that wait until a prune is confirmed.
    pub prune_waiting: u64,
    /// Acceptance time of the oldest message without a final status.
    pub oldest_unfinished: Option<String>,
}

/// Reasons for which webhooks were rejected.
pub(crate) fn rejected(counts: Vec<(RejectReason, u64)>) -> Vec<Rejected> {
    let counts = counts.into_iter().filter(|(_, webhooks)| *webhooks > 0);
    counts
        .map(|(reason, webhooks)| Rejected { reason: reason.name().to_owned(), webhooks })
        .collect()
}

impl From<SourceHealth> for SourceStatus {
    fn from(health: SourceHealth) -> Self {
        Self {
            name: health.name,
            accepted: health.accepted,
            accepted_per_second: 0.0,
            seconds_since_accepted: (health.accepted > 0)
                .then_some(health.since_accepted.as_secs()),
            rejected: rejected(health.rejected),
            clock_skew_seconds: health.clock_skew,
        }
    }
}

impl From<Stats> for StoreStatus {
    fn from(stats: Stats) -> Self {
        let oldest_unfinished: Option<Timestamp> = stats.oldest_unfinished;
        Self {
            database_bytes: stats.database_bytes,
            wal_bytes: stats.wal_bytes,
            quarantined: stats.quarantined,
            quarantined_bytes: stats.quarantined_bytes,
            without_destination: stats.without_destination,
            prune_waiting: stats.prune_waiting,
            oldest_unfinished: oldest_unfinished.map(|time| time.to_string()),
        }
    }
}
