//! Recognition of a steady state from outside the process: the write-back runs at the rate of arrival.
//!
//! While the cache of statusmirror fills, a webhook costs little more than its place in the notification log.
//! Once it is full, every message that comes makes the writer move another one to its table, which dirties pages
//! that the checkpoints write a second time. So the bytes that a webhook causes to be written grow by about ten
//! times, and then stay where they are. A round is steady when
//!
//! 1. more messages are stored than the cache holds (the store is filled beforehand, with at least
//!    [`FILLED_MESSAGES`]), and
//! 2. the bytes written for each accepted webhook (`write_bytes` of `/proc/PID/io`) differ by less than 10 %
//!    between two successive periods of 3 s under the load of the round.
//!
//! The window of the round begins at that moment, without a pause in the load. If the state is not reached within
//! [`LIMIT`], the window begins nevertheless, and the report says so.

use std::time::Duration;

use anyhow::Result;

use crate::figures::float;
use crate::process::written_by;

/// Messages in the store of statusmirror before a sustained round: three times as many as its cache holds by
/// default.
pub(crate) const FILLED_MESSAGES: usize = 100_000;
/// Length of a sustained round.
pub(crate) const SUSTAINED_LENGTH: Duration = Duration::from_secs(20);
/// Load before the first period.
const WARM_UP: Duration = Duration::from_secs(1);
/// Length of the periods that are compared.
const PERIOD: Duration = Duration::from_secs(3);
/// Relative difference of two periods below which the state is steady.
const TOLERANCE: f64 = 0.1;
/// Maximum time until the window begins.
const LIMIT: Duration = Duration::from_secs(30);

/// Load before a window.
pub(crate) struct LeadIn<'a> {
    processes: &'a [u32],
    periods: Periods,
    /// Length, once it is over.
    pub(crate) length: Duration,
    /// Whether the state was steady at its end.
    pub(crate) is_steady: bool,
}

impl<'a> LeadIn<'a> {
    /// Lead-in of a server with these processes.
    pub(crate) fn new(processes: &'a [u32]) -> Self {
        let (periods, length) = (Periods::default(), Duration::ZERO);
        Self { processes, periods, length, is_steady: false }
    }

    /// Whether the lead-in is over, after this time and number of accepted webhooks.
    pub(crate) fn is_over(&mut self, elapsed: Duration, accepted: u64) -> Result<bool> {
        self.length = elapsed;
        let now = Reading { elapsed, accepted, written: written_by(self.processes)? };
        self.is_steady = self.periods.is_steady(now);
        Ok(self.is_steady || elapsed >= LIMIT)
    }
}

/// Counters at one moment.
#[derive(Clone, Copy)]
struct Reading {
    elapsed: Duration,
    accepted: u64,
    written: u64,
}

/// Periods of a lead-in.
#[derive(Default)]
struct Periods {
    begin: Option<Reading>,
    /// Bytes for each webhook in the period before.
    previous: Option<f64>,
}

impl Periods {
    /// Takes the next reading. Returns whether it ends a period that is like the one before.
    fn is_steady(&mut self, now: Reading) -> bool {
        let Some(begin) = self.begin else {
            self.begin = (now.elapsed >= WARM_UP).then_some(now);
            return false;
        };
        if now.elapsed < begin.elapsed + PERIOD || now.accepted == begin.accepted {
            return false;
        }
        let bytes = float(now.written - begin.written) / float(now.accepted - begin.accepted);
        let is_steady = self
            .previous
            .is_some_and(|previous| (bytes - previous).abs() <= TOLERANCE * previous.max(bytes));
        (self.begin, self.previous) = (Some(now), Some(bytes));
        is_steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second in which a load of 1,000 webhooks/s is steady, if each of second `n` writes `bytes(n)`.
    fn steady_after(bytes: impl Fn(u64) -> u64) -> Option<u64> {
        let (mut periods, mut written) = (Periods::default(), 0);
        (0..60).find(|second| {
            let elapsed = Duration::from_secs(*second);
            let is_steady =
                periods.is_steady(Reading { elapsed, accepted: second * 1_000, written });
            written += 1_000 * bytes(*second);
            is_steady
        })
    }

    #[test]
    fn two_like_periods_are_steady() {
        assert_eq!(steady_after(|_| 12_000), Some(7));
        assert_eq!(steady_after(|_| 0), Some(7));
        // The cache is full after five seconds.
        assert_eq!(steady_after(|second| if second < 5 { 1_400 } else { 12_000 }), Some(13));
        assert_eq!(steady_after(|second| 1 << (second / 2)), None);
    }

    #[test]
    fn a_stall_is_not_a_period() {
        let mut periods = Periods::default();
        for second in 0..60 {
            let elapsed = Duration::from_secs(second);
            assert!(!periods.is_steady(Reading { elapsed, accepted: 0, written: 0 }));
        }
    }
}
