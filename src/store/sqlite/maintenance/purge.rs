//! Purge: removal of messages and quarantined entries by age, and expiry of tombstones.
//!
//! The clock decides what is old, and a clock can be wrong. So the file keeps the cut-off of the last purge,
//! and the daily purge moves it by at most [`MAX_STEP_MICROS`] per run, however far the clock or the setting
//! has moved. Data older than the retention that the cut-off has not reached yet waits. So does data that
//! arrived before the last cut-off: it arrived under a clock that was behind. Both are counted, and are
//! removed at once when an operator confirms a prune. Tombstones have a cut-off of their own, which moves in
//! the same steps.
//!
//! Every message is examined: where a clock was wrong, the order of message numbers is not that of arrival.

use std::ops::AddAssign;

use rusqlite::Connection;

use super::erase::{
    Piece, TRANSACTION_REMOVALS, end_of_piece, messages_naming, quarantined_naming,
};
use crate::message::{Destination, MessageId, Timestamp};
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::message_id;
use crate::store::sqlite::rows::tombstones;
use crate::store::sqlite::write::remove_messages;
use crate::store::sqlite::write::state::WriterState;
use crate::store::sqlite::write::write_back::steps::{self, Pace};
use crate::store::sqlite::{SqliteStore, quarantine};
use crate::store::{DailyPurge, Purge, Purged, QuarantineId, StoreError};

/// Maximum step of a cut-off in one daily purge: 7 days, in microseconds.
const MAX_STEP_MICROS: i64 = 7 * 24 * 60 * 60 * 1_000_000;
/// Minimum time between two daily purges: 23 hours, in microseconds. Shorter than a day, so that a run is not
/// skipped because it began a little earlier than the one before.
const MIN_RUN_INTERVAL_MICROS: i64 = 23 * 60 * 60 * 1_000_000;
/// Earliest time that a correct clock can show: the start of 2025, in microseconds since 1970. A machine
/// without a battery for its clock starts in 1970.
const EARLIEST_CLOCK_MICROS: i64 = 1_735_689_600_000_000;
/// Messages examined in one read; each may have a long history.
const CHUNK_MESSAGES: i64 = 250;
/// Quarantined entries examined in one read, without their bodies.
const CHUNK_ENTRIES: u32 = 20_000;

/// Purge state kept in the file.
#[derive(Clone, Copy)]
struct PurgeState {
    /// Cut-off of the last purge.
    cutoff: Option<Timestamp>,
    /// Cut-off of tombstones.
    tombstones: Option<Timestamp>,
    /// Time of the last daily purge.
    ran_at: Option<Timestamp>,
    /// Arrival of the last notification.
    last_arrival: Option<Timestamp>,
}

/// Range of arrivals to purge: from `from` and before `before`. Other arrivals before `waits_before` wait.
#[derive(Clone, Copy)]
struct Range {
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    waits_before: Timestamp,
}

impl Range {
    fn contains(&self, arrival: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= arrival)
            && self.before.is_some_and(|before| arrival < before)
    }
}

/// Result of examining all messages and entries.
#[derive(Clone, Copy, Default)]
struct Examined {
    purged: Purged,
    waiting: Purged,
}

impl AddAssign for Purged {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.quarantined += more.quarantined;
    }
}

impl SqliteStore {
    /// See [`Store::prune`](crate::store::Store::prune).
    pub(crate) async fn purge_before(&self, before: Timestamp) -> Result<Purged, StoreError> {
        let range = Range { from: None, before: Some(before), waits_before: before };
        let purged = self.find_expired(range, true).await?.purged;
        let action = move |db: &Connection, state: &mut WriterState| {
            const MOVE_CUTOFF: &str =
                "UPDATE progress SET prune_cutoff = max(coalesce(prune_cutoff, ?1), ?1)";
            db.prepare_cached(MOVE_CUTOFF)?.execute([before])?;
            if let Some(waiting) = state.cache.counts.waiting() {
                let gone = purged.messages + purged.quarantined;
                state.cache.counts.set_waiting(waiting.saturating_sub(gone));
            }
            Ok(0)
        };
        self.run_action(Box::new(action)).await?;
        Ok(purged)
    }

    /// See [`Store::purge_daily`](crate::store::Store::purge_daily).
    pub(crate) async fn run_daily_purge(
        &self,
        retained_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError> {
        let state_before = self.readers.query(purge_state).await?;
        let clock_is_plausible = now.micros() >= EARLIEST_CLOCK_MICROS;
        let is_daily = clock_is_plausible && state_before.is_due(now);
        let is_first_since_start = self.cache.counts.waiting().is_none();
        if !(is_daily || is_first_since_start && retained_from.is_some()) {
            return Ok(None);
        }
        // At a start the cut-off may move by the time that has passed since the last daily purge.
        let is_small_step =
            clock_is_plausible && retained_from.is_some_and(|goal| state_before.is_near(goal, now));
        let is_due = is_daily || is_small_step;
        let mut daily = DailyPurge { is_due, ..DailyPurge::default() };
        let mut cutoff = state_before.cutoff;
        if let Some(goal) = retained_from {
            let next = state_before.cutoff.map(|cutoff| next_cutoff(cutoff, goal));
            let before = next.filter(|_| is_due);
            let range = Range { from: state_before.cutoff, before, waits_before: goal };
            let Examined { purged, waiting } = self.find_expired(range, is_due).await?;
            daily.purged = purged;
            daily.waiting = waiting;
            daily.is_first = state_before.cutoff.is_none() && waiting != Purged::default();
            cutoff = match next {
                Some(next) => Some(next),
                // There is nothing yet that a mistaken first retention could remove.
                None => Some(goal).filter(|_| !daily.is_first),
            };
        }
        let waiting = daily.waiting.messages + daily.waiting.quarantined;
        let tombstones = state_before.tombstones.or(state_before.last_arrival);
        let tombstones = tombstones.map_or(now, |cutoff| next_cutoff(cutoff, now));
        let action = move |db: &Connection, state: &mut WriterState| {
            state.cache.counts.set_waiting(waiting);
            if is_due {
                const SET_CUTOFF: &str =
                    "UPDATE progress SET prune_cutoff = coalesce(?, prune_cutoff)";
                db.prepare_cached(SET_CUTOFF)?.execute([cutoff])?;
            }
            if is_daily {
                const RECORD_RUN: &str = "UPDATE progress SET erased_cutoff = ?, pruned_at = ?";
                db.prepare_cached(RECORD_RUN)?.execute([tombstones, now])?;
                tombstones::delete_expired(db, tombstones)?;
                state.counters.any_erased = tombstones::any_exist(db)?;
            }
            Ok(0)
        };
        self.run_action(Box::new(action)).await?;
        Ok(Some(daily))
    }

    /// See [`Store::count_purge`](crate::store::Store::count_purge).
    pub(crate) async fn count(&self, what: Purge) -> Result<Purged, StoreError> {
        match what {
            Purge::Older(before) => {
                let range = Range { from: None, before: Some(before), waits_before: before };
                Ok(self.find_expired(range, false).await?.purged)
            }
            Purge::Destination(destination) => self.count_destination(destination).await,
        }
    }

    async fn count_destination(&self, destination: Destination) -> Result<Purged, StoreError> {
        let mut messages = std::collections::HashSet::new();
        let mut quarantined = 0;
        let mut after = 0;
        loop {
            let piece =
                self.readers.query(move |db| messages_naming(db, destination, after)).await?;
            messages.extend(piece.found);
            let Some(next) = piece.next else { break };
            after = next;
        }
        let mut after = 0;
        loop {
            let piece =
                self.readers.query(move |db| quarantined_naming(db, destination, after)).await?;
            quarantined += to_u64(piece.found.len());
            let Some(next) = piece.next else { break };
            after = next;
        }
        Ok(Purged { messages: to_u64(messages.len()), quarantined })
    }

    /// Examines all messages and entries, and removes those in the range if `removes` is set.
    async fn find_expired(&self, range: Range, removes: bool) -> Result<Examined, StoreError> {
        // Messages are found by their rows, so the whole cache is written back first.
        while self.run_action(Box::new(|db, state| steps::advance(db, state, Pace::All))).await? > 0
        {
        }
        let mut examined = Examined::default();
        let limit =
            range.before.map_or(range.waits_before, |before| before.max(range.waits_before));
        let mut after = 0;
        loop {
            let piece = self.readers.query(move |db| aged_messages(db, limit, after)).await?;
            let (found, waiting) = split(piece.found, range);
            examined.waiting += Purged { messages: waiting, quarantined: 0 };
            examined.purged.messages += match (removes, range.before) {
                (true, Some(before)) => self.remove_aged(found, before).await?,
                _ => to_u64(found.len()),
            };
            let Some(next) = piece.next else { break };
            after = next;
        }
        let mut after = 0;
        loop {
            let piece = self.readers.query(move |db| aged_entries(db, limit, after)).await?;
            let (found, waiting) = split(piece.found, range);
            examined.waiting += Purged { messages: 0, quarantined: waiting };
            examined.purged.quarantined +=
                if removes { self.remove_entries(found, None).await? } else { to_u64(found.len()) };
            let Some(next) = piece.next else { break };
            after = next;
        }
        Ok(examined)
    }

    /// Removes messages for which nothing has arrived since this time, checked again in the removing
    /// transaction.
    async fn remove_aged(
        &self,
        messages: Vec<MessageId>,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for messages in messages.chunks(TRANSACTION_REMOVALS) {
            let mut messages = messages.to_vec();
            let action = move |db: &Connection, state: &mut WriterState| {
                let mut fresh = Vec::new();
                for id in &messages {
                    let known = state.entry(db, *id)?;
                    let arrival = known.map(|known| arrival(db, known.last)).transpose()?;
                    if arrival.is_some_and(|arrival| arrival >= before) {
                        fresh.push(*id);
                    }
                }
                messages.retain(|id| !fresh.contains(id));
                remove_messages::remove(db, state, &messages, None)
            };
            removed += self.run_action(Box::new(action)).await?;
        }
        Ok(removed)
    }
}

impl PurgeState {
    /// Whether a day has passed since the last run. True also if the clock went back, because it may have
    /// been wrong at that run.
    fn is_due(&self, now: Timestamp) -> bool {
        self.ran_at.is_none_or(|ran_at| {
            now < ran_at || now.micros().saturating_sub(ran_at.micros()) >= MIN_RUN_INTERVAL_MICROS
        })
    }

    /// Whether the cut-off is no farther from the goal than the time since the last daily purge, so that
    /// neither the clock nor the retention has jumped. Without a cut-off nothing can be removed.
    fn is_near(&self, goal: Timestamp, now: Timestamp) -> bool {
        let (Some(cutoff), Some(ran_at)) = (self.cutoff, self.ran_at) else {
            return self.cutoff.is_none();
        };
        let passed = now.micros().saturating_sub(ran_at.micros());
        goal.micros().saturating_sub(cutoff.micros()) <= passed
    }
}

/// Cut-off after one run towards the goal. Moving back takes one run, because it removes nothing.
fn next_cutoff(cutoff: Timestamp, goal: Timestamp) -> Timestamp {
    let next = Timestamp::from_micros(cutoff.micros().saturating_add(MAX_STEP_MICROS));
    next.map_or(goal, |next| goal.min(next))
}

/// Splits into those in the range and those that wait; returns the first and counts the second.
fn split<T>(aged: Vec<(T, Timestamp)>, range: Range) -> (Vec<T>, u64) {
    let (mut found, mut waiting) = (Vec::new(), 0);
    for (one, arrival) in aged {
        if range.contains(arrival) {
            found.push(one);
        } else if arrival < range.waits_before {
            waiting += 1;
        }
    }
    (found, waiting)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn purge_state(db: &Connection) -> rusqlite::Result<PurgeState> {
    const SELECT: &str = "SELECT prune_cutoff, erased_cutoff, pruned_at, \
         (SELECT received_at FROM notification ORDER BY seq DESC LIMIT 1) FROM progress";
    db.prepare_cached(SELECT)?.query_row([], |row| {
        Ok(PurgeState {
            cutoff: row.get(0)?,
            tombstones: row.get(1)?,
            ran_at: row.get(2)?,
            last_arrival: row.get(3)?,
        })
    })
}

fn arrival(db: &Connection, seq: i64) -> rusqlite::Result<Timestamp> {
    db.prepare_cached("SELECT received_at FROM notification WHERE seq = ?")?
        .query_row([seq], |row| row.get(0))
}

/// Messages for which nothing has arrived since this time, with the last arrival of each.
fn aged_messages(
    db: &Connection,
    limit: Timestamp,
    after: i64,
) -> rusqlite::Result<Piece<(MessageId, Timestamp)>> {
    let Some(until) = end_of_piece(db, "message", "n", after, CHUNK_MESSAGES)? else {
        return Ok(Piece { found: Vec::new(), next: None });
    };
    let mut found = Vec::new();
    let mut select = db.prepare_cached("SELECT id, last FROM message WHERE n > ? AND n <= ?")?;
    let mut rows = select.query([after, until])?;
    while let Some(row) = rows.next()? {
        let last = row.get(1)?;
        let mut latest = arrival(db, last)?;
        // Usually the last notification is the latest. Under a clock that went back it need not be.
        if latest < limit {
            visit_backwards(db, last, "previous, received_at", |row| {
                latest = latest.max(row.get(1)?);
                Ok(())
            })?;
        }
        if latest < limit {
            found.push((message_id(row, 0)?, latest));
        }
    }
    Ok(Piece { found, next: Some(until) })
}

/// Quarantined entries that first arrived before this time, with the first arrival of each.
fn aged_entries(
    db: &Connection,
    limit: Timestamp,
    after: i64,
) -> rusqlite::Result<Piece<(QuarantineId, Timestamp)>> {
    let arrivals = quarantine::arrivals(db, after, CHUNK_ENTRIES)?;
    let next = arrivals.last().map(|arrival| arrival.place);
    let old = arrivals.into_iter().filter(|arrival| arrival.received_at < limit);
    Ok(Piece { found: old.map(|arrival| (arrival.id, arrival.received_at)).collect(), next })
}
