//! Queries as fast as they are answered, beside a constant of the same length from the no-op server;
//! with nothing else going on, and with webhooks arriving.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::fixture::{Fixture, MESSAGES};
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::corpus::{Corpus, RECENT};
use crate::figures::{Results, Round, float};
use crate::load::{Pace, Requests, Span, Stream, run};
use crate::receiver::Receiver;
use crate::round::{LENGTH, WARM_UP, figures, get, measure};
use crate::server::Server;
use crate::tally::Tally;

/// How many webhooks a second arrive meanwhile.
const ARRIVING: f64 = 3_000.0;
/// How many queries are rendered for a round, which begins again after the last.
const QUERIES: usize = 20_000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// Any message by its id.
    Point,
    /// One of the last 20,000.
    Recent,
    /// One of the others.
    Old,
    /// The 50 messages of a destination.
    Destination,
    /// The 50 messages of a reference.
    Reference,
    /// The three notifications of a message.
    History,
}

/// Whom is asked for what.
#[derive(Clone, Copy)]
enum Subject {
    Ours(Query),
    /// A constant as long as the answer to this query.
    Constant(Query, usize),
}

const ALL: [Query; 6] =
    [Query::Point, Query::Recent, Query::Old, Query::Destination, Query::Reference, Query::History];

impl Query {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Recent => "recent",
            Self::Old => "old",
            Self::Destination => "destination",
            Self::Reference => "reference",
            Self::History => "history",
        }
    }

    /// A path that asks for a random one.
    fn path(self, corpus: &Corpus, rng: &mut fastrand::Rng) -> Result<String> {
        let known = corpus.ids.len();
        let message = match self {
            Self::Recent => rng.usize(known.saturating_sub(RECENT)..known),
            Self::Old => rng.usize(..MESSAGES.saturating_sub(RECENT)),
            // Those that webhooks arriving meanwhile add have fewer notifications.
            Self::Point | Self::Destination | Self::Reference | Self::History => {
                rng.usize(..MESSAGES)
            }
        };
        let id = corpus.ids.get(message).context("no such message")?;
        Ok(match self {
            Self::Point | Self::Recent | Self::Old => format!("/api/messagestatus/{id}"),
            Self::History => format!("/api/messagestatus/{id}/history"),
            Self::Destination => {
                format!("/api/messagestatus/phonenumber/{}", corpus.destination(message))
            }
            Self::Reference => {
                format!("/api/messagestatus/reference/{}", corpus.reference(message))
            }
        })
    }

    /// Fails unless an answer holds what was asked for.
    fn check(self, body: &[u8]) -> Result<()> {
        let answer: Value = serde_json::from_slice(body)?;
        let (member, count) = match self {
            Self::Point | Self::Recent | Self::Old => {
                ensure!(answer.get("message").is_some_and(Value::is_object), "no message");
                return Ok(());
            }
            Self::Destination | Self::Reference => ("messages", 50),
            Self::History => ("history", 3),
        };
        let found = answer.get(member).and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(found == count, "{found} {member} instead of {count}");
        Ok(())
    }
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Ours(query) => query.name().to_owned(),
            Self::Constant(query, _) => format!("constant-{}", query.name()),
        }
    }
}

/// Everything that is asked, idle and with webhooks arriving.
pub(super) fn reads(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let mut fixture = Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    let mut constants = Server::start(&bench.places, Receiver::Noop, &[])?;
    let mut rng = fastrand::Rng::with_seed(4);
    let mut subjects: Vec<Subject> = ALL.into_iter().map(Subject::Ours).collect();
    for query in [Query::Point, Query::Destination, Query::History] {
        let length = length(&fixture, query, &mut rng)?;
        results.values("reads-idle", &format!("{} bytes", query.name()), vec![float(length)]);
        subjects.push(Subject::Constant(query, length));
    }
    let rounds = interleaved(bench, &subjects, ROUNDS, Subject::name, |subject| match subject {
        Subject::Ours(query) => idle(&fixture.server, &paths(&fixture.corpus, query, &mut rng)?),
        Subject::Constant(_, length) => {
            let mut requests = Requests::default();
            requests.push(|bytes| get(bytes, &format!("/constant/{length}")));
            idle(&constants, &requests)
        }
    })?;
    results.rounds("reads-idle", rounds);
    let rounds = interleaved(
        bench,
        &ALL,
        ROUNDS,
        |query| query.name().to_owned(),
        |query| busy(&mut fixture, query, &mut rng),
    )?;
    results.rounds("reads-busy", rounds);
    fixture.acknowledged.read_back(&fixture.server, &fixture.corpus.ids)?;
    constants.stop()?;
    fixture.server.stop()
}

/// Queries for any messages by their ids, more of them than fit into a small cache.
pub(super) fn any_point(corpus: &Corpus, rng: &mut fastrand::Rng) -> Result<Requests> {
    let mut requests = Requests::default();
    for _ in 0..5 * QUERIES {
        let id = rng.choice(&corpus.ids).context("no message")?;
        requests.push(|bytes| get(bytes, &format!("/api/messagestatus/{id}")));
    }
    Ok(requests)
}

/// Requests of this kind, each for a random message.
pub(crate) fn paths(corpus: &Corpus, query: Query, rng: &mut fastrand::Rng) -> Result<Requests> {
    let mut requests = Requests::default();
    for _ in 0..QUERIES {
        let path = query.path(corpus, rng)?;
        requests.push(|bytes| get(bytes, &path));
    }
    Ok(requests)
}

/// How long an answer is, which must be whole.
fn length(fixture: &Fixture, query: Query, rng: &mut fastrand::Rng) -> Result<usize> {
    let path = query.path(&fixture.corpus, rng)?;
    let mut requests = Requests::default();
    requests.push(|bytes| get(bytes, &path));
    let mut length = 0;
    let stream = Stream {
        requests: &requests,
        again: false,
        connections: 1,
        pace: Pace::Closed,
        answered: &mut |_, _, body| {
            length = body.len();
            query.check(body)
        },
    };
    run(fixture.server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    Ok(length)
}

fn queries<'a>(requests: &'a Requests, answered: crate::load::Answered<'a>) -> Stream<'a> {
    let (connections, pace) = (CONNECTIONS, Pace::Closed);
    Stream { requests, again: true, connections, pace, answered }
}

fn window() -> Span {
    Span::Window { warm_up: WARM_UP / 2, length: LENGTH }
}

/// Queries as fast as they are answered, and nothing else.
pub(crate) fn idle(server: &Server, requests: &Requests) -> Result<Round> {
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let (tallies, used, memory) = measure(server, vec![queries(requests, &mut ignore)], window())?;
    figures(sound(&tallies)?, &used, memory)
}

/// The same with webhooks arriving, whose CPU is counted with that of the queries.
fn busy(fixture: &mut Fixture, query: Query, rng: &mut fastrand::Rng) -> Result<Round> {
    // Asked for is what is there already.
    let requests = paths(&fixture.corpus, query, rng)?;
    // Enough for the window and its warm-up.
    let webhooks = fixture.corpus.mixed(4 * 3_000)?;
    let Fixture { server, corpus, acknowledged } = fixture;
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let arriving = Stream {
        requests: &webhooks.requests,
        again: false,
        connections: CONNECTIONS,
        pace: Pace::Open(ARRIVING),
        answered: &mut |index, status, _| acknowledged.note(&webhooks, index, status),
    };
    let streams = vec![queries(&requests, &mut ignore), arriving];
    let (tallies, used, memory) = measure(server, streams, window())?;
    corpus.forget_unsent(acknowledged.messages());
    let [_, arrived] = tallies.as_slice() else { anyhow::bail!("not two streams") };
    ensure!(arrived.refused == 0, "{} webhooks were refused", arrived.refused);
    figures(sound(&tallies)?, &used, memory)
}

/// The first of these, if nothing went wrong with any.
fn sound(tallies: &[Tally]) -> Result<&Tally> {
    for tally in tallies {
        tally.sound()?;
    }
    tallies.first().context("no stream")
}
