//! What came of a stream of requests.

use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use crate::connection::UnderWay;

/// What came of a stream. The counts are of answers that came within the window; the latencies, in
/// nanoseconds, of requests that were due within it, whenever they were answered.
pub(crate) struct Tally {
    /// Answers 2xx.
    pub(crate) accepted: u64,
    /// Answers 503.
    pub(crate) refused: u64,
    /// Any other answers, of the whole run.
    pub(crate) others: u64,
    /// Requests whose connection was closed before the answer, of the whole run.
    pub(crate) lost: u64,
    /// Latencies of those answered 2xx.
    pub(crate) latency: Histogram<u64>,
    /// Latencies of those answered 503.
    pub(crate) refusal: Histogram<u64>,
}

/// The window, in time since the run began.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// The warm-up is over.
    pub(crate) begin: Duration,
    /// Nothing is due any more; none: when all is answered.
    pub(crate) end: Option<Duration>,
}

impl Window {
    fn holds(self, time: Duration) -> bool {
        time >= self.begin && self.end.is_none_or(|end| time < end)
    }
}

impl Tally {
    /// Of nothing yet.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            accepted: 0,
            refused: 0,
            others: 0,
            lost: 0,
            latency: Histogram::new(3)?,
            refusal: Histogram::new(3)?,
        })
    }

    /// Counts an answer that came now.
    pub(crate) fn count(
        &mut self,
        request: UnderWay,
        status: u16,
        now: Duration,
        window: Window,
    ) -> Result<()> {
        let (count, latency) = match status {
            200..300 => (&mut self.accepted, &mut self.latency),
            503 => (&mut self.refused, &mut self.refusal),
            _ => {
                self.others += 1;
                return Ok(());
            }
        };
        if window.holds(now) {
            *count += 1;
        }
        if window.holds(request.due) {
            latency.record(nanoseconds(now.saturating_sub(request.due)))?;
        }
        Ok(())
    }

    /// Fails if anything but 2xx and 503 came.
    pub(crate) fn sound(&self) -> Result<()> {
        if self.others > 0 || self.lost > 0 {
            bail!("{} answers neither 2xx nor 503, {} without any", self.others, self.lost);
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
