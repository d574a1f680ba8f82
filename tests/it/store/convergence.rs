//! Convergence: any order and repetition of a set of notifications gives one record.

use std::hash::Hash;
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use statusmirror::message::{
    Added, Channel, Kind, Notification, Outcome, Record, Reference, Statement, Status,
};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::store::notifications::{
    Arrived, any_notification, at, fold, notification, set_in_two_orders, statement,
};

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
fn a_read_sms_is_invalid_and_creates_no_record() {
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
fn a_registration_overrides_reports() {
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
fn configured_names_do_not_change_the_identity() {
    let said = statement(Status::Sent, Some(at(1)));
    let added = Added { provider_name: "twilio".to_owned(), ..Added::default() };
    let (plain, named) = (notification(said.clone()), Notification::new(said, added));
    assert_eq!(plain.identity(), named.identity());
    assert_eq!(named.provider().name, "twilio");
}
