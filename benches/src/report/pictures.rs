//! Charts of the report.

use super::chart::{Bar, bars};
use super::tables::{FULL_LOAD, RECEIVERS};
use crate::figures::{Results, Round};

/// Charts that have figures, each with its file name.
pub(super) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let charts = [
        (
            "ingest.svg",
            "Webhooks stored per second",
            "sustained, 64 connections, on the same two cores as the load; longer is better",
            receivers(results, FULL_LOAD, |round| round.per_second),
        ),
        (
            "cpu.svg",
            "Server CPU per webhook, in µs",
            "sustained, 64 connections; shorter is better",
            receivers(results, FULL_LOAD, |round| round.cpu),
        ),
        (
            "overload.svg",
            "p99 of accepted webhooks, in ms",
            "on a schedule of half and of twice what each can take; shorter is better",
            schedules(results),
        ),
        (
            "reads.svg",
            "Queries per second",
            "64 connections, 100,000 messages stored; longer is better",
            queries(results),
        ),
    ];
    let with_figures = charts.into_iter().filter(|(.., values)| !values.is_empty());
    with_figures
        .map(|(file, title, subtitle, values)| (file, bars(title, subtitle, &values)))
        .collect()
}

fn bar(label: &str, value: f64, is_ours: bool) -> Bar {
    Bar { label: label.replace('*', ""), value, is_ours }
}

fn receivers(results: &Results, scenario: &str, figure: fn(&Round) -> f64) -> Vec<Bar> {
    let bars = RECEIVERS.iter().filter_map(|(receiver, label)| {
        Some(bar(label, results.median(scenario, receiver, figure)?, *receiver == "ours"))
    });
    bars.collect()
}

fn schedules(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (scenario, load) in [("half-load", "half"), ("overload", "twice")] {
        for (receiver, label) in [("ours", "statusmirror"), ("naive-full", "naive design, FULL")] {
            let p99 = results.median(scenario, receiver, |round| round.latency.p99 / 1e3);
            bars.extend(p99.map(|p99| bar(&format!("{label}, {load}"), p99, receiver == "ours")));
        }
    }
    bars
}

fn queries(results: &Results) -> Vec<Bar> {
    let subjects = [
        ("reads-idle", "constant-point", "constant GET, 1 message long"),
        ("reads-idle", "point", "point query"),
        ("reads-busy", "point", "… with 3,000 webhooks/s"),
        ("reads-idle", "history", "history"),
        ("reads-busy", "history", "… with 3,000 webhooks/s"),
        ("reads-idle", "constant-destination", "constant GET, 50 messages long"),
        ("reads-idle", "destination", "list of 50 by number"),
        ("reads-busy", "destination", "… with 3,000 webhooks/s"),
    ];
    let bars = subjects.iter().filter_map(|(scenario, subject, label)| {
        let value = results.median(scenario, subject, |round| round.per_second)?;
        Some(bar(label, value, !subject.starts_with("constant")))
    });
    bars.collect()
}
