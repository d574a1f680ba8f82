//! Tables of figures, and the formats of their cells.

use std::fmt::Write as _;

use crate::figures::{Latency, Results, Round, median};
use crate::scenario::VIEWS;

/// Text of a region without figures.
pub(super) const NOTHING: &str = "Not measured.";

/// Receivers with their labels, in the order of the tables.
pub(super) const RECEIVERS: [(&str, &str); 9] = [
    ("noop", "no-op: reads the body"),
    ("verified", "verify and parse, nothing stored"),
    ("floor", "verify, parse, append to a file and sync: the floor"),
    ("ours", "**statusmirror**"),
    ("naive-normal", "naive design, NORMAL (not durable)"),
    ("naive-full", "naive design, FULL"),
    ("postgres", "actix + PostgreSQL"),
    ("express", "Express + better-sqlite3"),
    ("fastapi", "FastAPI + sqlite3"),
];

/// Scenario of the figures for the usual load, sustained, on 64 connections.
pub(super) const FULL_LOAD: &str = "sustained-1M";

/// Formats a number with three significant digits and with thousands separators.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.5 => 0,
        size if size >= 9.95 => 1,
        _ => 2,
    };
    let plain = format!("{value:.decimals$}");
    if decimals > 0 {
        return plain;
    }
    let mut grouped = String::new();
    for (index, digit) in plain.chars().enumerate() {
        let remaining = plain.len() - index;
        if index > 0 && remaining.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a time that is given in microseconds.
pub(super) fn time(micros: f64) -> String {
    match micros {
        value if value >= 1e6 => format!("{} s", number(value / 1e6)),
        value if value >= 1e3 => format!("{} ms", number(value / 1e3)),
        value => format!("{} µs", number(value)),
    }
}

/// Formats a size in bytes as megabytes.
pub(super) fn bytes(value: f64) -> String {
    format!("{} MB", number(value / 1e6))
}

/// Markdown table with these columns; [`NOTHING`] if it has no rows.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return NOTHING.to_owned();
    }
    let mut text = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        // Writing to a String does not fail.
        writeln!(text, "| {} |", row.join(" | ")).unwrap_or_default();
    }
    text
}

/// Medians of the figures of some rounds.
pub(super) struct Medians<'a>(pub(super) &'a [Round]);

impl Medians<'_> {
    /// Median of a figure.
    pub(super) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.0.iter().map(figure)).unwrap_or(f64::NAN)
    }

    fn quantiles(&self, latency: impl Fn(&Round) -> Option<Latency>) -> [String; 4] {
        let cell = |quantile: fn(&Latency) -> f64| {
            let values = self.0.iter().filter_map(&latency).map(|latency| quantile(&latency));
            median(values).map_or_else(|| "–".to_owned(), time)
        };
        [
            cell(|latency| latency.p50),
            cell(|latency| latency.p99),
            cell(|latency| latency.p999),
            cell(|latency| latency.max),
        ]
    }

    /// CPU of the server for each request, with its unit.
    pub(super) fn cpu(&self) -> String {
        format!("{} µs", number(self.median(|round| round.cpu)))
    }

    /// A row with these first cells, followed by those that [`columns`] names.
    pub(super) fn row(&self, first: &[&str]) -> Vec<String> {
        let mut cells: Vec<_> = first.iter().map(|cell| (*cell).to_owned()).collect();
        cells.extend([number(self.median(|round| round.per_second)), self.cpu()]);
        cells.extend(self.latency());
        cells
    }

    /// Quantiles of the latency, with their units.
    pub(super) fn latency(&self) -> [String; 4] {
        self.quantiles(|round| Some(round.latency))
    }
}

/// Columns of a table of rounds: the given ones, of which the last names the unit of throughput, and those of
/// every such table.
pub(super) fn columns<'a>(first: &[&'a str]) -> Vec<&'a str> {
    [first, &["server CPU each", "p50", "p99", "p99.9", "max"]].concat()
}

/// Subjects of a scenario that have rounds, each with its name, its label and its medians.
pub(super) fn rounds<'a>(
    results: &'a Results,
    scenario: &str,
    subjects: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str, Medians<'a>)> {
    let all = subjects
        .iter()
        .map(|(subject, label)| (*subject, *label, Medians(results.rounds_of(scenario, subject))));
    all.filter(|(_, _, medians)| !medians.0.is_empty()).collect()
}

pub(super) fn ingest(results: &Results) -> String {
    let mut rows = Vec::new();
    for (scenario, suffix) in
        [(FULL_LOAD, ""), ("burst", ", burst"), ("slow-disk", ", syncs 1 ms longer")]
    {
        for (_, label, medians) in rounds(results, scenario, &RECEIVERS) {
            let mut row = medians.row(&[&format!("{label}{suffix}")]);
            row.push(bytes(medians.median(|round| round.memory)));
            rows.push(row);
        }
    }
    let mut columns = columns(&["64 connections", "webhooks/s"]);
    columns.push("memory");
    table(&columns, rows)
}

pub(super) fn connections(results: &Results) -> String {
    let mut rows = Vec::new();
    for connections in ["1", "8", "64", "256"] {
        let scenario = format!("connections-{connections}");
        for (_, label, medians) in rounds(results, &scenario, &RECEIVERS) {
            rows.push(medians.row(&[connections, label]));
        }
    }
    table(&columns(&["connections", "", "webhooks/s"]), rows)
}

pub(super) fn latency(results: &Results) -> String {
    let mut rows = Vec::new();
    for (scenario, load) in [("half-load", "half"), ("overload", "twice")] {
        for (subject, label, medians) in rounds(results, scenario, &RECEIVERS) {
            let rate = results.median_value(scenario, &format!("{subject} a second"));
            let mut push_row = |suffix: &str, per_second: f64, quantiles: [String; 4]| {
                let mut cells = vec![
                    load.to_owned(),
                    format!("{label}{suffix}"),
                    rate.map_or_else(|| "–".to_owned(), number),
                    number(per_second),
                    medians.cpu(),
                ];
                cells.extend(quantiles);
                rows.push(cells);
            };
            push_row("", medians.median(|round| round.per_second), medians.latency());
            let refused = medians.median(|round| round.refused);
            if refused > 0.0 {
                push_row(", refused", refused, medians.quantiles(|round| round.refusal));
            }
        }
    }
    table(&columns(&["load", "", "sent/s", "answered/s"]), rows)
}

pub(super) fn reads(results: &Results) -> String {
    let subjects = [
        ("constant-point", "constant GET, as long as a point query's answer"),
        ("point", "point query, any of 100,000 messages"),
        ("recent", "point query, the last 20,000"),
        ("old", "point query, the others"),
        ("constant-history", "constant GET, as long as a history"),
        ("history", "history of three notifications"),
        ("constant-destination", "constant GET, as long as a list"),
        ("destination", "list of 50 by phone number"),
        ("reference", "list of 50 by reference"),
    ];
    let mut rows = Vec::new();
    let among_many = [
        ("constant-point", "constant GET, as long as a point query's answer"),
        ("point", "point query, any of 10,000,000 messages"),
        ("destination", "list of 50 by phone number, among 10,000,000 messages"),
        ("reference", "list of 50 by reference, among 10,000,000 messages"),
    ];
    for (scenario, meanwhile, subjects) in [
        ("reads-idle", "nothing", &subjects[..]),
        ("reads-busy", "3,000 webhooks/s", &subjects[..]),
        ("reads-10M", "nothing", &among_many[..]),
    ] {
        for (_, label, medians) in rounds(results, scenario, subjects) {
            rows.push(medians.row(&[meanwhile, label]));
        }
    }
    table(&columns(&["meanwhile", "", "queries/s"]), rows)
}

/// Table of the views, each with its ratio to a query for one message.
pub(super) fn views(results: &Results) -> String {
    let p50 = |name: &str| results.median("views", name, |round| round.latency.p50);
    let point = p50("point");
    let mut rows = Vec::new();
    for (name, path, medians) in rounds(results, "views", &VIEWS) {
        let ratio = p50(name).zip(point).map(|(view, point)| number(view / point));
        let label = format!("`{path}`");
        let mut row = medians.row(&[&label]);
        row.push(ratio.unwrap_or_default());
        rows.push(row);
    }
    let mut columns = columns(&["view", "a second"]);
    columns.push("÷ point query, p50");
    table(&columns, rows)
}

pub(super) fn footprint(results: &Results) -> String {
    let value = |name: &str| results.median_value("footprint", name);
    let loaded = results.median(FULL_LOAD, "ours", |round| round.memory);
    let milliseconds = |value: f64| time(value * 1e3);
    let rows = [
        ("start to first answer, new file", value("start empty").map(milliseconds)),
        ("start to first answer, 100,000 messages", value("start existing").map(milliseconds)),
        ("start to first answer, the no-op server", value("start noop").map(milliseconds)),
        ("anonymous memory, idle, new file", value("idle empty").map(bytes)),
        ("anonymous memory, idle, 100,000 messages", value("idle existing").map(bytes)),
        ("anonymous memory, idle, the no-op server", value("idle noop").map(bytes)),
        ("anonymous memory under full load, 64 connections", loaded.map(bytes)),
        ("on disk, each message with three notifications", value("bytes a message").map(in_bytes)),
        ("binary", value("binary").map(bytes)),
    ];
    if rows.iter().all(|(_, value)| value.is_none()) {
        return NOTHING.to_owned();
    }
    let rows =
        rows.map(|(name, value)| vec![name.to_owned(), value.unwrap_or_else(|| "–".to_owned())]);
    table(&["", ""], rows.into())
}

fn in_bytes(value: f64) -> String {
    format!("{} bytes", number(value))
}

pub(super) fn memory(results: &Results) -> String {
    let subjects = [
        ("ingest limited", "webhooks, limited"),
        ("ingest unlimited", "webhooks, not limited"),
        ("point limited", "point queries, limited"),
        ("point unlimited", "point queries, not limited"),
    ];
    let rows = rounds(results, "memory", &subjects);
    let rows = rows.into_iter().map(|(_, label, medians)| medians.row(&[label])).collect();
    let mut text = table(&columns(&["", "a second"]), rows);
    let value = |name: &str| results.median_value("memory", name);
    if let (Some(limit), Some(stored), Some(seconds)) =
        (value("limit"), value("stored"), value("seconds to fill"))
    {
        let (limit, stored) = (bytes(limit), bytes(stored));
        let (seconds, date) = (number(seconds), date(results, "memory"));
        // Writing to a String does not fail.
        write!(text, "\nLimit {limit}, file {stored}, filled in {seconds} seconds, on {date}.")
            .unwrap_or_default();
    }
    text
}

/// Day of a scenario's figures.
pub(super) fn date(results: &Results, scenario: &str) -> String {
    results.scenarios.get(scenario).map(|figures| figures.date.clone()).unwrap_or_default()
}

pub(super) fn machine(results: &Results) -> String {
    let rows = results.machine.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
    table(&["", ""], rows.collect())
}

pub(super) fn summary(results: &Results) -> String {
    let rows = rounds(results, FULL_LOAD, &RECEIVERS);
    let rows = rows.into_iter().map(|(_, label, medians)| {
        let [p50, p99, ..] = medians.latency();
        let per_second = number(medians.median(|round| round.per_second));
        vec![label.to_owned(), per_second, medians.cpu(), p50, p99]
    });
    let columns = [
        "sustained, 64 connections, 2 of 3 webhooks update a message",
        "webhooks/s",
        "CPU each",
        "p50",
        "p99",
    ];
    table(&columns, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_figures() {
        let shown = [0.273, 9.96, 44.44, 99.6, 1234.5, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.27", "10.0", "44.4", "100", "1,234", "1,234,567"]);
        assert_eq!([350.0, 12_345.0, 2_000_000.0].map(time), ["350 µs", "12.3 ms", "2.00 s"]);
    }

    #[test]
    fn a_table_without_rows_says_so() {
        assert_eq!(table(&["a"], Vec::new()), NOTHING);
        assert_eq!(
            table(&["a", "b"], vec![vec!["1".into(), "2".into()]]),
            "| a | b |\n|---|---|\n| 1 | 2 |\n"
        );
    }

    #[test]
    fn the_median_round_is_shown() {
        let mut results = Results::default();
        let rounds = [10.0, 30.0, 20.0].map(|cpu| Round { cpu, ..Round::default() });
        results.add_rounds(FULL_LOAD, [("ours".to_owned(), rounds.into())].into());
        assert!(ingest(&results).contains("| 20.0 µs |"), "{}", ingest(&results));
    }
}
