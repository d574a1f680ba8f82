//! Delivery times of messages, from the hourly counts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::http::ui::views::parts::{SECOND, exact, grouped, span};
use crate::message::Channel;
use crate::store::{CountKind, DeliveryTime, HourlyCount};

/// Minimum number of deliveries for a statement about their times.
pub(crate) const MIN_DELIVERIES: u64 = 20;

/// Number of deliveries by delivery time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    classes: BTreeMap<DeliveryTime, u64>,
}

impl Times {
    /// Adds deliveries that took this long.
    pub(crate) fn add(&mut self, time: DeliveryTime, messages: u64) {
        *self.classes.entry(time).or_default() += messages;
    }

    /// Delivery times in hourly counts, on this channel or on all.
    pub(crate) fn of(hourly: &[HourlyCount], channel: Option<Channel>) -> Self {
        let mut times = Self::default();
        for hourly_count in hourly {
            if let CountKind::Delivery(time) = hourly_count.kind
                && channel.is_none_or(|channel| hourly_count.channel == channel)
            {
                times.add(time, hourly_count.messages);
            }
        }
        times
    }

    /// Number of deliveries.
    pub(crate) fn deliveries(&self) -> u64 {
        self.classes.values().sum()
    }

    /// Percentile of the delivery times, in microseconds, as if the deliveries of a class were spread over it
    /// evenly; `None` without deliveries.
    pub(crate) fn percentile(&self, percent: u32) -> Option<i64> {
        let rank = exact(self.deliveries()) * f64::from(percent) / 100.0;
        let mut before = 0.0;
        for (time, messages) in &self.classes {
            let in_class = exact(*messages);
            if before + in_class >= rank {
                let shorter = time.class().checked_sub(1).and_then(DeliveryTime::from_class);
                let from = shorter.map_or(0.0, DeliveryTime::seconds);
                let part = ((rank - before) / in_class).clamp(0.0, 1.0);
                return Some(micros(from + (time.seconds() - from) * part));
            }
            before += in_class;
        }
        None
    }
}

/// Converts seconds to microseconds.
fn micros(seconds: f64) -> i64 {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Usual delivery time of a channel on this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsualTime {
    /// Channel of the messages.
    pub(crate) channel: Channel,
    /// 95th percentile of the delivery times, in microseconds; `None` if there were too few deliveries.
    pub(crate) p95: Option<i64>,
    /// Number of deliveries that the percentile is taken from.
    pub(crate) deliveries: u64,
    /// Number of days that the deliveries are taken from.
    pub(crate) days: i64,
}

impl UsualTime {
    /// Computes the usual delivery time from these times.
    pub(crate) fn of(channel: Channel, times: &Times, days: i64) -> Self {
        let deliveries = times.deliveries();
        let p95 = times.percentile(95).filter(|_| deliveries >= MIN_DELIVERIES);
        Self { channel, p95, deliveries, days }
    }

    /// Sentence about the usual delivery time.
    pub(crate) fn sentence(self) -> String {
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
    fn percentiles_are_interpolated_within_their_class() {
        let mut times = Times::default();
        assert_eq!(times.percentile(95), None);
        let class = |number| DeliveryTime::from_class(number).unwrap();
        times.add(class(3), 50);
        times.add(class(0), 50);
        assert_eq!(times.percentile(50), Some(500_000));
        let from = class(2).seconds();
        let middle = from + (class(3).seconds() - from) * 0.5;
        assert_eq!(times.percentile(75), Some(micros(middle)));
    }

    #[test]
    fn too_few_deliveries_have_no_percentiles() {
        let mut times = Times::default();
        times.add(DeliveryTime::from_class(5).unwrap(), MIN_DELIVERIES - 1);
        let few = UsualTime::of(Channel::Sms, &times, 30);
        assert_eq!(few.p95, None);
        assert!(few.sentence().contains("only 19 were delivered in the last 30 days"));
        times.add(DeliveryTime::from_class(5).unwrap(), 1);
        assert!(UsualTime::of(Channel::Rcs, &times, 7).sentence().contains("95 of 100 RCS"));
    }
}
