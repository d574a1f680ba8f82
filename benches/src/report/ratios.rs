//! The ratios that the project is held to.

use std::fmt::Write as _;

use super::tables::{NOTHING, number};
use super::{cpu_ratio, loads};
use crate::figures::{Results, Round, ratio};
use crate::scenario::VIEWS;

/// Which side of a limit is the good one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    AtLeast,
    AtMost,
}

/// A ratio, or another figure, with its limits.
pub(super) struct Row {
    name: &'static str,
    pub(super) measured: Option<f64>,
    side: Side,
    must: f64,
    reach: f64,
    unit: &'static str,
}

impl Row {
    fn at_least(name: &'static str, measured: Option<f64>, must: f64, reach: f64) -> Self {
        Self { name, measured, side: Side::AtLeast, must, reach, unit: "" }
    }

    /// A figure that should be low.
    pub(super) fn at_most(
        name: &'static str,
        measured: Option<f64>,
        must: f64,
        reach: f64,
    ) -> Self {
        Self { name, measured, side: Side::AtMost, must, reach, unit: "" }
    }

    /// The same figure in a unit.
    pub(super) fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    fn holds(&self, limit: f64) -> bool {
        self.measured.is_some_and(|measured| match self.side {
            Side::AtLeast => measured >= limit,
            Side::AtMost => measured <= limit,
        })
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, self.holds(self.must), self.holds(self.reach)) {
            (None, ..) => "not measured",
            (_, _, true) => "reached",
            (_, true, false) => "holds",
            (_, false, false) => "**does not hold**",
        }
    }
}

/// The table.
pub(super) fn ratios(results: &Results) -> String {
    let rows = rows(results);
    if rows.iter().all(|row| row.measured.is_none()) {
        return NOTHING.to_owned();
    }
    let mut table = "| | measured | must | reach | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let sign = if row.side == Side::AtLeast { "≥" } else { "≤" };
        let Row { name, unit, .. } = row;
        let measured = row.measured.map_or_else(|| "–".to_owned(), |value| number(value) + unit);
        let (must, reach) = (number(row.must), number(row.reach));
        let verdict = row.verdict();
        // Writing to a String does not fail.
        writeln!(
            table,
            "| {name} | {measured} | {sign} {must}{unit} | {sign} {reach}{unit} | {verdict} |"
        )
        .unwrap_or_default();
    }
    table
}

/// Names of the figures that were measured and do not hold.
pub(super) fn missed(results: &Results) -> Vec<&'static str> {
    let is_missed = |row: &Row| row.measured.is_some() && !row.holds(row.must);
    rows(results).into_iter().filter(is_missed).map(|row| row.name).collect()
}

fn rows(results: &Results) -> Vec<Row> {
    let mut rows = throughput(results);
    rows.extend(queries(results));
    rows.extend(latency(results));
    rows.extend(loads::limits(results));
    rows.extend(sizes(results));
    rows
}

fn throughput(results: &Results) -> Vec<Row> {
    let beside = |scenario: &str, other: &str| {
        let (ours, other) = (results.of(scenario, "ours"), results.of(scenario, other));
        ratio(ours, other, |round| Some(round.per_second))
    };
    let of = |other: &str| beside("ingest", other);
    let slow = beside("slow-disk", "naive-full");
    let (watched, unwatched) =
        (results.of("overhead", "watched"), results.of("overhead", "unwatched"));
    let overhead = ratio(watched, unwatched, |round| Some(round.cpu));
    let (summed, unsummed) = (results.of("sums", "unwatched"), results.of("sums", "unsummed"));
    let sums = ratio(summed, unsummed, |round| Some(round.cpu));
    vec![
        Row::at_least("durable ingest ÷ verify-and-parse, throughput", of("verified"), 0.27, 0.5),
        Row::at_most("CPU per durable webhook ÷ verify-and-parse", cpu_ratio(results), 4.5, 2.5),
        Row::at_most("CPU per durable webhook ÷ without metrics and logs", overhead, 1.05, 1.02),
        Row::at_most("CPU per durable webhook ÷ without the sums of the hours", sums, 1.05, 1.02),
        Row::at_least("throughput ÷ naive design, FULL", of("naive-full"), 7.5, 13.0),
        Row::at_least("throughput ÷ naive design, NORMAL", of("naive-normal"), 4.5, 8.0),
        Row::at_least("throughput ÷ naive design, FULL, syncs 1 ms longer", slow, 20.0, 40.0),
        Row::at_least("throughput ÷ FastAPI + SQLite", of("fastapi"), 15.0, 30.0),
        Row::at_least("throughput ÷ Express + SQLite", of("express"), 15.0, 30.0),
        Row::at_least("throughput ÷ actix + PostgreSQL", of("postgres"), 4.0, 8.0),
    ]
}

fn queries(results: &Results) -> Vec<Row> {
    let constant = results.median("reads-idle", "constant-point", |round| round.per_second);
    let point = |scenario: &str| {
        Some(results.median(scenario, "point", |round| round.per_second)? / constant?)
    };
    let (idle, busy) = (point("reads-idle"), point("reads-busy"));
    // The dearer of the two kinds of list.
    let list = ["destination", "reference"]
        .into_iter()
        .filter_map(|list| {
            let (list, point) = (results.of("reads-idle", list), results.of("reads-idle", "point"));
            ratio(list, point, |round| Some(round.cpu))
        })
        .max_by(f64::total_cmp);
    let views = VIEWS
        .into_iter()
        .filter_map(|(name, _)| results.median("views", name, |round| round.latency.p99 / 1e3));
    let slowest = views.max_by(f64::total_cmp);
    let milliseconds =
        |name, measured, must, reach| Row::at_most(name, measured, must, reach).in_unit(" ms");
    vec![
        milliseconds("slowest view of the page at 200,000 messages, p99", slowest, 200.0, 50.0),
        Row::at_least("point query ÷ constant GET", idle, 0.5, 0.8),
        Row::at_least("point query while 3,000 webhooks/s arrive ÷ constant GET", busy, 0.2, 0.5),
        Row::at_most("list of 50 ÷ point query, CPU", list, 6.0, 3.0),
    ]
}

fn latency(results: &Results) -> Vec<Row> {
    let p99 = |round: &Round| Some(round.latency.p99);
    let beside = |scenario: &str| {
        ratio(results.of(scenario, "ours"), results.of(scenario, "naive-full"), p99)
    };
    let overloaded = results.of("overload", "ours");
    let refused = crate::figures::median(
        overloaded.iter().filter_map(|round| Some(round.refusal?.p99 / round.latency.p99)),
    );
    let syncs = results
        .median("connections-1", "ours", |round| round.latency.p50)
        .zip(results.value("connections-1", "sync"))
        .map(|(p50, sync)| p50 / sync);
    vec![
        Row::at_most("one webhook at a time, p50, in syncs of this disk", syncs, 6.0, 3.0),
        Row::at_most(
            "p99 at half load ÷ naive design's at half of its own",
            beside("half-load"),
            0.35,
            0.15,
        ),
        Row::at_most(
            "p99 of accepted at twice the capacity ÷ naive design's at twice its own",
            beside("overload"),
            0.1,
            0.04,
        ),
        Row::at_most("refused ÷ accepted at twice the capacity, p99", refused, 0.5, 0.3),
    ]
}

fn sizes(results: &Results) -> Vec<Row> {
    let value = |name: &str| results.value("footprint", name);
    let megabytes = |name: &str| Some(value(name)? / 1e6);
    let start = |name: &str| Some(value(name)? / value("start noop")?);
    let cpu =
        |scenario: &str, receiver: &str| results.median(scenario, receiver, |round| round.cpu);
    // Verify-and-parse beside it takes out what the machine does differently by then.
    let beside = |scenario: &str| Some(cpu(scenario, "ours")? / cpu(scenario, "verified")?);
    let growth = beside("growth-10M").zip(beside("growth-0")).map(|(full, empty)| full / empty);
    let mb = |name, measured, must, reach| Row::at_most(name, measured, must, reach).in_unit(" MB");
    vec![
        Row::at_most("CPU per webhook with 10 M messages stored ÷ with none", growth, 1.7, 1.3),
        Row::at_most(
            "bytes per message with three notifications",
            value("bytes a message"),
            1400.0,
            900.0,
        ),
        Row::at_most(
            "start to first answer ÷ the no-op server's, new file",
            start("start empty"),
            5.0,
            2.0,
        ),
        Row::at_most(
            "start to first answer ÷ the no-op server's, 100,000 messages",
            start("start existing"),
            5.0,
            2.0,
        ),
        mb("anonymous memory, idle", megabytes("idle existing"), 10.0, 6.0),
        mb("binary", megabytes("binary"), 10.0, 7.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_good_side() {
        let verdict = |row: &Row| row.verdict();
        assert_eq!(verdict(&Row::at_least("", Some(0.5), 0.27, 0.5)), "reached");
        assert_eq!(verdict(&Row::at_least("", Some(0.3), 0.27, 0.5)), "holds");
        assert_eq!(verdict(&Row::at_least("", Some(0.2), 0.27, 0.5)), "**does not hold**");
        assert_eq!(verdict(&Row::at_most("", Some(4.6), 4.5, 2.5)), "**does not hold**");
        assert_eq!(verdict(&Row::at_most("", Some(2.5), 4.5, 2.5)), "reached");
        assert_eq!(verdict(&Row::at_most("", None, 4.5, 2.5)), "not measured");
    }

    #[test]
    fn only_a_measured_figure_beyond_its_limit_is_missed() {
        let results = |p99| {
            let mut results = Results::default();
            let latency = crate::figures::Latency { p99, ..Default::default() };
            let rounds = vec![Round { latency, ..Round::default() }];
            results.rounds("batches", [("queries".to_owned(), rounds)].into());
            results
        };
        assert_eq!(missed(&Results::default()), Vec::<&str>::new());
        assert_eq!(missed(&results(1e3)), Vec::<&str>::new());
        assert_eq!(missed(&results(1e6)).len(), 1);
    }

    #[test]
    fn growth_is_taken_beside_what_stores_nothing() {
        let mut results = Results::default();
        let round = |cpu| vec![Round { cpu, ..Round::default() }];
        // The machine has become half as fast: nothing of that is growth.
        for (scenario, ours, verified) in [("growth-0", 20.0, 10.0), ("growth-10M", 40.0, 20.0)] {
            let rounds = [("ours", ours), ("verified", verified)];
            let rounds = rounds.map(|(name, cpu)| (name.to_owned(), round(cpu)));
            results.rounds(scenario, rounds.into());
        }
        let growth = sizes(&results).into_iter().next().unwrap().measured.unwrap();
        assert!((growth - 1.0).abs() < 1e-9);
    }
}
