//! How the sources are doing, and what lies in quarantine.

use askama::Template;

use super::super::{problem::Problem, state::Service};
use super::causes;
use super::parts::{self, Moment, counted, grouped, query, span};
use super::render;
use crate::metrics::SourceHealth;
use crate::store::Quarantined;

/// So many entries of the quarantine are listed at a time.
const COUNT: u32 = 20;

/// `GET /ui/health?after=…`
pub(super) async fn show(service: &Service, text: &str) -> Result<String, Problem> {
    let mut after = 0;
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if name == "after" {
            after = value.parse().map_err(|_error| {
                Problem::BadRequest("`after` is the place of a quarantined entry.".to_owned())
            })?;
        }
    }
    let now = service.clock.now();
    let metrics = &service.ingest.metrics;
    let (sources, nobody) = metrics.health(now);
    let vitals = service.store.vitals().await?;
    let held = vitals.quarantined;
    // One more than is shown, to see whether there are more.
    let mut entries = service.store.quarantine(after, COUNT + 1).await?;
    let shown = usize::try_from(COUNT).unwrap_or(usize::MAX);
    let has_more = entries.len() > shown;
    entries.truncate(shown);
    let next = entries.last().filter(|_| has_more).map(|last| {
        let place = last.place.to_string();
        format!("#/health?{}", query([("after", place.as_str())]))
    });
    let began = Moment(metrics.began());
    let page = move || Page {
        began,
        sources: sources.into_iter().map(Source::of).collect(),
        nobody: nobody.into_iter().filter_map(refusal).collect(),
        waiting: (vitals.prune_waiting > 0).then(|| grouped(vitals.prune_waiting)),
        held: counted(held, "entry").replace("entrys", "entries"),
        is_later: after > 0,
        entries: entries.into_iter().map(Entry::of).collect(),
        next,
    };
    render(page).await
}

#[derive(Template)]
#[template(path = "health.html")]
struct Page {
    began: Moment,
    sources: Vec<Source>,
    /// What was refused before it was known which source it is for.
    nobody: Vec<Refusal>,
    /// How much is older than the retention and waits for a confirmed prune.
    waiting: Option<String>,
    held: String,
    is_later: bool,
    entries: Vec<Entry>,
    next: Option<String>,
}

struct Source {
    name: String,
    accepted: u64,
    last: String,
    /// What became of the entries, with what that means.
    became: Vec<(&'static str, u64, &'static str)>,
    refused: Vec<Refusal>,
    clock: Option<String>,
}

struct Refusal {
    times: String,
    what: &'static str,
    todo: &'static str,
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
        let became = |(word, times): (&'static str, u64)| {
            let (name, meaning) = causes::became(word);
            (name, times, meaning)
        };
        let mut entries = health.entries;
        entries.sort_by_key(|(word, _)| causes::place(word));
        Self {
            name: health.name,
            accepted: health.accepted,
            last,
            became: entries.into_iter().map(became).collect(),
            refused: health.refused.into_iter().filter_map(refusal).collect(),
            clock: health.clock_skew.map(clock),
        }
    }
}

/// How the sender's clock differs from ours.
fn clock(ahead: i64) -> String {
    let seconds = counted(ahead.unsigned_abs(), "second");
    match ahead {
        0 => "as ours, to the second".to_owned(),
        1.. => format!("{seconds} ahead of ours when it last signed"),
        _ => format!("{seconds} behind ours when it last signed, or that was a retry"),
    }
}

fn refusal((cause, times): (&'static str, u64)) -> Option<Refusal> {
    let (what, todo) = causes::refused(cause);
    (times > 0).then(|| Refusal { times: grouped(times), what, todo })
}

impl Entry {
    fn of(entry: Quarantined) -> Self {
        let Quarantined { id, source, reason, received_at, times, .. } = entry;
        let times = if times == 1 { "once".to_owned() } else { counted(times.into(), "time") };
        Self { id: id.to_string(), source, reason, received_at: Moment(received_at), times }
    }
}
