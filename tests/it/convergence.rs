//! The record is a function of the set of notifications: any order, any repetition, one record.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::time::Instant;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use statusmirror::message::{
    Added, Channel, Destination, Kind, MessageId, Notification, Outcome, Record, Reference,
    StatedProvider, Statement, Status, Timestamp,
};

use crate::faults::{Chance, report, times};

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

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn any_order_and_repetition_gives_the_same_record() {
    let since = Instant::now();
    let sets = times(20_000, 100_000, 2_000_000);
    // The library chooses by itself, and prints a set that does not converge.
    let chance = Chance::of("any order");
    runner(u32::try_from(sets).unwrap())
        .run(&set_in_two_orders(), |(one, other)| {
            let identity = Notification::identity;
            prop_assert_eq!(fold(&one, identity), fold(&other, identity));
            Ok(())
        })
        .unwrap();
    report("P15", &chance, &[("sets in two orders", sets), ("differing", 0)], since);
}

/// What the contract says of registrations, said directly: a statement counts from when it first
/// arrived, and the sender's word is the one that arrived last.
#[test]
fn repeated_registrations_renew_their_place_and_nothing_else() {
    let numbers = ["+393331234567", "+393337654321", "+393330000001"];
    let registrations = prop::collection::vec((0..3_usize, any::<bool>()), 1..12);
    runner(5_000)
        .run(&registrations, |registrations| {
            let said: Vec<Arrived> = (0..)
                .zip(&registrations)
                .map(|(arrival, (number, referring))| {
                    let mut said = statement(Status::ProviderAcceptance, None);
                    said.kind = Kind::Registration;
                    said.destination = numbers[*number].parse().ok();
                    if *referring {
                        let key = Some(format!("key-{number}"));
                        said.reference = Reference::new(None, None, key).unwrap();
                    }
                    (notification(said), at(arrival))
                })
                .collect();
            let record = fold(&said, Notification::identity).unwrap();
            let (last, _) = said.last().unwrap();
            prop_assert_eq!(
                record.destination.unwrap().value,
                last.statement().destination.unwrap()
            );
            let referring = said.iter().rev().find(|(said, _)| !said.reference().is_empty());
            let reference = record.reference.map(|claim| claim.value);
            prop_assert_eq!(reference.as_ref(), referring.map(|(said, _)| said.reference()));
            prop_assert_eq!(record.began.arrived, at(0));
            prop_assert_eq!(record.status_arrived_at, at(0));
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_identity_narrower_than_the_contracts_would_not_converge() {
    fn narrow(notification: &Notification) -> impl Ord + Hash + use<> {
        let said = notification.statement();
        (said.status, said.stated_at, said.channel)
    }
    let mut differing = 0;
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_500 {
        let (one, other) = set_in_two_orders().new_tree(&mut runner).unwrap().current();
        differing += u32::from(fold(&one, narrow) != fold(&other, narrow));
    }
    assert!(differing > 0, "the narrow identity went unnoticed");
}

#[test]
fn all_orders_of_all_sets_of_statuses_converge() {
    let (since, mut orders) = (Instant::now(), 0);
    for subset in 1_u32..64 {
        for stated_times in
            [[Some(0); 6], [None; 6], [Some(0), None, Some(1), Some(0), None, Some(2)]]
        {
            for describe in [plain, differing] {
                let set: Vec<Arrived> = (0_i64..)
                    .zip(Status::ALL)
                    .filter(|(bit, _)| subset & (1 << bit) != 0)
                    .map(|(bit, status)| {
                        let stated = stated_times[usize::try_from(bit).unwrap()].map(at);
                        (notification(describe(statement(status, stated))), at(10 + bit))
                    })
                    .collect();
                let expected = fold(&set, Notification::identity);
                let mut doubled = set.clone();
                doubled.extend_from_slice(&set);
                // Small sets with their repetitions anywhere, larger ones with them behind.
                let moving = if set.len() <= 3 { 2 * set.len() } else { set.len() };
                permute(&mut doubled, moving, 0, &mut |order| {
                    assert_eq!(fold(order, Notification::identity), expected);
                    orders += 1;
                });
            }
        }
    }
    let chance = Chance::of("all orders");
    report("P15", &chance, &[("orders, all of them", orders), ("differing", 0)], since);
}

fn plain(statement: Statement) -> Statement {
    statement
}

/// Says with each status something else of everything; the acceptance is a registration.
fn differing(mut statement: Statement) -> Statement {
    let place = Status::ALL.iter().position(|status| *status == statement.status).unwrap();
    if statement.status == Status::ProviderAcceptance {
        statement.kind = Kind::Registration;
    }
    if place.is_multiple_of(2) {
        statement.channel = Channel::Sms;
    }
    statement.accepted_at = (place > 2).then(|| at(i64::try_from(place).unwrap()));
    statement.destination = format!("+39333123456{place}").parse().ok();
    statement.reference = Reference::new(None, None, Some(format!("key-{place}"))).unwrap();
    statement.provider.code = place.to_string();
    statement.segments = u32::try_from(place).ok();
    statement
}

/// Calls `see` with every order of the first `length` of `items`; what follows stays behind them.
fn permute(items: &mut [Arrived], length: usize, from: usize, see: &mut impl FnMut(&[Arrived])) {
    if from == length {
        return see(items);
    }
    for chosen in from..length {
        items.swap(from, chosen);
        permute(items, length, from + 1, see);
        items.swap(from, chosen);
    }
}

#[test]
fn merging_is_commutative_associative_and_idempotent() {
    let three = prop::collection::vec(any_notification(), 3);
    runner(20_000)
        .run(&three, |three| {
            let records: Option<Vec<Record>> =
                three.iter().map(|(said, arrived)| Record::of(said, *arrived)).collect();
            if let Some([a, b, c]) = records.as_deref() {
                let merge = |one: &Record, other: &Record| one.clone().merge(other.clone());
                prop_assert_eq!(merge(a, b), merge(b, a));
                prop_assert_eq!(merge(&merge(a, b), c), merge(a, &merge(b, c)));
                prop_assert_eq!(&merge(a, a), a);
            }
            Ok(())
        })
        .unwrap();
}

#[track_caller]
fn check(record: &[Arrived], arriving: &Arrived, outcome: Outcome) -> Option<Record> {
    let before = fold(record, Notification::identity);
    let stored = record.iter().any(|(said, _)| said.identity() == arriving.0.identity());
    let judged = Record::judge(before.as_ref(), &arriving.0, arriving.1, stored);
    assert_eq!(judged.outcome, outcome);
    judged.record
}

#[test]
fn a_read_sms_is_invalid_and_makes_no_record() {
    let mut read = statement(Status::Read, Some(at(1)));
    read.channel = Channel::Sms;
    assert_eq!(check(&[], &(notification(read), at(2)), Outcome::Invalid), None);
}

#[test]
fn the_last_registration_wins_also_when_it_is_a_repetition() {
    let registered = |number: &str, arrived| {
        let mut said = statement(Status::ProviderAcceptance, None);
        said.kind = Kind::Registration;
        said.destination = Some(number.parse().unwrap());
        (notification(said), at(arrived))
    };
    let (first, second) = (registered("+393331234567", 1), registered("+393337654321", 2));
    let again = registered("+393331234567", 3);
    let record = check(&[first.clone(), second], &again, Outcome::Applied).unwrap();
    assert_eq!(record.destination.unwrap().value.to_string(), "+393331234567");
    assert_eq!(record.began.arrived, at(1), "a repetition is no new beginning");
    check(&[first], &again, Outcome::Duplicate);
}

#[test]
fn a_registration_is_the_senders_own_word() {
    let mut reported = statement(Status::Delivered, Some(at(1)));
    reported.destination = Some("+393331234567".parse().unwrap());
    let mut registered = statement(Status::ProviderAcceptance, Some(at(5)));
    registered.kind = Kind::Registration;
    registered.destination = Some("+393337654321".parse().unwrap());
    let record = check(
        &[(notification(reported), at(6))],
        &(notification(registered), at(7)),
        Outcome::Applied,
    );
    assert_eq!(record.unwrap().destination.unwrap().value.to_string(), "+393337654321");
}

#[test]
fn what_configuration_adds_makes_no_other_notification() {
    let said = statement(Status::Sent, Some(at(1)));
    let added = Added { provider_name: "twilio".to_owned(), ..Added::default() };
    let (plain, named) = (notification(said.clone()), Notification::new(said, added));
    assert_eq!(plain.identity(), named.identity());
    assert_eq!(named.provider().name, "twilio");
}
