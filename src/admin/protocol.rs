//! Admin protocol: commands and answers, one line of JSON each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::store::{self, Purged, Quarantined};

/// Admin command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Lists all quarantined entries, oldest first, without bodies.
    List,
    /// Shows one entry with its body.
    Show {
        /// Id of the entry.
        id: String,
    },
    /// Replays entries with the present code and configuration.
    Replay {
        /// Ids of the entries; an empty list means all.
        ids: Vec<String>,
    },
    /// Erases everything about a destination.
    Erase {
        /// Destination, as E.164.
        destination: String,
    },
    /// Counts what [`Self::Erase`] would remove.
    CountErase {
        /// Destination, as E.164.
        destination: String,
    },
    /// Prunes messages and quarantined entries by age.
    Prune {
        /// Minimum age, in seconds.
        older_than_seconds: u64,
    },
    /// Counts what [`Self::Prune`] would remove.
    CountPrune {
        /// Minimum age, in seconds.
        older_than_seconds: u64,
    },
    /// Counts the messages and entries that the daily purge leaves until an operator confirms a prune.
    CountWaiting,
    /// Copies the database.
    BackUp {
        /// Path of the copy; no file may exist there.
        file: PathBuf,
    },
    /// Reloads API keys and sources.
    Reload {
        /// Confirms that sources and keys missing from the configuration are removed, however many.
        confirmed: bool,
    },
}

/// One line of an answer to an admin command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Quarantined entry.
    Entry(Entry),
    /// Result of replaying one entry.
    Replayed {
        /// Id of the entry.
        id: String,
        /// `quarantined` if the entry stays in quarantine, `ignored`, or the outcome for its message.
        outcome: String,
        /// Reason why the entry stays in quarantine or is ignored.
        reason: Option<String>,
    },
    /// Counts of a prune or an erasure.
    Removed(Removed),
    /// Number of messages and quarantined entries that wait until an operator confirms a prune.
    Waiting(u64),
    /// The copy is complete and durable.
    BackedUp,
    /// API keys and sources are those of the present configuration.
    Reloaded(Reloaded),
    /// The command failed, for this reason.
    Error(String),
    /// End of the answer.
    End,
}

/// Sources and API keys that a reload changed; names separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Added sources and keys.
    pub added: String,
    /// Removed sources and keys.
    pub removed: String,
    /// Sources and keys whose definition changed under the same name.
    pub changed: String,
    /// Settings that take effect at the next start.
    pub restart: String,
}

/// Counts of a prune or an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Number of messages removed.
    pub messages: u64,
    /// Number of quarantined entries removed.
    pub quarantined: u64,
    /// Whether the WAL no longer holds any of the removed data.
    pub wal_emptied: bool,
}

impl From<store::Removed> for Removed {
    fn from(removed: store::Removed) -> Self {
        let store::Removed { messages, quarantined, wal_emptied } = removed;
        Self { messages, quarantined, wal_emptied }
    }
}

impl From<Purged> for Removed {
    fn from(Purged { messages, quarantined }: Purged) -> Self {
        Self { messages, quarantined, wal_emptied: false }
    }
}

/// Quarantined entry as the admin socket shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Id of the entry.
    pub id: String,
    /// Source that posted it.
    pub source: String,
    /// Time of its first arrival.
    pub received_at: String,
    /// Number of arrivals.
    pub times: u32,
    /// Reason why it was not understood.
    pub reason: String,
    /// Index of the entry in its delivery, from 0.
    pub entry: u32,
    /// The request's method.
    pub method: String,
    /// The request's query, without its credentials.
    pub query: String,
    /// Whether verification covered the URL when the entry arrived; `None` if unknown.
    pub url_covered: Option<bool>,
    /// The request's content type.
    pub content_type: Option<String>,
    /// The request's body; empty in a list.
    pub body: Vec<u8>,
}

impl From<Quarantined> for Entry {
    fn from(row: Quarantined) -> Self {
        Self {
            id: row.id.to_string(),
            source: row.source,
            received_at: row.received_at.to_string(),
            times: row.times,
            reason: row.reason,
            entry: row.entry,
            method: row.content.method,
            query: row.content.query,
            url_covered: row.url_covered,
            content_type: row.content.content_type,
            body: row.content.body,
        }
    }
}
