//! Notifications of one message, chosen or random, and the record that follows from them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use statusmirror::message::{
    Added, Channel, Destination, Kind, MessageId, Notification, Record, Reference, StatedProvider,
    Statement, Status, Timestamp,
};

/// Notification and the time of its arrival.
pub(crate) type Arrived = (Notification, Timestamp);

/// Time this many seconds after 2026-02-02T02:40:00Z.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_770_000_000_000_000 + seconds * 1_000_000).unwrap()
}

fn message() -> MessageId {
    "b31b6607-9c55-48ba-b145-3f40b809d2d2".parse().unwrap()
}

pub(crate) fn statement(status: Status, stated_at: Option<Timestamp>) -> Statement {
    Statement {
        message: message(),
        kind: Kind::Report,
        status,
        stated_at,
        accepted_at: None,
        channel: Channel::Rcs,
        destination: None,
        reference: Reference::default(),
        provider: StatedProvider::default(),
        segments: None,
    }
}

pub(crate) fn notification(statement: Statement) -> Notification {
    Notification::new(statement, Added::default())
}

/// Record that a store keeps after notifications arrived in this order, if those with equal keys count as the
/// same one. Asserts that the status never goes down.
pub(crate) fn expected_record<K: Ord>(
    arriving: &[Arrived],
    key: impl Fn(&Notification) -> K,
) -> Option<Record> {
    let mut stored = BTreeSet::new();
    let mut record: Option<Record> = None;
    for (notification, arrived_at) in arriving {
        let before = record.as_ref().map(|record| record.status);
        let is_stored = !stored.insert(key(notification));
        record = Record::judge(record.as_ref(), notification, *arrived_at, is_stored).record;
        assert!(record.as_ref().map(|record| record.status) >= before, "a status went down");
    }
    record
}

/// Random notification, with its time of arrival.
pub(crate) fn any_notification() -> impl Strategy<Value = Arrived> {
    // Times in two different hours, for the hourly counts.
    let time = || prop::option::of((0_i64..3).prop_map(|number| at(1_800 * number)));
    let destination = prop::option::of(select(vec!["+393331234567", "+393337654321"]));
    let reference = select(vec![None, Some("a"), Some("b")]);
    let provider = (select(vec!["", "p1", "p2"]), select(vec!["", "ok", "no"]));
    (
        (select(Status::ALL.to_vec()), time(), time(), select(Channel::ALL.to_vec())),
        (destination, reference, provider, prop::option::of(1_u32..3)),
        (prop::bool::weighted(0.2), 10_i64..14),
    )
        .prop_map(
            |((status, stated_at, accepted_at, channel), details, (is_registration, arrived))| {
                let (destination, reference, (id, provider_text), segments) = details;
                let destination: Option<Destination> =
                    destination.map(|text: &str| text.parse().unwrap());
                let reference = Reference::new(None, None, reference.map(str::to_owned)).unwrap();
                let provider = StatedProvider {
                    id: id.to_owned(),
                    status: provider_text.to_owned(),
                    code: provider_text.to_owned(),
                    ..StatedProvider::default()
                };
                let mut statement = Statement {
                    message: message(),
                    kind: Kind::Report,
                    status,
                    stated_at,
                    accepted_at,
                    channel,
                    destination,
                    reference,
                    provider,
                    segments,
                };
                if is_registration {
                    statement.kind = Kind::Registration;
                    statement.status = Status::ProviderAcceptance;
                    statement.stated_at = statement.accepted_at;
                }
                (notification(statement), at(arrived))
            },
        )
}

/// Random notifications. Many have a twin that differs from them in one member only, which may belong to the
/// identity or not.
fn notifications() -> impl Strategy<Value = Vec<Arrived>> {
    let with_twin = (any_notification(), prop::option::of((0..8_u8, any_notification())));
    prop::collection::vec(with_twin, 1..5).prop_map(|pairs| {
        let mut all = Vec::new();
        for (original, twin) in pairs {
            if let Some((member, other)) = twin {
                all.push((twin_of(&original.0, member, other.0.statement().clone()), other.1));
            }
            all.push(original);
        }
        all
    })
}

/// Copy of a notification with one member of another statement.
fn twin_of(original: &Notification, member: u8, other: Statement) -> Notification {
    let mut twin = original.statement().clone();
    match member {
        0 if twin.kind == Kind::Report => twin.stated_at = other.stated_at,
        1 if twin.kind == Kind::Report => twin.accepted_at = other.accepted_at,
        2 => twin.channel = other.channel,
        3 => twin.destination = other.destination,
        4 => twin.reference = other.reference,
        5 => twin.segments = other.segments,
        6 => twin.provider.id = other.provider.id,
        _ => twin.provider.status = other.provider.status,
    }
    notification(twin)
}

/// Two orders of the same random set of notifications, each with the same repetitions.
pub(crate) fn set_in_two_orders() -> impl Strategy<Value = (Vec<Arrived>, Vec<Arrived>)> {
    notifications().prop_flat_map(|set| {
        // Each notification has one arrival, so a repetition arrives at the same time.
        let mut set = set;
        set.sort_by_key(|(notification, arrived)| (notification.statement().clone(), *arrived));
        set.dedup_by_key(|(notification, _)| notification.statement().clone());
        let repeated = subsequence(set.clone(), 0..=set.len());
        let order = |repeated: Vec<Arrived>, set: &[Arrived]| {
            Just([set, &repeated].concat()).prop_shuffle()
        };
        repeated
            .prop_flat_map(move |repeated| (order(repeated.clone(), &set), order(repeated, &set)))
    })
}
