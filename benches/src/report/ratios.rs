//! Ratios and other figures that have limits.

use std::fmt::Write as _;

use super::loads;
use super::row::Row;
use super::tables::{FULL_LOAD, NOTHING};
use super::targets;
use crate::figures::{Results, Round, ratio};
use crate::scenario::VIEWS;

/// Table of all figures that have limits.
pub(super) fn ratios(results: &Results) -> String {
    let rows = rows(results);
    if rows.iter().all(|row| row.measured().is_none()) {
        return NOTHING.to_owned();
    }
    let mut table = "| | measured | must | reach | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        // Writing to a String does not fail.
        writeln!(table, "| {} |", row.cells().join(" | ")).unwrap_or_default();
    }
    table
}

/// Names of the figures that were measured and do not hold their limit.
pub(crate) fn missed(results: &Results) -> Vec<&'static str> {
    rows(results).iter().filter(|row| row.is_missed()).map(Row::name).collect()
}

/// Median ratio of CPU per webhook to verify-and-parse in the rounds of `--quick`, which compares it.
pub(crate) fn cpu_ratio(results: &Results) -> Option<f64> {
    cpu_beside_verified(results, "quick")
}

/// Median ratio of CPU per webhook to verify-and-parse, measured side by side.
fn cpu_beside_verified(results: &Results, scenario: &str) -> Option<f64> {
    let rounds = |subject| results.rounds_of(scenario, subject);
    ratio(rounds("ours"), rounds("verified"), |round| Some(round.cpu))
}

fn rows(results: &Results) -> Vec<Row> {
    let mut rows = targets::sustained(results);
    rows.extend(throughput(results));
    rows.extend(queries(results));
    rows.extend(targets::queries(results));
    rows.extend(latency(results));
    rows.extend(loads::limits(results));
    rows.extend(sizes(results));
    rows
}

fn throughput(results: &Results) -> Vec<Row> {
    let throughput_ratio = |scenario: &str, other: &str| {
        let (ours, other) =
            (results.rounds_of(scenario, "ours"), results.rounds_of(scenario, other));
        ratio(ours, other, |round| Some(round.per_second))
    };
    let ingest = |other: &str| throughput_ratio(FULL_LOAD, other);
    let slow_disk = throughput_ratio("slow-disk", "naive-full");
    let (watched, unwatched) =
        (results.rounds_of("overhead", "watched"), results.rounds_of("overhead", "unwatched"));
    let overhead = ratio(watched, unwatched, |round| Some(round.cpu));
    let (summed, unsummed) =
        (results.rounds_of("sums", "unwatched"), results.rounds_of("sums", "unsummed"));
    let sums = ratio(summed, unsummed, |round| Some(round.cpu));
    vec![
        Row::at_least(
            "durable ingest ÷ verify-and-parse, throughput",
            ingest("verified"),
            0.27,
            0.5,
        ),
        Row::at_most(
            "CPU per durable webhook ÷ verify-and-parse",
            cpu_beside_verified(results, FULL_LOAD),
            4.5,
            2.5,
        ),
        Row::at_most(
            "CPU per durable webhook ÷ verify-and-parse, burst",
            cpu_beside_verified(results, "burst"),
            4.5,
            2.5,
        ),
        Row::at_most(
            "CPU per durable webhook ÷ without metrics and logs, burst",
            overhead,
            1.05,
            1.02,
        ),
        Row::at_most(
            "CPU per durable webhook ÷ without the sums of the hours, burst",
            sums,
            1.05,
            1.02,
        ),
        Row::at_least("throughput ÷ naive design, FULL", ingest("naive-full"), 7.5, 13.0),
        Row::at_least("throughput ÷ naive design, NORMAL", ingest("naive-normal"), 4.5, 8.0),
        Row::at_least("throughput ÷ naive design, FULL, syncs 1 ms longer", slow_disk, 20.0, 40.0),
        Row::at_least("throughput ÷ FastAPI + SQLite", ingest("fastapi"), 15.0, 30.0),
        Row::at_least("throughput ÷ Express + SQLite", ingest("express"), 15.0, 30.0),
        Row::at_least("throughput ÷ actix + PostgreSQL", ingest("postgres"), 4.0, 8.0),
    ]
}

fn queries(results: &Results) -> Vec<Row> {
    let constant = results.median("reads-idle", "constant-point", |round| round.per_second);
    let point_ratio = |scenario: &str| {
        Some(results.median(scenario, "point", |round| round.per_second)? / constant?)
    };
    let (idle, busy) = (point_ratio("reads-idle"), point_ratio("reads-busy"));
    // The higher ratio of the two kinds of list.
    let list = ["destination", "reference"]
        .into_iter()
        .filter_map(|list| {
            let (list, point) =
                (results.rounds_of("reads-idle", list), results.rounds_of("reads-idle", "point"));
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
    let p99_ratio = |scenario: &str| {
        ratio(results.rounds_of(scenario, "ours"), results.rounds_of(scenario, "naive-full"), p99)
    };
    let overloaded = results.rounds_of("overload", "ours");
    let refused = crate::figures::median(
        overloaded.iter().filter_map(|round| Some(round.refusal?.p99 / round.latency.p99)),
    );
    let syncs = results
        .median("connections-1", "ours", |round| round.latency.p50)
        .zip(results.median_value("connections-1", "sync"))
        .map(|(p50, sync)| p50 / sync);
    vec![
        Row::at_most("one webhook at a time, p50, in syncs of this disk", syncs, 6.0, 3.0),
        Row::at_most(
            "p99 at half load ÷ naive design's at half of its own",
            p99_ratio("half-load"),
            0.35,
            0.15,
        ),
        Row::at_most(
            "p99 of accepted at twice the capacity ÷ naive design's at twice its own",
            p99_ratio("overload"),
            0.1,
            0.04,
        ),
        Row::at_most("refused ÷ accepted at twice the capacity, p99", refused, 0.5, 0.3),
    ]
}

fn sizes(results: &Results) -> Vec<Row> {
    let value = |name: &str| results.median_value("footprint", name);
    let megabytes = |name: &str| Some(value(name)? / 1e6);
    let start = |name: &str| Some(value(name)? / value("start noop")?);
    let loaded = results.median(FULL_LOAD, "ours", |round| round.memory / 1e6);
    let mb = |name, measured, must, reach| Row::at_most(name, measured, must, reach).in_unit(" MB");
    vec![
        Row::at_most(
            "bytes per message with three notifications",
            value("bytes a message"),
            // 911 with the tables of today.
            911.5,
            600.0,
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
        mb("anonymous memory under full load, sustained", loaded, 96.0, 64.0),
        mb("anonymous memory, idle", megabytes("idle existing"), 6.0, 3.0),
        mb("binary", megabytes("binary"), 10.0, 7.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_measured_figure_beyond_its_limit_is_missed() {
        let results = |p99| {
            let mut results = Results::default();
            let latency = crate::figures::Latency { p99, ..Default::default() };
            let rounds = vec![Round { latency, ..Round::default() }];
            results.add_rounds("batches", [("queries".to_owned(), rounds)].into());
            results
        };
        assert_eq!(missed(&Results::default()), Vec::<&str>::new());
        assert_eq!(missed(&results(1e3)), Vec::<&str>::new());
        assert_eq!(missed(&results(1e6)).len(), 1);
    }
}
