//! Replay of quarantined entries.

use super::outcome::{EntryResult, entry_result, to_store_entries};
use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::dialect::{self, DecodeError};
use crate::store::{Delivery, Quarantined, StoreError};

impl Ingest {
    /// Reads a quarantined entry again with the present code and configuration, as of its first arrival. The
    /// entry leaves the quarantine if it is understood now. The callback URL's own parameters count only if
    /// verification covered the URL when the entry arrived. Where that is unknown, it is assumed of a source
    /// whose verification covers the URL today.
    pub async fn replay(&self, quarantined: Quarantined) -> Result<EntryResult, Rejection> {
        let Quarantined { id, source: name, entry, content, url_covered, received_at, .. } =
            quarantined;
        let stays_quarantined = |reason: String| Ok(EntryResult::Quarantined { id, reason });
        let Some(source) = self.sources.get(&name) else {
            return stays_quarantined(format!("source `{name}` is not configured"));
        };
        let url_covered = url_covered.unwrap_or_else(|| source.covers_url());
        let read = match source.read_stored(&content, url_covered) {
            Ok(read) => read,
            Err(DecodeError(reason)) => return stays_quarantined(reason),
        };
        let wanted = usize::try_from(entry).ok().and_then(|entry| read.into_iter().nth(entry));
        let Some(wanted) = wanted else {
            return stays_quarantined(format!("the raw payload no longer has an entry {entry}"));
        };
        if let dialect::Entry::Unreadable { reason } = wanted {
            return stays_quarantined(reason);
        }
        let entries = to_store_entries(vec![wanted]);
        let delivery = Delivery {
            source: name,
            received_at,
            content: Some(content),
            url_covered,
            entries,
            replay_of: Some(id),
        };
        let stored = self.store(delivery, None).await?;
        stored.into_iter().find_map(entry_result).ok_or(Rejection::Store(StoreError::Stopped))
    }
}
