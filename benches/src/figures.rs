//! Figures of the scenarios, and arithmetic on them: medians, and ratios taken round by round.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Converts a count to a floating-point number.
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
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// 99.9th percentile.
    pub(crate) p999: f64,
    /// Maximum.
    pub(crate) max: f64,
}

impl Latency {
    /// Quantiles of a histogram in nanoseconds; `None` if it is empty.
    pub(crate) fn from_histogram(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| float(histogram.value_at_quantile(quantile)) / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

/// Figures of one round of one receiver.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Accepted requests per second.
    pub(crate) per_second: f64,
    /// CPU time of the server for each answered request, in microseconds.
    pub(crate) cpu: f64,
    /// CPU time of the load generator for each answered request, in microseconds.
    pub(crate) generator: f64,
    /// CPU use of other processes during the round, in cores.
    pub(crate) others: f64,
    /// Anonymous memory of the server at the end, in bytes.
    pub(crate) memory: f64,
    /// Latency of accepted requests.
    pub(crate) latency: Latency,
    /// Requests refused with 503 per second.
    pub(crate) refused: f64,
    /// Latency of refused requests; `None` if there were none.
    pub(crate) refusal: Option<Latency>,
    /// Number of repetitions of the round because other processes used the CPU.
    pub(crate) repeated: u32,
    /// CPU time of the server by group of threads, for each answered request, in microseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) threads: BTreeMap<String, f64>,
    /// Bytes that the server caused to be written to the disk, for each answered request.
    #[serde(default)]
    pub(crate) written: f64,
    /// Frames that statusmirror appended to its WAL for each answered request, if they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wal_frames: Option<f64>,
    /// Load before the round, if it lasted until the state was steady.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lead_in: Option<LeadInFigures>,
}

/// Load before a sustained round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeadInFigures {
    /// Length in seconds.
    pub(crate) seconds: f64,
    /// Whether the state was steady at the end.
    pub(crate) is_steady: bool,
}

/// Rounds of each subject of one scenario. Rounds with the same index were run side by side.
pub(crate) type Rounds = BTreeMap<String, Vec<Round>>;

/// Figures of one scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ScenarioFigures {
    /// Day of the run.
    pub(crate) date: String,
    /// Rounds of each subject.
    #[serde(default)]
    pub(crate) rounds: Rounds,
    /// Other figures, by name.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, Vec<f64>>,
}

/// Figures of all scenarios, and the machine that they were measured on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine and the versions of the programs, as rows of a table.
    pub(crate) machine: Vec<(String, String)>,
    /// Figures by the scenario's name.
    pub(crate) scenarios: BTreeMap<String, ScenarioFigures>,
    /// Date of figures that are added.
    #[serde(skip)]
    pub(crate) today: String,
}

impl Results {
    /// Creates empty results. `today` is the date of figures that are added.
    pub(crate) fn new(today: String) -> Self {
        Self { today, ..Self::default() }
    }

    /// Adds rounds to a scenario.
    pub(crate) fn add_rounds(&mut self, scenario: &str, rounds: Rounds) {
        self.scenario(scenario).rounds.extend(rounds);
    }

    /// Adds other figures to a scenario.
    pub(crate) fn add_values(&mut self, scenario: &str, name: &str, values: Vec<f64>) {
        self.scenario(scenario).values.insert(name.to_owned(), values);
    }

    /// Takes the scenarios of newer results, which replace those of the same name.
    pub(crate) fn replace(&mut self, newer: Self) {
        self.machine = newer.machine;
        self.scenarios.extend(newer.scenarios);
    }

    /// Rounds of a subject in a scenario; empty if it was not run.
    pub(crate) fn rounds_of(&self, scenario: &str, subject: &str) -> &[Round] {
        let figures = self.scenarios.get(scenario);
        figures.and_then(|figures| figures.rounds.get(subject)).map_or(&[], Vec::as_slice)
    }

    /// Median of a figure of a subject's rounds.
    pub(crate) fn median(
        &self,
        scenario: &str,
        subject: &str,
        figure: impl Fn(&Round) -> f64,
    ) -> Option<f64> {
        median(self.rounds_of(scenario, subject).iter().map(figure))
    }

    /// Median of other figures.
    pub(crate) fn median_value(&self, scenario: &str, name: &str) -> Option<f64> {
        median(self.scenarios.get(scenario)?.values.get(name)?.iter().copied())
    }

    /// Figures of a scenario, marked with the current date.
    fn scenario(&mut self, name: &str) -> &mut ScenarioFigures {
        let figures = self.scenarios.entry(name.to_owned()).or_default();
        figures.date.clone_from(&self.today);
        figures
    }
}

/// Median: the middle value, or the mean of the two in the middle. `None` if there are no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(*values.get(lower)?, *values.get(upper)?))
}

/// Median of the ratios of rounds that were run side by side.
pub(crate) fn ratio(
    numerators: &[Round],
    denominators: &[Round],
    figure: impl Fn(&Round) -> Option<f64>,
) -> Option<f64> {
    let pairs = numerators.iter().zip(denominators);
    median(
        pairs
            .filter_map(|(numerator, denominator)| Some(figure(numerator)? / figure(denominator)?)),
    )
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
        // In the second round the machine was slower for both. The ratio of the medians would be 1.
        let (above, below) = (rounds(&[2.0, 20.0, 3.0]), rounds(&[1.0, 10.0, 3.0]));
        assert_eq!(ratio(&above, &below, |round| Some(round.cpu)), Some(2.0));
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(Latency::from_histogram(&histogram), None);
        for value in 1..=1000_u64 {
            histogram.record(value * 1000).unwrap();
        }
        let latency = Latency::from_histogram(&histogram).unwrap();
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 2.0, "{latency:?}");
        assert!((latency.max - 1000.0).abs() < 2.0, "{latency:?}");
    }
}
