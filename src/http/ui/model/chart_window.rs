//! Time window of the overview, in bars that are aligned with the reader's days.

use crate::http::problem::Problem;
use crate::message::Timestamp;
use crate::store::Hour;

/// Width of the chart in pixels: minimum, default and maximum.
const CHART_WIDTHS: [u16; 3] = [240, 960, 1_600];
/// Maximum distance of a zone from UTC, in minutes.
const MAX_OFFSET_MINUTES: i64 = 14 * 60;

/// Time window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    hours: u32,
    /// Offset of the reader's zone, in minutes east of UTC.
    offset: i64,
    /// Width of the chart, in pixels.
    width: u16,
    /// Number of bars.
    bars: i64,
    /// Number of hours per bar.
    hours_per_bar: i64,
    /// Number of the first bar, counted since 1970 in the reader's zone.
    first_bar: i64,
}

/// Part of a window that one bar shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bar {
    /// First hour of the bar.
    pub(crate) from: Hour,
    /// First hour of the next bar.
    pub(crate) to: Hour,
}

impl Window {
    /// All windows: number of hours, and name.
    pub(crate) const ALL: [(u32, &'static str); 4] =
        [(1, "1 hour"), (24, "24 hours"), (168, "7 days"), (720, "30 days")];

    /// Parses a query into the window that ends at `now`.
    pub(crate) fn parse(query: &str, now: Timestamp) -> Result<Self, Problem> {
        let [min_width, mut width, max_width] = CHART_WIDTHS;
        let (mut hours, mut offset) = (24, 0);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "hours" => {
                    let mut choices = Self::ALL.into_iter().map(|(hours, _)| hours);
                    let requested = choices.find(|hours| value == hours.to_string());
                    hours = requested.ok_or_else(|| {
                        Problem::BadRequest("`hours` is 1, 24, 168 or 720.".to_owned())
                    })?;
                }
                "offset" => {
                    let requested = value
                        .parse()
                        .ok()
                        .filter(|it| (-MAX_OFFSET_MINUTES..=MAX_OFFSET_MINUTES).contains(it));
                    offset = requested.ok_or_else(|| {
                        Problem::BadRequest(
                            "`offset` is how many minutes the reader's clock is ahead of UTC."
                                .to_owned(),
                        )
                    })?;
                }
                "width" => {
                    let requested = value.parse::<u16>().map_err(|_error| {
                        Problem::BadRequest("`width` is a number of pixels.".to_owned())
                    })?;
                    width = requested.clamp(min_width, max_width);
                }
                _ => {}
            }
        }
        Ok(Self::of(hours, offset, width, now))
    }

    fn of(hours: u32, offset: i64, width: u16, now: Timestamp) -> Self {
        // One bar more than the time contains, because the last one has only begun.
        let (bars, hours_per_bar) = match hours {
            1 => (2, 1),
            24 => (25, 1),
            168 => (29, 6),
            _ => (31, 24),
        };
        let local_hour = Hour::of(now).0 + offset.div_euclid(60);
        Self {
            hours,
            offset,
            width,
            bars,
            hours_per_bar,
            first_bar: local_hour.div_euclid(hours_per_bar) - bars + 1,
        }
    }

    /// Number of hours that names the window.
    pub(crate) fn hours(self) -> u32 {
        self.hours
    }

    /// Width of the chart, in pixels.
    pub(crate) fn width(self) -> f64 {
        self.width.into()
    }

    /// First hour of the window.
    pub(crate) fn first_hour(self) -> Hour {
        self.start(0)
    }

    /// Bars of the window, oldest first.
    pub(crate) fn bars(self) -> impl Iterator<Item = Bar> {
        (0..self.bars).map(move |bar| Bar { from: self.start(bar), to: self.start(bar + 1) })
    }

    /// Index of the bar that contains an hour; `None` if the hour is before the first bar, or after the last
    /// one, as when the hour was counted with a clock ahead of ours.
    pub(crate) fn bar_of(self, hour: Hour) -> Option<usize> {
        let bar =
            (hour.0 + self.offset.div_euclid(60)).div_euclid(self.hours_per_bar) - self.first_bar;
        usize::try_from(bar).ok().filter(|_| bar < self.bars)
    }

    fn start(self, bar: i64) -> Hour {
        Hour((self.first_bar + bar) * self.hours_per_bar - self.offset.div_euclid(60))
    }

    /// Name of the reader's zone, as its offset from UTC.
    pub(crate) fn zone(self) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs();
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Day and time of day at which an hour begins, in the reader's zone.
    pub(crate) fn local(self, hour: Hour) -> (String, String) {
        let shifted = hour.begins_at().and_then(|at| {
            Timestamp::from_micros(at.micros().saturating_add(self.offset * 60_000_000))
        });
        let text = shifted.map(|at| at.to_string()).unwrap_or_default();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        let month = part(5..7).parse().ok().and_then(|month: usize| MONTHS.get(month - 1));
        let day = part(8..10).trim_start_matches('0');
        (format!("{day} {}", month.unwrap_or(&"")), part(11..16).to_owned())
    }

    /// Label below a bar: a time of day, or a day below the bar where it begins.
    pub(crate) fn label(self, bar: Bar) -> Option<String> {
        let (day, time) = self.local(bar.from);
        let hour = bar.from.0 + self.offset.div_euclid(60);
        match self.hours_per_bar {
            1 => Some(time),
            _ => (hour.rem_euclid(24) == 0).then_some(day),
        }
    }

    /// Description of the bars.
    pub(crate) fn describe_bars(self) -> &'static str {
        match self.hours {
            1 => "The present hour and the one before, because sums are kept by the hour",
            24 => "The present hour and the 24 before it",
            168 => "The present six hours and the 7 days before them",
            _ => "Today and the 30 days before it",
        }
    }

    /// Name of a bar.
    pub(crate) fn name(self, bar: Bar) -> String {
        let ((day, from), (_, to)) = (self.local(bar.from), self.local(bar.to));
        if self.hours_per_bar == 24 { day } else { format!("{day}, {from} to {to}") }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str) -> Window {
        Window::parse(query, "2026-02-12T22:49:00Z".parse().unwrap()).unwrap()
    }

    fn at(hour: Hour) -> String {
        hour.begins_at().unwrap().to_string()
    }

    #[test]
    fn days_follow_the_readers_zone() {
        let month = window("hours=720&offset=120");
        // In the reader's zone it is the 13th already.
        let last = month.bars().last().unwrap();
        assert_eq!(at(last.from), "2026-02-12T22:00:00Z");
        assert_eq!(month.name(last), "13 Feb");
        assert_eq!(month.bars().count(), 31);
        assert_eq!(month.bar_of(last.from), Some(30));
        assert_eq!(month.bar_of(Hour(last.from.0 - 1)), Some(29));
        assert_eq!(month.bar_of(last.to), None);
        assert_eq!(month.bar_of(Hour(month.first_hour().0 - 1)), None);
        assert_eq!(month.zone(), "UTC+02:00");
    }

    #[test]
    fn hours_are_shown_in_the_readers_zone() {
        let day = window("offset=-300");
        assert_eq!(at(day.first_hour()), "2026-02-11T22:00:00Z");
        assert_eq!(day.name(day.bars().next().unwrap()), "11 Feb, 17:00 to 18:00");
        assert_eq!(day.zone(), "UTC-05:00");
        assert_eq!(window("hours=1").bars().count(), 2);
        let week = window("hours=168");
        assert_eq!(at(week.bars().last().unwrap().from), "2026-02-12T18:00:00Z");
    }

    #[test]
    fn invalid_windows_are_rejected() {
        for query in ["hours=2", "hours=", "offset=x", "offset=841"] {
            assert!(Window::parse(query, Timestamp::EPOCH).is_err(), "{query}");
        }
    }
}
