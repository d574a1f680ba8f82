//! Messages accepted at the same time: ordered by id, and a page of them reads as many rows as any page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::rt::System;
use statusmirror::message::{
    Destination, MessageId, Reference, Shown, Statement, Status, Timestamp,
};
use statusmirror::store::sqlite::{Settings, SqliteStore};
use statusmirror::store::{Key, Page, Place, SearchFilter, Store};

use crate::support::INHERITED;
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::notifications::{at, notification, statement};

/// Messages accepted at the same time.
const TIED: u64 = 9_000;
/// One of so many has the number, or the reference, that is asked for.
const ONE_OF: usize = 3;
/// Messages of a page, and the one behind it.
const PAGE: usize = 101;
/// Messages that may be in memory and in no table.
const IN_MEMORY: usize = 50 + 50 / 8 + 512;
/// Messages of a number of the index that are read in no order.
const FEW_EQUALS: usize = 256;

/// Rows that were written for pages.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

fn write(_text: &mut Vec<u8>, _message: &Shown<'_>) {
    WRITTEN.fetch_add(1, Ordering::Relaxed);
}

/// Rows that were written since this was asked last.
fn written() -> usize {
    WRITTEN.swap(0, Ordering::Relaxed)
}

fn number() -> Destination {
    "+393331234567".parse().unwrap()
}

/// Messages that were accepted at the same time.
struct Ties {
    ids: &'static str,
    /// The id of a message.
    id: fn(u64) -> MessageId,
    accepted_at: Timestamp,
    /// Whether the index can tell them apart.
    told_apart: bool,
}

/// A number up to 2 to the 64, another one for each.
fn scattered(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn ties() -> [Ties; 4] {
    let random = |number| MessageId::from_bytes((scattered(number) << 64).to_be_bytes());
    // The time in milliseconds, the version, and the rest.
    let timed = |number: u64| {
        let time = u128::try_from(at(100).micros() / 1_000).unwrap() + u128::from(number % 900);
        let id = (time << 80) | (0x7 << 76) | ((scattered(number) & 0xfff) << 64);
        MessageId::from_bytes((id | u128::from(number)).to_be_bytes())
    };
    // Those of successive numbers are far apart.
    let counted = |number: u64| {
        let counter = u128::from(number.wrapping_mul(7_919) % 1_000_003);
        MessageId::from_bytes(((0xaaaa_aaaa << 96) | counter).to_be_bytes())
    };
    let between = Timestamp::from_micros(at(100).micros() + 250_000).unwrap();
    [
        Ties { ids: "random", id: random, accepted_at: at(100), told_apart: true },
        Ties { ids: "with a time", id: timed, accepted_at: at(100), told_apart: true },
        Ties { ids: "counted", id: counted, accepted_at: at(100), told_apart: false },
        Ties { ids: "random, between", id: random, accepted_at: between, told_apart: false },
    ]
}

#[test]
fn a_page_at_equal_times_is_in_order_and_reads_as_many_rows_as_any_page() {
    for ties in ties() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closing) = SqliteStore::open(&Settings {
            lock_wait: INHERITED,
            // Nearly all of them are in the table.
            cache_max_messages: 50,
            ..Settings::new(folder.path().join("mirror.db"))
        })
        .unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        System::new().block_on(async {
            fill(&*store, &ties).await;
            lists(&*store, &ties).await;
            search(&*store, &ties).await;
        });
        drop(store);
        assert!(closing.close());
    }
}

async fn fill(store: &dyn Store, ties: &Ties) {
    for first in (0..TIED).step_by(500) {
        let entries = (first..first + 500).map(|number_of_it| {
            let is_listed = number_of_it % u64::try_from(ONE_OF).unwrap() == 0;
            let key = is_listed.then(|| "key".to_owned());
            let accepted_at = match number_of_it {
                // A few were accepted after and before the others.
                0..3 => at(101),
                3..6 => at(99),
                _ => ties.accepted_at,
            };
            entry(
                0,
                notification(Statement {
                    message: (ties.id)(number_of_it),
                    accepted_at: Some(accepted_at),
                    destination: is_listed.then(number),
                    reference: Reference::new(None, None, key).unwrap(),
                    ..statement(Status::Sent, Some(at(200)))
                }),
            )
        });
        store.ingest(delivery(at(300), entries.collect())).await.unwrap();
    }
}

/// Every so many of all messages, in the order of lists.
fn expected(ties: &Ties, step: usize) -> Vec<MessageId> {
    let sorted = |numbers: &mut dyn Iterator<Item = u64>| {
        let mut ids: Vec<_> = numbers.map(ties.id).collect();
        ids.sort_unstable();
        ids
    };
    let parts = [0..3, 6..TIED, 3..6];
    parts.into_iter().flat_map(|part| sorted(&mut part.step_by(step))).collect()
}

async fn lists(store: &dyn Store, ties: &Ties) {
    // Those of memory that come first, and those of the table; a few may share a number of the index.
    let rows = 2 * PAGE + if ties.told_apart { 8 } else { FEW_EQUALS + PAGE };
    for key in [Key::Destination(number()), Key::Reference("key".to_owned())] {
        let (mut found, mut after, mut most) = (Vec::new(), None, 0);
        written();
        loop {
            let page = Page { count: 100, before: None, after };
            let listing = store.list(key.clone(), page, write).await.unwrap();
            most = most.max(written());
            found.extend(listing.messages.iter().map(|message| message.place.id));
            let next = listing.messages.last().map(|message| message.place);
            assert_ne!(after, next, "it goes on");
            after = next;
            if !listing.more {
                break;
            }
        }
        assert_eq!(found, expected(ties, ONE_OF), "{}, {key:?}", ties.ids);
        assert!(most <= rows, "{}: {most} rows for a page of {key:?}", ties.ids);
    }
}

async fn search(store: &dyn Store, ties: &Ties) {
    let rows = PAGE + IN_MEMORY + if ties.told_apart { 8 } else { FEW_EQUALS + PAGE };
    let (mut found, mut after, mut most): (_, Option<Place>, _) = (Vec::new(), None, 0);
    written();
    loop {
        let part =
            store.search(Arc::new(SearchFilter::default()), after, 100, write).await.unwrap();
        most = most.max(written());
        found.extend(part.listing.messages.iter().map(|message| message.place.id));
        assert_ne!(after, part.next, "it goes on");
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected(ties, 1), "{}", ties.ids);
    assert!(most <= rows, "{}: {most} rows for a page of all", ties.ids);
}
