//! Cases of the explanation: each sentence for a record and its history.

use super::delivery_times::{MIN_DELIVERIES, Times, UsualTime};
use super::explanation::*;
use crate::http::ui::views::parts::SECOND;
use crate::message::{
    Added, Channel, Destination, Kind, MessageId, Notification, Provider, Record, Reference,
    StatedProvider, Statement, Status, Timestamp,
};
use crate::store::{DeliveryTime, StoredNotification};

/// Time of the messages: 2026-02-12T12:00:00Z, in seconds since 1970.
const NOON_SECONDS: i64 = 1_770_897_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros((NOON_SECONDS + second) * SECOND).unwrap()
}

/// Record and history of a message with these notifications: status, stated time and arrival, in seconds.
pub(crate) fn reported(
    channel: Channel,
    source: &str,
    reports: &[(Status, i64, i64)],
) -> (Option<Record>, Vec<StoredNotification>) {
    let mut record: Option<Record> = None;
    let notifications = reports.iter().map(|(status, stated, received)| {
        let failed = matches!(status, Rejected | Undelivered);
        let provider = StatedProvider {
            code: if failed { "27".to_owned() } else { String::new() },
            message: if failed { "Absent <subscriber>".to_owned() } else { String::new() },
            ..StatedProvider::default()
        };
        let statement = Statement {
            message: MessageId::from_bytes([1; 16]),
            kind: Kind::Report,
            status: *status,
            stated_at: Some(at(*stated)),
            accepted_at: Some(at(0)),
            channel,
            destination: None::<Destination>,
            reference: Reference::default(),
            provider,
            segments: None,
        };
        let notification = Notification::new(statement, Added::default());
        let judged = Record::judge(record.as_ref(), &notification, at(*received), false);
        record.clone_from(&judged.record);
        StoredNotification {
            source: source.to_owned(),
            received_at: at(*received),
            outcome: judged.outcome,
            status: *status,
            stated_at: Some(at(*stated)),
            channel,
            destination: None,
            reference: Reference::default(),
            provider: notification.provider().clone(),
        }
    });
    let notifications = notifications.collect();
    (record, notifications)
}

/// Explanation at this second, if 95 of 100 messages usually arrive within some seconds.
fn explain(history: &(Option<Record>, Vec<StoredNotification>), second: i64) -> String {
    let (record, notifications) = history;
    let shown = record.as_ref().unwrap().shown(MessageId::from_bytes([1; 16]));
    let mut times = Times::default();
    times.add(DeliveryTime::from_class(6).unwrap(), MIN_DELIVERIES);
    let usual = UsualTime::of(shown.channel, &times, 7);
    let steps: Vec<_> = (1..).zip(notifications).map(|(number, one)| one.step(number)).collect();
    let answer = Case { shown: &shown, steps: &steps, now: at(second), usual }.answer();
    let mut text = format!("{} {}", answer.happened, answer.advice);
    for Note { about, text: note } in answer.notes {
        text = format!("{text} {about}: {note}");
    }
    text
}

#[track_caller]
fn check(reports: &[(Status, i64, i64)], second: i64, expected: &[&str], unexpected: &[&str]) {
    let text = explain(&reported(Channel::Sms, "gateway", reports), second);
    for part in expected {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    for part in unexpected {
        assert!(!text.contains(part), "{part} is in: {text}");
    }
}

use crate::message::Status::{Delivered, ProviderAcceptance, Read, Rejected, Sent, Undelivered};

#[test]
fn unfinished_messages_are_waited_for_until_too_old() {
    let accepted = [(ProviderAcceptance, 0, 0)];
    check(&accepted, 2, &["accepted this SMS", "2 seconds ago", "not final: wait"], &["longer"]);
    check(&[(Sent, 1, 1)], 2, &["was sent at", "wait, and do not send", "95 of 100"], &["longer"]);
    let longer = ["takes longer than usual", "arrive twice"];
    check(&[(Sent, 1, 1)], 60, &longer, &["wait, and do not"]);
    check(&[(Sent, 1, 1)], 4 * 86_400, &["After 4 days", "probably never come"], &["longer than"]);
}

#[test]
fn a_registered_message_without_reports_is_described_as_such() {
    let registered = reported(Channel::Sms, "api:shop", &[(ProviderAcceptance, 0, 0)]);
    let text = explain(&registered, 2);
    assert!(text.contains("no provider has said anything about it"), "{text}");
}

#[test]
fn rejected_messages_need_a_fix_and_undelivered_ones_may_be_resent() {
    let why = "(code 27: “Absent &#60;subscriber&#62;”)";
    check(
        &[(Rejected, 1, 1)],
        9,
        &["was never sent", why, "would be refused again", "Remove the cause"],
        &["Contradicted", "Late"],
    );
    check(
        &[(Sent, 1, 1), (Undelivered, 5, 5)],
        9,
        &["did not arrive", why, "check that the number", "send it again"],
        &["never sent", "Contradicted", "Late"],
    );
}

#[test]
fn a_delivered_message_needs_no_action() {
    let (expected, unexpected) =
        (["was delivered", "5 seconds after", "That is final"], ["Contradicted", "Late"]);
    check(&[(Sent, 1, 1), (Delivered, 5, 5)], 9, &expected, &unexpected);
    let text = explain(&reported(Channel::Rcs, "gateway", &[(Read, 5, 5)]), 9);
    assert!(text.contains("This RCS message was delivered, and read"), "{text}");
}

#[test]
fn contradictions_name_the_status_that_counts_and_why() {
    check(
        &[(Undelivered, 2, 2), (Delivered, 5, 5)],
        9,
        &["was delivered", "Contradicted: before that", "undelivered, at", "time-out"],
        &["also reported a failure"],
    );
    check(
        &[(Rejected, 2, 2), (Delivered, 5, 5)],
        9,
        &["Contradicted: before that", "refused, at"],
        &["time-out"],
    );
    check(
        &[(Delivered, 2, 2), (Undelivered, 5, 5), (Undelivered, 6, 6)],
        9,
        &["was delivered", "also reported a failure", "nothing to do"],
        &["before that"],
    );
    check(&[(Sent, 1, 1), (Rejected, 2, 2)], 9, &["reported it sent, at"], &["failure"]);
    check(&[(Rejected, 1, 1), (Undelivered, 2, 2)], 9, &["That it was sent counts"], &["failure"]);
}

#[test]
fn late_reports_are_mentioned() {
    let hours = 2 * 3_600;
    check(
        &[(Delivered, 5, hours)],
        hours,
        &["Late: the report of that arrived"],
        &["what was reported as"],
    );
    let superseded = "Late: what was reported as SENT arrived when more was known already";
    check(&[(Delivered, 5, 5), (Sent, 1, 6)], 9, &[superseded], &["the report of that"]);
}

#[test]
fn long_reasons_are_shortened() {
    let provider = Provider { message: Some("é".repeat(999)), ..Provider::default() };
    let reason = cause(&provider.map(String::as_str));
    assert_eq!(reason, format!("“{}…”", "é".repeat(MAX_QUOTED_CHARACTERS)));
    assert_eq!(cause(&Provider::default()), "it gave no reason");
}
