//! Tables of sustained rounds: throughput, bytes written and CPU by thread at each number of stored messages.

use std::fmt::Write as _;

use super::tables::{Medians, date, number, rounds, table};
use crate::figures::{Results, Round, median};

/// Rows of the tables: scenario and number of stored messages.
const LEVELS: [(&str, &str); 7] = [
    ("burst", "burst: none, first 2 s"),
    ("sustained-0.1M", "100,000"),
    ("sustained-0.5M", "500,000"),
    ("sustained-1M", "1,000,000"),
    ("sustained-10M", "10,000,000"),
    ("sustained-30M", "30,000,000"),
    ("rate", "600,000, 10,000 webhooks/s"),
];
/// Subjects of the rows, each with its label and the number of webhooks for each new message.
const SUBJECTS: [(&str, &str, f64); 4] = [
    ("verified", "verify and parse, nothing stored", 3.0),
    ("floor", "floor: append and sync", 3.0),
    ("ours", "**statusmirror**", 3.0),
    ("new-messages", "**statusmirror**, new messages only", 1.0),
];
/// Groups of threads, in the order of their columns.
const THREADS: [&str; 5] = ["workers", "writer", "checkpoints", "readers", "others"];

/// Row of both tables before it is formatted.
struct Level<'a> {
    messages: &'static str,
    label: &'a str,
    webhooks_per_message: f64,
    medians: Medians<'a>,
}

/// Table of throughput, latency and bytes written at each level.
pub(super) fn sustained(results: &Results) -> String {
    let columns = [
        "messages stored",
        "",
        "webhooks/s",
        "server CPU each",
        "p50",
        "p99",
        "written each",
        "WAL frames a message",
        "begins after",
    ];
    let rows = levels(results).into_iter().map(|level| {
        let Level { messages, label, webhooks_per_message, medians } = level;
        let [p50, p99, ..] = medians.latency();
        let frames = median(medians.0.iter().filter_map(|round| round.wal_frames));
        vec![
            messages.to_owned(),
            label.to_owned(),
            number(medians.median(|round| round.per_second)),
            medians.cpu(),
            p50,
            p99,
            format!("{} kB", number(medians.median(|round| round.written) / 1e3)),
            frames.map_or_else(|| "–".to_owned(), |frames| number(frames * webhooks_per_message)),
            lead_in(medians.0),
        ]
    });
    let mut text = table(&columns, rows.collect());
    for (scenario, messages) in LEVELS {
        let value = |name: &str| results.median_value(scenario, name);
        if let (Some(seconds), Some(stored)) = (value("seconds to fill"), value("stored")) {
            let (seconds, gigabytes) = (number(seconds), number(stored / 1e9));
            let date = date(results, scenario);
            // Writing to a String does not fail.
            write!(
                text,
                "\n{messages} messages: {gigabytes} GB, the last ones filled by webhooks in {seconds} seconds, \
                 on {date}.\n"
            )
            .unwrap_or_default();
        }
    }
    text
}

/// Table of the CPU of each group of threads, for each webhook.
pub(super) fn threads(results: &Results) -> String {
    let rows = levels(results).into_iter().filter_map(|level| {
        let Level { messages, label, medians, .. } = level;
        // Only statusmirror names its threads so, and only figures with threads are shown.
        if !label.contains("statusmirror") || medians.0.iter().all(|round| round.threads.is_empty())
        {
            return None;
        }
        let mut row = vec![messages.to_owned(), label.to_owned(), medians.cpu()];
        row.extend(THREADS.map(|group| {
            let micros = |round: &Round| round.threads.get(group).copied().unwrap_or_default();
            format!("{} µs", number(medians.median(micros)))
        }));
        Some(row)
    });
    table(&[&["messages stored", "", "server CPU each"][..], &THREADS].concat(), rows.collect())
}

/// Rows that have figures.
fn levels(results: &Results) -> Vec<Level<'_>> {
    let subjects = SUBJECTS.map(|(name, label, _)| (name, label));
    let mut levels = Vec::new();
    for (scenario, messages) in LEVELS {
        for (name, label, medians) in rounds(results, scenario, &subjects) {
            let per_message = SUBJECTS.iter().find(|(subject, ..)| *subject == name);
            let webhooks_per_message = per_message.map_or(f64::NAN, |(.., webhooks)| *webhooks);
            levels.push(Level { messages, label, webhooks_per_message, medians });
        }
    }
    levels
}

/// Longest load before these rounds, and whether all began in a steady state.
fn lead_in(rounds: &[Round]) -> String {
    let lead_ins: Vec<_> = rounds.iter().filter_map(|round| round.lead_in).collect();
    let Some(longest) = lead_ins.iter().map(|lead_in| lead_in.seconds).max_by(f64::total_cmp)
    else {
        return "–".to_owned();
    };
    let is_steady = lead_ins.iter().all(|lead_in| lead_in.is_steady);
    format!("{} s{}", number(longest), if is_steady { "" } else { ", not steady" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::LeadInFigures;
    use crate::report::tables::NOTHING;

    fn results() -> Results {
        let round = |is_steady| Round {
            per_second: 20_000.0,
            cpu: 50.0,
            written: 11_800.0,
            wal_frames: Some(1.5),
            threads: [("writer".to_owned(), 32.0)].into(),
            lead_in: Some(LeadInFigures { seconds: 8.0, is_steady }),
            ..Round::default()
        };
        let mut results = Results::default();
        let rounds = [
            ("ours".to_owned(), vec![round(true)]),
            ("new-messages".to_owned(), vec![round(true), round(false)]),
        ];
        results.add_rounds("sustained-1M", rounds.into());
        results
    }

    #[test]
    fn frames_are_those_of_a_message_and_a_state_that_is_not_steady_is_named() {
        let table = sustained(&results());
        assert!(table.contains("| 11.8 kB | 4.50 | 8.00 s |"), "{table}");
        assert!(table.contains("| 11.8 kB | 1.50 | 8.00 s, not steady |"), "{table}");
    }

    #[test]
    fn the_cpu_of_each_group_of_threads_is_shown() {
        let table = threads(&results());
        assert!(table.contains("| 50.0 µs | 0.00 µs | 32.0 µs |"), "{table}");
        assert_eq!(threads(&Results::default()), NOTHING);
    }
}
