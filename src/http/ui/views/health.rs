//! Health view: state of the sources, and entries in quarantine.

use askama::Template;

use super::fragment::render;
use super::parts::{self, Moment, counted, grouped, query, span};
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::http::ui::model::outcome_words;
use crate::metrics::{EntryOutcome, RejectReason, SourceHealth};
use crate::store::Quarantined;

/// Number of quarantined entries on a page.
const PAGE_ENTRIES: u32 = 20;

/// `GET /ui/health?after=…`
pub(crate) async fn show(service: &Service, text: &str) -> Result<String, Problem> {
    let mut after = 0;
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if name == "after" {
            after = value.parse().map_err(|_error| {
                Problem::BadRequest("`after` is the place of a quarantined entry.".to_owned())
            })?;
        }
    }
    let now = service.clock.now();
    let metrics = &service.metrics;
    let (sources, without_source) = metrics.health(now);
    let stats = service.store.stats().await?;
    let quarantined = stats.quarantined;
    // One more than is shown, to tell whether there is a next page.
    let mut entries = service.store.quarantine(after, PAGE_ENTRIES + 1).await?;
    let shown = usize::try_from(PAGE_ENTRIES).unwrap_or(usize::MAX);
    let has_more = entries.len() > shown;
    entries.truncate(shown);
    let next = entries.last().filter(|_| has_more).map(|last| {
        let place = last.place.to_string();
        format!("#/health?{}", query([("after", place.as_str())]))
    });
    let started = Moment(metrics.started_at());
    let page = move || Page {
        started,
        sources: sources.into_iter().map(Source::of).collect(),
        without_source: without_source.into_iter().filter_map(rejections).collect(),
        prune_waiting: (stats.prune_waiting > 0).then(|| grouped(stats.prune_waiting)),
        quarantined: counted(quarantined, "entry").replace("entrys", "entries"),
        is_later: after > 0,
        entries: entries.into_iter().map(Entry::of).collect(),
        next,
    };
    render(page).await
}

#[derive(Template)]
#[template(path = "health.html")]
struct Page {
    started: Moment,
    sources: Vec<Source>,
    /// Rejections of webhooks without a known source.
    without_source: Vec<Rejections>,
    /// Number of messages and quarantined entries older than the retention that wait for a confirmed prune.
    prune_waiting: Option<String>,
    quarantined: String,
    is_later: bool,
    entries: Vec<Entry>,
    next: Option<String>,
}

struct Source {
    name: String,
    accepted: u64,
    last: String,
    /// Outcomes of the entries: name, number and meaning.
    outcomes: Vec<(&'static str, u64, &'static str)>,
    rejected: Vec<Rejections>,
    clock: Option<String>,
}

/// Rejected webhooks with the same reason.
struct Rejections {
    times: String,
    description: &'static str,
    remedy: &'static str,
}

struct Entry {
    id: String,
    source: String,
    reason: String,
    received_at: Moment,
    times: String,
}

impl Source {
    fn of(health: SourceHealth) -> Self {
        let since = i64::try_from(health.since_accepted.as_micros()).unwrap_or(i64::MAX);
        let last = if health.accepted == 0 {
            format!("none for {}", span(since))
        } else {
            format!("{} ago", span(since))
        };
        let outcomes = |(outcome, times): (EntryOutcome, u64)| {
            let (name, meaning) = outcome_words::meaning(outcome);
            (name, times, meaning)
        };
        let mut entries = health.entries;
        entries.sort_by_key(|(outcome, _)| outcome_words::rank(*outcome));
        Self {
            name: health.name,
            accepted: health.accepted,
            last,
            outcomes: entries.into_iter().map(outcomes).collect(),
            rejected: health.rejected.into_iter().filter_map(rejections).collect(),
            clock: health.clock_skew.map(clock),
        }
    }
}

/// Difference between the sender's clock and ours, in words.
fn clock(ahead: i64) -> String {
    let seconds = counted(ahead.unsigned_abs(), "second");
    match ahead {
        0 => "as ours, to the second".to_owned(),
        1.. => format!("{seconds} ahead of ours when it last signed"),
        _ => format!("{seconds} behind ours when it last signed, or that was a retry"),
    }
}

fn rejections((reason, times): (RejectReason, u64)) -> Option<Rejections> {
    let (description, remedy) = outcome_words::remedy(reason)?;
    (times > 0).then(|| Rejections { times: grouped(times), description, remedy })
}

impl Entry {
    fn of(entry: Quarantined) -> Self {
        let Quarantined { id, source, reason, received_at, times, .. } = entry;
        let times = if times == 1 { "once".to_owned() } else { counted(times.into(), "time") };
        Self { id: id.to_string(), source, reason, received_at: Moment(received_at), times }
    }
}
