//! Sustained webhooks with ten and thirty million messages stored, and queries among them.

use anyhow::Result;

use super::growing_store::{GrowingStore, LISTS};
use super::reads::{answer_length, measure_idle, point_requests};
use super::sustained::beside;
use super::{Bench, ROUNDS, SUSTAINED_WEBHOOKS, interleaved};
use crate::corpus::LIST_STRIDE;
use crate::figures::{Results, float};
use crate::receiver::Receiver;
use crate::requests::Requests;
use crate::round::render_get;
use crate::scenario::footprint::database_bytes;
use crate::server::Server;

/// Numbers of stored messages, with the name of the scenario of each.
const LEVELS: [(&str, usize); 2] = [("sustained-10M", 10_000_000), ("sustained-30M", 30_000_000)];
/// Messages that fit on every disk of a bench. More are stored only if the disk has room.
const FIRST_LEVEL: usize = 10_000_000;
/// Free space that a level must leave, as a factor of the expected size of its files.
const ROOM: f64 = 1.5;
/// Number of list queries rendered for a round, which repeats them.
const LIST_QUERIES: usize = 20_000;

/// Measures each level, and queries at the first one.
pub(super) fn growth(bench: &mut Bench, results: &mut Results) -> Result<()> {
    bench.ensure_webhooks(SUSTAINED_WEBHOOKS)?;
    let mut store = GrowingStore::new(bench)?;
    for (name, messages) in LEVELS {
        if messages > FIRST_LEVEL && !has_room(&store, messages)? {
            print_skipped(name);
            break;
        }
        let elapsed = store.grow(messages)?;
        results.add_values(name, "seconds to fill", vec![elapsed.as_secs_f64()]);
        let stored = database_bytes(&store.server.folder)?;
        results.add_values(name, "stored", vec![float(stored)]);
        if messages == FIRST_LEVEL {
            queries(bench, &store, results)?;
        }
        results.add_rounds(name, beside(bench, &mut store)?);
    }
    store.finish()
}

/// Whether the disk has room for this number of messages, if they are as long as the ones before.
fn has_room(store: &GrowingStore, messages: usize) -> Result<bool> {
    let folder = &store.server.folder;
    let stored = float(database_bytes(folder)?);
    let needed = stored / float(store.messages()) * float(messages) * ROOM - stored;
    let disk = rustix::fs::statvfs(folder)?;
    Ok(float(disk.f_bavail) * float(disk.f_frsize) >= needed)
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn print_skipped(name: &str) {
    eprintln!("  {name}: the disk has no room");
}

/// Queries for one message and for lists, and a constant as long as the answer to the first.
fn queries(bench: &Bench, store: &GrowingStore, results: &mut Results) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(6);
    let point = point_requests(&store.corpus, &mut rng)?;
    let by_destination = list_requests(&mut rng, |message| {
        format!("/api/messagestatus/phonenumber/{}", store.corpus.destination(message))
    });
    let by_key = list_requests(&mut rng, |message| {
        format!("/api/messagestatus/reference/{}", store.corpus.reference(message))
    });
    let length = answer_length(&store.server, &point)?;
    let mut constant = Requests::default();
    constant.push(|bytes| render_get(bytes, &format!("/constant/{length}")));
    let mut constants = Server::start(&bench.paths, Receiver::Noop, &[])?;
    let subjects = [
        ("constant-point", &constants, &constant),
        ("point", &store.server, &point),
        ("destination", &store.server, &by_destination),
        ("reference", &store.server, &by_key),
    ];
    let rounds = interleaved(
        bench,
        &subjects,
        ROUNDS,
        |(name, ..)| name.to_owned(),
        |(_, server, requests)| measure_idle(server, requests),
    )?;
    results.add_rounds("reads-10M", rounds);
    constants.stop()
}

/// Queries for the lists of random messages. Each list has at least 50 messages.
fn list_requests(rng: &mut fastrand::Rng, path: impl Fn(usize) -> String) -> Requests {
    let mut requests = Requests::default();
    for _ in 0..LIST_QUERIES {
        let path = path(rng.usize(..LISTS) * LIST_STRIDE);
        requests.push(|bytes| render_get(bytes, &path));
    }
    requests
}
