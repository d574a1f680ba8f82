//! Late retries: deliveries with too old a signed time, whose entries may all be stored already.

use super::outcome::EntryResult;
use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::dialect::{self, DecodeError};
use crate::message::Outcome;

impl Ingest {
    /// Acknowledges an old delivery if every notification in it is stored already; rejects it otherwise. Some
    /// providers resend hours later with the first timestamp.
    pub(crate) async fn acknowledge_repeat(
        &self,
        read: Result<Vec<dialect::Entry>, DecodeError>,
    ) -> Result<Vec<EntryResult>, Rejection> {
        let Ok(read) = read else { return Err(Rejection::TooOld) };
        let mut entries = Vec::with_capacity(read.len());
        let mut notifications = Vec::with_capacity(read.len());
        for entry in read {
            entries.push(match entry {
                dialect::Entry::Notification { notification, .. } => {
                    let message = notification.statement().message;
                    notifications.push((message, notification.identity()));
                    Ok(message)
                }
                dialect::Entry::Ignored { reason } => Err(reason),
                dialect::Entry::Unreadable { .. } => return Err(Rejection::TooOld),
            });
        }
        if notifications.is_empty() || !self.store.holds(notifications).await? {
            return Err(Rejection::TooOld);
        }
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            results.push(match entry {
                Ok(message) => {
                    let status =
                        self.store.message(message).await?.map(|known| known.record.status);
                    EntryResult::Judged { message, outcome: Outcome::Duplicate, status }
                }
                Err(ignored) => EntryResult::Ignored { reason: ignored },
            });
        }
        Ok(results)
    }
}
