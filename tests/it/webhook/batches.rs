//! Deliveries of many entries: a limit of entries that wait for their commit.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use actix_web::rt::{System, spawn};
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use serde_json::Value;
use statusmirror::access::trusted_proxies::TrustedProxies;
use statusmirror::clock::Clock;
use statusmirror::http;
use statusmirror::http::app_state::Service as HttpService;
use statusmirror::ingest::{EntryResult, Rejection};
use statusmirror::memory_budget::Share;
use statusmirror::message::Status;
use statusmirror::store::Store;
use statusmirror::store::sqlite::SqliteStore;
use statusmirror::verify::standard_webhooks::StandardWebhooks;
use statusmirror::verify::{Scheme, Secret};
use tokio::task::yield_now;

use crate::support::id;
use crate::support::store::deliveries::{about, delivery, entry};
use crate::support::store::ingest_service::{IngestService, READ, Sent, lines, poll_once};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::webhooks::standard_webhooks;

/// Entries of a large delivery.
const MANY: u64 = 800;
/// Entries beside the first of each delivery that may wait.
const MAX_WAITING: u64 = 8_192;

#[test]
fn a_delivery_beyond_the_entry_limit_is_rejected_before_it_is_queued() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        // Nobody looks at the answers meanwhile, so what was taken waits.
        let (mut waiting, mut first) = (Vec::new(), 0);
        loop {
            let mut taking = service.post_lines(first, MANY);
            match poll_once(&mut taking).await {
                Poll::Pending => waiting.push((first, taking)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(refusal)) => {
                    assert!(matches!(refusal, Rejection::Overloaded), "{refusal:?}");
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
        assert_eq!(service.budget.reserved(Share::Bodies), 0);
        assert_eq!(service.post_lines(first, MANY).await.unwrap().len(), 800);
    });
    service.close();
}

#[test]
fn a_delivery_above_the_entry_limit_is_accepted_when_none_waits() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut small = service.post_lines(0, 2);
        let waits = poll_once(&mut small).await.is_pending();
        let large = service.post_lines(10, MAX_WAITING + 2).await;
        assert!(!waits || matches!(large, Err(Rejection::Overloaded)), "{large:?}");
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
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut taking = service.post_lines(0, MANY);
        if poll_once(&mut taking).await.is_pending() {
            let reserved = service.budget.reserved(Share::Bodies);
            assert!(reserved > 800 * 512, "{reserved} bytes");
        }
        taking.await.unwrap();
        assert_eq!(service.budget.reserved(Share::Bodies), 0);
    });
    service.close();
}

#[test]
fn a_worker_serves_others_between_two_large_deliveries() {
    const LARGE: usize = 32;
    let service = Rc::new(IngestService::new(&Scheme::None, 256));
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
fn a_stored_delivery_is_200_also_without_memory_for_its_receipt() {
    let service = IngestService::new(&Scheme::None, 64);
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
        let reserved = || service.budget.reserved(Share::Answers);
        let whole = answer(0).await;
        assert_eq!(whole.status(), 200);
        assert!(reserved() > 50_000, "{} bytes", reserved());
        assert_eq!(results(whole).await, 800);
        assert_eq!(reserved(), 0);
        let others = service.budget.reserve(Share::Answers, Share::Answers.limit()).unwrap();
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
fn an_expired_delivery_with_an_ignored_entry_is_a_duplicate_if_the_rest_is_stored() {
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let scheme = Scheme::StandardWebhooks(StandardWebhooks::new(&[secret]).unwrap());
    let service = IngestService::new(&scheme, 64);
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
                EntryResult::Judged { outcome, status, .. } => format!("{outcome:?} {status:?}"),
                EntryResult::Ignored { reason } => reason.clone(),
                EntryResult::Quarantined { reason, .. } => panic!("{reason}"),
            })
            .collect();
        let duplicate = "Duplicate Some(Sent)";
        assert_eq!(became, [duplicate, "it is told to be", duplicate]);
        for text in ["1\nignored\n3\n", "ignored\n", "1\nwhat\n"] {
            let refusal = post(text, old).await.unwrap_err();
            assert!(matches!(refusal, Rejection::TooOld), "{text}: {refusal:?}");
        }
    });
    service.close();
}

#[test]
fn entries_keep_their_places_when_some_are_ignored_or_replayed() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        // A message that may have no further notification.
        let message = id(5).parse().unwrap();
        let full = (0..).take(1_000).map(|second| {
            let said = notification(statement(Status::Sent, Some(at(second + 100))));
            entry(0, about(message, &said))
        });
        service.store.ingest(delivery(at(0), full.collect())).await.unwrap();
        let posted = service.post("ignored\n4\n5\n".to_owned(), &Sent(Vec::new()), at(1)).await;
        let posted = posted.unwrap();
        let [
            EntryResult::Ignored { .. },
            EntryResult::Judged { message: judged, .. },
            EntryResult::Quarantined { id: kept, .. },
        ] = &posted[..]
        else {
            panic!("{posted:?}")
        };
        assert_eq!(judged.to_string(), id(4));
        // The message is still full, so the entry stays in quarantine, and no other joins it.
        let replayed =
            service.ingest.replay(service.store.quarantined(*kept).await.unwrap().unwrap());
        let replayed = replayed.await.unwrap();
        assert!(
            matches!(replayed, EntryResult::Quarantined { id, .. } if id == *kept),
            "{replayed:?}"
        );
        assert_eq!(service.store.quarantine(0, 10).await.unwrap().len(), 1);
    });
    service.close();
}
