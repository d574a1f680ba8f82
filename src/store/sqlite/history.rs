//! Histories, read in parts. Runs on a read thread.
//!
//! A message's notifications are a chain from the last one back. It is walked once, for what has a fixed size. The
//! texts are read by number, no more of them than are wanted.

use rusqlite::{Connection, OptionalExtension, Row};

use super::fold::each_back_from;
use super::recent::Committed;
use super::row::{self, RECORD_COLUMNS, SAID_AGAIN, record_columns, said_columns};
use super::value::Coded;
use crate::message::MessageId;
use crate::store::{History, Part, Said, Step, is_api};

/// The history of a message, and this part of it whole.
pub(super) fn history(
    db: &Connection,
    recent: &Committed,
    id: MessageId,
    part: Part,
) -> rusqlite::Result<Option<History>> {
    const MESSAGE: &str = concat!("SELECT ", record_columns!(), ", last FROM message WHERE id = ?");
    let lately = recent.now().get(id).cloned();
    // One transaction, so that record and history belong together.
    let together = db.unchecked_transaction()?;
    let found = match lately {
        Some(entry) => Some((entry.record.as_deref().cloned(), entry.last)),
        None => together
            .prepare_cached(MESSAGE)?
            .query_row([id.as_bytes()], |row| {
                Ok((row::record(row)?, row.get::<_, i64>(RECORD_COLUMNS)?))
            })
            .optional()?,
    };
    let Some((record, last)) = found else { return Ok(None) };
    let mut steps = Vec::new();
    let read = each_back_from(&together, last, STEP_COLUMNS, |row| {
        if row.get::<_, i64>(1)? != SAID_AGAIN {
            steps.push(step(row)?);
        }
        Ok(())
    });
    // What was known lately may have been removed since.
    if read.optional()?.is_none() {
        return Ok(None);
    }
    steps.reverse();
    let (begin, end, bytes) = match part {
        Part::First { bytes } => (0, steps.len(), bytes),
        Part::Newest { count, before } => {
            let end = before
                .map_or(steps.len(), |before| steps.partition_point(|step| step.number < before));
            (end.saturating_sub(count), end, usize::MAX)
        }
    };
    let wanted = steps.get(begin..end).unwrap_or_default();
    let numbers: Vec<_> = wanted.iter().map(|step| step.number).collect();
    let said = notifications(&together, &numbers, bytes)?;
    Ok(said.map(|said| History { record, steps, said, begin }))
}

/// The notifications of these numbers, up to so many bytes of text; none if one of them is gone.
pub(super) fn notifications(
    db: &Connection,
    numbers: &[i64],
    bytes: usize,
) -> rusqlite::Result<Option<Vec<Said>>> {
    const SELECT: &str = concat!("SELECT ", said_columns!(), " FROM notification WHERE seq = ?");
    let mut select = db.prepare_cached(SELECT)?;
    let (mut all, mut read) = (Vec::new(), 0);
    for number in numbers {
        if read >= bytes {
            break;
        }
        let found = select.query_row([number], |row| row::said(row, 0)).optional()?;
        let Some(said) = found else { return Ok(None) };
        read += said.text_bytes();
        all.push(said);
    }
    Ok(Some(all))
}

const STEP_COLUMNS: &str = "previous, kind, seq, source, status, stated_at, received_at, outcome";

/// Reads a notification without its texts from [`STEP_COLUMNS`].
fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let (Coded(status), Coded(outcome)) = (row.get(4)?, row.get(7)?);
    Ok(Step {
        number: row.get(2)?,
        by_api: is_api(row.get_ref(3)?.as_str()?),
        status,
        stated_at: row.get(5)?,
        received_at: row.get(6)?,
        outcome,
    })
}
