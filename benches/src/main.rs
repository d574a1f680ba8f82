//! Benchmark of statusmirror beside other receivers. `scripts/bench` builds and runs it.

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
mod requests;
mod round;
mod scenario;
mod server;
mod steady;
mod stream;
mod tally;
mod usage;
mod wal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::figures::Results;
use crate::quick::Committed;
use crate::receiver::{Paths, Receiver};
use crate::scenario::{Bench, Scenario, clear};

/// Measures statusmirror beside other receivers, and writes docs/performance.md and its charts.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
struct Arguments {
    /// Measure only the ratio of CPU to verify-and-parse, in a minute.
    #[arg(long, group = "checked")]
    quick: bool,
    /// With --quick: fail if the ratio is more than 1.6 times the committed one. With --only: fail if a
    /// figure misses its limit twice in a row.
    #[arg(long, requires = "checked")]
    check: bool,
    /// Compare with this earlier binary, both at the same time: single messages and lists, the first three
    /// seconds of webhooks, 500,000 messages, and 500,000 messages with one webhook each.
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["quick", "only", "growth", "memory"])]
    against: Option<PathBuf>,
    /// With --against: fail if throughput is lower, or CPU per request higher, by more than this percentage.
    #[arg(long, value_name = "PERCENT", requires = "against")]
    within: Option<f64>,
    /// Run only these scenarios, and print the figures without writing them.
    #[arg(long, value_delimiter = ',', group = "checked", conflicts_with_all = ["growth", "memory", "quick"])]
    only: Vec<Scenario>,
    /// With --only: write the figures beside those of earlier runs.
    #[arg(long, requires = "only")]
    write: bool,
    /// Also measure with ten million messages stored, and with thirty million if the disk has room.
    #[arg(long)]
    growth: bool,
    /// Also measure with a database file larger than memory.
    #[arg(long)]
    memory: bool,
    /// Leave out these receivers.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Receiver>,
    /// Keep rounds during which other processes used the CPU, instead of repeating them.
    #[arg(long)]
    busy: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write the pages and charts again, from the figures of the last run.
    Report,
}

fn main() -> ExitCode {
    match bench(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find the binary {}", path.display()))
}

#[expect(clippy::print_stderr, reason = "a command reports its error on standard error")]
fn print_error(error: &anyhow::Error) {
    eprintln!("bench: {error:#}");
}

fn bench(arguments: Arguments) -> Result<()> {
    let mut paths = Paths::of_repository()?;
    if let Some(Command::Report) = arguments.command {
        return report::write(&paths.root, &report::read(&paths.root)?);
    }
    let committed = paths.root.join("benches/committed.toml");
    clear(&paths.data())?;
    allow_many_connections()?;
    let scenarios = selected(&arguments);
    if !arguments.quick && arguments.against.is_none() && scenarios.contains(&Scenario::Sustained) {
        paths.install_dependencies(&arguments.without)?;
    }
    let root = paths.root.clone();
    // Absolute, because each server has a working directory of its own.
    paths.before = arguments.against.as_deref().map(absolute).transpose()?;
    // `--quick` repeats all of its rounds when the ratio is too high, so it does not repeat single ones.
    let keeps_busy_rounds = arguments.busy || arguments.quick;
    let mut bench = Bench::new(paths, arguments.without, keeps_busy_rounds)?;
    if arguments.quick {
        let committed = arguments.check.then(|| Committed::read(&committed)).transpose()?;
        return quick::quick(&bench, committed.as_ref());
    }
    if bench.paths.before.is_some() {
        return against::against(&mut bench, arguments.within);
    }
    let results = measure(&mut bench, &scenarios)?;
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

/// Runs these scenarios and returns their figures.
fn measure(bench: &mut Bench, scenarios: &[Scenario]) -> Result<Results> {
    let mut results = Results::new(machine::today());
    results.machine = machine::describe(&bench.paths)?;
    for scenario in scenarios {
        print_heading(*scenario);
        scenario.run(bench, &mut results).with_context(|| format!("{scenario:?}"))?;
    }
    Ok(results)
}

/// Fails if a figure misses its limit in these results and again in a second run of the scenarios. A single
/// miss may be due to other load on the machine.
fn check(bench: &mut Bench, scenarios: &[Scenario], results: &Results) -> Result<()> {
    let first = report::missed(results);
    if first.is_empty() {
        return Ok(());
    }
    let results = measure(bench, scenarios)?;
    report::print(&results);
    let twice = missed_twice(&first, &report::missed(&results));
    anyhow::ensure!(twice.is_empty(), "limits missed twice in a row: {}", twice.join("; "));
    Ok(())
}

fn missed_twice(first: &[&'static str], second: &[&'static str]) -> Vec<&'static str> {
    first.iter().filter(|name| second.contains(name)).copied().collect()
}

/// Scenarios that the arguments select, in order.
fn selected(arguments: &Arguments) -> Vec<Scenario> {
    if !arguments.only.is_empty() {
        return arguments.only.clone();
    }
    let mut scenarios = Scenario::DEFAULT.to_vec();
    scenarios.extend(arguments.growth.then_some(Scenario::Growth));
    scenarios.extend(arguments.memory.then_some(Scenario::Memory));
    scenarios
}

/// Raises the limit of open files, which the servers inherit. A schedule may need thousands of connections.
fn allow_many_connections() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits })?)
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn print_heading(scenario: Scenario) {
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
        let parse =
            |arguments: &[&str]| Arguments::try_parse_from([&["bench"], arguments].concat());
        assert!(parse(&["--only", "batches,ties", "--check"]).is_ok());
        assert!(parse(&["--quick", "--check"]).is_ok());
        assert!(parse(&["--check"]).is_err());
    }
}
