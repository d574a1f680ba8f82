//! One round: the load on a running server, what it used meanwhile, and, afterwards, whether all
//! that it acknowledged is there.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use uuid::Uuid;

use crate::corpus::{Batch, Status};
use crate::figures::{Latency, Round, float};
use crate::load::{Border, Pace, Requests, Span, Stream, run};
use crate::process::{Usage, Used, memory_of};
use crate::receiver::KEY;
use crate::server::Server;
use crate::tally::Tally;

/// How long a server works before what it does is counted.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
/// How long it is counted.
pub(crate) const LENGTH: Duration = Duration::from_secs(3);
/// How many messages are read back at a time.
const AT_A_TIME: usize = 500_000;
/// How many connections read back.
const READERS: usize = 64;

/// Runs streams on a server and says what was used in the window.
pub(crate) fn measure(
    server: &Server,
    streams: Vec<Stream<'_>>,
    span: Span,
) -> Result<(Vec<Tally>, Used, u64)> {
    let (mut begin, mut end, mut memory) = (None, None, 0);
    let tallies = run(server.address, streams, span, &mut |border| {
        match border {
            Border::Begin => begin = Some(Usage::now(&server.processes)?),
            Border::End => {
                end = Some(Usage::now(&server.processes)?);
                memory = memory_of(&server.processes)?;
            }
        }
        Ok(())
    })?;
    let (begin, end) = (begin.context("no begin")?, end.context("no end")?);
    Ok((tallies, end.since(begin), memory))
}

/// The figures of a stream.
pub(crate) fn figures(tally: &Tally, used: &Used, memory: u64) -> Result<Round> {
    let seconds = used.elapsed.as_secs_f64();
    let answers = float(tally.accepted + tally.refused);
    ensure!(answers > 0.0, "nothing was answered");
    Ok(Round {
        per_second: float(tally.accepted) / seconds,
        cpu: used.server.as_secs_f64() * 1e6 / answers,
        generator: used.generator.as_secs_f64() * 1e6 / answers,
        others: used.others,
        memory: float(memory),
        latency: Latency::of(&tally.latency).unwrap_or_default(),
        refused: float(tally.refused) / seconds,
        refusal: Latency::of(&tally.refusal),
        repeated: 0,
    })
}

/// The only stream's tally, if nothing went wrong with it.
pub(crate) fn sole(tallies: &[Tally]) -> Result<&Tally> {
    let [tally] = tallies else { bail!("{} streams instead of one", tallies.len()) };
    tally.sound()?;
    Ok(tally)
}

/// The highest status acknowledged of each message, by the message's number.
#[derive(Default)]
pub(crate) struct Acknowledged(Vec<Option<Status>>);

impl Acknowledged {
    /// Notes how a webhook was answered.
    pub(crate) fn note(&mut self, batch: &Batch, index: usize, status: u16) -> Result<()> {
        if !(200..300).contains(&status) {
            return Ok(());
        }
        let said = batch.said.get(index).context("no such webhook")?;
        if said.message >= self.0.len() {
            self.0.resize(said.message + 1, None);
        }
        let highest = self.0.get_mut(said.message).context("no such message")?;
        *highest = (*highest).max(Some(said.status));
        Ok(())
    }

    /// How many messages there are up to the last one of which something was acknowledged.
    pub(crate) fn messages(&self) -> usize {
        self.0.len()
    }

    /// Asks the server for every message of which something was acknowledged, and fails unless it is
    /// there with a status that is not lower.
    pub(crate) fn read_back(&self, server: &Server, ids: &[Uuid]) -> Result<()> {
        let known: Vec<_> =
            (self.0.iter().zip(ids)).filter_map(|(highest, id)| Some(((*highest)?, *id))).collect();
        ensure!(!known.is_empty(), "nothing was acknowledged");
        known.chunks(AT_A_TIME).try_for_each(|part| read_back(server, part))
    }
}

fn read_back(server: &Server, known: &[(Status, Uuid)]) -> Result<()> {
    let mut requests = Requests::default();
    for (_, id) in known {
        requests.push(|bytes| get(bytes, &format!("/api/messagestatus/{id}")));
    }
    let mut found = 0;
    let stream = Stream {
        requests: &requests,
        again: false,
        connections: READERS,
        pace: Pace::Closed,
        answered: &mut |index, status, body| {
            let (highest, id) = known.get(index).context("no such query")?;
            let shown = (status == 200).then(|| shown(body, *id)).flatten();
            if shown < Some(*highest) {
                let body = String::from_utf8_lossy(body);
                bail!("{id} was acknowledged as {highest:?} but is {status} {body}");
            }
            found += 1;
            Ok(())
        },
    };
    run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(found == known.len(), "{found} of {} messages were read back", known.len());
    Ok(())
}

/// Renders a query.
pub(crate) fn get(bytes: &mut Vec<u8>, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\n\r\n");
    bytes.extend_from_slice(text.as_bytes());
}

/// The status that an answer shows of this message.
fn shown(body: &[u8], id: Uuid) -> Option<Status> {
    #[derive(Deserialize)]
    struct Shown<'a> {
        #[serde(borrow)]
        message: Message<'a>,
    }
    #[derive(Deserialize)]
    struct Message<'a> {
        id: &'a str,
        status: &'a str,
    }
    let Shown { message } = serde_json::from_slice(body).ok()?;
    (Uuid::try_parse(message.id) == Ok(id)).then(|| Status::of(message.status)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_another_message_shows_nothing() {
        let id = Uuid::from_u128(7);
        let body = format!(r#"{{"message":{{"id":"{id}","status":"SENT"}}}}"#);
        assert_eq!(shown(body.as_bytes(), id), Some(Status::Sent));
        assert_eq!(shown(body.as_bytes(), Uuid::from_u128(8)), None);
        assert!(None < Some(Status::ProviderAcceptance));
    }
}
