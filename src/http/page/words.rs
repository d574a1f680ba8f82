//! What became of a message, in plain words that can be read out: one sentence of what happened, one of
//! what to do.

use std::borrow::Cow;

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::{Moment, SECOND, ago, span};
use super::usual::Usual;
use crate::message::{Channel, Outcome, Provider, Shown, Status, Timestamp};
use crate::store::Step;

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
    /// Every notification of it, in the order of arrival.
    pub(super) steps: &'a [Step],
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
    pub(super) notes: Vec<Note>,
}

/// Something besides, and what it is about in a word.
pub(super) struct Note {
    /// The word.
    pub(super) about: &'static str,
    /// What there is to say.
    pub(super) words: Words,
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
        let note = |about| move |words| Note { about, words };
        let mut notes: Vec<_> = self.contradictions().map(note("Contradicted")).collect();
        notes.extend(self.late_news().map(note("Late")));
        notes.extend(self.overtaken().map(note("Late")));
        notes.extend(self.never_counts().map(note("Invalid")));
        if self.shown.status.is_final() {
            notes.push(note("Usual")(Words::of(self.usual.sentence())));
        }
        Answer { happened, advice, notes }
    }

    fn this(&self) -> String {
        format!("This {}", noun(self.shown.channel))
    }

    fn open(&self) -> Words {
        let Shown { accepted_at, status_changed_at, status, .. } = *self.shown;
        if self.steps.iter().all(|step| step.by_api) {
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
        let valid = || self.steps.iter().filter(|said| said.outcome != Outcome::Invalid);
        let arrived = |status| matches!(status, Status::Delivered | Status::Read);
        let first = valid()
            .position(|said| said.status == status || (arrived(said.status) && arrived(status)));
        // Of those that say the same one is enough.
        let against = Status::ALL.into_iter().filter(move |said| status.contradicts(*said));
        against.filter_map(move |against| {
            let (place, said) = valid().enumerate().find(|(_, said)| said.status == against)?;
            let when = said.stated_at.unwrap_or(said.received_at);
            let came_before = first.is_some_and(|first| place < first);
            let (before, behind) = contradiction(status, against, came_before);
            Some(Words::of(before).at(when).then(behind))
        })
    }

    /// That what counts came long after it happened.
    fn late_news(&self) -> Option<Words> {
        let shown = self.shown;
        let decisive = self.steps.iter().find(|said| {
            said.status == shown.status && said.stated_at == Some(shown.status_changed_at)
        })?;
        let late = decisive.received_at.micros() - shown.status_changed_at.micros();
        (late > LATE).then(|| {
            Words::of("the report of that arrived here only at ")
                .at(decisive.received_at)
                .then(format!(", {} after it happened.", span(late)))
        })
    }

    /// That something came when more was known already.
    fn overtaken(&self) -> Option<Words> {
        let mut known = None;
        let mut overtaken = Vec::new();
        for said in self.steps.iter().filter(|said| said.outcome != Outcome::Invalid) {
            if !said.by_api && Some(said.status) < known && !contradicts(said, known) {
                overtaken.push(said.status.name());
            }
            known = known.max(Some(said.status));
        }
        overtaken.dedup();
        (!overtaken.is_empty()).then(|| {
            let words = overtaken.join(", ");
            Words::of(format!(
                "what was reported as {words} arrived when more was known already, so the status stayed."
            ))
        })
    }

    /// What can never count.
    fn never_counts(&self) -> Option<Words> {
        let is_invalid = |said: &&Step| said.outcome == Outcome::Invalid;
        self.steps.iter().any(|said| is_invalid(&said)).then(|| Words::of(INVALID))
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
    "one notification says that an SMS was read, which nobody can know: it does not count.";

/// The words before and behind the time of what contradicts a status.
fn contradiction(status: Status, said: Status, came_before: bool) -> (&'static str, &'static str) {
    let refused = said == Status::Rejected;
    match (status, came_before) {
        (Status::Delivered | Status::Read, true) if refused => (
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

/// Whether it contradicts what was known.
fn contradicts(said: &Step, known: Option<Status>) -> bool {
    known.is_some_and(|known| known.contradicts(said.status))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::usual::{ENOUGH, Times};
    use super::*;
    use crate::message::{Added, MessageId, Notification, Record, Reference, Statement};
    use crate::message::{Destination, Kind, StatedProvider};
    use crate::store::{Said, Took};

    const NOON: i64 = 1_770_897_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros((NOON + second) * SECOND).unwrap()
    }

    /// What is said of a message at these seconds: the status, when it came about, and when that arrived.
    pub(in super::super) fn told(
        channel: Channel,
        source: &str,
        told: &[(Status, i64, i64)],
    ) -> (Option<Record>, Vec<Said>) {
        let mut record: Option<Record> = None;
        let said = told.iter().map(|(status, stated, received)| {
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
            Said {
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
        let said = said.collect();
        (record, said)
    }

    /// All that is read out at this second, where 95 of 100 messages arrive within some seconds.
    fn read_out(of: &(Option<Record>, Vec<Said>), second: i64) -> String {
        let (record, said) = of;
        let shown = record.as_ref().unwrap().shown(MessageId::from_bytes([1; 16]));
        let mut times = Times::default();
        times.add(Took::from_class(6).unwrap(), ENOUGH);
        let usual = Usual::of(shown.channel, &times, 7);
        let steps: Vec<_> = (1..).zip(said).map(|(number, said)| said.step(number)).collect();
        let answer = Case { shown: &shown, steps: &steps, now: at(second), usual }.answer();
        let mut text = format!("{} {}", answer.happened, answer.advice);
        for Note { about, words } in answer.notes {
            text = format!("{text} {about}: {words}");
        }
        text
    }

    #[track_caller]
    fn check(told_of: &[(Status, i64, i64)], second: i64, has: &[&str], has_not: &[&str]) {
        let text = read_out(&told(Channel::Sms, "gateway", told_of), second);
        for words in has {
            assert!(text.contains(words), "{words} is not in: {text}");
        }
        for words in has_not {
            assert!(!text.contains(words), "{words} is in: {text}");
        }
    }

    use Status::{Delivered, ProviderAcceptance, Read, Rejected, Sent, Undelivered};

    #[test]
    fn what_has_not_ended_is_waited_for_until_it_is_too_old() {
        let accepted = [(ProviderAcceptance, 0, 0)];
        check(
            &accepted,
            2,
            &["accepted this SMS", "2 seconds ago", "not final: wait"],
            &["longer"],
        );
        check(
            &[(Sent, 1, 1)],
            2,
            &["was sent at", "wait, and do not send", "95 of 100"],
            &["longer"],
        );
        let longer = ["takes longer than usual", "arrive twice"];
        check(&[(Sent, 1, 1)], 60, &longer, &["wait, and do not"]);
        check(
            &[(Sent, 1, 1)],
            4 * 86_400,
            &["After 4 days", "probably never come"],
            &["longer than"],
        );
    }

    #[test]
    fn what_was_only_registered_says_that_nothing_was_heard() {
        let registered = told(Channel::Sms, "api:shop", &[(ProviderAcceptance, 0, 0)]);
        let text = read_out(&registered, 2);
        assert!(text.contains("no provider has said anything about it"), "{text}");
    }

    #[test]
    fn a_refused_message_must_be_mended_and_a_lost_one_may_be_sent_again() {
        let why = "(code 27: “Absent &#60;subscriber&#62;”)";
        check(
            &[(Rejected, 1, 1)],
            9,
            &["was never sent", why, "would be refused again", "Mend the cause"],
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
    fn a_delivered_message_needs_nothing() {
        let (has, has_not) =
            (["was delivered", "5 seconds after", "That is final"], ["Contradicted", "Late"]);
        check(&[(Sent, 1, 1), (Delivered, 5, 5)], 9, &has, &has_not);
        let text = read_out(&told(Channel::Rcs, "gateway", &[(Read, 5, 5)]), 9);
        assert!(text.contains("This RCS message was delivered, and read"), "{text}");
    }

    #[test]
    fn which_of_two_contradictions_counts_is_said_with_the_reason() {
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
        check(
            &[(Rejected, 1, 1), (Undelivered, 2, 2)],
            9,
            &["That it was sent counts"],
            &["failure"],
        );
    }

    #[test]
    fn what_came_late_is_said() {
        let hours = 2 * 3_600;
        check(
            &[(Delivered, 5, hours)],
            hours,
            &["Late: the report of that arrived"],
            &["what was reported as"],
        );
        let overtaken = "Late: what was reported as SENT arrived when more was known already";
        check(&[(Delivered, 5, 5), (Sent, 1, 6)], 9, &[overtaken], &["the report of that"]);
    }

    #[test]
    fn a_long_reason_is_not_read_out_whole() {
        let provider = Provider { message: Some("é".repeat(999)), ..Provider::default() };
        let read_out = cause(&provider.map(String::as_str));
        assert_eq!(read_out, format!("“{}…”", "é".repeat(READ_OUT)));
        assert_eq!(cause(&Provider::default()), "it gave no reason");
    }
}
