//! Comparison of this binary with an earlier one: both run at the same time, each with queries, then with the
//! usual load.
//!
//! Ratios to another program differ between machines. The speed of a shared machine also changes from one
//! minute to the next: two runs of the same binary, one after the other, differed by up to a tenth. Two
//! binaries that share the cores at the same time run under the same conditions.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::figures::{Round, ratio};
use crate::load::Span;
use crate::receiver::Receiver;
use crate::scenario::{
    Bench, CONNECTIONS, Fixture, Load, MESSAGES, Query, measure_idle, print_progress,
    query_requests, round,
};

/// First seconds of a new database, before the first record is written back.
const BURST: Span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(3) };
const BURST_ROUNDS: usize = 9;
/// Number of webhooks of the sustained load. A third of them are about new messages, so it stores 500,000.
const SUSTAINED_WEBHOOKS: usize = 1_500_000;
/// Number of webhooks of the load in which each is about a new message.
const NEW_MESSAGES: usize = 500_000;
const SUSTAINED_ROUNDS: usize = 3;
const QUERY_ROUNDS: usize = 9;

/// Ratios of this binary to the earlier one.
struct Difference {
    throughput: f64,
    cpu: f64,
}

impl Difference {
    /// Medians of the ratios of rounds that were run side by side.
    fn from_rounds(before: &[Round], ours: &[Round]) -> Result<Self> {
        let throughput =
            ratio(ours, before, |round| Some(round.per_second)).context("no rounds")?;
        let cpu = ratio(ours, before, |round| Some(round.cpu)).context("no rounds")?;
        Ok(Self { throughput, cpu })
    }

    /// Whether neither ratio is worse by more than this percentage.
    fn is_within(&self, percent: f64) -> bool {
        self.throughput >= 1.0 - percent / 100.0 && self.cpu <= 1.0 + percent / 100.0
    }
}

/// Measures and prints queries and loads. With `max_percent` it fails if one of them is worse by more than
/// this percentage twice in a row.
pub(crate) fn against(bench: &mut Bench, max_percent: Option<f64>) -> Result<()> {
    let is_load_worse = |bench: &Bench, name, span, rounds| {
        let load = Load::closed(CONNECTIONS).lasting(span);
        is_worse_twice(max_percent, || {
            compare(name, rounds, |receiver| round(bench, receiver, &load))
        })
    };
    let mut is_worse = are_queries_worse(bench, max_percent)?;
    is_worse |= is_load_worse(bench, "first three seconds", BURST, BURST_ROUNDS)?;
    bench.render(SUSTAINED_WEBHOOKS)?;
    is_worse |= is_load_worse(bench, "500,000 messages", Span::All, SUSTAINED_ROUNDS)?;
    bench.render_new_messages(NEW_MESSAGES)?;
    is_worse |= is_load_worse(bench, "500,000 new messages", Span::All, SUSTAINED_ROUNDS)?;
    if is_worse {
        let percent = max_percent.unwrap_or_default();
        bail!(
            "this binary is worse than the earlier one by more than {percent} %, twice in a row; see above"
        );
    }
    Ok(())
}

/// Compares queries for single messages and for lists of 50. Returns whether one of them is worse twice in a
/// row.
fn are_queries_worse(bench: &Bench, max_percent: Option<f64>) -> Result<bool> {
    let mut before = Fixture::new(bench, Receiver::Before, MESSAGES)?;
    let mut ours = Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    let mut is_worse = false;
    for query in [Query::Point, Query::Destination] {
        let requests = query_requests(&ours.corpus, query, &mut fastrand::Rng::with_seed(4))?;
        let measure_round = |receiver| {
            let fixture = if receiver == Receiver::Before { &before } else { &ours };
            measure_idle(&fixture.server, &requests)
        };
        is_worse |=
            is_worse_twice(max_percent, || compare(query.name(), QUERY_ROUNDS, measure_round))?;
    }
    before.server.stop()?;
    ours.server.stop()?;
    Ok(is_worse)
}

/// Measures once, and a second time if the first difference exceeds `max_percent`. Returns whether both
/// exceed it.
fn is_worse_twice(
    max_percent: Option<f64>,
    mut measure: impl FnMut() -> Result<Difference>,
) -> Result<bool> {
    let Some(percent) = max_percent else {
        measure()?;
        return Ok(false);
    };
    Ok(!measure()?.is_within(percent) && !measure()?.is_within(percent))
}

/// Measures rounds of both binaries at the same time, and prints the ratios.
#[expect(clippy::print_stdout, reason = "the ratios are the output of the command")]
fn compare(
    name: &str,
    rounds: usize,
    measure_round: impl Fn(Receiver) -> Result<Round> + Sync,
) -> Result<Difference> {
    let measure_round = |receiver: Receiver| measure_round(receiver).context(receiver.name());
    let (mut before, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (before_round, our_round) = thread::scope(|scope| {
            let before_round = scope.spawn(|| measure_round(Receiver::Before));
            let our_round = measure_round(Receiver::Ours);
            (before_round.join(), our_round)
        });
        let before_round =
            before_round.map_err(|_panic| anyhow!("the earlier binary's round panicked"))??;
        let our_round = our_round?;
        print_progress(Receiver::Before.name(), &before_round);
        print_progress(Receiver::Ours.name(), &our_round);
        before.push(before_round);
        ours.push(our_round);
    }
    let difference = Difference::from_rounds(&before, &ours)?;
    let Difference { throughput, cpu } = difference;
    println!("ours ÷ before, {name}: throughput {throughput:.3}, CPU {cpu:.3}");
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_throughput_or_more_cpu_is_worse() {
        let round = |per_second, cpu| Round { per_second, cpu, ..Round::default() };
        let difference = |per_second, cpu| {
            Difference::from_rounds(&[round(1_000.0, 10.0)], &[round(per_second, cpu)]).unwrap()
        };
        assert!(difference(970.0, 10.3).is_within(3.0));
        assert!(difference(2_000.0, 5.0).is_within(3.0));
        assert!(!difference(969.0, 10.0).is_within(3.0));
        assert!(!difference(1_000.0, 10.31).is_within(3.0));
        assert!(Difference::from_rounds(&[], &[]).is_err());
    }
}
