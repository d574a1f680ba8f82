//! Stream of requests: which requests are sent at which times, and the state of a stream in progress.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::connection::InFlight;
use crate::figures::float;
use crate::requests::Requests;
use crate::tally::{Tally, Window};

/// Number of scheduled requests in flight above which the generator pauses before it reads answers.
const PAUSE_ABOVE_IN_FLIGHT: usize = 200;

/// Times at which requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// On each connection as soon as the previous request is answered.
    Closed,
    /// At fixed intervals, with this number of requests per second.
    Open(f64),
}

/// Callback for each answer, with the index of the request, the HTTP status and the body.
pub(crate) type OnAnswer<'a> = &'a mut dyn FnMut(usize, u16, &[u8]) -> Result<()>;

/// Requests that are sent at one pace.
pub(crate) struct Stream<'a> {
    /// Requests in their order.
    pub(crate) requests: &'a Requests,
    /// Whether the first request follows the last one.
    pub(crate) repeat: bool,
    /// Number of connections. On a schedule it is an upper bound.
    pub(crate) connections: usize,
    /// Times at which the requests are sent.
    pub(crate) pace: Pace,
    /// Called with each answer.
    pub(crate) on_answer: OnAnswer<'a>,
}

/// Stream in progress.
pub(crate) struct Lane<'a> {
    /// The stream.
    pub(crate) stream: Stream<'a>,
    sent: usize,
    /// Indexes of connections without a request in flight.
    pub(crate) idle_connections: Vec<usize>,
    /// Number of connections opened so far.
    pub(crate) open_connections: usize,
    /// Number of requests without an answer.
    pub(crate) in_flight: usize,
    /// Answers so far.
    pub(crate) tally: Tally,
}

impl<'a> Lane<'a> {
    /// Stream of which no request was sent.
    pub(crate) fn new(stream: Stream<'a>) -> Result<Self> {
        Ok(Self {
            stream,
            sent: 0,
            idle_connections: Vec::new(),
            open_connections: 0,
            in_flight: 0,
            tally: Tally::new()?,
        })
    }

    /// Time at which the next request is due.
    pub(crate) fn due(&self, now: Duration) -> Duration {
        match self.stream.pace {
            Pace::Closed => now,
            Pace::Open(per_second) => Duration::from_secs_f64(float(self.sent) / per_second),
        }
    }

    /// Next request, if it is due now and before the end of the window.
    pub(crate) fn next_request(
        &mut self,
        now: Duration,
        window: Window,
    ) -> Result<Option<InFlight>> {
        let due = self.due(now);
        if due > now || window.end.is_some_and(|end| due >= end) {
            return Ok(None);
        }
        let count = self.stream.requests.len();
        let index = if self.stream.repeat { self.sent % count } else { self.sent };
        if index >= count {
            ensure!(
                window.ends_with_the_last_answer(),
                "all {count} requests were sent before the end of the window"
            );
            return Ok(None);
        }
        self.sent += 1;
        Ok(Some(InFlight { index, due }))
    }

    /// Whether more than [`PAUSE_ABOVE_IN_FLIGHT`] scheduled requests are in flight.
    pub(crate) fn has_many_in_flight(&self) -> bool {
        matches!(self.stream.pace, Pace::Open(_)) && self.in_flight > PAUSE_ABOVE_IN_FLIGHT
    }

    /// Whether a connection is idle or can be opened.
    pub(crate) fn has_room(&self) -> bool {
        !self.idle_connections.is_empty() || self.open_connections < self.stream.connections
    }
}
