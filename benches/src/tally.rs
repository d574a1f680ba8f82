//! Counts and latencies of the answers to a stream of requests.

use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use crate::connection::InFlight;

/// Answers to a stream. Counts are of answers that came within the window. Latencies, in nanoseconds, are of
/// requests that were due within it, even if they were answered later.
pub(crate) struct Tally {
    /// Answers 2xx.
    pub(crate) accepted: u64,
    /// Answers 503.
    pub(crate) refused: u64,
    all_accepted: u64,
    /// Any other answers, of the whole run.
    pub(crate) unexpected: u64,
    /// Requests whose connection was closed before the answer, of the whole run.
    pub(crate) lost: u64,
    /// Latencies of requests answered 2xx.
    pub(crate) latency: Histogram<u64>,
    /// Latencies of requests answered 503.
    pub(crate) refused_latency: Histogram<u64>,
}

/// Window of a run, in time since the run began.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// End of the warm-up; `None` during a lead-in, whose end is not known.
    pub(crate) begin: Option<Duration>,
    /// Time from which no request is due; `None` if the window ends with the last answer, or has not begun.
    pub(crate) end: Option<Duration>,
}

/// Begin or end of the window, or a moment before it.
#[derive(Clone, Copy)]
pub(crate) enum WindowEvent {
    /// The window has not begun.
    LeadIn {
        /// Time since the run began.
        elapsed: Duration,
        /// Number of requests answered 2xx so far.
        accepted: u64,
    },
    /// The window begins.
    Begin,
    /// The window ends.
    End,
}

impl Window {
    fn contains(self, time: Duration) -> bool {
        self.begin.is_some_and(|begin| time >= begin) && self.end.is_none_or(|end| time < end)
    }

    /// Whether the window has begun and lasts until every request is answered.
    pub(crate) fn ends_with_the_last_answer(self) -> bool {
        self.begin.is_some() && self.end.is_none()
    }
}

impl Tally {
    /// Creates an empty tally.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            accepted: 0,
            refused: 0,
            all_accepted: 0,
            unexpected: 0,
            lost: 0,
            latency: Histogram::new(3)?,
            refused_latency: Histogram::new(3)?,
        })
    }

    /// Counts an answer that came at `now`.
    pub(crate) fn count(
        &mut self,
        request: InFlight,
        http_status: u16,
        now: Duration,
        window: Window,
    ) -> Result<()> {
        let (count, latency) = match http_status {
            200..300 => {
                self.all_accepted += 1;
                (&mut self.accepted, &mut self.latency)
            }
            503 => (&mut self.refused, &mut self.refused_latency),
            _ => {
                self.unexpected += 1;
                return Ok(());
            }
        };
        if window.contains(now) {
            *count += 1;
        }
        if window.contains(request.due) {
            latency.record(nanoseconds(now.saturating_sub(request.due)))?;
        }
        Ok(())
    }

    /// Number of answers 2xx of the whole run.
    pub(crate) fn all_accepted(&self) -> u64 {
        self.all_accepted
    }

    /// Fails if a request was lost or answered other than with 2xx or 503.
    pub(crate) fn check(&self) -> Result<()> {
        if self.unexpected > 0 || self.lost > 0 {
            bail!(
                "{} answers other than 2xx and 503, {} lost requests",
                self.unexpected,
                self.lost
            );
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
