//! Commands and answers as they go over the socket, each a line of JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::store::{self, Purged, Quarantined};

/// What can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Everything in quarantine, oldest first, without bodies.
    List,
    /// One entry, whole.
    Show {
        /// Its name.
        id: String,
    },
    /// Reads entries again with the present code and configuration.
    Replay {
        /// Their names; none means all.
        ids: Vec<String>,
    },
    /// Removes all that names a number.
    Erase {
        /// The number, as E.164.
        destination: String,
    },
    /// Counts what [`Self::Erase`] would remove.
    CountErase {
        /// The number, as E.164.
        destination: String,
    },
    /// Removes that of which nothing has arrived for long.
    Prune {
        /// For how long, in seconds.
        older_than_seconds: u64,
    },
    /// Counts what [`Self::Prune`] would remove.
    CountPrune {
        /// For how long, in seconds.
        older_than_seconds: u64,
    },
    /// Counts what the daily purge leaves until an operator confirms a prune.
    CountWaiting,
    /// Copies the database.
    BackUp {
        /// The copy's path, which must not be there yet.
        file: PathBuf,
    },
    /// Reads API keys and sources again.
    Reload {
        /// Whether as many may be removed as the configuration does not have any more.
        confirmed: bool,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An entry in quarantine.
    Entry(Entry),
    /// Result of replaying one entry.
    Replayed {
        /// The entry's name.
        id: String,
        /// `quarantined` if it stays, `ignored`, or what it did to its message.
        outcome: String,
        /// Why it stays or is ignored.
        reason: Option<String>,
    },
    /// Counts of a prune or an erasure.
    Removed(Removed),
    /// How many messages and quarantined entries wait until an operator confirms a prune.
    Waiting(u64),
    /// The copy is whole and durable.
    BackedUp,
    /// API keys and sources are those of the configuration as it is now.
    Reloaded(Reloaded),
    /// The command could not be carried out.
    Error(String),
    /// Nothing more comes.
    End,
}

/// Sources and API keys that a reload changed; names separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// New sources and keys.
    pub added: String,
    /// Sources and keys that are gone.
    pub removed: String,
    /// Sources and keys that are others under the same name.
    pub changed: String,
    /// Settings that take effect at the next start.
    pub restart: String,
}

/// How much was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// How many messages.
    pub messages: u64,
    /// How many quarantined entries.
    pub quarantined: u64,
    /// Whether the WAL holds nothing of it any more.
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

/// A quarantined entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// Which source posted it.
    pub source: String,
    /// When it first arrived.
    pub received_at: String,
    /// How often it came.
    pub times: u32,
    /// What could not be understood.
    pub reason: String,
    /// Which entry of the delivery it is, from 0.
    pub entry: u32,
    /// The request's method.
    pub method: String,
    /// The request's query, without what proved it authentic.
    pub query: String,
    /// Whether verification covered the URL when it arrived; none if that is not known.
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
