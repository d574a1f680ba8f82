//! Messages accepted at the same time: they are ordered by id, and a page of them reads no more rows than
//! other pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::rt::System;
use statusmirror::message::{
    Destination, MessageId, Reference, Shown, Statement, Status, Timestamp,
};
use statusmirror::store::sqlite::{Settings, SqliteStore};
use statusmirror::store::{Key, Page, Place, SearchFilter, Store};

use crate::support::INHERITED_LOCK_WAIT;
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::notifications::{at, notification, statement};

/// Number of messages accepted at the same time.
const TIED: u64 = 9_000;
/// Every third message has the destination and the reference of the lists.
const LISTED_STEP: usize = 3;
/// Rows read for a page: its 100 messages, and the one after them.
const PAGE_ROWS: usize = 101;
/// Maximum number of messages that are only in the cache.
const CACHED: usize = 50 + 50 / 8 + 512;
/// Maximum number of messages with one list-order value that are read without the index by id.
const MAX_EQUAL_ROWS: usize = 256;

/// Number of messages written for pages since the last [`take_written`].
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

fn write(_text: &mut Vec<u8>, _message: &Shown<'_>) {
    WRITTEN.fetch_add(1, Ordering::Relaxed);
}

/// Returns the number of messages written for pages since the last call.
fn take_written() -> usize {
    WRITTEN.swap(0, Ordering::Relaxed)
}

fn destination() -> Destination {
    "+393331234567".parse().unwrap()
}

/// Messages accepted at the same time, with one kind of ids.
struct Ties {
    /// Name of the kind, for messages of failed assertions.
    ids: &'static str,
    /// Id of the message of this number.
    id: fn(u64) -> MessageId,
    accepted_at: Timestamp,
    /// Whether the messages have different list-order values.
    is_distinct: bool,
}

/// Distinct, scattered number below 2^64 for each number.
fn scattered(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn ties() -> [Ties; 4] {
    let random = |number| MessageId::from_bytes((scattered(number) << 64).to_be_bytes());
    // UUID version 7: time in milliseconds, version, random bits.
    let timed = |number: u64| {
        let time = u128::try_from(at(100).micros() / 1_000).unwrap() + u128::from(number % 900);
        let id = (time << 80) | (0x7 << 76) | ((scattered(number) & 0xfff) << 64);
        MessageId::from_bytes((id | u128::from(number)).to_be_bytes())
    };
    // Counters of successive numbers are far apart.
    let counted = |number: u64| {
        let counter = u128::from(number.wrapping_mul(7_919) % 1_000_003);
        MessageId::from_bytes(((0xaaaa_aaaa << 96) | counter).to_be_bytes())
    };
    let within_second = Timestamp::from_micros(at(100).micros() + 250_000).unwrap();
    [
        Ties { ids: "random", id: random, accepted_at: at(100), is_distinct: true },
        Ties { ids: "with a time", id: timed, accepted_at: at(100), is_distinct: true },
        Ties { ids: "counted", id: counted, accepted_at: at(100), is_distinct: false },
        Ties {
            ids: "random, within a second",
            id: random,
            accepted_at: within_second,
            is_distinct: false,
        },
    ]
}

#[test]
fn a_page_at_equal_times_is_in_order_and_reads_as_many_rows_as_any_page() {
    for ties in ties() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closing) = SqliteStore::open(&Settings {
            lock_wait: INHERITED_LOCK_WAIT,
            // A limit so low that nearly all messages are in the table.
            cache_max_messages: 50,
            ..Settings::new(folder.path().join("mirror.db"))
        })
        .unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        System::new().block_on(async {
            fill(&*store, &ties).await;
            check_lists(&*store, &ties).await;
            check_search(&*store, &ties).await;
        });
        drop(store);
        assert!(closing.close());
    }
}

async fn fill(store: &dyn Store, ties: &Ties) {
    for first in (0..TIED).step_by(500) {
        let entries = (first..first + 500).map(|number| {
            let is_listed = number % u64::try_from(LISTED_STEP).unwrap() == 0;
            let key = is_listed.then(|| "key".to_owned());
            let accepted_at = match number {
                // Three messages each are accepted after and before the others.
                0..3 => at(101),
                3..6 => at(99),
                _ => ties.accepted_at,
            };
            entry(
                0,
                notification(Statement {
                    message: (ties.id)(number),
                    accepted_at: Some(accepted_at),
                    destination: is_listed.then(destination),
                    reference: Reference::new(None, None, key).unwrap(),
                    ..statement(Status::Sent, Some(at(200)))
                }),
            )
        });
        store.ingest(delivery(at(300), entries.collect())).await.unwrap();
    }
}

/// Every `step`-th message, in the order of lists.
fn expected(ties: &Ties, step: usize) -> Vec<MessageId> {
    let sorted = |numbers: &mut dyn Iterator<Item = u64>| {
        let mut ids: Vec<_> = numbers.map(ties.id).collect();
        ids.sort_unstable();
        ids
    };
    let parts = [0..3, 6..TIED, 3..6];
    parts.into_iter().flat_map(|part| sorted(&mut part.step_by(step))).collect()
}

async fn check_lists(store: &dyn Store, ties: &Ties) {
    // A page of the cache and one of the table, and the rows that share a list-order value.
    let limit = 2 * PAGE_ROWS + if ties.is_distinct { 8 } else { MAX_EQUAL_ROWS + PAGE_ROWS };
    for key in [Key::Destination(destination()), Key::Reference("key".to_owned())] {
        let (mut found, mut after, mut max_rows) = (Vec::new(), None, 0);
        take_written();
        loop {
            let page = Page { count: 100, before: None, after };
            let listing = store.list(key.clone(), page, write).await.unwrap();
            max_rows = max_rows.max(take_written());
            found.extend(listing.messages.iter().map(|message| message.place.id));
            let next = listing.messages.last().map(|message| message.place);
            assert_ne!(after, next, "each page must continue after the one before");
            after = next;
            if !listing.more {
                break;
            }
        }
        assert_eq!(found, expected(ties, LISTED_STEP), "{}, {key:?}", ties.ids);
        assert!(max_rows <= limit, "{}: {max_rows} rows for a page of {key:?}", ties.ids);
    }
}

async fn check_search(store: &dyn Store, ties: &Ties) {
    let limit = PAGE_ROWS + CACHED + if ties.is_distinct { 8 } else { MAX_EQUAL_ROWS + PAGE_ROWS };
    let (mut found, mut after, mut max_rows): (_, Option<Place>, _) = (Vec::new(), None, 0);
    take_written();
    loop {
        let part =
            store.search(Arc::new(SearchFilter::default()), after, 100, write).await.unwrap();
        max_rows = max_rows.max(take_written());
        found.extend(part.listing.messages.iter().map(|message| message.place.id));
        assert_ne!(after, part.next, "each part must continue after the one before");
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected(ties, 1), "{}", ties.ids);
    assert!(max_rows <= limit, "{}: {max_rows} rows for a page of all", ties.ids);
}
