//! What became of a message, in plain words that can be read out: one sentence of what happened, one of
//! what to do.

use std::borrow::Cow;

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::{Moment, SECOND, ago, span};
use super::usual::Usual;
use crate::message::{Channel, Outcome, Provider, Shown, Status, Timestamp};
use crate::store::Said;

/// After so long without an end, none is to be expected any more: three days.
const NEVER: i64 = 3 * 86_400 * SECOND;
/// What is heard of so long after it happened came late: ten minutes.
const LATE: i64 = 600 * SECOND;

/// Words with moments in them.
#[derive(Debug, Clone, Default, Template)]
#[template(
    ext = "html",
    source = "{% for piece in pieces %}{% match piece %}{% when Piece::Text(text) %}{{ text }}{% when Piece::Moment(moment) %}{{ moment }}{% endmatch %}{% endfor %}"
)]
pub(super) struct Words {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Moment(Moment),
}

/// The template above escapes the texts.
impl HtmlSafe for Words {}

impl Words {
    /// These words.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())] }
    }

    /// And this moment.
    pub(super) fn at(mut self, moment: Timestamp) -> Self {
        self.pieces.push(Piece::Moment(Moment(moment)));
        self
    }

    /// And these words.
    pub(super) fn then(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Text(text.into()));
        self
    }
}

/// A message, and what is needed to judge where it stands.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    /// What is known of it.
    pub(super) shown: &'a Shown<'a>,
    /// What was said of it, in the order of arrival.
    pub(super) said: &'a [Said],
    /// The time.
    pub(super) now: Timestamp,
    /// How long messages take.
    pub(super) usual: Usual,
}

/// What a supporter says.
pub(super) struct Answer {
    /// What happened, and when.
    pub(super) happened: Words,
    /// Whether that is final, and whether to wait or to send again.
    pub(super) advice: Words,
    /// What else must be known to understand it.
    pub(super) notes: Vec<Words>,
}

/// What a message is called.
pub(super) fn noun(channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => "SMS",
        Channel::Rcs => "RCS message",
    }
}

impl Case<'_> {
    /// What there is to say.
    pub(super) fn answer(&self) -> Answer {
        let (happened, advice) = match self.shown.status {
            Status::ProviderAcceptance | Status::Sent => (self.open(), self.patience()),
            Status::Rejected => (self.rejected(), Words::of(REJECTED)),
            Status::Undelivered => (self.undelivered(), Words::of(UNDELIVERED)),
            Status::Delivered | Status::Read => (self.delivered(), Words::of(DELIVERED)),
        };
        let mut notes: Vec<_> = self.contradictions().collect();
        notes.extend(self.lateness());
        notes.extend(self.never_counts());
        if self.shown.status.is_final() {
            notes.push(Words::of(self.usual.sentence()));
        }
        Answer { happened, advice, notes }
    }

    fn this(&self) -> String {
        format!("This {}", noun(self.shown.channel))
    }

    fn open(&self) -> Words {
        let Shown { accepted_at, status_changed_at, status, .. } = *self.shown;
        let registered = self.said.iter().all(|said| said.source.starts_with("api:"));
        if registered && !self.said.is_empty() {
            return Words::of(format!("{} was registered as sent at ", self.this()))
                .at(accepted_at)
                .then(format!(
                    " ({}), and no provider has said anything about it since.",
                    ago(accepted_at, self.now)
                ));
        }
        if status == Status::Sent {
            Words::of(format!("{} was sent at ", self.this())).at(status_changed_at).then(format!(
                " ({}), and whether it arrived is not known yet.",
                ago(status_changed_at, self.now)
            ))
        } else {
            Words::of(format!("The provider accepted this {} at ", noun(self.shown.channel)))
                .at(accepted_at)
                .then(format!(
                    " ({}), and has not said yet that it was sent.",
                    ago(accepted_at, self.now)
                ))
        }
    }

    /// What to do about a message that has not ended.
    fn patience(&self) -> Words {
        let age = self.now.micros().saturating_sub(self.shown.accepted_at.micros());
        let usual = self.usual.sentence();
        Words::of(if age > NEVER {
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

    fn rejected(&self) -> Words {
        Words::of(format!("{} was never sent: the provider refused it at ", self.this()))
            .at(self.shown.status_changed_at)
            .then(format!(" ({}).", cause(&self.shown.provider)))
    }

    fn undelivered(&self) -> Words {
        Words::of(format!(
            "{} was sent but did not arrive: the provider gave it up at ",
            self.this()
        ))
        .at(self.shown.status_changed_at)
        .then(format!(" ({}).", cause(&self.shown.provider)))
    }

    fn delivered(&self) -> Words {
        let Shown { accepted_at, status_changed_at, status, .. } = *self.shown;
        let took = status_changed_at.micros().saturating_sub(accepted_at.micros());
        let what = if status == Status::Read {
            "was delivered, and read by its recipient at "
        } else {
            "was delivered to the recipient’s phone at "
        };
        let behind = if took > 0 {
            format!(", {} after it was accepted.", span(took))
        } else {
            ".".to_owned()
        };
        Words::of(format!("{} {what}", self.this())).at(status_changed_at).then(behind)
    }

    /// What was said against the status, and why the status is what it is nevertheless.
    fn contradictions(&self) -> impl Iterator<Item = Words> {
        let status = self.shown.status;
        let valid = || self.said.iter().filter(|said| said.outcome != Outcome::Invalid);
        let arrived = |status| matches!(status, Status::Delivered | Status::Read);
        let first = valid()
            .position(|said| said.status == status || (arrived(said.status) && arrived(status)));
        let against = valid().enumerate().filter(move |(_, said)| status.contradicts(said.status));
        against.map(move |(place, said)| {
            let when = said.stated_at.unwrap_or(said.received_at);
            let came_before = first.is_some_and(|first| place < first);
            let (before, behind) = contradiction(status, said.status, came_before);
            Words::of(before).at(when).then(behind)
        })
    }

    /// What came long after it happened, if it was that which counts.
    fn lateness(&self) -> Option<Words> {
        let shown = self.shown;
        let decisive = self.said.iter().find(|said| {
            said.status == shown.status && said.stated_at == Some(shown.status_changed_at)
        })?;
        let late = decisive.received_at.micros() - shown.status_changed_at.micros();
        (late > LATE).then(|| {
            Words::of("That was late news here: it arrived at ")
                .at(decisive.received_at)
                .then(format!(", {} after it happened.", span(late)))
        })
    }

    /// What can never count.
    fn never_counts(&self) -> Option<Words> {
        let is_invalid = |said: &&Said| said.outcome == Outcome::Invalid;
        self.said.iter().any(|said| is_invalid(&said)).then(|| Words::of(INVALID))
    }
}

const REJECTED: &str = "That is final, and nothing reached the recipient: do not wait, and do not send it \
                        again as it is, which would be refused again. Mend the cause first, then send it \
                        anew.";
const UNDELIVERED: &str = "That is final unless a late receipt corrects it, so do not wait: check that the \
                           number is right and the phone on, then send it again, or try later.";
const DELIVERED: &str =
    "That is final: there is nothing to wait for, and no reason to send it again.";
const INVALID: &str =
    "One notification says that an SMS was read, which nobody can know: it does not count.";

/// The words before and behind the time of what contradicts a status.
fn contradiction(status: Status, said: Status, came_before: bool) -> (&'static str, &'static str) {
    let refused = said == Status::Rejected;
    match (status, came_before) {
        (Status::Delivered | Status::Read, true) if refused => (
            "Reports contradict each other: before that, the provider had reported it refused, at ",
            ". The receipt counts, because a phone cannot confirm what it does not have.",
        ),
        (Status::Delivered | Status::Read, true) => (
            "Reports contradict each other: before that, the provider had reported it undelivered, at ",
            ". The receipt counts: a failure is often a time-out that a late receipt corrects.",
        ),
        (Status::Delivered | Status::Read, false) => (
            "Reports contradict each other: the provider also reported a failure, of ",
            ". The receipt counts, so there is nothing to do for this message; if that happens often, ask \
             the provider.",
        ),
        (Status::Undelivered, _) => (
            "Reports contradict each other: the provider also reported it refused, at ",
            ". That it was sent counts; nothing arrived in either case.",
        ),
        (Status::Rejected, _) => (
            "Reports contradict each other: the provider also reported it sent, at ",
            ". The refusal counts; ask the provider if the recipient says it arrived.",
        ),
        (Status::ProviderAcceptance | Status::Sent, _) => {
            ("Reports contradict each other: another one is of ", ".")
        }
    }
}

/// Why a provider says it failed.
pub(super) fn cause(provider: &Provider<&str>) -> String {
    let words = shortened(provider.message.unwrap_or(provider.status));
    match (provider.code, &*words) {
        ("", "") => "it gave no reason".to_owned(),
        ("", words) => format!("“{words}”"),
        (code, "") => format!("code {code}"),
        (code, words) => format!("code {code}: “{words}”"),
    }
}

/// So much of a provider's text can be read out.
const READ_OUT: usize = 160;

/// The beginning of a text that is too long for a sentence.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(READ_OUT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// What a notification did, in words; `before` is the status that was known when it came.
pub(super) fn outcome(said: &Said, before: Option<Status>) -> String {
    let moves = before.is_none_or(|before| said.status > before);
    match (said.outcome, before) {
        (Outcome::Applied, None) => "Counted: the first that was heard of this message.".to_owned(),
        (Outcome::Applied, Some(_)) if moves => "Counted.".to_owned(),
        (Outcome::Applied, Some(_)) => {
            "Counted: it added what was not known; the status stayed.".to_owned()
        }
        (Outcome::Superseded | Outcome::Duplicate, _) => {
            "Late: it changed nothing, because as much or more was known already.".to_owned()
        }
        (Outcome::Conflict, Some(before)) if moves => {
            format!("Contradicts {}, which was reported before, and counts.", before.name())
        }
        (Outcome::Conflict, before) => format!(
            "Contradicts {}, and changed nothing.",
            before.map_or("what is known", Status::name)
        ),
        (Outcome::Invalid, _) => {
            "Invalid: nobody can know that an SMS was read, so it never counts.".to_owned()
        }
    }
}
