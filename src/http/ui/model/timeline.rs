//! Timeline of a message: its notifications in the order of arrival, each with its effect.

use crate::http::ui::views::parts::{Mark, Moment, SECOND, ago, span};
use crate::message::{Outcome, Status, Timestamp};
use crate::store::{Step, StoredNotification, is_api};

/// Notification in the timeline.
pub(crate) struct Event {
    pub(crate) mark: Mark,
    pub(crate) outcome: &'static str,
    /// Time since the previous notification, and age of this one.
    pub(crate) gap: String,
    pub(crate) stated_at: Option<Moment>,
    pub(crate) received_at: Moment,
    /// Delay between stated time and arrival, if it is at least one second.
    pub(crate) delay: Option<String>,
    pub(crate) effect: String,
    pub(crate) source: String,
    pub(crate) details: Vec<(&'static str, String)>,
}

/// Creates the timeline's entries for these notifications, which follow the older ones.
pub(crate) fn events(older: &[Step], newest: &[StoredNotification], now: Timestamp) -> Vec<Event> {
    let valid = older.iter().filter(|step| step.outcome != Outcome::Invalid);
    let mut status = valid.map(|step| step.status).max();
    let mut before = older.last().map(|step| step.received_at);
    let event = |notification: &StoredNotification| {
        let effect = effect(notification, status);
        if notification.outcome != Outcome::Invalid {
            status = status.max(Some(notification.status));
        }
        let since = ago(notification.received_at, now);
        let gap = match before.replace(notification.received_at) {
            None => since,
            Some(before) => {
                let gap = notification.received_at.micros().saturating_sub(before.micros());
                format!("{} later, {since}", span(gap))
            }
        };
        let delay = notification
            .stated_at
            .map(|at| notification.received_at.micros().saturating_sub(at.micros()));
        let provider = &notification.provider;
        let number = notification.destination.map(|number| number.to_string());
        let all = [
            ("Provider", provider.name.as_str()),
            ("Status", &provider.status),
            ("Code", &provider.code),
            ("Text", provider.message.as_deref().unwrap_or_default()),
            ("Id", &provider.id),
            ("Number", number.as_deref().unwrap_or_default()),
            ("Reference key", notification.reference.key().unwrap_or_default()),
        ];
        let details = all.into_iter().filter(|(_, text)| !text.is_empty());
        Event {
            mark: Mark(notification.status),
            outcome: notification.outcome.name(),
            gap,
            stated_at: notification.stated_at.map(Moment),
            received_at: Moment(notification.received_at),
            delay: delay.filter(|delay| *delay >= SECOND).map(span),
            effect,
            source: notification.source.clone(),
            details: details.map(|(name, text)| (name, text.to_owned())).collect(),
        }
    };
    newest.iter().map(event).collect()
}

/// Effect of a notification, in words; `before` is the status known when it arrived.
fn effect(notification: &StoredNotification, before: Option<Status>) -> String {
    let raises_status = before.is_none_or(|before| notification.status > before);
    match (notification.outcome, before) {
        (Outcome::Applied, None) => "Counted: the first notification of this message.".to_owned(),
        (Outcome::Applied, Some(_)) if raises_status => "Counted.".to_owned(),
        (Outcome::Applied, Some(before))
            if notification.status < before && !is_api(&notification.source) =>
        {
            format!(
                "Late: the status stayed, because {} was known already. It added details that were not known.",
                before.name()
            )
        }
        (Outcome::Applied, Some(_)) => {
            "Counted: it added details that were not known. The status stayed.".to_owned()
        }
        (Outcome::Superseded | Outcome::Duplicate, Some(before))
            if notification.status < before =>
        {
            format!("Late: it changed nothing, because {} was known already.", before.name())
        }
        (Outcome::Superseded | Outcome::Duplicate, _) => {
            "Changed nothing: all of it was known already.".to_owned()
        }
        (Outcome::Conflict, Some(before)) if raises_status => {
            format!("Contradicts {}, which was reported before, and counts.", before.name())
        }
        (Outcome::Conflict, before) => format!(
            "Contradicts {}, and changed nothing.",
            before.map_or("what is known", Status::name)
        ),
        (Outcome::Invalid, _) => {
            "Invalid: that an SMS was read cannot be known, so it never counts.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::explanation_tests::reported;
    use super::*;
    use crate::message::Channel;
    use crate::message::Status::{Delivered, Read, Sent, Undelivered};

    #[test]
    fn the_timeline_states_the_effect_of_each_notification() {
        let sms = |all| reported(Channel::Sms, "gateway", all).1;
        let notifications =
            sms(&[(Undelivered, 2, 2), (Delivered, 5, 5), (Sent, 1, 6), (Read, 7, 7)]);
        let effects: Vec<_> = notifications
            .iter()
            .zip([None, Some(Undelivered), Some(Delivered), Some(Delivered)])
            .map(|(notification, before)| effect(notification, before))
            .collect();
        assert_eq!(
            effects,
            [
                "Counted: the first notification of this message.",
                "Contradicts UNDELIVERED, which was reported before, and counts.",
                "Late: it changed nothing, because DELIVERED was known already.",
                "Invalid: that an SMS was read cannot be known, so it never counts.",
            ]
        );
        let now = notifications[3].received_at;
        let gaps: Vec<_> =
            events(&[], &notifications, now).into_iter().map(|event| event.gap).collect();
        assert_eq!(gaps[0], "5 seconds ago");
        assert_eq!(gaps[1], "3 seconds later, 2 seconds ago");
        // A later part of the timeline says the same.
        let steps: Vec<_> = (1..)
            .zip(&notifications)
            .map(|(number, notification)| notification.step(number))
            .collect();
        for older in 0..notifications.len() {
            let part = events(&steps[..older], &notifications[older..], now);
            let shown: Vec<_> = part.iter().map(|event| (&event.gap, &event.effect)).collect();
            assert_eq!(shown.len(), notifications.len() - older);
            for (event, (gap, effect)) in part.iter().zip(shown) {
                assert_eq!((gap, effect), (&event.gap, &event.effect));
            }
            assert_eq!(part[0].gap, gaps[older]);
            assert_eq!(part[0].effect, effects[older]);
        }
        let notifications = sms(&[(Delivered, 2, 2), (Undelivered, 5, 5)]);
        let conflict = effect(&notifications[1], Some(Delivered));
        assert_eq!(conflict, "Contradicts DELIVERED, and changed nothing.");
    }
}
