//! What statusmirror costs, measured side by side with others. `scripts/bench` builds and runs it.

mod against;
mod connection;
mod cores;
mod corpus;
mod figures;
mod listener;
mod load;
mod machine;
mod process;
mod quick;
mod receiver;
mod report;
mod round;
mod scenario;
mod server;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::figures::Results;
use crate::quick::Committed;
use crate::receiver::{Places, Receiver};
use crate::scenario::{Bench, Scenario, clear};

/// Measures statusmirror beside others, and writes docs/performance.md and its charts.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
struct Arguments {
    /// Only the ratio of CPU to verify-and-parse, in a minute.
    #[arg(long, group = "checked")]
    quick: bool,
    /// With --quick: fail if it is more than 1.6 times what is committed. With --only: fail if a figure does not
    /// hold twice in a row.
    #[arg(long, requires = "checked")]
    check: bool,
    /// Compare with this earlier binary, both at the same time: the first three seconds, and 500,000 messages.
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["quick", "only", "growth", "memory"])]
    against: Option<PathBuf>,
    /// With --against: fail if throughput is lower, or CPU per webhook higher, by more than so many percent.
    #[arg(long, value_name = "PERCENT", requires = "against")]
    within: Option<f64>,
    /// Only these scenarios; prints and writes nothing.
    #[arg(long, value_delimiter = ',', group = "checked", conflicts_with_all = ["growth", "memory", "quick"])]
    only: Vec<Scenario>,
    /// With --only: write them beside the figures of earlier runs.
    #[arg(long, requires = "only")]
    write: bool,
    /// Also with up to ten million messages stored.
    #[arg(long)]
    growth: bool,
    /// Also with a file larger than memory.
    #[arg(long)]
    memory: bool,
    /// Without these receivers.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Receiver>,
    /// Do not repeat rounds in which others used the machine: for work on a busy one.
    #[arg(long)]
    busy: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Only writes the pages and charts again, from the figures of the last run.
    Report,
}

fn main() -> ExitCode {
    match bench(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            explain(&error);
            ExitCode::FAILURE
        }
    }
}

fn whole(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find the binary {}", path.display()))
}

#[expect(clippy::print_stderr, reason = "whoever runs the bench learns what went wrong")]
fn explain(error: &anyhow::Error) {
    eprintln!("bench: {error:#}");
}

fn bench(arguments: Arguments) -> Result<()> {
    let mut places = Places::find()?;
    if let Some(Command::Report) = arguments.command {
        return report::write(&places.root, &report::read(&places.root)?);
    }
    let committed = places.root.join("benches/committed.toml");
    clear(&places.data())?;
    allow_many_connections()?;
    let scenarios = chosen(&arguments);
    if !arguments.quick && arguments.against.is_none() && scenarios.contains(&Scenario::Ingest) {
        places.install(&arguments.without)?;
    }
    let root = places.root.clone();
    // Each server has a working directory of its own.
    places.before = arguments.against.as_deref().map(whole).transpose()?;
    // The short form is short: it compares CPU, and repeats as a whole.
    let busy = arguments.busy || arguments.quick;
    let mut bench = Bench::new(places, arguments.without, busy)?;
    if arguments.quick {
        let committed = arguments.check.then(|| Committed::read(&committed)).transpose()?;
        return quick::quick(&bench, committed.as_ref());
    }
    if bench.places.before.is_some() {
        return against::against(&mut bench, arguments.within);
    }
    let results = measured(&mut bench, &scenarios)?;
    if !arguments.only.is_empty() {
        report::print(&results);
        if arguments.check {
            check(&mut bench, &scenarios, &results)?;
        }
        if !arguments.write {
            return Ok(());
        }
    }
    if let Some(cpu_ratio) = report::cpu_ratio(&results) {
        Committed { cpu_ratio }.write(&committed)?;
    }
    let mut all = report::read(&root).unwrap_or_default();
    all.replace(results);
    report::write(&root, &all)
}

/// Figures of these scenarios.
fn measured(bench: &mut Bench, scenarios: &[Scenario]) -> Result<Results> {
    let mut results = Results::new(machine::today());
    results.machine = machine::describe(&bench.places)?;
    for scenario in scenarios {
        heading(*scenario);
        scenario.run(bench, &mut results).with_context(|| format!("{scenario:?}"))?;
    }
    Ok(results)
}

/// Fails if a figure does not hold, and does not hold either when all is measured again: once may be due to what
/// else the machine does.
fn check(bench: &mut Bench, scenarios: &[Scenario], results: &Results) -> Result<()> {
    let first = report::missed(results);
    if first.is_empty() {
        return Ok(());
    }
    let results = measured(bench, scenarios)?;
    report::print(&results);
    let twice = missed_twice(&first, &report::missed(&results));
    anyhow::ensure!(twice.is_empty(), "does not hold, twice in a row: {}", twice.join("; "));
    Ok(())
}

fn missed_twice(first: &[&'static str], again: &[&'static str]) -> Vec<&'static str> {
    first.iter().filter(|name| again.contains(name)).copied().collect()
}

fn chosen(arguments: &Arguments) -> Vec<Scenario> {
    if !arguments.only.is_empty() {
        return arguments.only.clone();
    }
    let mut scenarios = Scenario::DEFAULT.to_vec();
    scenarios.extend(arguments.growth.then_some(Scenario::Growth));
    scenarios.extend(arguments.memory.then_some(Scenario::Memory));
    scenarios
}

/// A schedule may need thousands of connections; servers inherit the limit.
fn allow_many_connections() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits })?)
}

#[expect(clippy::print_stderr, reason = "whoever runs the bench sees that it goes on")]
fn heading(scenario: Scenario) {
    eprintln!("{scenario:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_fails_when_it_is_missed_twice_in_a_row() {
        assert_eq!(missed_twice(&["a", "b"], &["b", "c"]), ["b"]);
        assert!(missed_twice(&["a"], &["b"]).is_empty());
    }

    #[test]
    fn a_check_is_of_the_short_form_or_of_some_scenarios() {
        let parsed =
            |arguments: &[&str]| Arguments::try_parse_from([&["bench"], arguments].concat());
        assert!(parsed(&["--only", "batches,ties", "--check"]).is_ok());
        assert!(parsed(&["--quick", "--check"]).is_ok());
        assert!(parsed(&["--check"]).is_err());
    }
}
