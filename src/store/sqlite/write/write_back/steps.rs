//! Steps of the write-back.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::progress::Step;
use super::rows::write_row;
use crate::message::{MessageId, Record};
use crate::store::sqlite::index::blocks;
use crate::store::sqlite::index::entry::IndexEntry;
use crate::store::sqlite::index::merge::MAX_PIECE_ENTRIES;
use crate::store::sqlite::index::new_run::NewRun;
use crate::store::sqlite::write::state::WriterState;

/// Maximum number of notifications that a start replays, per message that may be cached.
const NOTIFICATIONS_PER_MESSAGE: usize = 8;
/// Divisor for the part of the cache that is one batch: a quarter.
const BATCH_DIVISOR: usize = 4;
/// Divisor for the excess over the cache's limits that may stay until the next delivery: an eighth.
const SLACK_DIVISOR: usize = 8;
/// Steps that a message takes: its row, its eviction, and its part of the blocks of a run.
const MESSAGE_STEPS: usize = 3;
/// Entries of a message in the index.
const MESSAGE_ENTRIES: usize = 3;
/// Divisor for the part of all messages that is merged at a time, so that a block of the base takes several entries.
const BASE_DIVISOR: usize = 18;
/// Maximum number of messages for which one transaction takes all steps.
const TRANSACTION_MESSAGES: usize = 512;
/// Maximum number of steps in one transaction.
const TRANSACTION_STEPS: usize = TRANSACTION_MESSAGES * MESSAGE_STEPS;

/// Pace of the write-back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As messages arrive.
    Arrivals,
    /// As fast as possible, until the cache is within its limits.
    Limits,
    /// As fast as possible, until the whole cache is written back.
    All,
}

/// Advances the write-back by at most [`TRANSACTION_STEPS`]. To be called before anything is added. Returns the
/// number of steps.
pub(crate) fn advance(
    db: &Connection,
    state: &mut WriterState,
    pace: Pace,
) -> rusqlite::Result<u64> {
    count_arrivals(state);
    let mut left = match pace {
        Pace::Arrivals if !is_replay_long(state, 1) => {
            state.write_back.due_steps.min(TRANSACTION_STEPS)
        }
        Pace::Arrivals | Pace::Limits | Pace::All => TRANSACTION_STEPS,
    };
    let most = left;
    while left > 0 {
        if matches!(state.write_back.step, Step::None) && !begin_batch(state, pace) {
            break;
        }
        left -= advance_batch(db, state, left)?;
    }
    let steps = most - left;
    let write_back = &mut state.write_back;
    write_back.due_steps = if matches!(write_back.step, Step::None) {
        0
    } else {
        write_back.due_steps.saturating_sub(steps)
    };
    if pace == Pace::Arrivals {
        while merge_piece(db, state)? {}
        state.write_back.merge.delete_some(db)?;
    }
    if steps > 0 {
        db.prepare_cached("UPDATE progress SET without_number = ?")?
            .execute([state.counters.rows_without_destination])?;
    }
    Ok(u64::try_from(steps).unwrap_or(u64::MAX))
}

/// Moves a piece of the merge in progress, if it is due. Returns whether it was.
fn merge_piece(db: &Connection, state: &mut WriterState) -> rusqlite::Result<bool> {
    // A small cache has small runs.
    let piece = (state.limits.messages / BATCH_DIVISOR).clamp(1, MAX_PIECE_ENTRIES);
    let write_back = &mut state.write_back;
    let Some(runs) = write_back.merge.advance(db, &write_back.runs, piece)? else {
        return Ok(false);
    };
    write_back.runs = runs;
    Ok(true)
}

/// Moves a piece of the merge in progress, although it is not due. Returns 1, or 0 if there is none.
pub(crate) fn merge_more(db: &Connection, state: &mut WriterState) -> rusqlite::Result<u64> {
    state.write_back.merge.allow(MAX_PIECE_ENTRIES);
    state.write_back.merge.delete_some(db)?;
    merge_piece(db, state).map(u64::from)
}

/// Whether the cache exceeds its limits so far that it must be written back before anything is added.
pub(crate) fn exceeds_limits(state: &WriterState) -> bool {
    let cache = state.cache.read();
    let limits = state.limits;
    let batch = limits.messages / BATCH_DIVISOR + 1;
    let slack = limits.messages / SLACK_DIVISOR + TRANSACTION_MESSAGES;
    cache.len() > limits.messages + batch + slack
        || cache.bytes() > limits.bytes + limits.bytes / SLACK_DIVISOR
}

/// Counts the messages that arrived since the last call, and the steps that are due for them.
fn count_arrivals(state: &mut WriterState) {
    let unwritten = state.cache.read().unwritten();
    let last_seq = state.counters.last_seq;
    let write_back = &mut state.write_back;
    let new = unwritten.saturating_sub(write_back.unwritten);
    let logged = usize::try_from(last_seq - write_back.last_seq).unwrap_or(0);
    (write_back.unwritten, write_back.last_seq) = (unwritten, last_seq);
    // Where messages have very many notifications, it is those that fill the part that a start replays.
    let arrived = new.max(logged / NOTIFICATIONS_PER_MESSAGE);
    // An eighth more, so that a batch ends before the cache is full again.
    write_back.due_steps += arrived * MESSAGE_STEPS * 9 / 8;
    write_back.merge.allow((arrived * MESSAGE_ENTRIES * 9).div_ceil(8));
}

/// Whether a start would replay all notifications that it may, but one part in `divisor`; none, if that is 1.
fn is_replay_long(state: &WriterState, divisor: usize) -> bool {
    let most = state.limits.messages.saturating_mul(NOTIFICATIONS_PER_MESSAGE);
    let most = if divisor > 1 { most - most / divisor } else { most };
    let bound = state.counters.last_seq.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    let cache = state.cache.read();
    cache.oldest().next().is_some_and(|(_id, entry)| entry.since <= Some(bound))
}

/// Begins a batch of the oldest messages, if the cache exceeds its limits. Returns whether it did.
fn begin_batch(state: &mut WriterState, pace: Pace) -> bool {
    let is_replay_long = is_replay_long(state, BATCH_DIVISOR);
    let cache = state.cache.read();
    let is_due = pace == Pace::All
        || cache.unwritten() > state.limits.messages
        || cache.bytes() > state.limits.bytes
        || is_replay_long;
    if !is_due {
        return false;
    }
    let unwritten = cache.oldest().filter(|(id, _entry)| !state.changes.writes_back(*id));
    let mut sorted: Vec<_> = unwritten
        .take(state.limits.messages / BATCH_DIVISOR + 1)
        .map(|(id, entry)| {
            let record = entry.record.as_deref();
            let destination = record.and_then(|record| record.destination.as_ref());
            let number = destination.map(|claim| claim.value.number());
            (number, Reverse(record.map(Record::accepted_at)), id)
        })
        .collect();
    drop(cache);
    if sorted.is_empty() {
        return false;
    }
    // In lists the newest acceptance comes first.
    sorted.sort_unstable();
    state.write_back.step = Step::Rows {
        messages: sorted.into_iter().map(|(_number, _accepted_at, id)| id).collect(),
        done: 0,
        new: Arc::default(),
        entries: 0,
    };
    true
}

/// Advances the current batch by at most `most` steps; returns their number, at least 1.
fn advance_batch(db: &Connection, state: &mut WriterState, most: usize) -> rusqlite::Result<usize> {
    let step = state.write_back.step.clone();
    let (next, steps) = match step {
        Step::Rows { messages, done, new, entries } if done < messages.len() => {
            let part = messages.get(done..).unwrap_or_default();
            let part = part.get(..most.min(part.len())).unwrap_or_default();
            let entries = write_rows(db, state, part, &new, entries)?;
            (
                Step::Rows {
                    done: done + part.len(),
                    messages: Arc::clone(&messages),
                    new,
                    entries,
                },
                part.len(),
            )
        }
        Step::Rows { messages, new, entries, .. } => {
            let mut new = new.lock().unwrap_or_else(PoisonError::into_inner).clone();
            new.truncate(entries);
            (Step::Entries { messages, run: NewRun::new(new, &state.write_back.runs) }, 1)
        }
        Step::Entries { messages, mut run } if !run.is_complete() => {
            let removed = &state.write_back.removed;
            let added = run.add_next(db, most, |n| removed.contains(&n))?;
            (Step::Entries { messages, run }, added)
        }
        Step::Entries { messages, run } => {
            let finished = run.finish(db, &mut state.ids)?;
            record_progress(db, state)?;
            let merged_runs = merged_runs(state, messages.len());
            let write_back = &mut state.write_back;
            write_back.removed.clear();
            if let Some(run) = finished {
                write_back.runs = write_back.runs.and(run);
                write_back.merge.begin_if_many(&write_back.runs, merged_runs);
            }
            (Step::Eviction { messages, done: 0 }, 1)
        }
        Step::Eviction { messages, done } if done < messages.len() => {
            let part = messages.get(done..).unwrap_or_default();
            let part = part.get(..most.min(part.len())).unwrap_or_default();
            for id in part {
                // Unless a notification arrived since.
                if state.changes.entry(*id, &state.cache).is_some_and(|entry| entry.since.is_none())
                {
                    state.changes.remove(*id);
                }
            }
            (
                Step::Eviction { done: done + part.len(), messages: Arc::clone(&messages) },
                part.len(),
            )
        }
        Step::None | Step::Eviction { .. } => (Step::None, 1),
    };
    state.write_back.step = next;
    Ok(steps.max(1))
}

/// Number of runs at which they are merged: so many that a block of the base takes at least six of their entries.
/// Each run costs the queries that find entries in it.
fn merged_runs(state: &WriterState, batch: usize) -> usize {
    let messages = usize::try_from(state.counters.last_n).unwrap_or(usize::MAX);
    let (fewest, most) = (*state.index_runs.start(), *state.index_runs.end());
    messages.div_ceil(BASE_DIVISOR).div_ceil(batch.max(1)).clamp(fewest, most)
}

/// Writes the rows of these messages. Adds the index entries of new rows to `new`, of which `entries` count;
/// returns how many count then.
fn write_rows(
    db: &Connection,
    state: &mut WriterState,
    messages: &[MessageId],
    new: &Mutex<Vec<IndexEntry>>,
    entries: usize,
) -> rusqlite::Result<usize> {
    let mut new = new.lock().unwrap_or_else(PoisonError::into_inner);
    new.truncate(entries);
    for id in messages {
        let Some(entry) = state.changes.entry(*id, &state.cache) else { continue };
        let Some(_unwritten) = entry.since else { continue };
        let row = write_row(db, &mut state.counters.last_n, *id, &entry)?;
        state.counters.rows_without_destination += entry.without_destination();
        state.write_back.unwritten = state.write_back.unwritten.saturating_sub(1);
        if let Some(before) = &entry.row {
            let secret = state.write_back.runs.secret();
            let (before, after) =
                (before.index_entries(*id, secret), row.index_entries(*id, secret));
            let (gone, new) = (only_in(&before, &after), only_in(&after, &before));
            blocks::add_to_base(db, &new)?;
            state.delete_index_entries(db, &gone)?;
            state.changes.remove(*id);
        } else {
            new.extend(row.index_entries(*id, state.write_back.runs.secret()));
            // Cached until its entries count.
            state.changes.put(*id, entry.written(row));
        }
    }
    Ok(new.len())
}

/// The entries that are among these, but not among the others.
fn only_in(these: &[IndexEntry], others: &[IndexEntry]) -> Vec<IndexEntry> {
    these.iter().filter(|entry| !others.contains(entry)).copied().collect()
}

/// Records up to where the notification log is written back, and that all rows are in the index.
fn record_progress(db: &Connection, state: &WriterState) -> rusqlite::Result<()> {
    let next = {
        let cache = state.cache.read();
        let mut unwritten = cache.oldest().filter(|(id, _entry)| !state.changes.writes_back(*id));
        unwritten.next().and_then(|(_id, entry)| entry.since)
    };
    let written = next.map_or(state.counters.last_seq, |since| since - 1);
    db.prepare_cached("UPDATE progress SET folded = ?, indexed_n = ?")?
        .execute([written, state.counters.last_n])
        .map(drop)
}
