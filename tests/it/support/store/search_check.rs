//! Checks that searches and hourly counts cover all messages, whether cached or written back.

use std::sync::Arc;

use statusmirror::message::{Channel, Status};
use statusmirror::store::{Hour, Place, SearchFilter, Store};

use crate::support::store::model::Model;
use crate::support::store::notifications::at;

/// Source of all deliveries in the tests of stores.
const SOURCE: &str = "laws";

/// Places of all messages that match a filter, searched in pages of `count` messages.
pub(crate) async fn pages(store: &dyn Store, filter: SearchFilter, count: u32) -> Vec<Place> {
    let filter = Arc::new(filter);
    let mut places = Vec::new();
    let mut after = None;
    loop {
        let page = store.search(Arc::clone(&filter), after, count, |_, _| {}).await.unwrap();
        assert!(page.listing.messages.len() <= usize::try_from(count).unwrap());
        places.extend(page.listing.messages.iter().map(|message| message.place));
        if page.next.is_none() {
            return places;
        }
        assert_ne!(after, page.next, "each page must advance the search");
        after = page.next;
    }
}

/// Asserts that searches find exactly the matching messages, and that the hourly counts are the model's.
pub(crate) async fn assert_searches(store: &dyn Store, model: &Model) {
    let all = SearchFilter::default;
    for filter in [
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
        let expected = model.found(&filter, SOURCE);
        for count in [1, 3, 100] {
            assert_eq!(pages(store, filter.clone(), count).await, expected, "{filter:?}");
        }
    }
    let mut counts = store.hourly_counts(Hour(i64::MIN)).await.unwrap();
    counts.sort();
    assert_eq!(counts, model.hourly_counts());
    let last_hour = counts.iter().map(|count| count.hour).max();
    if let Some(last_hour) = last_hour {
        let last_counts = store.hourly_counts(last_hour).await.unwrap();
        let expected = counts.iter().filter(|count| count.hour == last_hour).count();
        assert_eq!(last_counts.len(), expected, "only the counts of the last hour");
    }
}
