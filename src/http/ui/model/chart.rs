//! Bar chart of messages over time: positions of all bars and their parts in a picture of fixed size.

use askama::Template;
use askama::filters::HtmlSafe;

use super::chart_window::Window;
use crate::http::ui::views::parts::{self, counted, exact, grouped, query};
use crate::message::Status;
use crate::store::{CountKind, HourlyCount};

/// Height of the chart, in pixels.
const CHART_HEIGHT: f64 = 260.0;
/// Margins around the bars, in pixels.
const LEFT_MARGIN: f64 = 56.0;
const RIGHT_MARGIN: f64 = 20.0;
const TOP_MARGIN: f64 = 16.0;
const BOTTOM_MARGIN: f64 = 32.0;
/// Minimum width of the space for a label below the bars, in pixels.
const LABEL_WIDTH: f64 = 52.0;
/// Fraction of its slot that a bar fills.
const BAR_FILL_RATIO: f64 = 0.72;
/// Maximum width of a bar, in pixels.
const MAX_BAR_WIDTH: f64 = 64.0;

/// Number of messages by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages delivered or read.
    pub(crate) delivered: u64,
    /// Messages rejected by the provider.
    pub(crate) rejected: u64,
    /// Messages undelivered.
    pub(crate) undelivered: u64,
    /// Messages without a final status.
    pub(crate) open: u64,
}

impl Counts {
    /// Adds an hourly count.
    pub(crate) fn add(&mut self, hourly_count: &HourlyCount) {
        let CountKind::Status { status, .. } = hourly_count.kind else { return };
        *match status {
            Status::ProviderAcceptance | Status::Sent => &mut self.open,
            Status::Rejected => &mut self.rejected,
            Status::Undelivered => &mut self.undelivered,
            Status::Delivered | Status::Read => &mut self.delivered,
        } += hourly_count.messages;
    }

    /// Number of messages that failed.
    pub(crate) fn failed(self) -> u64 {
        self.rejected + self.undelivered
    }

    /// Number of messages with a final status.
    pub(crate) fn ended(self) -> u64 {
        self.delivered + self.failed()
    }

    /// Number of all messages.
    pub(crate) fn all(self) -> u64 {
        self.ended() + self.open
    }
}

/// Chart as a picture, and as a table of the same numbers.
#[derive(Template)]
#[template(path = "chart.html")]
pub(crate) struct Chart {
    width: String,
    right: String,
    bars: Vec<ChartBar>,
    lines: Vec<Line>,
}

/// Safe: the template's values are numbers and words of ours.
impl HtmlSafe for Chart {}

/// Bar of the chart.
struct ChartBar {
    counts: Counts,
    name: String,
    /// The bar's counts in words.
    description: String,
    link: String,
    label: Option<String>,
    /// Left edge of the bar's slot; `width` is the width of the slot.
    x: String,
    width: String,
    middle: String,
    bar_x: String,
    bar_width: String,
    parts: Vec<Part>,
}

/// Part of a bar, for one result.
struct Part {
    kind: &'static str,
    y: String,
    height: String,
}

/// Horizontal line of the scale.
struct Line {
    y: String,
    label: String,
}

impl Chart {
    /// Draws the chart of these hourly counts.
    pub(crate) fn of(window: &Window, hourly: &[HourlyCount]) -> Self {
        let mut counts = vec![Counts::default(); window.bars().count()];
        for hourly_count in hourly {
            if let Some(bar) = window.bar_of(hourly_count.hour).and_then(|bar| counts.get_mut(bar))
            {
                bar.add(hourly_count);
            }
        }
        let max_messages = counts.iter().map(|counts| counts.all()).max().unwrap_or(0);
        let top = round_up(max_messages);
        let scale = (CHART_HEIGHT - TOP_MARGIN - BOTTOM_MARGIN) / exact(top);
        let slot_width = (window.width() - LEFT_MARGIN - RIGHT_MARGIN)
            / exact(counts.len().try_into().unwrap_or(u64::MAX));
        let width = (slot_width * BAR_FILL_RATIO).min(MAX_BAR_WIDTH);
        let mut left = LEFT_MARGIN;
        let labels = labels(window, slot_width);
        let bars = window.bars().zip(counts).enumerate().map(|(index, (bar, counts))| {
            let x = left;
            left += slot_width;
            let name = window.name(bar);
            let at = |hour: crate::store::Hour| {
                hour.begins_at().map(|at| at.to_string()).unwrap_or_default()
            };
            let (from, to) = (at(bar.from), at(bar.to));
            ChartBar {
                counts,
                description: description(&name, counts),
                name,
                link: format!("#/messages?{}", query([("from", &*from), ("to", &*to)])),
                label: labels.get(index).cloned().flatten(),
                x: pixels(x),
                width: pixels(slot_width),
                middle: pixels(x + slot_width / 2.0),
                bar_x: pixels(x + (slot_width - width) / 2.0),
                bar_width: pixels(width),
                parts: parts(counts, scale),
            }
        });
        let bars = bars.collect();
        let line = |value: u64| Line {
            y: pixels(CHART_HEIGHT - BOTTOM_MARGIN - exact(value) * scale),
            label: grouped(value),
        };
        let middle = (top.is_multiple_of(2)).then_some(top / 2);
        let lines = [Some(0), middle, Some(top)].into_iter().flatten().map(line).collect();
        let right = pixels(window.width() - RIGHT_MARGIN);
        Self { width: pixels(window.width()), right, bars, lines }
    }
}

/// Labels below the bars, counted back from the present; a bar without enough room for one has none.
fn labels(window: &Window, slot_width: f64) -> Vec<Option<String>> {
    let mut labels: Vec<_> = window.bars().map(|bar| window.label(bar)).collect();
    let mut distance = LABEL_WIDTH;
    for label in labels.iter_mut().rev() {
        if distance < LABEL_WIDTH {
            *label = None;
        }
        distance = if label.is_some() { slot_width } else { distance + slot_width };
    }
    labels
}

/// Parts of a bar from the bottom up: delivered, open, failed, so that the failures are where the eye is.
fn parts(counts: Counts, scale: f64) -> Vec<Part> {
    let mut bottom = CHART_HEIGHT - BOTTOM_MARGIN;
    let all = [("delivered", counts.delivered), ("open", counts.open), ("failed", counts.failed())];
    let drawn = all.into_iter().filter(|(_, messages)| *messages > 0).map(|(kind, messages)| {
        let height = exact(messages) * scale;
        bottom -= height;
        Part { kind, y: pixels(bottom), height: pixels(height) }
    });
    drawn.collect()
}

fn description(name: &str, counts: Counts) -> String {
    format!(
        "{name}: {}, {} delivered, {} failed, {} unfinished",
        counted(counts.all(), "message"),
        grouped(counts.delivered),
        grouped(counts.failed()),
        grouped(counts.open)
    )
}

/// Smallest round number that is at least `value`.
fn round_up(value: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [1, 2, 3, 4, 5, 6, 8, 10, 12, 15] {
            let round = power.saturating_mul(step);
            if round >= value {
                return round.max(2);
            }
        }
        power = power.saturating_mul(10);
    }
}

fn pixels(length: f64) -> String {
    format!("{length:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Channel;
    use crate::store::Hour;

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (value, round) in
            [(0, 2), (1, 2), (3, 3), (7, 8), (10, 10), (11, 12), (16, 20), (4_321, 5_000)]
        {
            assert_eq!(round_up(value), round);
        }
    }

    #[test]
    fn a_bar_has_its_counts_and_a_link_to_its_messages() {
        let now = "2026-02-12T14:49:00Z".parse().unwrap();
        let window = Window::parse("hours=24&offset=60", now).unwrap();
        let hourly_count = |status, code: &str, messages| HourlyCount {
            hour: Hour::of(now),
            channel: Channel::Sms,
            kind: CountKind::Status { status, code: code.to_owned() },
            messages,
        };
        let hourly =
            [hourly_count(Status::Delivered, "", 110), hourly_count(Status::Rejected, "1", 4)];
        let chart = Chart::of(&window, &hourly);
        let html = chart.render().unwrap();
        let description =
            "12 Feb, 15:00 to 16:00: 114 messages, 110 delivered, 4 failed, 0 unfinished";
        assert!(html.contains(description), "{html}");
        let link = "#/messages?from=2026-02-12T14%3A00%3A00Z&#38;to=2026-02-12T15%3A00%3A00Z";
        assert!(html.contains(link), "{html}");
    }
}
