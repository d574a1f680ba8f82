//! What statusmirror costs, measured side by side with others. `scripts/bench` builds and runs it.

mod connection;
mod corpus;
mod figures;
mod load;
mod process;
mod quick;
mod receiver;
mod round;
mod scenario;
mod server;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::quick::Committed;
use crate::receiver::{Places, Receiver};
use crate::scenario::{Bench, Load, ingest};

/// Measures statusmirror beside others.
#[derive(Parser)]
struct Arguments {
    /// Only the ratio of CPU to verify-and-parse, in a minute.
    #[arg(long)]
    quick: bool,
    /// With --quick: fail if it is a quarter worse than what is committed.
    #[arg(long, requires = "quick")]
    check: bool,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Do not repeat rounds in which others used the machine: for work on a busy one.
    #[arg(long)]
    busy: bool,
    /// Without these receivers.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Receiver>,
}

fn main() -> ExitCode {
    match bench(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_failure(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the bench learns what went wrong")]
fn report_failure(error: &anyhow::Error) {
    eprintln!("bench: {error:#}");
}

fn bench(arguments: Arguments) -> Result<()> {
    let places = Places::find()?;
    let committed = places.root.join("benches/committed.toml");
    let bench = Bench::new(places, arguments.without, arguments.busy)?;
    if arguments.quick {
        let committed = arguments.check.then(|| Committed::read(&committed)).transpose()?;
        return quick::quick(&bench, committed.as_ref());
    }
    let receivers = [Receiver::Noop, Receiver::Verified, Receiver::Ours];
    ingest(&bench, &receivers, 5, |_| Load::closed(64))?;
    Ok(())
}
