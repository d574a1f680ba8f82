//! How messages have fared lately, from the hourly sums alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;

use super::super::{problem::Problem, state::Service};
use super::chart::{Chart, Counts};
use super::parts::{self, Mark, share};
use super::usual::Times;
use super::window::Window;
use super::{NoData, render, rows};
use crate::message::{Channel, Status};
use crate::store::{Counted, Sum, Wanted};

/// So many codes are told by themselves.
const CODES: usize = 10;

/// `GET /ui/overview?hours=…&offset=…`
pub(super) async fn show(service: &Service, query: &str) -> Result<String, Problem> {
    let window = Window::read(query, service.clock.now())?;
    let mut sums = service.store.sums(window.first()).await?;
    sums.retain(|sum| window.bar_of(sum.hour).is_some());
    let has_data = !sums.is_empty() || has_messages(service).await?;
    if !has_data {
        return Ok(NoData { heading: "Overview" }.render().unwrap_or_default());
    }
    render(move || Overview::of(&window, &sums)).await
}

/// Whether there is any message at all.
async fn has_messages(service: &Service) -> Result<bool, Problem> {
    let found = service.store.search(Arc::new(Wanted::default()), None, 1, rows::write).await?;
    Ok(!found.listing.messages.is_empty() || found.next.is_some())
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    windows: Vec<Choice>,
    bars: &'static str,
    zone: String,
    total: Fared,
    channels: Vec<Fared>,
    failures: Vec<Failure>,
    /// The failures of all other codes.
    others: u64,
    unfinished_link: String,
    chart: Chart,
}

/// A window that can be chosen.
struct Choice {
    words: &'static str,
    hours: u32,
    is_chosen: bool,
}

/// How messages have fared.
struct Fared {
    what: &'static str,
    counts: Counts,
    /// Delivered ones of those whose end is known.
    rate: Option<String>,
    p50: Option<String>,
    p95: Option<String>,
    deliveries: u64,
}

/// Failures of one code.
struct Failure {
    mark: Mark,
    code: String,
    messages: u64,
    share: String,
    link: Option<String>,
}

impl Overview {
    fn of(window: &Window, sums: &[Sum]) -> Self {
        let from = window.first().begins_at().map(|at| at.to_string()).unwrap_or_default();
        let (failures, others) = failures(sums, &from);
        let open = [Status::ProviderAcceptance, Status::Sent].map(|open| ("status", open.name()));
        let unfinished = open.into_iter().chain([("from", from.as_str())]);
        Self {
            windows: Window::ALL
                .map(|(hours, words)| Choice { words, hours, is_chosen: hours == window.hours() })
                .into(),
            bars: window.words(),
            zone: window.zone(),
            total: fared("All", sums, None),
            channels: Channel::ALL.map(|channel| fared(channel.name(), sums, Some(channel))).into(),
            failures,
            others,
            unfinished_link: format!("#/messages?{}", parts::query(unfinished)),
            chart: Chart::of(window, sums),
        }
    }
}

fn fared(what: &'static str, sums: &[Sum], channel: Option<Channel>) -> Fared {
    let mut counts = Counts::default();
    let of_channel = |sum: &&Sum| channel.is_none_or(|channel| sum.channel == channel);
    sums.iter().filter(of_channel).for_each(|sum| counts.add(sum));
    let times = Times::of(sums, channel);
    Fared {
        what,
        counts,
        rate: share(counts.delivered, counts.ended()),
        p50: times.within(50).map(parts::short),
        p95: times.within(95).map(parts::short),
        deliveries: times.deliveries(),
    }
}

/// The most frequent failures, and how many there are besides.
fn failures(sums: &[Sum], from: &str) -> (Vec<Failure>, u64) {
    let mut by_code = BTreeMap::<(Status, &str), u64>::new();
    for sum in sums {
        if let Counted::Status { status: status @ (Status::Rejected | Status::Undelivered), code } =
            &sum.counted
        {
            *by_code.entry((*status, code)).or_default() += sum.messages;
        }
    }
    let mut all: Vec<_> = by_code.into_iter().collect();
    all.sort_by_key(|(_, messages)| Reverse(*messages));
    let whole = all.iter().map(|(_, messages)| messages).sum();
    let others = all.iter().skip(CODES).map(|(_, messages)| messages).sum();
    let failure = |((status, code), messages): ((Status, &str), u64)| {
        let pairs = [("status", status.name()), ("code", code), ("from", from)];
        Failure {
            mark: Mark(status),
            code: code.to_owned(),
            messages,
            share: share(messages, whole).unwrap_or_default(),
            link: (!code.is_empty()).then(|| format!("#/messages?{}", parts::query(pairs))),
        }
    };
    (all.into_iter().take(CODES).map(failure).collect(), others)
}
