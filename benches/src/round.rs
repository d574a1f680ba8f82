//! One round: load on a running server, its use of CPU and memory meanwhile, and a check that every
//! acknowledged message can be read back.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use uuid::Uuid;

use crate::corpus::{Batch, Status};
use crate::figures::{Latency, LeadInFigures, Round, float};
use crate::load::{Pace, Span, Stream, run, run_after_lead_in};
use crate::receiver::KEY;
use crate::requests::Requests;
use crate::server::Server;
use crate::steady::{LeadIn, SUSTAINED_LENGTH};
use crate::tally::{Tally, WindowEvent};
use crate::usage::{Counters, Usage};

/// Warm-up of a server, which is not counted.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
/// Length of the window in which requests are counted.
pub(crate) const WINDOW_LENGTH: Duration = Duration::from_secs(3);
/// Number of messages that are read back at a time.
const READ_BACK_MESSAGES: usize = 500_000;
/// Number of connections that read messages back.
const READ_BACK_CONNECTIONS: usize = 64;

/// Runs streams on a server. Returns their tallies, and what the server used in the window.
pub(crate) fn measure(
    server: &Server,
    streams: Vec<Stream<'_>>,
    span: Span,
) -> Result<(Vec<Tally>, Usage)> {
    let mut window = MeasuredWindow::default();
    let tallies = run(server.address, streams, span, &mut |event| window.on_event(event, server))?;
    Ok((tallies, window.usage()?))
}

/// Runs a stream of webhooks on a server until its state is [steady](crate::steady), and then measures it for
/// [`SUSTAINED_LENGTH`].
pub(crate) fn measure_sustained(server: &Server, stream: Stream<'_>) -> Result<Round> {
    let mut window = MeasuredWindow::default();
    let mut lead_in = LeadIn::new(&server.processes);
    let tallies =
        run_after_lead_in(server.address, vec![stream], SUSTAINED_LENGTH, &mut |event| {
            if let WindowEvent::LeadIn { elapsed, accepted } = event {
                return lead_in.is_over(elapsed, accepted);
            }
            window.on_event(event, server)?;
            Ok(true)
        })?;
    let (seconds, is_steady) = (lead_in.length.as_secs_f64(), lead_in.is_steady);
    let lead_in = Some(LeadInFigures { seconds, is_steady });
    Ok(Round { lead_in, ..round_from(only_tally(&tallies)?, &window.usage()?)? })
}

/// Counters of a window.
#[derive(Default)]
struct MeasuredWindow {
    begin: Option<Counters>,
    usage: Option<Usage>,
}

impl MeasuredWindow {
    fn on_event(&mut self, event: WindowEvent, server: &Server) -> Result<()> {
        match event {
            WindowEvent::LeadIn { .. } => {}
            WindowEvent::Begin => self.begin = Some(Counters::start(server)?),
            WindowEvent::End => {
                let counters = self.begin.take().context("the window did not begin")?;
                self.usage = Some(counters.stop(server)?);
            }
        }
        Ok(())
    }

    fn usage(self) -> Result<Usage> {
        self.usage.context("the window did not end")
    }
}

/// Figures of a stream.
pub(crate) fn round_from(tally: &Tally, usage: &Usage) -> Result<Round> {
    let seconds = usage.elapsed.as_secs_f64();
    let answers = float(tally.accepted + tally.refused);
    ensure!(answers > 0.0, "no request was answered in the window");
    let micros = |time: &Duration| time.as_secs_f64() * 1e6 / answers;
    Ok(Round {
        per_second: float(tally.accepted) / seconds,
        cpu: micros(&usage.server),
        generator: micros(&usage.generator),
        others: usage.others,
        memory: float(usage.memory),
        latency: Latency::from_histogram(&tally.latency).unwrap_or_default(),
        refused: float(tally.refused) / seconds,
        refusal: Latency::from_histogram(&tally.refused_latency),
        repeated: 0,
        threads: usage
            .threads
            .iter()
            .map(|(group, time)| ((*group).to_owned(), micros(time)))
            .collect(),
        written: float(usage.written) / answers,
        wal_frames: usage.wal_frames.map(|frames| float(frames) / answers),
        lead_in: None,
    })
}

/// Tally of the only stream, which must have no unexpected answers.
pub(crate) fn only_tally(tallies: &[Tally]) -> Result<&Tally> {
    let [tally] = tallies else { bail!("{} streams instead of one", tallies.len()) };
    tally.check()?;
    Ok(tally)
}

/// Highest acknowledged status of each message, by the message's number.
#[derive(Default)]
pub(crate) struct Acknowledged(Vec<Option<Status>>);

impl Acknowledged {
    /// Records the status of a webhook that was answered with 2xx.
    pub(crate) fn record(&mut self, batch: &Batch, index: usize, http_status: u16) -> Result<()> {
        if !(200..300).contains(&http_status) {
            return Ok(());
        }
        let statement = batch.statements.get(index).context("no such webhook")?;
        if statement.message >= self.0.len() {
            self.0.resize(statement.message + 1, None);
        }
        let highest = self.0.get_mut(statement.message).context("no such message")?;
        *highest = (*highest).max(Some(statement.status));
        Ok(())
    }

    /// Number of messages up to the last one that has an acknowledged status.
    pub(crate) fn messages(&self) -> usize {
        self.0.len()
    }

    /// Queries every message that has an acknowledged status. Fails if one is missing or has a lower status.
    pub(crate) fn read_back(&self, server: &Server, ids: &[Uuid]) -> Result<()> {
        let acknowledged: Vec<_> =
            (self.0.iter().zip(ids)).filter_map(|(highest, id)| Some(((*highest)?, *id))).collect();
        ensure!(!acknowledged.is_empty(), "no webhook was acknowledged");
        acknowledged.chunks(READ_BACK_MESSAGES).try_for_each(|chunk| read_back(server, chunk))
    }
}

fn read_back(server: &Server, acknowledged: &[(Status, Uuid)]) -> Result<()> {
    let mut requests = Requests::default();
    for (_, id) in acknowledged {
        requests.push(|bytes| render_get(bytes, &format!("/api/messagestatus/{id}")));
    }
    let mut count = 0;
    let stream = Stream {
        requests: &requests,
        repeat: false,
        connections: READ_BACK_CONNECTIONS,
        pace: Pace::Closed,
        on_answer: &mut |index, http_status, body| {
            let (highest, id) = acknowledged.get(index).context("no such query")?;
            let current = (http_status == 200).then(|| status_in(body, *id)).flatten();
            if current < Some(*highest) {
                let body = String::from_utf8_lossy(body);
                bail!("{id} was acknowledged as {highest:?}, the answer is {http_status} {body}");
            }
            count += 1;
            Ok(())
        },
    };
    run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(
        count == acknowledged.len(),
        "{count} of {} messages were read back",
        acknowledged.len()
    );
    Ok(())
}

/// Renders a GET request with the API key.
pub(crate) fn render_get(bytes: &mut Vec<u8>, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\n\r\n");
    bytes.extend_from_slice(head.as_bytes());
}

/// Status of this message in an answer; `None` for an answer about another message.
fn status_in(body: &[u8], id: Uuid) -> Option<Status> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        message: Message<'a>,
    }
    #[derive(Deserialize)]
    struct Message<'a> {
        id: &'a str,
        status: &'a str,
    }
    let Answer { message } = serde_json::from_slice(body).ok()?;
    (Uuid::try_parse(message.id) == Ok(id)).then(|| Status::from_name(message.status)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_another_message_shows_nothing() {
        let id = Uuid::from_u128(7);
        let body = format!(r#"{{"message":{{"id":"{id}","status":"SENT"}}}}"#);
        assert_eq!(status_in(body.as_bytes(), id), Some(Status::Sent));
        assert_eq!(status_in(body.as_bytes(), Uuid::from_u128(8)), None);
        assert!(None < Some(Status::ProviderAcceptance));
    }
}
