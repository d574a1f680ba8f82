//! Deliveries of many entries: how many of them may wait for their commit.

use std::cell::Cell;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use actix_web::rt::{System, spawn};
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use serde_json::Value;
use statusmirror::budget::{MemoryBudget, Share};
use statusmirror::clock::Clock;
use statusmirror::content::Content;
use statusmirror::dialect::{self, Aside, Dialect, Name, NotEncoded, Reading, Said, Source};
use statusmirror::http;
use statusmirror::http::proxies::TrustedProxies;
use statusmirror::http::state::Service as HttpService;
use statusmirror::ingest::{Body, Done, Ingest, Posted, Refusal};
use statusmirror::message::{Channel, Reference, StatedProvider, Status, Timestamp};
use statusmirror::metrics::Metrics;
use statusmirror::proof::standard_webhooks::StandardWebhooks;
use statusmirror::proof::{Header, Headers, Scheme, Secret, Window};
use statusmirror::store::Store;
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use tempfile::TempDir;
use tokio::task::yield_now;

use crate::convergence::at;
use crate::sender::standard_webhooks;
use crate::support::{INHERITED, id};

/// Entries of a large delivery.
const MANY: u64 = 800;
/// Entries beside the first of each delivery that may wait.
const MAX_WAITING: u64 = 8_192;

/// A dialect with an entry on each line: the number of a message that was sent, `ignored`, or anything
/// else, which is not understood.
struct Lines;

thread_local! {
    /// Deliveries that were read on this thread.
    static READ: Cell<usize> = const { Cell::new(0) };
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

    fn read(&self, content: &Content) -> Result<Vec<Reading>, NotEncoded> {
        READ.set(READ.get() + 1);
        let text = str::from_utf8(&content.body).map_err(|bad| NotEncoded(bad.to_string()))?;
        Ok(text.lines().map(read_line).collect())
    }
}

fn read_line(line: &str) -> Reading {
    if line == "ignored" {
        return Err(Aside::Ignored("it is told to be".to_owned()));
    }
    let number: u64 = line.parse().map_err(|_bad| Aside::Unreadable("no number".to_owned()))?;
    Ok(Box::new(Said {
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

struct Sent(Vec<(&'static str, String)>);

impl Headers for Sent {
    fn one(&self, name: &str) -> Header<'_> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(Header::Absent, |(_, value)| Header::One(value.as_bytes()))
    }
}

/// A service without HTTP, with one source that speaks in lines.
pub(crate) struct Service {
    ingest: Arc<Ingest>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) metrics: Arc<Metrics>,
    source: Source,
    closing: Closing,
    pub(crate) folder: TempDir,
}

impl Service {
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
            queue,
            lock_wait: INHERITED,
            commits: metrics.commits().clone(),
            budget: budget.clone(),
            ..Settings::new(folder.path().join("mirror.db"))
        })
        .unwrap();
        let store = Arc::new(store);
        let seam: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let ingest = Ingest::new(vec![source()], seam, queue, Arc::clone(&metrics), budget);
        Self { ingest: Arc::new(ingest), store, metrics, source: source(), closing, folder }
    }

    async fn post(
        &self,
        text: String,
        headers: &Sent,
        now: Timestamp,
    ) -> Result<Vec<Done>, Refusal> {
        let mut bytes = self.ingest.budget.reserve(Share::Bodies, 0).unwrap();
        bytes.grow(text.len()).unwrap();
        let posted = Posted {
            method: "POST",
            query: None,
            content_type: None,
            headers,
            body: Body { content: text.into_bytes(), bytes },
            verified: None,
        };
        self.ingest.accept(&self.source, posted, now).await
    }

    fn post_lines(&self, first: u64, count: u64) -> Taking<'_> {
        Box::pin(async move { self.post(lines(first, count), &Sent(Vec::new()), at(1)).await })
    }

    pub(crate) fn close(self) {
        drop((self.ingest, self.store));
        assert!(self.closing.close());
    }
}

/// A body of so many entries.
fn lines(first: u64, count: u64) -> String {
    (first..first + count).fold(String::new(), |mut text, number| {
        writeln!(text, "{number}").unwrap();
        text
    })
}

/// Has it go as far as it can without waiting.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

type Taking<'a> = Pin<Box<dyn Future<Output = Result<Vec<Done>, Refusal>> + 'a>>;

#[test]
fn entries_that_do_not_fit_are_refused_before_anything_of_them_is_queued() {
    let service = Service::new(&Scheme::None, 64);
    System::new().block_on(async {
        // Nobody looks at the answers meanwhile, so what was taken waits.
        let (mut waiting, mut first) = (Vec::new(), 0);
        loop {
            let mut taking = service.post_lines(first, MANY);
            match poll_once(&mut taking).await {
                Poll::Pending => waiting.push((first, taking)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(refusal)) => {
                    assert!(matches!(refusal, Refusal::Overloaded), "{refusal:?}");
                    break;
                }
            }
            first += MANY;
        }
        let entries = u64::try_from(waiting.len()).unwrap() * (MANY - 1);
        assert!(entries <= MAX_WAITING && entries + MANY > MAX_WAITING, "{entries} wait");
        // One entry has a slot of its own.
        let alone = service.post_lines(1_000_000, 1).await.unwrap();
        assert_eq!(alone.len(), 1);
        for (first, taking) in waiting {
            assert_eq!(taking.await.unwrap().len(), 800);
            assert!(service.store.message(id(first).parse().unwrap()).await.unwrap().is_some());
        }
        for refused in [first, first + MANY - 1] {
            assert!(service.store.message(id(refused).parse().unwrap()).await.unwrap().is_none());
        }
        // The room is given back, also that of who was refused.
        assert_eq!(service.ingest.budget.reserved(Share::Bodies), 0);
        assert_eq!(service.post_lines(first, MANY).await.unwrap().len(), 800);
    });
    service.close();
}

#[test]
fn a_delivery_of_more_entries_than_may_wait_is_taken_when_no_other_waits() {
    let service = Service::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut small = service.post_lines(0, 2);
        let waits = poll_once(&mut small).await.is_pending();
        let large = service.post_lines(10, MAX_WAITING + 2).await;
        assert!(!waits || matches!(large, Err(Refusal::Overloaded)), "{large:?}");
        if waits {
            small.await.unwrap();
        }
        let taken = service.post_lines(10, MAX_WAITING + 2).await.unwrap();
        assert_eq!(taken.len(), 8_194);
    });
    service.close();
}

#[test]
fn a_delivery_counts_in_the_memory_budget_with_its_entries() {
    let service = Service::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut taking = service.post_lines(0, MANY);
        if poll_once(&mut taking).await.is_pending() {
            let reserved = service.ingest.budget.reserved(Share::Bodies);
            assert!(reserved > 800 * 512, "{reserved} bytes");
        }
        taking.await.unwrap();
        assert_eq!(service.ingest.budget.reserved(Share::Bodies), 0);
    });
    service.close();
}

#[test]
fn a_thread_goes_on_between_two_large_deliveries() {
    const LARGE: usize = 32;
    let service = Rc::new(Service::new(&Scheme::None, 256));
    let body = "ignored\n".repeat(4_096);
    System::new().block_on(async {
        let posts: Vec<_> = (0..LARGE)
            .map(|_| {
                let (service, body) = (Rc::clone(&service), body.clone());
                spawn(async move { service.post(body, &Sent(Vec::new()), at(1)).await })
            })
            .collect();
        // What else the thread has to do.
        let mut before = 0;
        while before < LARGE {
            yield_now().await;
            let read = READ.get();
            assert!(read <= before + 2, "{} in a row", read - before);
            before = read;
        }
        for post in posts {
            assert_eq!(post.await.unwrap().unwrap().len(), 4_096);
        }
    });
    Rc::into_inner(service).unwrap().close();
}

#[test]
fn a_stored_delivery_is_answered_with_200_also_if_its_receipt_finds_no_memory() {
    let service = Service::new(&Scheme::None, 64);
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&service.store);
    let (ingest, proxies) = (Arc::clone(&service.ingest), TrustedProxies::default());
    let http = HttpService::new(ingest, store, Vec::new(), proxies, Clock::Fixed(at(1)));
    System::new().block_on(async {
        let app = test::init_service(http::app(Data::new(http), http::all)).await;
        let answer = async |first: u64| {
            let request =
                TestRequest::post().uri("/webhooks/lines").set_payload(lines(first, MANY));
            test::call_service(&app, request.to_request()).await
        };
        let results = async |answer| {
            let body: Value = test::read_body_json(answer).await;
            body["results"].as_array().unwrap().len()
        };
        let reserved = || service.ingest.budget.reserved(Share::Answers);
        let whole = answer(0).await;
        assert_eq!(whole.status(), 200);
        assert!(reserved() > 50_000, "{} bytes", reserved());
        assert_eq!(results(whole).await, 800);
        assert_eq!(reserved(), 0);
        let others = service.ingest.budget.reserve(Share::Answers, Share::Answers.limit()).unwrap();
        let short = answer(MANY).await;
        assert_eq!(short.status(), 200);
        assert_eq!(results(short).await, 0);
        let last = id(2 * MANY - 1).parse().unwrap();
        assert!(service.store.message(last).await.unwrap().is_some());
        drop(others);
    });
    service.close();
}

#[test]
fn an_old_delivery_with_an_ignored_entry_is_a_duplicate_if_the_rest_is_stored() {
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let scheme = Scheme::StandardWebhooks(StandardWebhooks::new(&[secret]).unwrap());
    let service = Service::new(&scheme, 64);
    let second = at(0).seconds();
    let old = at(365 * 24 * 3_600);
    System::new().block_on(async {
        let post = async |text: &str, now| {
            let headers = Sent(standard_webhooks(text, second).to_vec());
            service.post(text.to_owned(), &headers, now).await
        };
        post("1\nignored\n2\n", at(0)).await.unwrap();
        let again = post("1\nignored\n2\n", old).await.unwrap();
        let became: Vec<_> = again
            .iter()
            .map(|done| match done {
                Done::Judged { outcome, status, .. } => format!("{outcome:?} {status:?}"),
                Done::Ignored { reason } => reason.clone(),
                Done::Quarantined { reason, .. } => panic!("{reason}"),
            })
            .collect();
        let duplicate = "Duplicate Some(Sent)";
        assert_eq!(became, [duplicate, "it is told to be", duplicate]);
        for text in ["1\nignored\n3\n", "ignored\n", "1\nwhat\n"] {
            let refusal = post(text, old).await.unwrap_err();
            assert!(matches!(refusal, Refusal::TooOld), "{text}: {refusal:?}");
        }
    });
    service.close();
}
