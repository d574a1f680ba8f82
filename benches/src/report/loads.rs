//! Tables and limits of unusual loads: batches, listeners, ties, and a leaked callback URL.

use super::row::Row;
use super::tables::{bytes, columns, number, rounds, table, time};
use crate::figures::{Results, Round, ratio};
use crate::scenario::{LEAKS, LISTS};

/// Description of each listener scenario.
const LISTENERS: [(&str, &str); 4] = [
    ("none", "no listeners, 3,000 webhooks/s"),
    ("100", "100 listeners, 3,000 webhooks/s"),
    ("1000-by-number", "1,000 listeners to a number each, 3,000 webhooks/s"),
    ("1000", "1,000 listeners, 200 webhooks/s"),
];
/// A source's `max_rate` in the table of a leaked URL, in webhooks a second.
const MAX_RATE: f64 = 10.0;
const HOUR_SECONDS: f64 = 3_600.0;
/// Default limits of one source in the quarantine.
const QUARANTINE_ROWS: f64 = 50_000.0;
const QUARANTINE_BYTES: f64 = 536_870_912.0;

pub(super) fn batches(results: &Results) -> String {
    let subjects = [
        ("deliveries", "delivery of 800 entries, 256 at once, 503 included"),
        ("queries", "point query meanwhile"),
    ];
    let rows = rounds(results, "batches", &subjects).into_iter();
    table(
        &columns(&["", "accepted/s"]),
        rows.map(|(_, label, medians)| medians.row(&[label])).collect(),
    )
}

pub(super) fn listeners(results: &Results) -> String {
    let rows =
        rounds(results, "listeners", &LISTENERS).into_iter().map(|(name, label, medians)| {
            let mut row = medians.row(&[label]);
            row.push(most_behind(results, name).map_or_else(|| "–".to_owned(), number));
            row
        });
    let mut columns = columns(&["", "webhooks/s"]);
    columns.push("fell behind");
    table(&columns, rows.collect())
}

/// Highest number of listeners that fell behind in one round.
fn most_behind(results: &Results, subject: &str) -> Option<f64> {
    let figures = results.scenarios.get("listeners")?;
    let counts = figures.values.get(&format!("{subject} behind"))?;
    counts.iter().copied().max_by(f64::total_cmp)
}

pub(super) fn ties(results: &Results) -> String {
    let p50 = |name: &str| results.median("ties", name, |round| round.latency.p50);
    let mut rows = Vec::new();
    for (list, path) in LISTS {
        for page in ["first", "behind"] {
            let names = ["spread", "tied"].map(|times| format!("{list}-{times}-{page}"));
            let [spread, tied] = names.each_ref().map(|name| p50(name));
            let [spread_rounds, tied_rounds] =
                names.each_ref().map(|name| results.rounds_of("ties", name));
            let ratio = ratio(tied_rounds, spread_rounds, |round| Some(round.latency.p50));
            if let (Some(spread), Some(tied), Some(ratio)) = (spread, tied, ratio) {
                let page = if page == "first" { "first" } else { "51st" };
                let cells = [time(spread), time(tied), number(ratio)];
                rows.push([vec![format!("`{path}`"), page.to_owned()], cells.into()].concat());
            }
        }
    }
    table(&["list", "page", "p50", "p50, all in one second", "ratio"], rows)
}

pub(super) fn leak(results: &Results) -> String {
    let mut rows = Vec::new();
    for (name, ..) in LEAKS {
        let Some(bytes_each) = results.median_value("leak", &format!("{name} bytes")) else {
            continue;
        };
        let median = |figure: fn(&Round) -> f64| results.median("leak", name, figure);
        let (Some(rate), Some(cpu)) = (median(|round| round.per_second), median(|round| round.cpu))
        else {
            continue;
        };
        for (limit, rate) in [("none", rate), ("10", rate.min(MAX_RATE))] {
            let hourly_rows = if name.ends_with("quarantine") {
                (rate * HOUR_SECONDS).min(QUARANTINE_ROWS).min(QUARANTINE_BYTES / bytes_each)
            } else {
                rate * HOUR_SECONDS
            };
            let cpu = time(hourly_rows * cpu);
            rows.push(
                [name, limit, &number(hourly_rows), &bytes(hourly_rows * bytes_each), &cpu]
                    .map(str::to_owned)
                    .into(),
            );
        }
    }
    table(
        &["webhooks of one URL", "`max_rate`", "rows an hour", "on disk an hour", "CPU an hour"],
        rows,
    )
}

/// Limits of these loads.
pub(super) fn limits(results: &Results) -> Vec<Row> {
    let p99 = |scenario: &str, subject: &str| {
        results.median(scenario, subject, |round| round.latency.p99 / 1e3)
    };
    let listener_cpu = ratio(
        results.rounds_of("listeners", "100"),
        results.rounds_of("listeners", "none"),
        |round| Some(round.cpu),
    );
    let tied_ratios = LISTS.into_iter().filter_map(|(list, _)| {
        let page = |times: &str| results.rounds_of("ties", &format!("{list}-{times}-behind"));
        ratio(page("tied"), page("spread"), |round| Some(round.latency.p50))
    });
    let milliseconds =
        |name, measured, must, reach| Row::at_most(name, measured, must, reach).in_unit(" ms");
    vec![
        milliseconds(
            "256 deliveries of 800 entries at once, answers with 503, p99",
            p99("batches", "deliveries"),
            500.0,
            250.0,
        ),
        milliseconds("point query meanwhile, p99", p99("batches", "queries"), 50.0, 10.0),
        Row::at_most(
            "CPU per webhook with 100 listeners ÷ with none, 3,000/s",
            listener_cpu,
            1.3,
            1.1,
        ),
        Row::at_most("listeners of 100 that fall behind", most_behind(results, "100"), 0.0, 0.0),
        milliseconds(
            "webhooks with 1,000 listeners to a number each, 3,000/s, p99",
            p99("listeners", "1000-by-number"),
            25.0,
            10.0,
        ),
        milliseconds(
            "webhooks with 1,000 listeners, 200/s, p99",
            p99("listeners", "1000"),
            25.0,
            10.0,
        ),
        Row::at_most(
            "page of a list, 300,000 messages in one second ÷ spread",
            tied_ratios.max_by(f64::total_cmp),
            1.5,
            1.2,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Latency;
    use crate::report::tables::NOTHING;

    #[test]
    fn what_was_not_measured_is_not_shown() {
        let empty = Results::default();
        for region in [batches, listeners, ties, leak] {
            assert_eq!(region(&empty), NOTHING);
        }
        assert!(limits(&empty).iter().all(|row| row.measured().is_none()));
    }

    #[test]
    fn a_leaked_url_costs_what_an_hour_of_it_does() {
        let mut results = Results::default();
        let round = Round { per_second: 1_000.0, cpu: 50.0, ..Round::default() };
        results.add_rounds("leak", [("messages".to_owned(), vec![round])].into());
        results.add_values("leak", "messages bytes", vec![500.0]);
        let table = leak(&results);
        assert!(table.contains("| messages | none | 3,600,000 | 1,800 MB | 180 s |"), "{table}");
        assert!(table.contains("| messages | 10 | 36,000 | 18.0 MB | 1.80 s |"), "{table}");
    }

    #[test]
    fn the_worst_round_decides_who_fell_behind() {
        let mut results = Results::default();
        let round = Round { latency: Latency::default(), ..Round::default() };
        results.add_rounds("listeners", [("100".to_owned(), vec![round])].into());
        results.add_values("listeners", "100 behind", vec![0.0, 2.0, 0.0]);
        assert_eq!(most_behind(&results, "100"), Some(2.0));
        assert!(listeners(&results).contains("| 2.00 |"), "{}", listeners(&results));
    }
}
