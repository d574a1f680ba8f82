//! Admin protocol: one line of JSON for a command, and one for each part of its answer.
//!
//! Each command has a type of its own, which names the type of its replies.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::status::ServerStatus;
use crate::store::{self, Purged, Quarantined};

/// Admin command, with the type of the replies to it. A list or a replay has any number of replies, every
/// other command has one.
pub trait Request: Into<Command> {
    /// Reply to the command.
    type Reply: Serialize + DeserializeOwned;
}

/// Any admin command, as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the command of its name")]
pub enum Command {
    List(List),
    Show(Show),
    Replay(Replay),
    DropEntries(DropEntries),
    Erase(Erase),
    CountErase(CountErase),
    Prune(Prune),
    CountPrune(CountPrune),
    CountWaiting(CountWaiting),
    BackUp(BackUp),
    Reload(Reload),
    Status(Status),
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line<R> {
    /// Reply to the command.
    Reply(R),
    /// The command, or a part of it, failed for this reason.
    Error(String),
    /// End of the answer.
    End,
}

/// Makes a command of its arguments: the type, its reply, and its place in [`Command`].
macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* } -> $reply:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Request for $name {
            type Reply = $reply;
        }

        impl From<$name> for Command {
            fn from(request: $name) -> Self {
                Self::$name(request)
            }
        }
    };
}

request! {
    /// Lists the selected quarantined entries without bodies: oldest first, or in the order of the ids.
    List {
        /// Entries to list.
        selection: Selection,
    } -> Entry
}

request! {
    /// Shows one quarantined entry with its body.
    Show {
        /// Id of the entry.
        id: String,
    } -> Entry
}

request! {
    /// Replays quarantined entries with the present code and configuration.
    Replay {
        /// Entries to replay.
        selection: Selection,
    } -> Replayed
}

request! {
    /// Removes quarantined entries.
    DropEntries {
        /// Ids of the entries. An entry that is gone already is not counted.
        ids: Vec<String>,
    } -> Dropped
}

request! {
    /// Erases everything about a destination.
    Erase {
        /// Destination, as E.164.
        destination: String,
    } -> Removed
}

request! {
    /// Counts what [`Erase`] would remove.
    CountErase {
        /// Destination, as E.164.
        destination: String,
    } -> Removed
}

request! {
    /// Prunes messages and quarantined entries by age.
    Prune {
        /// Minimum age, in seconds.
        older_than_seconds: u64,
    } -> Removed
}

request! {
    /// Counts what [`Prune`] would remove.
    CountPrune {
        /// Minimum age, in seconds.
        older_than_seconds: u64,
    } -> Removed
}

request! {
    /// Counts the messages and entries that the daily purge leaves until an operator confirms a prune.
    CountWaiting {} -> Waiting
}

request! {
    /// Copies the database.
    BackUp {
        /// Path of the copy; no file may exist there.
        file: PathBuf,
    } -> BackedUp
}

request! {
    /// Reloads API keys, sources and the log level.
    Reload {
        /// Confirms that sources and keys missing from the configuration are removed, however many.
        confirmed: bool,
    } -> Reloaded
}

request! {
    /// Reports the state of the running server.
    Status {} -> ServerStatus
}

/// Selection of quarantined entries: those with these ids, or all that the filters match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Ids of the entries. If there is none, the filters select.
    pub ids: Vec<String>,
    /// Name of the source; `None`: every source.
    pub source: Option<String>,
    /// Part of the reason, in upper or lower case; `None`: every reason.
    pub reason: Option<String>,
}

/// Result of replaying one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Id of the entry.
    pub id: String,
    /// `quarantined` if the entry stays in quarantine, `ignored`, or the outcome for its message.
    pub outcome: String,
    /// Reason why the entry stays in quarantine or is ignored.
    pub reason: Option<String>,
    /// Whether the entry was understood, so that it left the quarantine.
    pub is_understood: bool,
}

/// Number of quarantined entries that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped(pub u64);

/// Number of messages and quarantined entries that wait until an operator confirms a prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting(pub u64);

/// The copy of the database is complete and durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp;

/// Sources, API keys and the log level that a reload changed; names separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Added sources and keys.
    pub added: String,
    /// Removed sources and keys.
    pub removed: String,
    /// Sources and keys whose definition changed under the same name, and `log.level` if the level changed.
    pub changed: String,
    /// Log level in effect.
    pub log_level: String,
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
