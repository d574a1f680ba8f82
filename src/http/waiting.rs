//! `GET /api/messagestatus/{messageid}?wait=…`: answers when there is something to say.
//!
//! Whoever waits is a task and an entry in a map, and is woken by what the writer commits of this message.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use tokio::time::{Instant, timeout_at};

use super::messages;
use super::problem::Problem;
use super::state::Service;
use crate::message::MessageId;
use crate::store::Message;

/// The longest time to wait for, in seconds.
const LONGEST: u64 = 60;

/// What a query waits for, and how long at most.
pub(crate) struct Wait {
    time: Duration,
    until: Until,
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Until {
    /// A final status.
    Final,
    /// Another record than when it was asked.
    Change,
}

impl Wait {
    /// What the parameters ask for; none if they ask for the present state.
    pub(crate) fn of(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        let (mut time, mut until) = (None, None);
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            match &*name {
                "wait" => time = Some(seconds(&value)?),
                "until" => until = Some(Until::parse(&value)?),
                _ => {}
            }
        }
        match (time, until) {
            (Some(time), until) => Ok(Some(Self { time, until: until.unwrap_or(Until::Final) })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Problem::BadRequest(
                "`until` says what to wait for, and nothing says for how long: add `wait` with a number \
                 of seconds."
                    .to_owned(),
            )),
        }
    }
}

impl Until {
    fn parse(word: &str) -> Result<Self, Problem> {
        match word {
            "final" => Ok(Self::Final),
            "change" => Ok(Self::Change),
            _ => Err(Problem::BadRequest("`until` is `final` or `change`.".to_owned())),
        }
    }

    /// Whether it has come, since this was known.
    fn has_come(self, before: Option<&Message>, now: Option<&Message>) -> bool {
        match self {
            Self::Final => now.is_some_and(|now| now.record.status.is_final()),
            Self::Change => match (before, now) {
                (Some(before), Some(now)) => !now.record.shows_the_same_as(&before.record),
                (before, now) => before.is_some() != now.is_some(),
            },
        }
    }
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::BadRequest(format!(
            "`wait` must be a whole number of seconds; above {LONGEST} it is taken for {LONGEST}."
        )));
    }
    // What does not fit into a number is above the longest time too.
    Ok(Duration::from_secs(text.parse().unwrap_or(LONGEST).min(LONGEST)))
}

/// Answers with what is known of a message when that has come which is waited for, or when the time is
/// over. It is over at once when the service stops.
pub(crate) async fn answer(
    service: &Service,
    id: MessageId,
    wait: Wait,
) -> Result<HttpResponse, Problem> {
    let until = Instant::now() + wait.time;
    // Before the first look, so that nothing can come in between.
    let mut news = service.store.news(id);
    let before = service.store.message(id).await?;
    let mut now = before.clone();
    while !wait.until.has_come(before.as_ref(), now.as_ref()) {
        let told = tokio::select! {
            told = timeout_at(until, news.news()) => told.is_ok(),
            () = service.ingest.closing.begins() => false,
        };
        if !told {
            break;
        }
        now = service.store.message(id).await?;
    }
    messages::answer(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_longer_than_a_minute() {
        for (text, time) in [("0", 0), ("59", 59), ("61", 60), ("99999999999999999999", 60)] {
            assert_eq!(seconds(text).unwrap(), Duration::from_secs(time));
        }
    }
}
