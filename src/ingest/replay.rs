//! Reading quarantined entries again.

use super::entries::{joined, split};
use super::{Done, Ingest, Refusal};
use crate::dialect::{self, NotEncoded};
use crate::store::{Delivery, Quarantined, StoreError};

impl Ingest {
    /// Reads a quarantined entry again with the present code and configuration, as if it arrived
    /// when it first did. It leaves the quarantine if it is understood now. The callback URL's own
    /// parameters count only if verification covered the URL when it arrived. Where that is not known, it is
    /// assumed of a source whose verification covers it today.
    pub async fn replay(&self, quarantined: Quarantined) -> Result<Done, Refusal> {
        let Quarantined { id, source: name, entry, content, url_covered, received_at, .. } =
            quarantined;
        let stays = |reason: String| Ok(Done::Quarantined { id, reason });
        let Some(source) = self.sources.get(&name) else {
            return stays(format!("source `{name}` is not configured"));
        };
        let url_covered = url_covered.unwrap_or_else(|| source.covers_url());
        let read = match source.read_again(&content, url_covered) {
            Ok(read) => read,
            Err(NotEncoded(reason)) => return stays(reason),
        };
        let wanted = usize::try_from(entry).ok().and_then(|entry| read.into_iter().nth(entry));
        let Some(wanted) = wanted else {
            return stays(format!("it has no entry {entry} any more"));
        };
        if let dialect::Entry::Unreadable { reason } = wanted {
            return stays(reason);
        }
        let (entries, ignored) = split(vec![wanted]);
        let delivery = Delivery {
            source: name,
            received_at,
            content: Some(content),
            url_covered,
            entries,
            replay_of: Some(id),
        };
        let stored = self.store(delivery, None).await?;
        joined(stored, ignored).pop().ok_or(Refusal::Store(StoreError::Stopped))
    }
}
