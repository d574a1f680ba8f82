//! Rows of the table of ratios for sustained webhooks.

use super::row::Row;
use super::tables::FULL_LOAD;
use crate::figures::{Results, Round, ratio};

pub(super) fn sustained(results: &Results) -> Vec<Row> {
    let median = |scenario: &str, subject: &str, figure: fn(&Round) -> f64| {
        results.median(scenario, subject, figure)
    };
    let per_second: fn(&Round) -> f64 = |round| round.per_second;
    let cpu: fn(&Round) -> f64 = |round| round.cpu;
    let beside = |subject: &str, other: &str, figure: fn(&Round) -> f64| {
        let rounds = |subject| results.rounds_of(FULL_LOAD, subject);
        ratio(rounds(subject), rounds(other), |round| Some(figure(round)))
    };
    // Verify-and-parse was measured side by side, so these ratios do not depend on the machine's speed.
    let of_verified = |scenario: &str, figure: fn(&Round) -> f64| {
        Some(median(scenario, "ours", figure)? / median(scenario, "verified", figure)?)
    };
    let to_burst = of_verified(FULL_LOAD, per_second)
        .zip(of_verified("burst", per_second))
        .map(|(sustained, burst)| sustained / burst);
    let growth = of_verified("sustained-10M", cpu)
        .zip(of_verified("sustained-0.1M", cpu))
        .map(|(many, few)| many / few);
    let rate = median("rate", "ours", |round| round.latency.p99 / 1e3);
    let written = |subject: &str| {
        let body = results.median_value(FULL_LOAD, "body bytes")?;
        // Figures of earlier versions have no bytes.
        median(FULL_LOAD, subject, |round| round.written)
            .filter(|bytes| *bytes > 0.0)
            .map(|bytes| bytes / body)
    };
    vec![
        Row::at_least(
            "sustained ÷ floor (verify, parse, append, sync), throughput",
            beside("ours", "floor", per_second),
            0.5,
            0.8,
        ),
        Row::at_most("sustained ÷ floor, CPU per webhook", beside("ours", "floor", cpu), 2.2, 1.4),
        Row::at_least("sustained at 1 M messages ÷ burst, throughput", to_burst, 0.7, 0.9),
        Row::at_most("CPU per webhook at 10 M messages ÷ at 0.1 M", growth, 1.15, 1.05),
        Row::at_most("p99 at 10,000 webhooks/s, 0.6 M messages", rate, 8.0, 4.0).in_unit(" ms"),
        Row::at_most("bytes written to the disk ÷ bytes of the body", written("ours"), 8.0, 4.0),
        Row::at_most(
            "bytes written to the disk ÷ bytes of the body, new messages only",
            written("new-messages"),
            15.0,
            7.0,
        ),
        Row::at_least(
            "new messages only ÷ usual load, throughput",
            beside("new-messages", "ours", per_second),
            0.75,
            0.9,
        ),
    ]
}

/// Queries among ten million messages.
pub(super) fn queries(results: &Results) -> Vec<Row> {
    let rounds = |subject: &str| results.rounds_of("reads-10M", subject);
    let point = ratio(rounds("point"), rounds("constant-point"), |round| Some(round.per_second));
    let list = |list: &str| ratio(rounds(list), rounds("point"), |round| Some(round.cpu));
    vec![
        Row::at_least("point query ÷ constant GET, among 10 M messages", point, 0.5, 0.65),
        Row::at_most(
            "list of 50 by number ÷ point query, CPU, among 10 M messages",
            list("destination"),
            4.7,
            3.6,
        ),
        Row::at_most(
            "list of 50 by key ÷ point query, CPU, among 10 M messages",
            list("reference"),
            4.7,
            3.6,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_taken_beside_what_stores_nothing() {
        let mut results = Results::default();
        let round = |cpu| vec![Round { cpu, ..Round::default() }];
        // The machine became half as fast for both, so the growth is 1.
        for (scenario, ours, verified) in
            [("sustained-0.1M", 20.0, 10.0), ("sustained-10M", 40.0, 20.0)]
        {
            let rounds = [("ours", ours), ("verified", verified)];
            let rounds = rounds.map(|(name, cpu)| (name.to_owned(), round(cpu)));
            results.add_rounds(scenario, rounds.into());
        }
        let growth = sustained(&results).get(3).unwrap().measured().unwrap();
        assert!((growth - 1.0).abs() < 1e-9);
    }

    #[test]
    fn bytes_are_those_of_the_body() {
        let mut results = Results::default();
        let rounds = vec![Round { written: 12_000.0, ..Round::default() }];
        results.add_rounds(FULL_LOAD, [("ours".to_owned(), rounds)].into());
        results.add_values(FULL_LOAD, "body bytes", vec![600.0]);
        let written = sustained(&results).get(5).unwrap().measured();
        assert_eq!(written, Some(20.0));
    }
}
