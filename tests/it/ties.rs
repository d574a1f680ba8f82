//! Messages accepted at the same time: in the order of their ids, and a page of them costs what any page does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::rt::System;
use statusmirror::message::{Destination, MessageId, Reference, Shown, Statement, Status};
use statusmirror::store::sqlite::{Settings, SqliteStore};
use statusmirror::store::{Key, Page, Place, Store, Wanted};

use crate::convergence::{at, notification, statement};
use crate::store_laws::{delivery, entry};
use crate::support::{INHERITED, id};

/// Messages accepted at the same time.
const TIED: u64 = 24_000;
/// One of so many has the number, or the reference, that is asked for.
const ONE_OF: u64 = 3;
/// Messages of a page.
const PAGE: u32 = 100;
/// Rows of which a page may be made: those looked at in no order before they are asked for in order, and two
/// pages.
const ROWS: usize = 4_096 + 202;

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

/// The name of a message; those of successive numbers are far apart.
fn scattered(number: u64) -> MessageId {
    id(number.wrapping_mul(7_919) % 1_000_003).parse().unwrap()
}

#[test]
fn a_page_of_many_messages_accepted_at_once_is_in_order_and_costs_what_any_page_does() {
    let folder = tempfile::tempdir().unwrap();
    let (store, closing) = SqliteStore::open(&Settings {
        lock_wait: INHERITED,
        // Nearly all of them are in the table.
        recent_max_messages: 50,
        ..Settings::new(folder.path().join("mirror.db"))
    })
    .unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    System::new().block_on(async {
        for first in (0..TIED).step_by(500) {
            let entries = (first..first + 500).map(|n| {
                let is_listed = n % ONE_OF == 0;
                let key = is_listed.then(|| "key".to_owned());
                entry(
                    0,
                    notification(Statement {
                        message: scattered(n),
                        // A few were accepted before and after the others.
                        accepted_at: Some(at(if n < 6 { 99 + 2 * i64::from(n < 3) } else { 100 })),
                        destination: is_listed.then(number),
                        reference: Reference::new(None, None, key).unwrap(),
                        ..statement(Status::Sent, Some(at(200)))
                    }),
                )
            });
            store.ingest(delivery(at(300), entries.collect())).await.unwrap();
        }
        let sorted = |numbers: &mut dyn Iterator<Item = u64>| {
            let mut ids: Vec<_> = numbers.map(scattered).collect();
            ids.sort_unstable();
            ids
        };
        let expected = |step: usize| -> Vec<MessageId> {
            let parts = [0..3, 6..TIED, 3..6];
            parts.into_iter().flat_map(|part| sorted(&mut part.step_by(step))).collect()
        };
        for key in [Key::Destination(number()), Key::Reference("key".to_owned())] {
            let (mut found, mut after, mut most) = (Vec::new(), None, 0);
            written();
            loop {
                let page = Page { count: PAGE, before: None, after };
                let listing = store.list(key.clone(), page, write).await.unwrap();
                most = most.max(written());
                found.extend(listing.messages.iter().map(|message| message.place.id));
                after = listing.messages.last().map(|message| message.place);
                if !listing.more {
                    break;
                }
            }
            assert_eq!(found, expected(3), "{key:?}");
            assert!(most <= ROWS, "{most} rows for a page of {key:?}");
        }
        let (mut found, mut after, mut most): (_, Option<Place>, _) = (Vec::new(), None, 0);
        written();
        loop {
            let wanted = Arc::new(Wanted::default());
            let part = store.search(wanted, after, PAGE, write).await.unwrap();
            most = most.max(written());
            found.extend(part.listing.messages.iter().map(|message| message.place.id));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected(1));
        // Those in memory may be behind them.
        assert!(most <= 101 + 550, "{most} rows for a page of all");
    });
    drop(store);
    assert!(closing.close());
}
