//! Long poll: `GET /api/messagestatus/{messageid}?wait=…` answers when the message has a final status, or has
//! changed.
//!
//! A waiting request is a task and an entry in the notifier, which wakes it after each commit that concerns
//! the message.

use std::time::Duration;

use actix_web::HttpResponse;
use tokio::time::{Instant, timeout_at};

use super::messages;
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::message::MessageId;
use crate::store::Message;

/// Maximum wait, in seconds.
pub(crate) const MAX_WAIT_SECONDS: u64 = 60;

/// Error text when the limit of long polls is reached.
pub(crate) const TOO_MANY_LONG_POLLS: &str =
    "The limit of concurrent long polls is reached. Try again later, or without `wait`.";

/// Condition that a long poll waits for.
#[derive(Clone, Copy)]
enum Condition {
    /// The message has a final status.
    Final,
    /// The record differs from that at the beginning of the wait.
    Change,
}

/// Requested wait.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    until: Condition,
    /// Maximum duration.
    time: Duration,
}

impl Wait {
    /// Parses a query; `None` if it does not ask for a long poll.
    pub(crate) fn parse(query: &str) -> Option<Result<Self, Problem>> {
        let parameters = || form_urlencoded::parse(query.as_bytes());
        let asks_to_wait = parameters().any(|(name, _)| ["wait", "until"].contains(&&*name));
        asks_to_wait.then(|| {
            let (mut until, mut time) = (Condition::Final, None);
            for (name, value) in parameters() {
                match &*name {
                    "wait" => time = Some(seconds(&value)?),
                    "until" => until = Condition::parse(&value)?,
                    _ => {}
                }
            }
            let time = time.ok_or_else(|| {
                Problem::BadRequest(
                    "`until` needs `wait`: add the number of seconds to wait.".to_owned(),
                )
            })?;
            Ok(Self { until, time })
        })
    }
}

impl Condition {
    fn parse(word: &str) -> Result<Self, Problem> {
        match word {
            "final" => Ok(Self::Final),
            "change" => Ok(Self::Change),
            _ => Err(Problem::BadRequest("`until` is `final` or `change`.".to_owned())),
        }
    }

    /// Whether the condition is met, compared with the record at the beginning.
    fn is_met(self, before: Option<&Message>, now: Option<&Message>) -> bool {
        match self {
            Self::Final => now.is_some_and(|now| now.record.status.is_final()),
            Self::Change => match (before, now) {
                (Some(before), Some(now)) => !now.record.shows_same_values(&before.record),
                (before, now) => before.is_some() != now.is_some(),
            },
        }
    }
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::BadRequest(format!(
            "`wait` must be a whole number of seconds; values above {MAX_WAIT_SECONDS} mean \
             {MAX_WAIT_SECONDS}."
        )));
    }
    // A number that does not fit is above the maximum too.
    Ok(Duration::from_secs(text.parse().unwrap_or(MAX_WAIT_SECONDS).min(MAX_WAIT_SECONDS)))
}

/// Answers with the record of a message when the condition is met or the time is over. The wait ends at once
/// when the service stops.
pub(crate) async fn answer(
    service: &Service,
    id: MessageId,
    Wait { until, time }: Wait,
) -> Result<HttpResponse, Problem> {
    let _permit = service.long_polls.take().ok_or(Problem::Unavailable(TOO_MANY_LONG_POLLS))?;
    let end = Instant::now() + time;
    // Registered before the first read, so that no change is missed in between.
    let mut subscription = service.store.subscribe(id);
    let before = service.store.message(id).await?;
    let mut now = before.clone();
    while !until.is_met(before.as_ref(), now.as_ref()) {
        let is_changed = tokio::select! {
            is_changed = timeout_at(end, subscription.changed()) => is_changed.is_ok(),
            () = service.shutdown.triggered() => false,
        };
        if !is_changed {
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
    fn a_wait_is_limited_to_a_minute() {
        for (text, time) in [("0", 0), ("59", 59), ("61", 60), ("99999999999999999999", 60)] {
            assert_eq!(seconds(text).unwrap(), Duration::from_secs(time));
        }
    }
}
