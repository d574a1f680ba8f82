//! Costs of finding messages.

use anyhow::{Result, ensure};
use fastrand::Rng;
use rusqlite::{Connection, ToSql};

use crate::entry::{BASE, DESTINATION, ID};
use crate::layout::Layout;
use crate::measure::cpu;
use crate::message::random_id;
use crate::store::Store;

/// Number of times that each query is executed.
const EXECUTIONS: u32 = 100_000;

/// Costs of finding a present id, an absent id, and the messages to a destination, in microseconds of CPU; nothing
/// if the layout has no index. All runs are read. The store has filters, which rule out most runs, so for its layout
/// also the cost with the base alone is measured.
pub(crate) fn read_costs(store: &Store) -> Result<Vec<(&'static str, f64)>> {
    let Some((by_id, list)) = queries(store.layout(), &store.runs()) else { return Ok(Vec::new()) };
    let samples = store.samples();
    let mut present = samples.iter().cycle();
    let mut destinations = samples.iter().cycle();
    let mut random = Rng::with_seed(2);

    let (present_cost, found) =
        cost(store.db(), &by_id, || present.next().map(|sample| sample.id))?;
    ensure!(found == EXECUTIONS, "{found} of {EXECUTIONS} present ids were found");
    let (absent_cost, found) = cost(store.db(), &by_id, || Some(random_id(&mut random)))?;
    ensure!(found == 0, "{found} absent ids were found");
    let (list_cost, found) =
        cost(store.db(), &list, || destinations.next().map(|sample| sample.destination))?;
    ensure!(found >= EXECUTIONS, "{EXECUTIONS} lists have {found} messages");
    let mut costs = vec![
        ("find a present id", present_cost),
        ("find an absent id", absent_cost),
        ("list the messages to a destination", list_cost),
    ];
    if store.layout() == Layout::Runs
        && let Some((in_base, _list)) = queries(store.layout(), &[BASE])
    {
        let (base_cost, _found) = cost(store.db(), &in_base, || Some(random_id(&mut random)))?;
        costs.push(("find an absent id in the base alone", base_cost));
    }
    Ok(costs)
}

/// Queries of these runs by id, and of the newest messages to a destination: a page of 50, and whether there are
/// more.
fn queries(layout: Layout, runs: &[i64]) -> Option<(String, String)> {
    match layout {
        Layout::None => None,
        Layout::Indexes => Some((
            "SELECT n FROM message WHERE id = ?".to_owned(),
            "SELECT n FROM message INDEXED BY message_by_destination WHERE destination = ? \
             ORDER BY list_order LIMIT 51"
                .to_owned(),
        )),
        Layout::Sorted | Layout::Tiers | Layout::Runs => {
            let runs: Vec<_> = runs.iter().map(ToString::to_string).collect();
            let entries = format!("FROM message_index WHERE run IN ({})", runs.join(", "));
            Some((
                format!("SELECT n {entries} AND kind = {ID} AND key = ?"),
                format!(
                    "SELECT n {entries} AND kind = {DESTINATION} AND key = ? \
                     ORDER BY list_order LIMIT 51"
                ),
            ))
        }
    }
}

/// CPU time of each execution of a query in microseconds, and the number of rows that all of them found.
fn cost<K: ToSql>(
    db: &Connection,
    query: &str,
    mut next_key: impl FnMut() -> Option<K>,
) -> Result<(f64, u32)> {
    let mut statement = db.prepare(query)?;
    let mut found = 0;
    let before = cpu()?;
    for _ in 0..EXECUTIONS {
        let mut rows = statement.query([next_key()])?;
        while let Some(row) = rows.next()? {
            row.get::<_, i64>(0)?;
            found += 1;
        }
    }
    let elapsed = cpu()?.saturating_sub(before);
    Ok((elapsed.as_secs_f64() * 1e6 / f64::from(EXECUTIONS), found))
}
