//! Queries as fast as they are answered, on an idle server and while webhooks arrive. For comparison the
//! no-op server answers with a constant of the same length.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::fixture::{Fixture, MESSAGES};
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::corpus::{Corpus, RECENT_MESSAGES};
use crate::figures::{Results, Round, float};
use crate::load::{OnAnswer, Pace, Span, Stream, run};
use crate::receiver::Receiver;
use crate::requests::Requests;
use crate::round::{WARM_UP, WINDOW_LENGTH, measure, render_get, round_from};
use crate::server::Server;
use crate::tally::Tally;

/// Rate of webhooks during the busy rounds.
const WEBHOOKS_PER_SECOND: f64 = 3_000.0;
/// Number of queries rendered for a round, which repeats them.
const ROUND_QUERIES: usize = 20_000;

/// Kind of query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// Any message by its id.
    Point,
    /// One of the last 20,000 messages by its id.
    Recent,
    /// One of the older messages by its id.
    Old,
    /// The 50 messages of a destination.
    Destination,
    /// The 50 messages of a reference.
    Reference,
    /// The three notifications of a message.
    History,
}

/// Server and query that are measured.
#[derive(Clone, Copy)]
enum Subject {
    /// Query to statusmirror.
    Ours(Query),
    /// Constant of the no-op server, as long as the answer to this query.
    Constant(Query, usize),
}

const QUERIES: [Query; 6] =
    [Query::Point, Query::Recent, Query::Old, Query::Destination, Query::Reference, Query::History];

impl Query {
    /// Name in the figures.
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

    /// Path of a query for a random message.
    fn random_path(self, corpus: &Corpus, rng: &mut fastrand::Rng) -> Result<String> {
        let known = corpus.ids.len();
        let message = match self {
            Self::Recent => rng.usize(known.saturating_sub(RECENT_MESSAGES)..known),
            Self::Old => rng.usize(..MESSAGES.saturating_sub(RECENT_MESSAGES)),
            // Messages added by webhooks of busy rounds have fewer notifications, so they are left out.
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

    /// Fails unless the answer is complete.
    fn check(self, body: &[u8]) -> Result<()> {
        let answer: Value = serde_json::from_slice(body)?;
        let (member, count) = match self {
            Self::Point | Self::Recent | Self::Old => {
                ensure!(
                    answer.get("message").is_some_and(Value::is_object),
                    "the answer has no message"
                );
                return Ok(());
            }
            Self::Destination | Self::Reference => ("messages", 50),
            Self::History => ("history", 3),
        };
        let length = answer.get(member).and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(length == count, "the answer has {length} {member} instead of {count}");
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

/// Measures all queries on an idle server, then while webhooks arrive.
pub(super) fn reads(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let mut fixture = Fixture::new(bench, Receiver::Ours, MESSAGES)?;
    let mut constants = Server::start(&bench.paths, Receiver::Noop, &[])?;
    let mut rng = fastrand::Rng::with_seed(4);
    let mut subjects: Vec<Subject> = QUERIES.into_iter().map(Subject::Ours).collect();
    for query in [Query::Point, Query::Destination, Query::History] {
        let length = complete_length(&fixture, query, &mut rng)?;
        results.add_values("reads-idle", &format!("{} bytes", query.name()), vec![float(length)]);
        subjects.push(Subject::Constant(query, length));
    }
    let rounds = interleaved(bench, &subjects, ROUNDS, Subject::name, |subject| match subject {
        Subject::Ours(query) => {
            measure_idle(&fixture.server, &query_requests(&fixture.corpus, query, &mut rng)?)
        }
        Subject::Constant(_, length) => {
            let mut requests = Requests::default();
            requests.push(|bytes| render_get(bytes, &format!("/constant/{length}")));
            measure_idle(&constants, &requests)
        }
    })?;
    results.add_rounds("reads-idle", rounds);
    let rounds = interleaved(
        bench,
        &QUERIES,
        ROUNDS,
        |query| query.name().to_owned(),
        |query| measure_busy(&mut fixture, query, &mut rng),
    )?;
    results.add_rounds("reads-busy", rounds);
    fixture.acknowledged.read_back(&fixture.server, &fixture.corpus.ids)?;
    constants.stop()?;
    fixture.server.stop()
}

/// Queries for random messages by their ids, for more messages than a small cache holds.
pub(super) fn point_requests(corpus: &Corpus, rng: &mut fastrand::Rng) -> Result<Requests> {
    let mut requests = Requests::default();
    for _ in 0..5 * ROUND_QUERIES {
        let id = rng.choice(&corpus.ids).context("no message")?;
        requests.push(|bytes| render_get(bytes, &format!("/api/messagestatus/{id}")));
    }
    Ok(requests)
}

/// Queries of this kind, each for a random message.
pub(crate) fn query_requests(
    corpus: &Corpus,
    query: Query,
    rng: &mut fastrand::Rng,
) -> Result<Requests> {
    let mut requests = Requests::default();
    for _ in 0..ROUND_QUERIES {
        let path = query.random_path(corpus, rng)?;
        requests.push(|bytes| render_get(bytes, &path));
    }
    Ok(requests)
}

/// Length of the body of an answer, which must be complete.
fn complete_length(fixture: &Fixture, query: Query, rng: &mut fastrand::Rng) -> Result<usize> {
    let path = query.random_path(&fixture.corpus, rng)?;
    let mut requests = Requests::default();
    requests.push(|bytes| render_get(bytes, &path));
    let body = answer(&fixture.server, &requests)?;
    query.check(&body)?;
    Ok(body.len())
}

/// Length of the body of the answer to the first of these queries.
pub(super) fn answer_length(server: &Server, requests: &Requests) -> Result<usize> {
    let mut first = Requests::default();
    let request = requests.get(0).context("no query")?;
    first.push(|bytes| bytes.extend_from_slice(request));
    Ok(answer(server, &first)?.len())
}

/// Body of the answer to a query.
fn answer(server: &Server, request: &Requests) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    let stream = Stream {
        requests: request,
        repeat: false,
        connections: 1,
        pace: Pace::Closed,
        on_answer: &mut |_, status, body| {
            ensure!(status == 200, "a query is answered with {status}");
            answer = body.to_vec();
            Ok(())
        },
    };
    run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    Ok(answer)
}

fn query_stream<'a>(requests: &'a Requests, on_answer: OnAnswer<'a>) -> Stream<'a> {
    let (connections, pace) = (CONNECTIONS, Pace::Closed);
    Stream { requests, repeat: true, connections, pace, on_answer }
}

fn window() -> Span {
    Span::Window { warm_up: WARM_UP / 2, length: WINDOW_LENGTH }
}

/// Measures queries as fast as they are answered, without other load.
pub(crate) fn measure_idle(server: &Server, requests: &Requests) -> Result<Round> {
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let (tallies, usage) = measure(server, vec![query_stream(requests, &mut ignore)], window())?;
    round_from(first_tally(&tallies)?, &usage)
}

/// Measures queries while webhooks arrive. The CPU per query includes the CPU of the webhooks.
fn measure_busy(fixture: &mut Fixture, query: Query, rng: &mut fastrand::Rng) -> Result<Round> {
    // Rendered before the new webhooks, so that only stored messages are queried.
    let requests = query_requests(&fixture.corpus, query, rng)?;
    // Enough for the window and its warm-up.
    let webhooks = fixture.corpus.mixed(4 * 3_000)?;
    let Fixture { server, corpus, acknowledged } = fixture;
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let webhook_stream = Stream {
        requests: &webhooks.requests,
        repeat: false,
        connections: CONNECTIONS,
        pace: Pace::Open(WEBHOOKS_PER_SECOND),
        on_answer: &mut |index, status, _| acknowledged.record(&webhooks, index, status),
    };
    let streams = vec![query_stream(&requests, &mut ignore), webhook_stream];
    let (tallies, usage) = measure(server, streams, window())?;
    corpus.forget_unsent(acknowledged.messages());
    let [_, webhooks] = tallies.as_slice() else { anyhow::bail!("not two streams") };
    ensure!(webhooks.refused == 0, "{} webhooks were refused", webhooks.refused);
    round_from(first_tally(&tallies)?, &usage)
}

/// Tally of the first stream. Fails if any stream had unexpected answers.
fn first_tally(tallies: &[Tally]) -> Result<&Tally> {
    for tally in tallies {
        tally.check()?;
    }
    tallies.first().context("no stream")
}
