//! Ingest without HTTP and without a process: one source and one store.

use std::cell::Cell;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use statusmirror::dialect::{
    self, DecodeError, Dialect, EntryStatement, Name, NoStatement, ReadEntry, Source,
};
use statusmirror::ingest::{Body, EntryResult, Ingest, Posted, Rejection};
use statusmirror::memory_budget::{MemoryBudget, Share};
use statusmirror::message::{Channel, Reference, StatedProvider, Status, Timestamp};
use statusmirror::metrics::Metrics;
use statusmirror::payload::RawPayload;
use statusmirror::store::Store;
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::verify::{Header, Headers, Scheme, Window};
use tempfile::TempDir;

use crate::support::store::notifications::at;
use crate::support::{INHERITED_LOCK_WAIT, id};

/// Dialect with an entry on each line: the number of a message with status SENT, or `ignored`. Any other line
/// is unreadable.
struct Lines;

thread_local! {
    /// Number of deliveries that this thread has decoded.
    pub(crate) static DECODED_DELIVERIES: Cell<usize> = const { Cell::new(0) };
}

impl Dialect for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn foreign_ids(&self) -> bool {
        false
    }

    fn test_delivery(&self) -> (&'static str, &'static str) {
        ("text/plain", "ignored")
    }

    fn read(&self, content: &RawPayload) -> Result<Vec<ReadEntry>, DecodeError> {
        DECODED_DELIVERIES.set(DECODED_DELIVERIES.get() + 1);
        let text = str::from_utf8(&content.body).map_err(|error| DecodeError(error.to_string()))?;
        Ok(text.lines().map(read_line).collect())
    }
}

fn read_line(line: &str) -> ReadEntry {
    if line == "ignored" {
        return Err(NoStatement::Ignored("an ignored line".to_owned()));
    }
    let number: u64 =
        line.parse().map_err(|_error| NoStatement::Unreadable("not a number".to_owned()))?;
    Ok(Box::new(EntryStatement {
        message: Name::Ours(id(number).parse().unwrap()),
        status: Status::Sent,
        stated_at: Some(at(1)),
        accepted_at: None,
        channel: Channel::Sms,
        destination: None,
        reference: Reference::default(),
        provider: StatedProvider::default(),
        plain_words: None,
        segments: None,
    }))
}

/// Headers of a request.
pub(crate) struct RequestHeaders(pub(crate) Vec<(&'static str, String)>);

impl Headers for RequestHeaders {
    fn get(&self, name: &str) -> Header<'_> {
        let header = self.0.iter().find(|(known, _)| *known == name);
        header.map_or(Header::Absent, |(_, value)| Header::One(value.as_bytes()))
    }
}

/// Ingest pipeline and store, with one source that uses the dialect [`Lines`].
pub(crate) struct IngestService {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: MemoryBudget,
    source: Source,
    closing: Closing,
    pub(crate) folder: TempDir,
}

impl IngestService {
    pub(crate) fn new(scheme: &Scheme, queue: usize) -> Self {
        let source = || {
            Source::new(dialect::Settings {
                name: "lines".to_owned(),
                dialect: &Lines,
                scheme: scheme.clone(),
                window: Window::default(),
                public_url: String::new(),
                provider: None,
                max_body_bytes: 1 << 20,
                max_rate: None,
            })
            .unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new(at(0)));
        let budget = MemoryBudget::default();
        let (store, closing) = SqliteStore::open(&Settings {
            max_in_flight: queue,
            lock_wait: INHERITED_LOCK_WAIT,
            commits: metrics.commits().clone(),
            budget: budget.clone(),
            ..Settings::new(folder.path().join("mirror.db"))
        })
        .unwrap();
        let store = Arc::new(store);
        let dyn_store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let ingest =
            Ingest::new(vec![source()], dyn_store, queue, Arc::clone(&metrics), budget.clone());
        Self { ingest: Arc::new(ingest), store, metrics, budget, source: source(), closing, folder }
    }

    /// Accepts a delivery with this body.
    pub(crate) async fn post(
        &self,
        body: String,
        headers: &RequestHeaders,
        now: Timestamp,
    ) -> Result<Vec<EntryResult>, Rejection> {
        let mut bytes = self.budget.reserve(Share::Bodies, 0).unwrap();
        bytes.grow(body.len()).unwrap();
        let posted = Posted {
            method: "POST",
            query: None,
            content_type: None,
            headers,
            body: Body { content: body.into_bytes(), bytes },
            verified: None,
        };
        self.ingest.accept(&self.source, posted, now).await
    }

    /// Delivery of `count` messages, numbered from `first`; accepted once the future is polled.
    pub(crate) fn post_lines(&self, first: u64, count: u64) -> PendingDelivery<'_> {
        let headers = RequestHeaders(Vec::new());
        Box::pin(async move { self.post(lines(first, count), &headers, at(1)).await })
    }

    pub(crate) fn close(self) {
        drop((self.ingest, self.store));
        assert!(self.closing.close());
    }
}

/// Body with an entry for each of `count` messages, numbered from `first`.
pub(crate) fn lines(first: u64, count: u64) -> String {
    (first..first + count).fold(String::new(), |mut body, number| {
        writeln!(body, "{number}").unwrap();
        body
    })
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

/// Delivery under way.
pub(crate) type PendingDelivery<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<EntryResult>, Rejection>> + 'a>>;
