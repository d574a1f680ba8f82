//! Webhooks on a schedule while clients listen to the event stream.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::figures::{Results, Round, float};
use crate::listener::Listeners;
use crate::load::{Pace, Span, Stream};
use crate::receiver::Receiver;
use crate::round::{figures, measure, sole};
use crate::server::Server;

/// Counted, and before that not counted.
const SPAN: Span = Span::Window { warm_up: Duration::from_secs(1), length: Duration::from_secs(5) };
/// How long clients may take to read what is left at the end.
const REST: Duration = Duration::from_secs(2);

/// Number and filter of the listeners, and webhooks per second.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    listeners: usize,
    /// Each wants the events of one phone number only.
    by_number: bool,
    per_second: f64,
}

const SUBJECTS: [Subject; 4] = [
    Subject { name: "none", listeners: 0, by_number: false, per_second: 3_000.0 },
    Subject { name: "100", listeners: 100, by_number: false, per_second: 3_000.0 },
    Subject { name: "1000-by-number", listeners: 1_000, by_number: true, per_second: 3_000.0 },
    Subject { name: "1000", listeners: 1_000, by_number: false, per_second: 200.0 },
];

/// Each subject on an empty store.
pub(super) fn listeners(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut behind = vec![Vec::new(); SUBJECTS.len()];
    let numbers: Vec<usize> = (0..SUBJECTS.len()).collect();
    let subject = |number: usize| SUBJECTS.get(number).copied().unwrap_or(SUBJECTS[0]);
    let rounds = interleaved(
        bench,
        &numbers,
        ROUNDS,
        |number| subject(number).name.to_owned(),
        |number| {
            let (round, late) = round(bench, subject(number))?;
            if let Some(behind) = behind.get_mut(number) {
                behind.push(float(late));
            }
            Ok(round)
        },
    )?;
    results.rounds("listeners", rounds);
    for (subject, behind) in SUBJECTS.iter().zip(behind) {
        results.values("listeners", &format!("{} behind", subject.name), behind);
    }
    Ok(())
}

/// A round, and how many of the listeners fell behind: whose stream was ended, or who, listening to
/// everything, have not read the last event.
fn round(bench: &Bench, subject: Subject) -> Result<(Round, usize)> {
    let mut server = Server::start(&bench.places, Receiver::Ours, &[])?;
    let query = |number: usize| {
        if subject.by_number {
            format!("?phonenumber={}", bench.corpus.destination(number).replace('+', "%2B"))
        } else {
            String::new()
        }
    };
    let queries: Vec<String> = (0..subject.listeners).map(query).collect();
    let listeners = Listeners::connect(server.address, &queries)?;
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let stream = Stream {
        requests: &bench.webhooks.requests,
        again: false,
        connections: CONNECTIONS,
        pace: Pace::Open(subject.per_second),
        answered: &mut ignore,
    };
    let (tallies, used, memory) = measure(&server, vec![stream], SPAN)?;
    thread::sleep(REST);
    let heard = listeners.stop()?;
    let last = heard.iter().map(|heard| heard.last).max().unwrap_or_default();
    let late = |ended: bool, own: u64| ended || (!subject.by_number && own < last);
    let behind = heard.iter().filter(|heard| late(heard.ended, heard.last)).count();
    let round = figures(sole(&tallies)?, &used, memory)?;
    server.stop()?;
    Ok((round, behind))
}
