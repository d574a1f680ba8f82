//! Deliveries that are too old, of which everything may be stored already.

use std::sync::Arc;

use super::entries::{joined, split};
use super::{Done, Ingest, Refusal};
use crate::dialect::{self, NotEncoded};
use crate::message::Outcome;
use crate::store::{Entry, Stored};

impl Ingest {
    /// Some providers resend hours later with the first timestamp. An old delivery that says
    /// nothing new may be acknowledged.
    pub(super) async fn repeat(
        &self,
        read: Result<Vec<dialect::Entry>, NotEncoded>,
    ) -> Result<Vec<Done>, Refusal> {
        let Ok(read) = read else { return Err(Refusal::TooOld) };
        let (entries, ignored) = split(read);
        let mut said = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry::Notification { notification, .. } = entry else {
                return Err(Refusal::TooOld);
            };
            said.push((notification.statement().message, notification.identity()));
        }
        if said.is_empty() || !self.store.holds(said.clone()).await? {
            return Err(Refusal::TooOld);
        }
        let mut stored = Vec::with_capacity(said.len());
        for (message, _identity) in said {
            let record = self.store.message(message).await?.map(|known| Arc::new(known.record));
            let outcome = Outcome::Duplicate;
            stored.push(Stored::Judged { message, outcome, record, new: false });
        }
        Ok(joined(stored, ignored))
    }
}
