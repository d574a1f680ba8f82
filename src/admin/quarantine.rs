//! Admin commands about the quarantine.

use super::protocol::{DropEntries, Dropped, List, Replay, Replayed, Selection, Show};
use super::service::{Admin, Lines, Reply, error_chain};
use crate::ingest::EntryResult;
use crate::store::{QuarantineId, Quarantined};

/// Quarantined entries read at a time; each may have a long query.
const PAGE_ENTRIES: u32 = 16;

impl Admin {
    /// Sends the selected entries without bodies: oldest first, or in the order of the ids.
    pub(crate) async fn list(&self, List { selection }: List, lines: &Lines) {
        for id in &selection.ids {
            if !lines.reply::<List>(self.entry_without_body(id).await).await {
                return;
            }
        }
        if !selection.ids.is_empty() {
            return;
        }
        let filter = Filter::new(selection);
        let mut after = 0;
        loop {
            let rows = match self.page(after).await {
                Ok(rows) => rows,
                Err(error) => return lines.only_reply::<List>(Err(error)).await,
            };
            let Some(last) = rows.last() else { return };
            after = last.place;
            for row in rows.into_iter().filter(|row| filter.matches(row)) {
                if !lines.reply::<List>(Ok(row.into())).await {
                    return;
                }
            }
        }
    }

    async fn entry_without_body(&self, id: &str) -> Reply<List> {
        let mut entry = self.entry(parse_id(id)?).await?;
        entry.content.body.clear();
        Ok(entry.into())
    }

    pub(crate) async fn show(&self, Show { id }: Show) -> Reply<Show> {
        Ok(self.entry(parse_id(&id)?).await?.into())
    }

    /// Replays the selected entries. An error with one entry does not stop the others.
    pub(crate) async fn replay_each(&self, Replay { selection }: Replay, lines: &Lines) {
        for id in &selection.ids {
            let replayed = match parse_id(id) {
                Ok(id) => self.replay(id).await,
                Err(error) => Err(error),
            };
            if !lines.reply::<Replay>(replayed).await {
                return;
            }
        }
        if !selection.ids.is_empty() {
            return;
        }
        // The ids are collected first, because a replay may move an entry to another place.
        match self.matching_ids(&Filter::new(selection)).await {
            Ok(ids) => {
                for id in ids {
                    if !lines.reply::<Replay>(self.replay(id).await).await {
                        return;
                    }
                }
            }
            Err(error) => lines.only_reply::<Replay>(Err(error)).await,
        }
    }

    /// Removes the named entries, or none if an id is invalid.
    pub(crate) async fn drop_entries(
        &self,
        DropEntries { ids }: DropEntries,
    ) -> Reply<DropEntries> {
        let ids: Vec<_> = ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        let dropped = self.store.drop_quarantined(ids).await;
        Ok(Dropped(dropped.map_err(|error| error_chain(&error))?))
    }

    /// Next page of entries after this place.
    async fn page(&self, after: i64) -> Result<Vec<Quarantined>, String> {
        self.store.quarantine(after, PAGE_ENTRIES).await.map_err(|error| error_chain(&error))
    }

    /// Ids of the entries that match.
    async fn matching_ids(&self, filter: &Filter) -> Result<Vec<QuarantineId>, String> {
        let (mut ids, mut after) = (Vec::new(), 0);
        loop {
            let rows = self.page(after).await?;
            let Some(last) = rows.last() else { return Ok(ids) };
            after = last.place;
            ids.extend(rows.iter().filter(|row| filter.matches(row)).map(|row| row.id));
        }
    }

    async fn entry(&self, id: QuarantineId) -> Result<Quarantined, String> {
        let row = self.store.quarantined(id).await.map_err(|error| error_chain(&error))?;
        row.ok_or_else(|| unknown_id(&id.to_string()))
    }

    async fn replay(&self, id: QuarantineId) -> Reply<Replay> {
        let row = self.entry(id).await?;
        let done = self.ingest.replay(row).await;
        let done = done.map_err(|error| format!("{id}: {}", error_chain(&error)))?;
        let outcome = done.outcome().name().to_owned();
        let is_understood = !matches!(done, EntryResult::Quarantined { .. });
        let reason = match done {
            EntryResult::Judged { .. } => None,
            EntryResult::Quarantined { reason, .. } | EntryResult::Ignored { reason } => {
                Some(reason)
            }
        };
        Ok(Replayed { id: id.to_string(), outcome, reason, is_understood })
    }
}

/// Filter of quarantined entries.
struct Filter {
    source: Option<String>,
    /// Part of the reason, in lower case.
    reason: Option<String>,
}

impl Filter {
    fn new(Selection { source, reason, .. }: Selection) -> Self {
        Self { source, reason: reason.map(|reason| reason.to_lowercase()) }
    }

    fn matches(&self, entry: &Quarantined) -> bool {
        self.source.as_ref().is_none_or(|source| entry.source == *source)
            && self.reason.as_ref().is_none_or(|part| entry.reason.to_lowercase().contains(part))
    }
}

fn parse_id(id: &str) -> Result<QuarantineId, String> {
    QuarantineId::parse(id).ok_or_else(|| unknown_id(id))
}

fn unknown_id(id: &str) -> String {
    format!("no quarantined entry has the id {id}; see `statusmirror quarantine list`")
}
