//! `GET /api/messagestatus/{messageid}?wait=…`: answers when there is something to say.
//!
//! Whoever waits is a task and an entry in a map, and is woken by what the writer commits of this message.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use tokio::time::{Instant, timeout_at};

use super::messages;
use super::problem::Problem;
use super::query;
use super::state::Service;
use crate::store::Message;

/// The longest time to wait for, in seconds.
pub(crate) const LONGEST: u64 = 60;

/// The most requests that wait at a time.
pub(crate) const MAX_LONG_POLLS: usize = 4_000;
/// The reason for refusing one more.
pub(crate) const TOO_MANY: &str =
    "As many requests wait for a message as may. Try again later, or without `wait`.";

/// What is waited for.
#[derive(Clone, Copy)]
enum Until {
    /// A final status.
    Final,
    /// Another record than when it was asked.
    Change,
}

/// Whether a query asks for what is to come.
pub(crate) fn is_waited(query: &str) -> bool {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    parameters.any(|(name, _value)| ["wait", "until"].contains(&&*name))
}

/// What to wait for, and how long at most.
fn asked_for(request: &HttpRequest) -> Result<(Until, Duration), Problem> {
    let (mut until, mut time) = (Until::Final, None);
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*name {
            "wait" => time = Some(seconds(&value)?),
            "until" => until = Until::parse(&value)?,
            _ => {}
        }
    }
    let time = time.ok_or_else(|| {
        Problem::BadRequest(
            "`until` says what to wait for, and nothing says for how long: add `wait` with a number \
             of seconds."
                .to_owned(),
        )
    })?;
    Ok((until, time))
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
pub(crate) async fn wait(
    service: &Service,
    id: &str,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = query::message_id(id)?;
    let (until, time) = asked_for(request)?;
    let _place = service.long_polls.take().ok_or(Problem::Unavailable(TOO_MANY))?;
    let end = Instant::now() + time;
    // Before the first look, so that nothing can come in between.
    let mut news = service.store.news(id);
    let before = service.store.message(id).await?;
    let mut now = before.clone();
    while !until.has_come(before.as_ref(), now.as_ref()) {
        let told = tokio::select! {
            told = timeout_at(end, news.news()) => told.is_ok(),
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
