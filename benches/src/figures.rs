//! What is measured, and the arithmetic on it: medians, and ratios taken round by round.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A count as a number to reckon with.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts and byte sizes here are far below 2^53, which a f64 holds exactly"
)]
pub(crate) fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().map_or(f64::NAN, |count: u64| count as f64)
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half of the requests were answered sooner.
    pub(crate) p50: f64,
    /// All but one in a hundred.
    pub(crate) p99: f64,
    /// All but one in a thousand.
    pub(crate) p999: f64,
    /// All.
    pub(crate) max: f64,
}

impl Latency {
    /// Of a histogram in nanoseconds, if it holds anything.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| float(histogram.value_at_quantile(quantile)) / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

/// One round of one receiver.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Accepted requests a second.
    pub(crate) per_second: f64,
    /// CPU time of the server for each answered request, in microseconds.
    pub(crate) cpu: f64,
    /// CPU time of the load generator for each answered request, in microseconds.
    pub(crate) generator: f64,
    /// How many cores others used meanwhile.
    pub(crate) others: f64,
    /// Anonymous memory of the server at the end, in bytes.
    pub(crate) memory: f64,
    /// Latency of what was accepted.
    pub(crate) latency: Latency,
    /// Refused requests a second.
    pub(crate) refused: f64,
    /// Latency of what was refused, if anything was.
    pub(crate) refusal: Option<Latency>,
    /// How often the round was repeated because others used the machine.
    pub(crate) repeated: u32,
}

/// The rounds of each receiver in one scenario; the rounds with the same index were run side by side.
pub(crate) type Rounds = BTreeMap<String, Vec<Round>>;

/// What a scenario found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The day.
    pub(crate) date: String,
    /// Rounds of each subject.
    #[serde(default)]
    pub(crate) rounds: Rounds,
    /// Other figures, by name.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, Vec<f64>>,
}

/// What all scenarios found, and where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine and the versions of everything, as lines of a table.
    pub(crate) machine: Vec<(String, String)>,
    /// What was found, by the scenario's name.
    pub(crate) scenarios: BTreeMap<String, Found>,
    /// The day that new figures are marked with.
    #[serde(skip)]
    pub(crate) today: String,
}

impl Results {
    /// None yet; what comes is marked with this day.
    pub(crate) fn new(today: String) -> Self {
        Self { today, ..Self::default() }
    }

    /// Adds rounds.
    pub(crate) fn rounds(&mut self, scenario: &str, rounds: Rounds) {
        self.found(scenario).rounds.extend(rounds);
    }

    /// Adds other figures.
    pub(crate) fn values(&mut self, scenario: &str, name: &str, values: Vec<f64>) {
        self.found(scenario).values.insert(name.to_owned(), values);
    }

    /// Takes the other's scenarios, in the place of those of the same name.
    pub(crate) fn replace(&mut self, newer: Self) {
        self.machine = newer.machine;
        self.scenarios.extend(newer.scenarios);
    }

    /// The rounds of a subject in a scenario; none if it was not run.
    pub(crate) fn of(&self, scenario: &str, subject: &str) -> &[Round] {
        let found = self.scenarios.get(scenario).and_then(|found| found.rounds.get(subject));
        found.map_or(&[], Vec::as_slice)
    }

    /// The median of a figure of a subject's rounds.
    pub(crate) fn median(
        &self,
        scenario: &str,
        subject: &str,
        figure: impl Fn(&Round) -> f64,
    ) -> Option<f64> {
        median(self.of(scenario, subject).iter().map(figure))
    }

    /// The median of other figures.
    pub(crate) fn value(&self, scenario: &str, name: &str) -> Option<f64> {
        median(self.scenarios.get(scenario)?.values.get(name)?.iter().copied())
    }

    fn found(&mut self, scenario: &str) -> &mut Found {
        let found = self.scenarios.entry(scenario.to_owned()).or_default();
        found.date.clone_from(&self.today);
        found
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(*values.get(lower)?, *values.get(upper)?))
}

/// The median of the ratios of rounds that were run side by side.
pub(crate) fn ratio(
    above: &[Round],
    below: &[Round],
    figure: impl Fn(&Round) -> Option<f64>,
) -> Option<f64> {
    let pairs = above.iter().zip(below);
    median(pairs.filter_map(|(above, below)| Some(figure(above)? / figure(below)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Vec<Round> {
        values.iter().map(|cpu| Round { cpu: *cpu, ..Round::default() }).collect()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median([3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 100.0, 2.0]), Some(3.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The ratio of the medians would be 1: a slow spell of the machine hit both.
        let (above, below) = (rounds(&[2.0, 20.0, 3.0]), rounds(&[1.0, 10.0, 3.0]));
        assert_eq!(ratio(&above, &below, |round| Some(round.cpu)), Some(2.0));
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(Latency::of(&histogram), None);
        for value in 1..=1000_u64 {
            histogram.record(value * 1000).unwrap();
        }
        let latency = Latency::of(&histogram).unwrap();
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 2.0, "{latency:?}");
        assert!((latency.max - 1000.0).abs() < 2.0, "{latency:?}");
    }
}
