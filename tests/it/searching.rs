//! All messages are searched, and counted by the hour, wherever the store has them.

use std::sync::Arc;

use statusmirror::message::{Channel, Status};
use statusmirror::store::{Hour, Place, Store, Wanted};

use crate::convergence::at;
use crate::store_model::Model;

/// Who says everything in the tests of stores.
const SOURCE: &str = "laws";

/// Searches for what is wanted, page by page.
pub(crate) async fn pages(store: &dyn Store, wanted: Wanted, count: u32) -> Vec<Place> {
    let wanted = Arc::new(wanted);
    let mut places = Vec::new();
    let mut after = None;
    loop {
        let found = store.search(Arc::clone(&wanted), after, count, |_, _| {}).await.unwrap();
        assert!(found.listing.messages.len() <= usize::try_from(count).unwrap());
        places.extend(found.listing.messages.iter().map(|message| message.place));
        if found.next.is_none() {
            return places;
        }
        assert_ne!(after, found.next, "it goes on");
        after = found.next;
    }
}

/// Whatever is searched for is found, and the sums are those of all records.
pub(crate) async fn assert_found(store: &dyn Store, model: &Model) {
    let all = Wanted::default;
    for wanted in [
        all(),
        Wanted { has_number: Some(false), ..all() },
        Wanted { has_number: Some(true), channel: Some(Channel::Rcs), ..all() },
        Wanted { statuses: vec![Status::Sent, Status::Undelivered], ..all() },
        Wanted { from: Some(at(1_800)), ..all() },
        Wanted { to: Some(at(1_800)), ..all() },
        Wanted { from: Some(at(1)), to: Some(at(3_600)), ..all() },
        Wanted { provider_code: Some("no".to_owned()), ..all() },
        Wanted { source: Some(SOURCE.to_owned()), ..all() },
        Wanted { source: Some("nobody".to_owned()), ..all() },
    ] {
        let expected = model.found(&wanted, SOURCE);
        for count in [1, 3, 100] {
            assert_eq!(pages(store, wanted.clone(), count).await, expected, "{wanted:?}");
        }
    }
    let mut sums = store.sums(Hour(i64::MIN)).await.unwrap();
    sums.sort();
    assert_eq!(sums, model.sums());
    let last = sums.iter().map(|sum| sum.hour).max();
    if let Some(last) = last {
        let since = store.sums(last).await.unwrap();
        let expected = sums.iter().filter(|sum| sum.hour == last).count();
        assert_eq!(since.len(), expected, "the last hour alone");
    }
}
