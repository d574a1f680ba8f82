//! Two binaries side by side: this one and an earlier one, at the same time, each with the usual load, then
//! with queries.
//!
//! Ratios to another program differ between machines. And a machine that is shared with others does not stay
//! the same from one minute to the next: of two runs of one binary, one after the other, the second took up to
//! a tenth more or less. Two binaries that share the cores at the same time find the same machine.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::figures::{Round, ratio};
use crate::load::Span;
use crate::receiver::Receiver;
use crate::scenario::{
    Bench, CONNECTIONS, Fixture, Load, MESSAGES, Query, idle, paths, progress, round,
};

/// A new database's first seconds, while nothing is written back yet.
const BURST: Span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(3) };
const BURST_ROUNDS: usize = 9;
/// Webhooks of the sustained load: a third of them are about new messages, so it stores 500,000.
const SUSTAINED: usize = 1_500_000;
const SUSTAINED_ROUNDS: usize = 3;
const QUERY_ROUNDS: usize = 9;

/// Ratios of this binary to the earlier one.
struct Difference {
    throughput: f64,
    cpu: f64,
}

impl Difference {
    /// Median ratio of the rounds, each of which was run side by side.
    fn of(before: &[Round], ours: &[Round]) -> Result<Self> {
        let throughput =
            ratio(ours, before, |round| Some(round.per_second)).context("no rounds")?;
        let cpu = ratio(ours, before, |round| Some(round.cpu)).context("no rounds")?;
        Ok(Self { throughput, cpu })
    }

    /// Whether neither is worse by more than so many percent.
    fn is_within(&self, percent: f64) -> bool {
        self.throughput >= 1.0 - percent / 100.0 && self.cpu <= 1.0 + percent / 100.0
    }
}

/// Measures and prints loads and queries. With a bound it fails if one of them is worse twice.
pub(crate) fn against(bench: &mut Bench, within: Option<f64>) -> Result<()> {
    let webhooks = |bench: &Bench, name, span, rounds| {
        let load = Load::closed(CONNECTIONS).lasting(span);
        is_worse_twice(within, || compare(name, rounds, |receiver| round(bench, receiver, &load)))
    };
    let mut worse = queries(bench, within)?;
    worse |= webhooks(bench, "first three seconds", BURST, BURST_ROUNDS)?;
    bench.render(SUSTAINED)?;
    worse |= webhooks(bench, "500,000 messages", Span::All, SUSTAINED_ROUNDS)?;
    if worse {
        let percent = within.unwrap_or_default();
        bail!(
            "this binary is worse than the earlier one by more than {percent} %, twice; see above"
        );
    }
    Ok(())
}

/// Asks both for single messages and for lists of 50; whether one of them is worse twice.
fn queries(bench: &Bench, within: Option<f64>) -> Result<bool> {
    let mut before = Fixture::new(bench, Receiver::Before, MESSAGES)?;
    let mut ours = Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    let mut worse = false;
    for query in [Query::Point, Query::Destination] {
        let requests = paths(&ours.corpus, query, &mut fastrand::Rng::with_seed(4))?;
        let one = |receiver| {
            let asked = if receiver == Receiver::Before { &before } else { &ours };
            idle(&asked.server, &requests)
        };
        worse |= is_worse_twice(within, || compare(query.name(), QUERY_ROUNDS, one))?;
    }
    before.server.stop()?;
    ours.server.stop()?;
    Ok(worse)
}

fn is_worse_twice(
    within: Option<f64>,
    mut measured: impl FnMut() -> Result<Difference>,
) -> Result<bool> {
    let Some(percent) = within else {
        measured()?;
        return Ok(false);
    };
    Ok(!measured()?.is_within(percent) && !measured()?.is_within(percent))
}

#[expect(clippy::print_stdout, reason = "this is what it is run for")]
fn compare(
    name: &str,
    rounds: usize,
    one: impl Fn(Receiver) -> Result<Round> + Sync,
) -> Result<Difference> {
    let one = |receiver: Receiver| one(receiver).context(receiver.name());
    let (mut before, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (earlier, now) = thread::scope(|scope| {
            let earlier = scope.spawn(|| one(Receiver::Before));
            let now = one(Receiver::Ours);
            (earlier.join(), now)
        });
        let earlier =
            earlier.map_err(|_panic| anyhow!("the earlier binary's round panicked"))??;
        let now = now?;
        progress(Receiver::Before.name(), &earlier);
        progress(Receiver::Ours.name(), &now);
        before.push(earlier);
        ours.push(now);
    }
    let difference = Difference::of(&before, &ours)?;
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
        let of = |per_second, cpu| {
            Difference::of(&[round(1_000.0, 10.0)], &[round(per_second, cpu)]).unwrap()
        };
        assert!(of(970.0, 10.3).is_within(3.0));
        assert!(of(2_000.0, 5.0).is_within(3.0));
        assert!(!of(969.0, 10.0).is_within(3.0));
        assert!(!of(1_000.0, 10.31).is_within(3.0));
        assert!(Difference::of(&[], &[]).is_err());
    }
}
