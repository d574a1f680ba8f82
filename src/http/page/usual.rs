//! How long messages take, from the sums of what was delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parts::{SECOND, exact, grouped, span};
use crate::message::Channel;
use crate::store::{Counted, Sum, Took};

/// Of fewer deliveries nothing is said of how long they take.
pub(super) const ENOUGH: u64 = 20;

/// How many deliveries took how long.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    classes: BTreeMap<Took, u64>,
}

impl Times {
    /// So many more took so long.
    pub(super) fn add(&mut self, took: Took, messages: u64) {
        *self.classes.entry(took).or_default() += messages;
    }

    /// Those of the sums, on this channel or on both.
    pub(super) fn of(sums: &[Sum], channel: Option<Channel>) -> Self {
        let mut times = Self::default();
        for sum in sums {
            if let Counted::Delivery(took) = sum.counted
                && channel.is_none_or(|channel| sum.channel == channel)
            {
                times.add(took, sum.messages);
            }
        }
        times
    }

    /// How many deliveries.
    pub(super) fn deliveries(&self) -> u64 {
        self.classes.values().sum()
    }

    /// Within how many microseconds so many of a hundred arrived, as if those of a class were spread over it
    /// evenly; none if there were no deliveries.
    pub(super) fn within(&self, percent: u32) -> Option<i64> {
        let wanted = exact(self.deliveries()) * f64::from(percent) / 100.0;
        let mut before = 0.0;
        for (took, messages) in &self.classes {
            let here = exact(*messages);
            if before + here >= wanted {
                let shorter = took.class().checked_sub(1).and_then(Took::from_class);
                let from = shorter.map_or(0.0, Took::seconds);
                let part = ((wanted - before) / here).clamp(0.0, 1.0);
                return Some(micros(from + (took.seconds() - from) * part));
            }
            before += here;
        }
        None
    }
}

/// In microseconds.
fn micros(seconds: f64) -> i64 {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// How long messages of a channel normally take here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usual {
    /// The channel.
    pub(super) channel: Channel,
    /// Within how many microseconds 95 of 100 arrive; none if too few were seen.
    pub(super) p95: Option<i64>,
    /// Of how many deliveries that is said.
    pub(super) deliveries: u64,
    /// Over how many days.
    pub(super) days: i64,
}

impl Usual {
    /// What these times say.
    pub(super) fn of(channel: Channel, times: &Times, days: i64) -> Self {
        let deliveries = times.deliveries();
        let p95 = times.within(95).filter(|_| deliveries >= ENOUGH);
        Self { channel, p95, deliveries, days }
    }

    /// A sentence that says so.
    pub(super) fn sentence(self) -> String {
        let Self { channel, p95, deliveries, days } = self;
        let channel = channel.name();
        match p95 {
            Some(p95) => format!(
                "95 of 100 {channel} arrive within {} here (of {} that were delivered in the last \
                 {days} days).",
                span(p95.max(SECOND)),
                grouped(deliveries)
            ),
            None => format!(
                "How long an {channel} normally takes cannot be said: {} delivered in the last {days} \
                 days.",
                match deliveries {
                    0 => "none was".to_owned(),
                    1 => "only one was".to_owned(),
                    few => format!("only {few} were"),
                }
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_in_its_class_as_far_as_its_share_reaches() {
        let mut times = Times::default();
        assert_eq!(times.within(95), None);
        let class = |number| Took::from_class(number).unwrap();
        times.add(class(3), 50);
        times.add(class(0), 50);
        assert_eq!(times.within(50), Some(500_000));
        let from = class(2).seconds();
        let middle = from + (class(3).seconds() - from) * 0.5;
        assert_eq!(times.within(75), Some(micros(middle)));
    }

    #[test]
    fn of_too_few_nothing_is_said() {
        let mut times = Times::default();
        times.add(Took::from_class(5).unwrap(), ENOUGH - 1);
        let few = Usual::of(Channel::Sms, &times, 30);
        assert_eq!(few.p95, None);
        assert!(few.sentence().contains("only 19 were delivered in the last 30 days"));
        times.add(Took::from_class(5).unwrap(), 1);
        assert!(Usual::of(Channel::Rcs, &times, 7).sentence().contains("95 of 100 RCS"));
    }
}
