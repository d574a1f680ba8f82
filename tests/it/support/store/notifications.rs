//! Notifications of one message, chosen or random, and the record that follows from them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use statusmirror::message::{
    Added, Channel, Destination, Kind, MessageId, Notification, Record, Reference, StatedProvider,
    Statement, Status, Timestamp,
};

/// A notification and when it arrived.
pub(crate) type Arrived = (Notification, Timestamp);

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

/// What a store makes of notifications that arrive in this order, when those with the same key are
/// taken for the same one. Checks on the way that a status never goes down.
pub(crate) fn fold<K: Ord>(
    arriving: &[Arrived],
    key: impl Fn(&Notification) -> K,
) -> Option<Record> {
    let mut stored = BTreeSet::new();
    let mut record: Option<Record> = None;
    for (notification, arrived_at) in arriving {
        let before = record.as_ref().map(|record| record.status);
        let known = !stored.insert(key(notification));
        record = Record::judge(record.as_ref(), notification, *arrived_at, known).record;
        assert!(record.as_ref().map(|record| record.status) >= before, "a status went down");
    }
    record
}

pub(crate) fn any_notification() -> impl Strategy<Value = Arrived> {
    // Within two hours.
    let time = || prop::option::of((0_i64..3).prop_map(|number| at(1_800 * number)));
    let destination = prop::option::of(select(vec!["+393331234567", "+393337654321"]));
    let reference = select(vec![None, Some("a"), Some("b")]);
    let provider = (select(vec!["", "p1", "p2"]), select(vec!["", "ok", "no"]));
    (
        (select(Status::ALL.to_vec()), time(), time(), select(Channel::ALL.to_vec())),
        (destination, reference, provider, prop::option::of(1_u32..3)),
        (prop::bool::weighted(0.2), 10_i64..14),
    )
        .prop_map(|((status, stated, accepted, channel), said, (registered, arrived))| {
            let (destination, reference, (id, word), segments) = said;
            let destination: Option<Destination> =
                destination.map(|text: &str| text.parse().unwrap());
            let reference = Reference::new(None, None, reference.map(str::to_owned)).unwrap();
            let provider = StatedProvider {
                id: id.to_owned(),
                status: word.to_owned(),
                code: word.to_owned(),
                ..StatedProvider::default()
            };
            let mut statement = Statement {
                message: message(),
                kind: Kind::Report,
                status,
                stated_at: stated,
                accepted_at: accepted,
                channel,
                destination,
                reference,
                provider,
                segments,
            };
            if registered {
                statement.kind = Kind::Registration;
                statement.status = Status::ProviderAcceptance;
                statement.stated_at = statement.accepted_at;
            }
            (notification(statement), at(arrived))
        })
}

/// Notifications of which many differ in one member alone: those that an identity tells apart or
/// does not.
fn notifications() -> impl Strategy<Value = Vec<Arrived>> {
    let with_twin = (any_notification(), prop::option::of((0..8_u8, any_notification())));
    prop::collection::vec(with_twin, 1..5).prop_map(|pairs| {
        let mut all = Vec::new();
        for (one, twin) in pairs {
            if let Some((member, other)) = twin {
                all.push((twin_of(&one.0, member, other.0.statement().clone()), other.1));
            }
            all.push(one);
        }
        all
    })
}

/// The same notification with this member of another.
fn twin_of(notification: &Notification, member: u8, other: Statement) -> Notification {
    let mut said = notification.statement().clone();
    match member {
        0 if said.kind == Kind::Report => said.stated_at = other.stated_at,
        1 if said.kind == Kind::Report => said.accepted_at = other.accepted_at,
        2 => said.channel = other.channel,
        3 => said.destination = other.destination,
        4 => said.reference = other.reference,
        5 => said.segments = other.segments,
        6 => said.provider.id = other.provider.id,
        _ => said.provider.status = other.provider.status,
    }
    self::notification(said)
}

/// A set of notifications and two orders of it, with repetitions.
pub(crate) fn set_in_two_orders() -> impl Strategy<Value = (Vec<Arrived>, Vec<Arrived>)> {
    notifications().prop_flat_map(|set| {
        // The arrival is the notification's, so a repetition brings the arrival it had.
        let mut set = set;
        set.sort_by_key(|(notification, arrived)| (notification.statement().clone(), *arrived));
        set.dedup_by_key(|(notification, _)| notification.statement().clone());
        let again = subsequence(set.clone(), 0..=set.len());
        let order =
            |extra: Vec<Arrived>, set: &[Arrived]| Just([set, &extra].concat()).prop_shuffle();
        again.prop_flat_map(move |extra| (order(extra.clone(), &set), order(extra, &set)))
    })
}
