//! Checks that searches and hourly counts cover all messages, cached or written back.

use std::sync::Arc;

use statusmirror::message::{Channel, Status};
use statusmirror::store::{Hour, Place, SearchFilter, Store};

use crate::support::store::model::Model;
use crate::support::store::notifications::at;

/// Who says everything in the tests of stores.
const SOURCE: &str = "laws";

/// Searches for what is wanted, page by page.
pub(crate) async fn pages(store: &dyn Store, wanted: SearchFilter, count: u32) -> Vec<Place> {
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
    let all = SearchFilter::default;
    for wanted in [
        all(),
        SearchFilter { has_destination: Some(false), ..all() },
        SearchFilter { has_destination: Some(true), channel: Some(Channel::Rcs), ..all() },
        SearchFilter { statuses: vec![Status::Sent, Status::Undelivered], ..all() },
        SearchFilter { from: Some(at(1_800)), ..all() },
        SearchFilter { to: Some(at(1_800)), ..all() },
        SearchFilter { from: Some(at(1)), to: Some(at(3_600)), ..all() },
        SearchFilter { provider_code: Some("no".to_owned()), ..all() },
        SearchFilter { source: Some(SOURCE.to_owned()), ..all() },
        SearchFilter { source: Some("unknown".to_owned()), ..all() },
    ] {
        let expected = model.found(&wanted, SOURCE);
        for count in [1, 3, 100] {
            assert_eq!(pages(store, wanted.clone(), count).await, expected, "{wanted:?}");
        }
    }
    let mut sums = store.hourly_counts(Hour(i64::MIN)).await.unwrap();
    sums.sort();
    assert_eq!(sums, model.sums());
    let last = sums.iter().map(|sum| sum.hour).max();
    if let Some(last) = last {
        let since = store.hourly_counts(last).await.unwrap();
        let expected = sums.iter().filter(|sum| sum.hour == last).count();
        assert_eq!(since.len(), expected, "the last hour alone");
    }
}
