//! The hours that the overview is about, in bars that begin where the reader's day does.

use super::super::problem::Problem;
use crate::message::Timestamp;
use crate::store::Hour;

/// How wide the reader's screen leaves a picture, in pixels: at least, if it is not said, and at most.
const WIDTHS: [u16; 3] = [240, 960, 1_600];
/// The farthest a zone is from UTC, in minutes.
const FARTHEST: i64 = 14 * 60;

/// A choice of hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    hours: u32,
    /// Minutes east of UTC.
    offset: i64,
    /// Pixels.
    width: u16,
    /// How many bars.
    bars: i64,
    /// How many hours each bar has.
    size: i64,
    /// The first bar, counted since 1970 in the reader's zone.
    first: i64,
}

/// A part of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    /// When it begins.
    pub(super) from: Hour,
    /// Where the next one begins.
    pub(super) to: Hour,
}

impl Window {
    /// The windows that there are, in hours, and what they are called.
    pub(super) const ALL: [(u32, &'static str); 4] =
        [(1, "1 hour"), (24, "24 hours"), (168, "7 days"), (720, "30 days")];

    /// The one that a query asks for, as it is now.
    pub(super) fn read(query: &str, now: Timestamp) -> Result<Self, Problem> {
        let [narrowest, mut width, widest] = WIDTHS;
        let (mut hours, mut offset) = (24, 0);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "hours" => {
                    let mut known = Self::ALL.into_iter().map(|(hours, _)| hours);
                    let asked = known.find(|known| value == known.to_string());
                    hours = asked.ok_or_else(|| {
                        Problem::BadRequest("`hours` is 1, 24, 168 or 720.".to_owned())
                    })?;
                }
                "offset" => {
                    let asked = value.parse().ok().filter(|it| (-FARTHEST..=FARTHEST).contains(it));
                    offset = asked.ok_or_else(|| {
                        Problem::BadRequest(
                            "`offset` is how many minutes the reader's clock is ahead of UTC."
                                .to_owned(),
                        )
                    })?;
                }
                "width" => {
                    let asked = value.parse::<u16>().map_err(|_error| {
                        Problem::BadRequest("`width` is a number of pixels.".to_owned())
                    })?;
                    width = asked.clamp(narrowest, widest);
                }
                _ => {}
            }
        }
        Ok(Self::of(hours, offset, width, now))
    }

    fn of(hours: u32, offset: i64, width: u16, now: Timestamp) -> Self {
        // One bar more than the time has, because the last one has only begun.
        let (bars, size) = match hours {
            1 => (2, 1),
            24 => (25, 1),
            168 => (29, 6),
            _ => (31, 24),
        };
        let here = Hour::of(now).0 + offset.div_euclid(60);
        Self { hours, offset, width, bars, size, first: here.div_euclid(size) - bars + 1 }
    }

    /// How many hours it is called by.
    pub(super) fn hours(self) -> u32 {
        self.hours
    }

    /// How wide its picture is.
    pub(super) fn width(self) -> f64 {
        self.width.into()
    }

    /// Its first hour.
    pub(super) fn first(self) -> Hour {
        self.start(0)
    }

    /// Its bars, oldest first.
    pub(super) fn bars(self) -> impl Iterator<Item = Bar> {
        (0..self.bars).map(move |bar| Bar { from: self.start(bar), to: self.start(bar + 1) })
    }

    /// In which bar an hour is; none if it is before the first one or behind the last one, which is where a
    /// clock has it that is ahead of ours.
    pub(super) fn bar_of(self, hour: Hour) -> Option<usize> {
        let bar = (hour.0 + self.offset.div_euclid(60)).div_euclid(self.size) - self.first;
        usize::try_from(bar).ok().filter(|_| bar < self.bars)
    }

    fn start(self, bar: i64) -> Hour {
        Hour((self.first + bar) * self.size - self.offset.div_euclid(60))
    }

    /// The reader's zone, as far as it is known here.
    pub(super) fn zone(self) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs();
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// The day and the time of day at which an hour begins, in the reader's zone.
    pub(super) fn local(self, hour: Hour) -> (String, String) {
        let shifted = hour.begins_at().and_then(|at| {
            Timestamp::from_micros(at.micros().saturating_add(self.offset * 60_000_000))
        });
        let text = shifted.map(|at| at.to_string()).unwrap_or_default();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        let month = part(5..7).parse().ok().and_then(|month: usize| MONTHS.get(month - 1));
        let day = part(8..10).trim_start_matches('0');
        (format!("{day} {}", month.unwrap_or(&"")), part(11..16).to_owned())
    }

    /// What can be written below a bar: a time of day, or a day where it begins.
    pub(super) fn label(self, bar: Bar) -> Option<String> {
        let (day, time) = self.local(bar.from);
        let hour = bar.from.0 + self.offset.div_euclid(60);
        match self.size {
            1 => Some(time),
            _ => (hour.rem_euclid(24) == 0).then_some(day),
        }
    }

    /// What its bars are.
    pub(super) fn words(self) -> &'static str {
        match self.hours {
            1 => "The present hour and the one before, because sums are kept by the hour",
            24 => "The present hour and the 24 before it",
            168 => "The present six hours and the 7 days before them",
            _ => "Today and the 30 days before it",
        }
    }

    /// What a bar is called.
    pub(super) fn name(self, bar: Bar) -> String {
        let ((day, from), (_, to)) = (self.local(bar.from), self.local(bar.to));
        if self.size == 24 { day } else { format!("{day}, {from} to {to}") }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str) -> Window {
        Window::read(query, "2026-02-12T22:49:00Z".parse().unwrap()).unwrap()
    }

    fn at(hour: Hour) -> String {
        hour.begins_at().unwrap().to_string()
    }

    #[test]
    fn a_day_is_the_readers() {
        let month = window("hours=720&offset=120");
        // It is the 13th there already.
        let last = month.bars().last().unwrap();
        assert_eq!(at(last.from), "2026-02-12T22:00:00Z");
        assert_eq!(month.name(last), "13 Feb");
        assert_eq!(month.bars().count(), 31);
        assert_eq!(month.bar_of(last.from), Some(30));
        assert_eq!(month.bar_of(Hour(last.from.0 - 1)), Some(29));
        assert_eq!(month.bar_of(last.to), None);
        assert_eq!(month.bar_of(Hour(month.first().0 - 1)), None);
        assert_eq!(month.zone(), "UTC+02:00");
    }

    #[test]
    fn hours_are_told_in_the_readers_zone() {
        let day = window("offset=-300");
        assert_eq!(at(day.first()), "2026-02-11T22:00:00Z");
        assert_eq!(day.name(day.bars().next().unwrap()), "11 Feb, 17:00 to 18:00");
        assert_eq!(day.zone(), "UTC-05:00");
        assert_eq!(window("hours=1").bars().count(), 2);
        let week = window("hours=168");
        assert_eq!(at(week.bars().last().unwrap().from), "2026-02-12T18:00:00Z");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for query in ["hours=2", "hours=", "offset=x", "offset=841"] {
            assert!(Window::read(query, Timestamp::EPOCH).is_err(), "{query}");
        }
    }
}
