//! Deliveries with many entries: the limit of entries that wait for a commit.

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
use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::ingest_service::{
    DECODED_DELIVERIES, IngestService, RequestHeaders, lines, poll_once,
};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::webhooks::standard_webhooks;

/// Entries of a large delivery.
const DELIVERY_ENTRIES: u64 = 800;
/// Maximum number of entries that may wait. The first entry of each delivery does not count.
const MAX_WAITING_ENTRIES: u64 = 8_192;

#[test]
fn a_delivery_beyond_the_entry_limit_is_rejected_before_it_is_queued() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        // Each pending post is polled only once, so its entries keep their share of the limit.
        let (mut waiting, mut first) = (Vec::new(), 0);
        loop {
            let mut post = service.post_lines(first, DELIVERY_ENTRIES);
            match poll_once(&mut post).await {
                Poll::Pending => waiting.push((first, post)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(rejection)) => {
                    assert!(matches!(rejection, Rejection::Overloaded), "{rejection:?}");
                    break;
                }
            }
            first += DELIVERY_ENTRIES;
        }
        let entries = u64::try_from(waiting.len()).unwrap() * (DELIVERY_ENTRIES - 1);
        assert!(
            entries <= MAX_WAITING_ENTRIES && entries + DELIVERY_ENTRIES > MAX_WAITING_ENTRIES,
            "{entries} wait"
        );
        // A delivery of one entry does not count.
        let single = service.post_lines(1_000_000, 1).await.unwrap();
        assert_eq!(single.len(), 1);
        for (first, post) in waiting {
            assert_eq!(post.await.unwrap().len(), 800);
            assert!(service.store.message(id(first).parse().unwrap()).await.unwrap().is_some());
        }
        for rejected in [first, first + DELIVERY_ENTRIES - 1] {
            assert!(service.store.message(id(rejected).parse().unwrap()).await.unwrap().is_none());
        }
        // All memory is released, also that of the rejected delivery.
        assert_eq!(service.budget.reserved(Share::Bodies), 0);
        assert_eq!(service.post_lines(first, DELIVERY_ENTRIES).await.unwrap().len(), 800);
    });
    service.close();
}

#[test]
fn a_delivery_above_the_entry_limit_is_accepted_when_none_waits() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut small = service.post_lines(0, 2);
        let is_waiting = poll_once(&mut small).await.is_pending();
        let large = service.post_lines(10, MAX_WAITING_ENTRIES + 2).await;
        assert!(!is_waiting || matches!(large, Err(Rejection::Overloaded)), "{large:?}");
        if is_waiting {
            small.await.unwrap();
        }
        let results = service.post_lines(10, MAX_WAITING_ENTRIES + 2).await.unwrap();
        assert_eq!(results.len(), 8_194);
    });
    service.close();
}

#[test]
fn a_delivery_counts_in_the_memory_budget_with_its_entries() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        let mut post = service.post_lines(0, DELIVERY_ENTRIES);
        if poll_once(&mut post).await.is_pending() {
            let reserved = service.budget.reserved(Share::Bodies);
            assert!(reserved > 800 * 512, "{reserved} bytes");
        }
        post.await.unwrap();
        assert_eq!(service.budget.reserved(Share::Bodies), 0);
    });
    service.close();
}

#[test]
fn a_worker_serves_others_between_two_large_deliveries() {
    const DELIVERIES: usize = 32;
    let service = Rc::new(IngestService::new(&Scheme::None, 256));
    let body = "ignored\n".repeat(4_096);
    System::new().block_on(async {
        let posts: Vec<_> = (0..DELIVERIES)
            .map(|_| {
                let (service, body) = (Rc::clone(&service), body.clone());
                spawn(async move { service.post(body, &RequestHeaders(Vec::new()), at(1)).await })
            })
            .collect();
        // Each yield stands for other work of this thread.
        let mut before = 0;
        while before < DELIVERIES {
            yield_now().await;
            let read = DECODED_DELIVERIES.get();
            assert!(read <= before + 2, "{} deliveries were read without a yield", read - before);
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
            let request = TestRequest::post()
                .uri("/webhooks/lines")
                .set_payload(lines(first, DELIVERY_ENTRIES));
            test::call_service(&app, request.to_request()).await
        };
        let results = async |answer| {
            let body: Value = test::read_body_json(answer).await;
            body["results"].as_array().unwrap().len()
        };
        let reserved = || service.budget.reserved(Share::Answers);
        let complete = answer(0).await;
        assert_eq!(complete.status(), 200);
        assert!(reserved() > 50_000, "{} bytes", reserved());
        assert_eq!(results(complete).await, 800);
        assert_eq!(reserved(), 0);
        let other_answers = service.budget.reserve(Share::Answers, Share::Answers.limit()).unwrap();
        let without_results = answer(DELIVERY_ENTRIES).await;
        assert_eq!(without_results.status(), 200);
        assert_eq!(results(without_results).await, 0);
        let last = id(2 * DELIVERY_ENTRIES - 1).parse().unwrap();
        assert!(service.store.message(last).await.unwrap().is_some());
        drop(other_answers);
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
            let headers = RequestHeaders(standard_webhooks(text, second).to_vec());
            service.post(text.to_owned(), &headers, now).await
        };
        post("1\nignored\n2\n", at(0)).await.unwrap();
        let retry = post("1\nignored\n2\n", old).await.unwrap();
        let outcomes: Vec<_> = retry
            .iter()
            .map(|result| match result {
                EntryResult::Judged { outcome, status, .. } => format!("{outcome:?} {status:?}"),
                EntryResult::Ignored { reason } => reason.clone(),
                EntryResult::Quarantined { reason, .. } => panic!("{reason}"),
            })
            .collect();
        let duplicate = "Duplicate Some(Sent)";
        assert_eq!(outcomes, [duplicate, "an ignored line", duplicate]);
        for text in ["1\nignored\n3\n", "ignored\n", "1\nwhat\n"] {
            let rejection = post(text, old).await.unwrap_err();
            assert!(matches!(rejection, Rejection::TooOld), "{text}: {rejection:?}");
        }
    });
    service.close();
}

#[test]
fn entries_keep_their_places_when_some_are_ignored_or_replayed() {
    let service = IngestService::new(&Scheme::None, 64);
    System::new().block_on(async {
        // A message with the maximum number of notifications.
        let message = id(5).parse().unwrap();
        let entries = (0..).take(1_000).map(|second| {
            let sent = notification(statement(Status::Sent, Some(at(second + 100))));
            entry(0, with_message(message, &sent))
        });
        service.store.ingest(delivery(at(0), entries.collect())).await.unwrap();
        let results =
            service.post("ignored\n4\n5\n".to_owned(), &RequestHeaders(Vec::new()), at(1)).await;
        let results = results.unwrap();
        let [
            EntryResult::Ignored { .. },
            EntryResult::Judged { message: judged, .. },
            EntryResult::Quarantined { id: quarantine_id, .. },
        ] = &results[..]
        else {
            panic!("{results:?}")
        };
        assert_eq!(judged.to_string(), id(4));
        // The message is still full, so the entry stays in quarantine, and the replay adds no other.
        let replayed = service
            .ingest
            .replay(service.store.quarantined(*quarantine_id).await.unwrap().unwrap());
        let replayed = replayed.await.unwrap();
        assert!(
            matches!(replayed, EntryResult::Quarantined { id, .. } if id == *quarantine_id),
            "{replayed:?}"
        );
        assert_eq!(service.store.quarantine(0, 10).await.unwrap().len(), 1);
    });
    service.close();
}
