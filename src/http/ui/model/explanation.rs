//! Explanation of a message's status in plain words that can be read out: one sentence of what happened, one
//! of what to do.

use std::borrow::Cow;

use askama::Template;
use askama::filters::HtmlSafe;

use super::delivery_times::UsualTime;
use crate::http::ui::views::parts::{Moment, SECOND, ago, span};
use crate::message::{Channel, Outcome, Provider, Shown, Status, Timestamp};
use crate::store::Step;

/// Age after which a message without a final status is not expected to get one: three days, in microseconds.
const GIVE_UP_MICROS: i64 = 3 * 86_400 * SECOND;
/// Delay after which a report counts as late: ten minutes, in microseconds.
const LATE_MICROS: i64 = 600 * SECOND;

/// Text that contains moments.
#[derive(Debug, Clone, Default, Template)]
#[template(
    ext = "html",
    source = "{% for piece in pieces %}{% match piece %}{% when Piece::Text(text) %}{{ text }}{% when Piece::Moment(moment) %}{{ moment }}{% endmatch %}{% endfor %}"
)]
pub(crate) struct RichText {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Moment(Moment),
}

/// Safe: the template above escapes the texts.
impl HtmlSafe for RichText {}

impl RichText {
    /// Creates a text without moments.
    pub(crate) fn of(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())] }
    }

    /// Appends a moment.
    pub(crate) fn at(mut self, moment: Timestamp) -> Self {
        self.pieces.push(Piece::Moment(Moment(moment)));
        self
    }

    /// Appends a text.
    pub(crate) fn then(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Text(text.into()));
        self
    }
}

/// Message to explain, with everything needed to judge its state.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    /// Record of the message.
    pub(crate) shown: &'a Shown<'a>,
    /// All notifications of the message, in the order of arrival.
    pub(crate) steps: &'a [Step],
    /// Current time.
    pub(crate) now: Timestamp,
    /// Usual delivery time of the message's channel.
    pub(crate) usual: UsualTime,
}

/// Explanation, as a supporter says it.
pub(crate) struct Answer {
    /// Sentence that says what happened, and when.
    pub(crate) happened: RichText,
    /// Sentence that says whether the status is final, and whether to wait or to send again.
    pub(crate) advice: RichText,
    /// Further facts needed to understand the explanation.
    pub(crate) notes: Vec<Note>,
}

/// Further fact, with a word for its kind.
pub(crate) struct Note {
    /// Kind of the fact, in one word.
    pub(crate) about: &'static str,
    /// Text of the note.
    pub(crate) text: RichText,
}

/// Word for a message of this channel.
pub(crate) fn noun(channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => "SMS",
        Channel::Rcs => "RCS message",
    }
}

impl Case<'_> {
    /// Explains the message's status.
    pub(crate) fn answer(&self) -> Answer {
        let (happened, advice) = match self.shown.status {
            Status::ProviderAcceptance | Status::Sent => (self.describe_open(), self.wait_advice()),
            Status::Rejected => (self.describe_rejected(), RichText::of(REJECTED_ADVICE)),
            Status::Undelivered => (self.describe_undelivered(), RichText::of(UNDELIVERED_ADVICE)),
            Status::Delivered | Status::Read => {
                (self.describe_delivered(), RichText::of(DELIVERED_ADVICE))
            }
        };
        let note = |about| move |text| Note { about, text };
        let mut notes: Vec<_> = self.contradiction_notes().map(note("Contradicted")).collect();
        notes.extend(self.late_note().map(note("Late")));
        notes.extend(self.superseded_note().map(note("Late")));
        notes.extend(self.invalid_note().map(note("Invalid")));
        if self.shown.status.is_final() {
            notes.push(note("Usual")(RichText::of(self.usual.sentence())));
        }
        Answer { happened, advice, notes }
    }

    fn subject(&self) -> String {
        format!("This {}", noun(self.shown.channel))
    }

    fn describe_open(&self) -> RichText {
        let Shown { accepted_at, status_changed_at, status, .. } = *self.shown;
        if self.steps.iter().all(|step| step.by_api) {
            return RichText::of(format!("{} was registered as sent at ", self.subject()))
                .at(accepted_at)
                .then(format!(
                    " ({}), and no provider has said anything about it since.",
                    ago(accepted_at, self.now)
                ));
        }
        if status == Status::Sent {
            RichText::of(format!("{} was sent at ", self.subject())).at(status_changed_at).then(
                format!(
                    " ({}), and whether it arrived is not known yet.",
                    ago(status_changed_at, self.now)
                ),
            )
        } else {
            RichText::of(format!("The provider accepted this {} at ", noun(self.shown.channel)))
                .at(accepted_at)
                .then(format!(
                    " ({}), and has not said yet that it was sent.",
                    ago(accepted_at, self.now)
                ))
        }
    }

    /// Advice for a message without a final status.
    fn wait_advice(&self) -> RichText {
        let age = self.now.micros().saturating_sub(self.shown.accepted_at.micros());
        let usual = self.usual.sentence();
        RichText::of(if age > GIVE_UP_MICROS {
            format!(
                "After {} an answer will probably never come: treat it as unknown, and send it again if \
                 it still matters, though it may then arrive twice. {usual}",
                span(age)
            )
        } else if self.usual.p95.is_some_and(|p95| age > p95) {
            format!(
                "That is not final, but it takes longer than usual: it may still arrive, and sending it \
                 again now may make it arrive twice. {usual}"
            )
        } else {
            format!("That is not final: wait, and do not send it again yet. {usual}")
        })
    }

    fn describe_rejected(&self) -> RichText {
        RichText::of(format!("{} was never sent: the provider refused it at ", self.subject()))
            .at(self.shown.status_changed_at)
            .then(format!(" ({}).", cause(&self.shown.provider)))
    }

    fn describe_undelivered(&self) -> RichText {
        RichText::of(format!(
            "{} was sent but did not arrive: the provider gave it up at ",
            self.subject()
        ))
        .at(self.shown.status_changed_at)
        .then(format!(" ({}).", cause(&self.shown.provider)))
    }

    fn describe_delivered(&self) -> RichText {
        let Shown { accepted_at, status_changed_at, status, .. } = *self.shown;
        let duration = status_changed_at.micros().saturating_sub(accepted_at.micros());
        let what = if status == Status::Read {
            "was delivered, and read by its recipient at "
        } else {
            "was delivered to the recipient’s phone at "
        };
        let ending = if duration > 0 {
            format!(", {} after it was accepted.", span(duration))
        } else {
            ".".to_owned()
        };
        RichText::of(format!("{} {what}", self.subject())).at(status_changed_at).then(ending)
    }

    /// Notes about notifications that contradict the status, with the reason why the status stands
    /// nevertheless.
    fn contradiction_notes(&self) -> impl Iterator<Item = RichText> {
        let status = self.shown.status;
        let valid = || self.steps.iter().filter(|step| step.outcome != Outcome::Invalid);
        let arrived = |status| matches!(status, Status::Delivered | Status::Read);
        let first = valid()
            .position(|step| step.status == status || (arrived(step.status) && arrived(status)));
        // One of several notifications with the same status is enough.
        let against = Status::ALL.into_iter().filter(move |other| status.contradicts(*other));
        against.filter_map(move |against| {
            let (place, step) = valid().enumerate().find(|(_, step)| step.status == against)?;
            let when = step.stated_at.unwrap_or(step.received_at);
            let came_before = first.is_some_and(|first| place < first);
            let (before, ending) = contradiction(status, against, came_before);
            Some(RichText::of(before).at(when).then(ending))
        })
    }

    /// Note that the notification which set the status arrived long after the event.
    fn late_note(&self) -> Option<RichText> {
        let shown = self.shown;
        let decisive = self.steps.iter().find(|step| {
            step.status == shown.status && step.stated_at == Some(shown.status_changed_at)
        })?;
        let delay = decisive.received_at.micros() - shown.status_changed_at.micros();
        (delay > LATE_MICROS).then(|| {
            RichText::of("the report of that arrived here only at ")
                .at(decisive.received_at)
                .then(format!(", {} after it happened.", span(delay)))
        })
    }

    /// Note that notifications arrived when more was known already.
    fn superseded_note(&self) -> Option<RichText> {
        let mut known = None;
        let mut superseded = Vec::new();
        for step in self.steps.iter().filter(|step| step.outcome != Outcome::Invalid) {
            if !step.by_api && Some(step.status) < known && !contradicts(step, known) {
                superseded.push(step.status.name());
            }
            known = known.max(Some(step.status));
        }
        superseded.dedup();
        (!superseded.is_empty()).then(|| {
            let statuses = superseded.join(", ");
            RichText::of(format!(
                "what was reported as {statuses} arrived when more was known already, so the status stayed."
            ))
        })
    }

    /// Note about invalid notifications, which never count.
    fn invalid_note(&self) -> Option<RichText> {
        let is_invalid = |step: &&Step| step.outcome == Outcome::Invalid;
        self.steps.iter().any(|step| is_invalid(&step)).then(|| RichText::of(INVALID_NOTE))
    }
}

const REJECTED_ADVICE: &str = "That is final, and nothing reached the recipient: do not wait, and do not \
     send it again as it is, which would be refused again. Remove the cause first, then send it again.";
const UNDELIVERED_ADVICE: &str = "That is final unless a late receipt corrects it, so do not wait: check \
     that the number is right and the phone on, then send it again, or try later.";
const DELIVERED_ADVICE: &str =
    "That is final: there is nothing to wait for, and no reason to send it again.";
const INVALID_NOTE: &str =
    "one notification reports an SMS as read, which cannot be known: it does not count.";

/// Words before and after the time of a notification that contradicts the status.
fn contradiction(status: Status, other: Status, came_before: bool) -> (&'static str, &'static str) {
    let is_rejected = other == Status::Rejected;
    match (status, came_before) {
        (Status::Delivered | Status::Read, true) if is_rejected => (
            "before that, the provider had reported it refused, at ",
            ". The receipt counts, because a phone cannot confirm what it does not have: there is nothing \
             to do for this message.",
        ),
        (Status::Delivered | Status::Read, true) => (
            "before that, the provider had reported it undelivered, at ",
            ". The receipt counts, because a failure is often a time-out that a late receipt corrects: \
             there is nothing to do for this message.",
        ),
        (Status::Delivered | Status::Read, false) => (
            "the provider also reported a failure, of ",
            ". The receipt counts, so there is nothing to do for this message; if that happens often, ask \
             the provider.",
        ),
        (Status::Undelivered, _) => (
            "the provider also reported it refused, at ",
            ". That it was sent counts; nothing arrived in either case.",
        ),
        (Status::Rejected, _) => (
            "the provider also reported it sent, at ",
            ". The refusal counts; ask the provider if the recipient says it arrived.",
        ),
        (Status::ProviderAcceptance | Status::Sent, _) => ("another one is of ", "."),
    }
}

/// Cause of a failure, as the provider states it.
pub(crate) fn cause(provider: &Provider<&str>) -> String {
    let text = shortened(provider.message.unwrap_or(provider.status));
    match (provider.code, &*text) {
        ("", "") => "it gave no reason".to_owned(),
        ("", text) => format!("“{text}”"),
        (code, "") => format!("code {code}"),
        (code, text) => format!("code {code}: “{text}”"),
    }
}

/// Maximum length of a provider's text in a sentence, in characters.
pub(crate) const MAX_QUOTED_CHARACTERS: usize = 160;

/// Text, cut to [`MAX_QUOTED_CHARACTERS`] characters.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Whether a notification contradicts the status known before.
fn contradicts(step: &Step, known: Option<Status>) -> bool {
    known.is_some_and(|known| known.contradicts(step.status))
}
