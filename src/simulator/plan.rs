//! Plan: random messages, with what is posted about each and the expected results.
//!
//! The expected results follow from the plan alone, without the code that judges notifications.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use uuid::Uuid;

use super::random::Random;

/// Possible sequences: the channel, and the statuses that the gateway posts, in the order in which they
/// happened. A message without any status is known by its registration alone.
const STATUS_SEQUENCES: [(&str, &[&str]); 11] = [
    ("SMS", &["SENT", "DELIVERED"]),
    ("SMS", &["SENT", "DELIVERED"]),
    ("SMS", &["SENT", "UNDELIVERED"]),
    ("SMS", &["REJECTED"]),
    ("SMS", &["SENT"]),
    ("SMS", &["SENT", "UNDELIVERED", "DELIVERED"]),
    ("RCS", &["SENT", "DELIVERED", "READ"]),
    ("RCS", &["SENT", "DELIVERED"]),
    ("RCS", &["REJECTED"]),
    ("RCS", &["SENT", "UNDELIVERED"]),
    ("SMS", &[]),
];

/// Planned message, with its expected status.
pub(crate) struct PlannedMessage {
    /// Id of the message.
    pub(crate) id: String,
    /// Destination.
    pub(crate) destination: String,
    /// Reference key.
    pub(crate) key: String,
    /// Expected member `message` of the answer, as text.
    pub(crate) expected: String,
    /// Time of acceptance, in seconds since 1970, for the order of lists.
    pub(crate) accepted_at: i64,
}

/// Request to send to the server.
#[derive(Clone)]
pub(crate) struct Post {
    /// Kind of the request.
    pub(crate) kind: Kind,
    /// Id of the message.
    pub(crate) id: String,
    /// Body.
    pub(crate) body: String,
}

/// Kind of a request, which decides the expected answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Webhook.
    Webhook,
    /// Webhook with a wrong credential: 401.
    Forged,
    /// Webhook that is not JSON: 400.
    Broken,
    /// Webhook with an unknown status: quarantined.
    Unknown,
    /// Registration.
    Registration,
}

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// Seconds over which messages are accepted, from a day ago on. The rest of the day is for their statuses.
const ACCEPTANCE_SECONDS: i64 = DAY_SECONDS - 60;

/// Plans this many messages around `now`, in seconds since 1970. Returns them with their expected results,
/// and the requests in the order in which to send them.
pub(crate) fn plan(
    messages: u32,
    random: &mut Random,
    now: i64,
) -> (Vec<PlannedMessage>, Vec<Post>) {
    let run = random.next();
    let recipients = (messages / 5).max(1);
    let mut planned_messages = Vec::new();
    let mut posts = Vec::new();
    for number in 0..messages {
        let recipient = random.below(u64::from(recipients));
        let destination = format!("+39{:07}{recipient:05}", run % 9_000_000 + 1_000_000);
        let key = format!("sim/{run:x}/{}", number / 3);
        // Acceptance times lie within the last day, which the overview shows. Four messages or more have the same
        // second, so that lists have ties.
        let seconds = i64::from(number / 4 * 4) * ACCEPTANCE_SECONDS / i64::from(messages);
        let accepted_at = now - DAY_SECONDS + seconds;
        let (planned, posted) = plan_message(accepted_at, destination, key, random);
        planned_messages.push(planned);
        posts.extend(posted);
    }
    random.shuffle(&mut posts);
    (planned_messages, posts)
}

fn plan_message(
    accepted_at: i64,
    destination: String,
    key: String,
    random: &mut Random,
) -> (PlannedMessage, Vec<Post>) {
    let id = Uuid::from_u64_pair(random.next(), random.next()).to_string();
    let (channel, statuses) = random.one_of(&STATUS_SEQUENCES);
    let registered = statuses.is_empty() || random.below(10) == 0;
    let segments = 1 + random.below(3);
    let reference = json!({"service": "SIMULATE", "action": "DEMO", "key": key});
    let mut posts = Vec::new();
    let mut last = json!({
        "id": id,
        "providerAcceptanceAt": time(accepted_at),
        "statusChangedAt": time(accepted_at),
        "reference": reference,
        "channel": channel,
        "status": "PROVIDER_ACCEPTANCE",
        "provider": {"name": "", "id": "", "status": "", "code": ""},
    });
    for (step, status) in (1_i64..).zip(statuses.iter()) {
        let message = message(
            &id,
            channel,
            status,
            accepted_at,
            accepted_at + 3 * step,
            &reference,
            segments,
        );
        last = message.clone();
        let mut statement = message;
        if !registered && let Some(statement) = statement.as_object_mut() {
            statement.insert("destination".to_owned(), json!(destination));
        }
        let body = webhook(&statement, random);
        let post = Post { kind: Kind::Webhook, id: id.clone(), body };
        if random.below(5) == 0 {
            posts.push(post.clone());
        }
        if random.below(50) == 0 {
            posts.push(Post { kind: Kind::Forged, ..post.clone() });
        }
        if random.below(100) == 0 {
            posts.push(Post {
                kind: Kind::Broken,
                body: post.body.replace("\"type\"", "type"),
                ..post.clone()
            });
        }
        if random.below(100) == 0 {
            let body = post.body.replace(&format!("\"{status}\""), "\"LOST_AT_SEA\"");
            posts.push(Post { kind: Kind::Unknown, body, ..post.clone() });
        }
        posts.push(post);
    }
    if registered {
        let body = json!({
            "destination": destination,
            "reference": reference,
            "channel": channel,
            "providerAcceptanceAt": time(accepted_at),
        });
        posts.push(Post { kind: Kind::Registration, id: id.clone(), body: body.to_string() });
    }
    let planned = PlannedMessage { id, destination, key, expected: last.to_string(), accepted_at };
    (planned, posts)
}

/// Message in the gateway's format and order of members.
fn message(
    id: &str,
    channel: &str,
    status: &str,
    accepted_at: i64,
    changed_at: i64,
    reference: &Value,
    segments: u64,
) -> Value {
    let mut message = json!({
        "id": id,
        "providerAcceptanceAt": time(accepted_at),
        "statusChangedAt": time(changed_at),
        "reference": reference,
        "channel": channel,
        "status": status,
        "provider": provider(id, status),
    });
    if channel == "SMS"
        && let Some(members) = message.as_object_mut()
    {
        members.insert("sms".to_owned(), json!({"segments": segments}));
    }
    message
}

fn provider(id: &str, status: &str) -> Value {
    let (word, code, text) = match status {
        "REJECTED" => ("rejected", "21610", Some("The recipient has opted out")),
        "UNDELIVERED" => ("undelivered", "30003", Some("The handset is unreachable")),
        "READ" => ("read", "0", None),
        "DELIVERED" => ("delivered", "0", None),
        _ => ("sent", "0", None),
    };
    let mut provider =
        json!({"name": "SIMULATOR", "id": format!("p-{id}"), "status": word, "code": code});
    if let (Some(text), Some(members)) = (text, provider.as_object_mut()) {
        members.insert("message".to_owned(), json!(text));
    }
    provider
}

fn webhook(message: &Value, random: &mut Random) -> String {
    json!({
        "id": Uuid::from_u64_pair(random.next(), random.next()).to_string(),
        "webhookConfigurationId": "2b1d7c52-95a4-4f7e-8a55-0d0f3a1c9e10",
        "type": "STATUS_UPDATE",
        "createdAt": message.get("statusChangedAt"),
        "message": message,
    })
    .to_string()
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}
