//! Webhooks at the rate that a statusmirror keeps up: rounds at several numbers of stored messages, beside the
//! other receivers, and one on a schedule.

use anyhow::{Result, ensure};

use super::growing_store::GrowingStore;
use super::ingest::{Load, round};
use super::{Bench, CONNECTIONS, SCHEDULE_CONNECTIONS, SUSTAINED_WEBHOOKS, interleaved};
use crate::cores::CoreSplit;
use crate::figures::{Results, Rounds};
use crate::load::Pace;
use crate::receiver::Receiver;

/// Number of sustained rounds of each subject.
pub(super) const ROUNDS: usize = 3;
/// Numbers of stored messages, with the name of the scenario of each.
const LEVELS: [(&str, usize); 3] =
    [("sustained-0.1M", 100_000), ("sustained-0.5M", 500_000), ("sustained-1M", 1_000_000)];
/// Receivers at every level. The ratio to each does not depend on the machine's speed.
pub(super) const BESIDE: [Receiver; 3] = [Receiver::Verified, Receiver::Floor, Receiver::Ours];
/// Receivers at the last level. All but statusmirror begin with an empty store.
const ALL: [Receiver; 9] = [
    Receiver::Noop,
    Receiver::Verified,
    Receiver::Floor,
    Receiver::Ours,
    Receiver::NaiveFull,
    Receiver::NaiveNormal,
    Receiver::Fastapi,
    Receiver::Express,
    Receiver::Postgres,
];
/// Messages in the store of the round on a schedule.
const RATE_MESSAGES: usize = 600_000;
/// Webhooks per second of this round.
const RATE_PER_SECOND: f64 = 10_000.0;
/// Number of webhooks rendered for this round, whose lead-in may last 30 seconds.
const RATE_WEBHOOKS: usize = 520_000;

/// Subject of a round.
#[derive(Clone, Copy)]
enum Subject {
    /// Receiver under the usual load.
    Usual(Receiver),
    /// statusmirror with webhooks that are all about new messages.
    NewMessages,
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Usual(receiver) => receiver.name().to_owned(),
            Self::NewMessages => "new-messages".to_owned(),
        }
    }
}

/// Measures each level. Every pass begins with an empty store and has one round of each subject at each level,
/// so that a round of a level always begins with the same number of messages.
pub(super) fn sustained(bench: &mut Bench, results: &mut Results) -> Result<()> {
    bench.ensure_webhooks(SUSTAINED_WEBHOOKS)?;
    results.add_values("sustained-1M", "body bytes", vec![bench.webhooks.mean_body_bytes()]);
    let mut levels: Vec<Rounds> = LEVELS.iter().map(|_| Rounds::new()).collect();
    for _ in 0..ROUNDS {
        let mut store = GrowingStore::new(bench)?;
        for ((name, messages), rounds) in LEVELS.into_iter().zip(&mut levels) {
            store.grow(messages)?;
            let is_last = name == "sustained-1M";
            let receivers = if is_last { &ALL[..] } else { &BESIDE[..] };
            let mut subjects: Vec<_> =
                bench.included(receivers).into_iter().map(Subject::Usual).collect();
            if is_last && !bench.without.contains(&Receiver::Ours) {
                subjects.push(Subject::NewMessages);
            }
            for (subject, round) in run_subjects(bench, &mut store, &subjects, 1)? {
                rounds.entry(subject).or_default().extend(round);
            }
        }
        store.finish()?;
    }
    for ((name, _), rounds) in LEVELS.into_iter().zip(levels) {
        results.add_rounds(name, rounds);
    }
    Ok(())
}

/// Runs rounds of the usual load on this store and on the receivers beside it.
pub(super) fn beside(bench: &Bench, store: &mut GrowingStore) -> Result<Rounds> {
    let subjects: Vec<_> = bench.included(&BESIDE).into_iter().map(Subject::Usual).collect();
    run_subjects(bench, store, &subjects, ROUNDS)
}

fn run_subjects(
    bench: &Bench,
    store: &mut GrowingStore,
    subjects: &[Subject],
    rounds: usize,
) -> Result<Rounds> {
    interleaved(bench, subjects, rounds, Subject::name, |subject| match subject {
        Subject::Usual(Receiver::Ours) => store.round(),
        Subject::Usual(receiver) => round(bench, receiver, &Load::sustained(receiver, CONNECTIONS)),
        Subject::NewMessages => {
            let webhooks = store.corpus.fresh(SUSTAINED_WEBHOOKS)?;
            store.round_of(&webhooks, CONNECTIONS, Pace::Closed)
        }
    })
}

/// Measures a fixed rate with [`RATE_MESSAGES`] messages stored, on a core of its own as every schedule.
pub(super) fn rate(bench: &Bench, results: &mut Results) -> Result<()> {
    let (_core_split, mut store) = CoreSplit::start(|| GrowingStore::new(bench))?;
    store.grow(RATE_MESSAGES)?;
    let rounds = interleaved(
        bench,
        &[Receiver::Ours],
        ROUNDS,
        |receiver| receiver.name().to_owned(),
        |_| {
            let webhooks = store.corpus.mixed(RATE_WEBHOOKS)?;
            let pace = Pace::Open(RATE_PER_SECOND);
            let round = store.round_of(&webhooks, SCHEDULE_CONNECTIONS, pace)?;
            ensure!(round.per_second > 0.0, "no webhook was accepted");
            Ok(round)
        },
    )?;
    results.add_rounds("rate", rounds);
    store.finish()
}
