//! Costs of layouts of the index of messages, each in a database of its own. `scripts/layouts` builds and runs
//! it.
//!
//! Every layout stores the same random messages in the same two tables; only the index differs. See [`layout`].

mod entry;
mod folder;
mod layout;
mod measure;
mod merge;
mod message;
mod reads;
mod runs;
mod store;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::folder::Folder;
use crate::layout::Layout;
use crate::measure::Meter;
use crate::reads::read_costs;
use crate::store::Store;

/// Number of lines about the writing of the messages.
const PARTS: u64 = 10;

/// Stores random messages with a layout of their index. Prints what each tenth of them costs, and then what it
/// costs to find messages. Ten million messages take 14 GB on disk.
#[derive(Parser)]
struct Arguments {
    /// Layout of the index.
    #[arg(long)]
    layout: Layout,
    /// Number of messages, a multiple of ten.
    #[arg(long, value_parser = messages)]
    messages: u64,
}

/// Parses a number of messages. There must be enough for a few batches.
fn messages(text: &str) -> Result<u64> {
    let messages: u64 = text.parse()?;
    anyhow::ensure!(
        messages >= 50_000 && messages.is_multiple_of(PARTS),
        "not a multiple of ten from 50,000 on"
    );
    Ok(messages)
}

fn main() -> ExitCode {
    let Arguments { layout, messages } = Arguments::parse();
    match measure_in_folder(layout, messages) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command reports its error on standard error")]
fn print_error(error: &anyhow::Error) {
    eprintln!("layouts: {error:#}");
}

/// Measures the layout in a temporary folder, which is removed in any case.
fn measure_in_folder(layout: Layout, messages: u64) -> Result<()> {
    let folder = Folder::create()?;
    let measured = measure(layout, messages, &folder);
    folder.remove()?;
    measured
}

fn measure(layout: Layout, messages: u64, folder: &Folder) -> Result<()> {
    print("messages  CPU µs/message  written B/message  runs  file MB");
    let mut store = Store::create(&folder.database(), layout, messages)?;
    let part = messages / PARTS;
    for number in 1..=PARTS {
        let before = Meter::now()?;
        store.add(part)?;
        let cost = Meter::now()?.since(before);
        print(&format!(
            "{:>8}  {:>14.2}  {:>17}  {:>4}  {:>7}",
            number * part,
            cost.cpu_of_each(part)?,
            cost.written / part,
            store.runs().len(),
            store.file_bytes()? / 1_000_000,
        ));
    }
    for (query, microseconds) in read_costs(&store)? {
        print(&format!("{query}: {microseconds:.2} µs CPU"));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are the output of the command")]
fn print(line: &str) {
    println!("{line}");
}
