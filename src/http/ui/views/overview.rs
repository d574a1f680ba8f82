//! Overview of recent messages, from the hourly counts alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;

use super::fragment::{NoData, render};
use super::parts::{self, Mark, share};
use super::rows;
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::http::ui::model::chart::{Chart, Counts};
use crate::http::ui::model::chart_window::Window;
use crate::http::ui::model::delivery_times::Times;
use crate::message::{Channel, Status};
use crate::store::{CountKind, HourlyCount, SearchFilter};

/// Number of failure codes that are listed individually.
const MAX_LISTED_CODES: usize = 10;

/// `GET /ui/overview?hours=…&offset=…`
pub(crate) async fn show(service: &Service, query: &str) -> Result<String, Problem> {
    let window = Window::parse(query, service.clock.now())?;
    let mut hourly = service.store.hourly_counts(window.first_hour()).await?;
    hourly.retain(|hourly_count| window.bar_of(hourly_count.hour).is_some());
    let has_data = !hourly.is_empty() || has_messages(service).await?;
    if !has_data {
        return Ok(NoData { heading: "Overview" }.render().unwrap_or_default());
    }
    render(move || Overview::of(&window, &hourly)).await
}

/// Whether the store has any message.
async fn has_messages(service: &Service) -> Result<bool, Problem> {
    let found =
        service.store.search(Arc::new(SearchFilter::default()), None, 1, rows::write).await?;
    Ok(!found.listing.messages.is_empty() || found.next.is_some())
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    windows: Vec<Choice>,
    bars: &'static str,
    zone: String,
    total: ChannelResults,
    channels: Vec<ChannelResults>,
    failures: Vec<Failure>,
    /// Number of failures with all other codes.
    others: u64,
    unfinished_link: String,
    chart: Chart,
}

/// Time window that can be chosen.
struct Choice {
    label: &'static str,
    hours: u32,
    is_chosen: bool,
}

/// Results of the messages of one channel, or of all.
struct ChannelResults {
    label: &'static str,
    counts: Counts,
    /// Share of delivered messages among those with a final status.
    rate: Option<String>,
    p50: Option<String>,
    p95: Option<String>,
    deliveries: u64,
}

/// Failures with one code.
struct Failure {
    mark: Mark,
    pub(crate) code: String,
    messages: u64,
    share: String,
    link: Option<String>,
}

impl Overview {
    fn of(window: &Window, hourly: &[HourlyCount]) -> Self {
        let from = window.first_hour().begins_at().map(|at| at.to_string()).unwrap_or_default();
        let (failures, others) = failures(hourly, &from);
        let open = [Status::ProviderAcceptance, Status::Sent].map(|open| ("status", open.name()));
        let unfinished = open.into_iter().chain([("from", from.as_str())]);
        Self {
            windows: Window::ALL
                .map(|(hours, label)| Choice { label, hours, is_chosen: hours == window.hours() })
                .into(),
            bars: window.describe_bars(),
            zone: window.zone(),
            total: results_of("All", hourly, None),
            channels: Channel::ALL
                .map(|channel| results_of(channel.name(), hourly, Some(channel)))
                .into(),
            failures,
            others,
            unfinished_link: format!("#/messages?{}", parts::query(unfinished)),
            chart: Chart::of(window, hourly),
        }
    }
}

fn results_of(
    label: &'static str,
    hourly: &[HourlyCount],
    channel: Option<Channel>,
) -> ChannelResults {
    let mut counts = Counts::default();
    let of_channel =
        |hourly_count: &&HourlyCount| channel.is_none_or(|channel| hourly_count.channel == channel);
    hourly.iter().filter(of_channel).for_each(|hourly_count| counts.add(hourly_count));
    let times = Times::of(hourly, channel);
    ChannelResults {
        label,
        counts,
        rate: share(counts.delivered, counts.ended()),
        p50: times.percentile(50).map(parts::short),
        p95: times.percentile(95).map(parts::short),
        deliveries: times.deliveries(),
    }
}

/// Most frequent failures, and the number of all others.
fn failures(hourly: &[HourlyCount], from: &str) -> (Vec<Failure>, u64) {
    let mut by_code = BTreeMap::<(Status, &str), u64>::new();
    for hourly_count in hourly {
        if let CountKind::Status {
            status: status @ (Status::Rejected | Status::Undelivered),
            code,
        } = &hourly_count.kind
        {
            *by_code.entry((*status, code)).or_default() += hourly_count.messages;
        }
    }
    let mut all: Vec<_> = by_code.into_iter().collect();
    all.sort_by_key(|(_, messages)| Reverse(*messages));
    let failed = all.iter().map(|(_, messages)| messages).sum();
    let others = all.iter().skip(MAX_LISTED_CODES).map(|(_, messages)| messages).sum();
    let failure = |((status, code), messages): ((Status, &str), u64)| {
        let pairs = [("status", status.name()), ("code", code), ("from", from)];
        Failure {
            mark: Mark(status),
            code: code.to_owned(),
            messages,
            share: share(messages, failed).unwrap_or_default(),
            link: (!code.is_empty()).then(|| format!("#/messages?{}", parts::query(pairs))),
        }
    };
    (all.into_iter().take(MAX_LISTED_CODES).map(failure).collect(), others)
}
