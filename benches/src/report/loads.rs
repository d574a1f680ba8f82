//! Tables and limits of unusual loads: batches, listeners, ties, a leaked callback URL.

use super::ratios::Row;
use super::tables::{bytes, columns, number, rounds, table, time};
use crate::figures::{Results, ratio};
use crate::scenario::{LEAKS, LISTS};

/// Description of each listener scenario.
const LISTENERS: [(&str, &str); 4] = [
    ("none", "no listeners, 3,000 webhooks/s"),
    ("100", "100 listeners, 3,000 webhooks/s"),
    ("1000-by-number", "1,000 listeners to a number each, 3,000 webhooks/s"),
    ("1000", "1,000 listeners, 200 webhooks/s"),
];
/// A source's `max_rate` in the table of a leaked URL, in webhooks a second.
const RATE: f64 = 10.0;
const HOUR: f64 = 3_600.0;
/// What one source may use of the quarantine by default, in rows and bytes.
const QUARANTINE: (f64, f64) = (50_000.0, 536_870_912.0);

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
            row.push(behind(results, name).map_or_else(|| "–".to_owned(), number));
            row
        });
    let mut columns = columns(&["", "webhooks/s"]);
    columns.push("fell behind");
    table(&columns, rows.collect())
}

/// The most listeners that fell behind in a round.
fn behind(results: &Results, subject: &str) -> Option<f64> {
    let found = results.scenarios.get("listeners")?;
    let all = found.values.get(&format!("{subject} behind"))?;
    all.iter().copied().max_by(f64::total_cmp)
}

pub(super) fn ties(results: &Results) -> String {
    let p50 = |name: &str| results.median("ties", name, |round| round.latency.p50);
    let mut rows = Vec::new();
    for (list, path) in LISTS {
        for page in ["first", "behind"] {
            let names = ["spread", "tied"].map(|times| format!("{list}-{times}-{page}"));
            let [spread, tied] = names.each_ref().map(|name| p50(name));
            let [spread_rounds, tied_rounds] =
                names.each_ref().map(|name| results.of("ties", name));
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
        let Some(each) = results.value("leak", &format!("{name} bytes")) else { continue };
        let of = |figure: fn(&crate::figures::Round) -> f64| results.median("leak", name, figure);
        let (Some(rate), Some(cpu)) = (of(|round| round.per_second), of(|round| round.cpu)) else {
            continue;
        };
        for (limit, rate) in [("none", rate), ("10", rate.min(RATE))] {
            let an_hour = if name.ends_with("quarantine") {
                (rate * HOUR).min(QUARANTINE.0).min(QUARANTINE.1 / each)
            } else {
                rate * HOUR
            };
            let cpu = time(an_hour * cpu);
            rows.push(
                [name, limit, &number(an_hour), &bytes(an_hour * each), &cpu]
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
    let cpu = ratio(results.of("listeners", "100"), results.of("listeners", "none"), |round| {
        Some(round.cpu)
    });
    let tied = LISTS.into_iter().filter_map(|(list, _)| {
        let page = |times: &str| results.of("ties", &format!("{list}-{times}-behind"));
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
        Row::at_most("CPU per webhook with 100 listeners ÷ with none, 3,000/s", cpu, 1.3, 1.1),
        Row::at_most("listeners of 100 that fall behind", behind(results, "100"), 0.0, 0.0),
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
            tied.max_by(f64::total_cmp),
            1.5,
            1.2,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Latency, Round};
    use crate::report::tables::NOTHING;

    #[test]
    fn what_was_not_measured_is_not_shown() {
        let none = Results::default();
        for region in [batches, listeners, ties, leak] {
            assert_eq!(region(&none), NOTHING);
        }
        assert!(limits(&none).iter().all(|row| row.measured.is_none()));
    }

    #[test]
    fn a_leaked_url_costs_what_an_hour_of_it_does() {
        let mut results = Results::default();
        let round = Round { per_second: 1_000.0, cpu: 50.0, ..Round::default() };
        results.rounds("leak", [("messages".to_owned(), vec![round])].into());
        results.values("leak", "messages bytes", vec![500.0]);
        let table = leak(&results);
        assert!(table.contains("| messages | none | 3,600,000 | 1,800 MB | 180 s |"), "{table}");
        assert!(table.contains("| messages | 10 | 36,000 | 18.0 MB | 1.80 s |"), "{table}");
    }

    #[test]
    fn the_worst_round_decides_who_fell_behind() {
        let mut results = Results::default();
        let round = Round { latency: Latency::default(), ..Round::default() };
        results.rounds("listeners", [("100".to_owned(), vec![round])].into());
        results.values("listeners", "100 behind", vec![0.0, 2.0, 0.0]);
        assert_eq!(behind(&results, "100"), Some(2.0));
        assert!(listeners(&results).contains("| 2.00 |"), "{}", listeners(&results));
    }
}
