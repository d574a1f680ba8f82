//! Webhooks of the load: unique, signed, and rendered as complete requests before a run. The same seed gives
//! the same webhooks, so that every receiver gets the same bytes.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use crate::figures::float;
use crate::requests::Requests;

/// Secret of the webhooks' signatures.
pub(crate) const SECRET: &str = "a-secret-for-this-bench-alone";
/// Number of latest messages from which [`Corpus::mixed`] picks the message of an update.
pub(crate) const RECENT_MESSAGES: usize = 20_000;
/// Approximate length of a request with its head, in bytes.
const REQUEST_LENGTH: usize = 840;
/// Number of messages that [`Corpus::thrice`] adds between two notifications of a message.
const LAG_MESSAGES: usize = 5_000;

/// Number of messages of which one is on a list that [`Corpus::with_lists`] makes.
pub(crate) const LIST_STRIDE: usize = 100;

/// Day of the first webhook in February 2026. A thousand webhooks a second are 86 million a day.
const FIRST_DAY: u64 = 12;
/// Time of the first webhook, in milliseconds of the day.
const FIRST_WEBHOOK_MS: u64 = 10 * 3_600_000;
/// Upper bound of the time from a message's acceptance to its first webhook, in milliseconds.
const MAX_ACCEPTANCE_LEAD_MS: u64 = 2_000;

/// Status that the bench sends, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// The provider accepted the message.
    ProviderAcceptance,
    /// The provider sent the message on.
    Sent,
    /// The handset received the message.
    Delivered,
}

impl Status {
    /// The gateway's status, and the provider's status and code.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ProviderAcceptance => ("PROVIDER_ACCEPTANCE", "Accepted", "1"),
            Self::Sent => ("SENT", "Submitted", "2"),
            Self::Delivered => ("DELIVERED", "Delivered", "0"),
        }
    }

    /// Status with this name of the gateway.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::ProviderAcceptance, Self::Sent, Self::Delivered];
        all.into_iter().find(|status| status.names().0 == name)
    }
}

/// Statement of one webhook.
#[derive(Clone, Copy)]
pub(crate) struct Statement {
    /// Index of the message in [`Corpus::ids`].
    pub(crate) message: usize,
    /// Status of the message.
    pub(crate) status: Status,
}

/// Rendered webhooks and their statements.
pub(crate) struct Batch {
    /// Webhooks as they are sent.
    pub(crate) requests: Requests,
    /// Statement of each webhook.
    pub(crate) statements: Vec<Statement>,
    /// Length of all bodies, in bytes.
    body_bytes: usize,
}

/// Generator of webhooks, with the messages that it has made so far.
pub(crate) struct Corpus {
    rng: Rng,
    mac: Hmac<Sha256>,
    /// Number of destinations and of references that the messages share; `None` if each has its own.
    shared: Option<usize>,
    /// Number of lists of messages with a common destination and reference; see [`Corpus::with_lists`].
    lists: Option<usize>,
    /// Number of webhooks rendered so far.
    notifications: u64,
    /// Ids of the messages.
    pub(crate) ids: Vec<Uuid>,
    /// Number of notifications of each message, at most 255.
    notification_counts: Vec<u8>,
    /// Time of acceptance of each message, in milliseconds since the begin of the first day.
    accepted: Vec<u64>,
    /// Whether all messages were accepted at the same time.
    is_tied: bool,
}

impl Corpus {
    /// Creates a generator without messages.
    pub(crate) fn new(seed: u64, shared: Option<usize>) -> Result<Self> {
        let mac = Hmac::new_from_slice(SECRET.as_bytes()).context("no key")?;
        let rng = Rng::with_seed(seed);
        Ok(Self {
            rng,
            mac,
            shared,
            lists: None,
            notifications: 0,
            ids: Vec::new(),
            notification_counts: Vec::new(),
            accepted: Vec::new(),
            is_tied: false,
        })
    }

    /// The same generator, with all messages accepted at the same time.
    pub(crate) fn tied(self) -> Self {
        Self { is_tied: true, ..self }
    }

    /// The same generator, in which one of [`LIST_STRIDE`] messages shares its destination and its reference
    /// with others, so that there are this number of lists. They grow as messages are added.
    pub(crate) fn with_lists(self, lists: usize) -> Self {
        Self { lists: Some(lists), ..self }
    }

    /// Renders the usual load: a third of the webhooks are about new messages, each of the others about a
    /// random one of the [`RECENT_MESSAGES`].
    pub(crate) fn mixed(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count);
        for number in 0..count {
            let known = self.ids.len();
            let message = if number % 3 == 0 || known == 0 {
                self.add_message()
            } else {
                self.rng.usize(known.saturating_sub(RECENT_MESSAGES)..known)
            };
            self.push_webhook(&mut batch, message, None)?;
        }
        Ok(batch)
    }

    /// Renders one notification about each of `count` new messages.
    pub(crate) fn fresh(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count);
        for _ in 0..count {
            let message = self.add_message();
            self.push_webhook(&mut batch, message, None)?;
        }
        Ok(batch)
    }

    /// Renders three notifications about each of `count` new messages, with those of other messages in
    /// between.
    pub(crate) fn thrice(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count * 3);
        let first = self.ids.len();
        let statuses = [Status::ProviderAcceptance, Status::Sent, Status::Delivered];
        for number in 0..count + 2 * LAG_MESSAGES {
            if number < count {
                self.add_message();
            }
            for (status, lag) in statuses.into_iter().zip([0, LAG_MESSAGES, 2 * LAG_MESSAGES]) {
                if let Some(message) = number.checked_sub(lag).filter(|number| *number < count) {
                    self.push_webhook(&mut batch, first + message, Some(status))?;
                }
            }
        }
        Ok(batch)
    }

    /// Destination of a message.
    pub(crate) fn destination(&self, message: usize) -> String {
        format!("+39333{:07}", self.list(message))
    }

    /// Key of a message's reference.
    pub(crate) fn reference(&self, message: usize) -> String {
        format!("order-{}", self.list(message))
    }

    /// Number that messages with the same destination and reference have in common.
    fn list(&self, message: usize) -> usize {
        match (self.shared, self.lists) {
            (Some(shared), _) => message % shared,
            (None, Some(lists)) if message.is_multiple_of(LIST_STRIDE) => {
                message % (lists * LIST_STRIDE)
            }
            (None, _) => message,
        }
    }

    /// Removes the messages after the first `sent` ones. No webhook about them was sent.
    pub(crate) fn forget_unsent(&mut self, sent: usize) {
        self.ids.truncate(sent);
        self.notification_counts.truncate(sent);
        self.accepted.truncate(sent);
    }

    /// Adds a message, which was accepted shortly before its first webhook. Returns its number.
    fn add_message(&mut self) -> usize {
        let id = self.random_id();
        self.ids.push(id);
        self.notification_counts.push(0);
        let lead = self.rng.u64(..MAX_ACCEPTANCE_LEAD_MS);
        self.accepted.push(if self.is_tied {
            FIRST_WEBHOOK_MS
        } else {
            FIRST_WEBHOOK_MS + self.notifications - lead
        });
        self.ids.len() - 1
    }

    fn random_id(&mut self) -> Uuid {
        Builder::from_random_bytes(self.rng.u128(..).to_ne_bytes()).into_uuid()
    }

    /// Status of a message's next notification after this number of earlier ones. From the third on it is
    /// DELIVERED, or in one of ten cases SENT, which comes late.
    fn next_status(&mut self, notifications: u8) -> Status {
        match notifications {
            0 => Status::ProviderAcceptance,
            1 => Status::Sent,
            _ if self.rng.u8(..10) == 0 => Status::Sent,
            _ => Status::Delivered,
        }
    }

    /// Adds a webhook about a message, with this status or else its next one.
    fn push_webhook(
        &mut self,
        batch: &mut Batch,
        message: usize,
        status: Option<Status>,
    ) -> Result<()> {
        let count = self.notification_counts.get_mut(message).context("no such message")?;
        let earlier = *count;
        *count = earlier.saturating_add(1);
        let status = status.unwrap_or_else(|| self.next_status(earlier));
        let body = self.body(message, status)?;
        let mut mac = self.mac.clone();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let length = body.len();
        batch.requests.push(|bytes| {
            let head = format!(
                "POST /webhooks/bench HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
                 X-Signature: {signature}\r\nContent-Length: {length}\r\n\r\n"
            );
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(body.as_bytes());
        });
        batch.statements.push(Statement { message, status });
        batch.body_bytes += length;
        Ok(())
    }

    fn body(&mut self, message: usize, status: Status) -> Result<String> {
        // Webhooks differ in their time, as the gateway's do. A thousand come in a second.
        self.notifications += 1;
        let changed = time(FIRST_WEBHOOK_MS + self.notifications);
        let accepted = time(*self.accepted.get(message).context("no such message")?);
        let (id, webhook, provider) = (self.id(message)?, self.random_id(), self.random_id());
        let (destination, key) = (self.destination(message), self.reference(message));
        let (name, provider_status, code) = status.names();
        let mut body = Vec::with_capacity(REQUEST_LENGTH);
        write!(
            body,
            r#"{{"id":"{webhook}","webhookConfigurationId":"2b1d7c52-95a4-4f7e-8a55-0d0f3a1c9e10","type":"STATUS_UPDATE","createdAt":"{changed}","message":{{"id":"{id}","destination":"{destination}","providerAcceptanceAt":"{accepted}","statusChangedAt":"{changed}","reference":{{"service":"SHOP","action":"ORDER","key":"{key}"}},"channel":"SMS","status":"{name}","provider":{{"name":"MITTO","id":"{provider}","status":"{provider_status}","code":"{code}"}},"sms":{{"segments":1}}}}}}"#
        )?;
        String::from_utf8(body).context("not UTF-8")
    }

    fn id(&self, message: usize) -> Result<Uuid> {
        self.ids.get(message).copied().context("no such message")
    }
}

/// Timestamp of this millisecond since the begin of the first day.
fn time(millis: u64) -> String {
    let (day, hour) = (FIRST_DAY + millis / 86_400_000, millis / 3_600_000 % 24);
    let (minute, second) = (millis / 60_000 % 60, millis / 1_000 % 60);
    format!("2026-02-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1_000)
}

impl Batch {
    fn with_capacity(count: usize) -> Self {
        Self {
            requests: Requests::with_capacity(count, REQUEST_LENGTH),
            statements: Vec::with_capacity(count),
            body_bytes: 0,
        }
    }

    /// Mean length of a body, in bytes.
    pub(crate) fn mean_body_bytes(&self) -> f64 {
        float(self.body_bytes) / float(self.statements.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_third_are_new_and_none_is_sent_twice() {
        let mut corpus = Corpus::new(1, None).unwrap();
        let batch = corpus.mixed(3_000).unwrap();
        let sent: HashSet<_> =
            (0..batch.requests.len()).map(|index| batch.requests.get(index).unwrap()).collect();
        assert_eq!((sent.len(), corpus.ids.len()), (3_000, 1_000));
        assert!(batch.statements.iter().any(|statement| statement.status == Status::Delivered));
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let [one, two] = [1, 1].map(|seed| Corpus::new(seed, None).unwrap().mixed(10).unwrap());
        assert_eq!(one.requests.get(9), two.requests.get(9));
        let other = Corpus::new(2, None).unwrap().mixed(10).unwrap();
        assert_ne!(one.requests.get(9), other.requests.get(9));
    }

    #[test]
    fn thrice_tells_each_message_three_times() {
        let mut corpus = Corpus::new(1, Some(10)).unwrap();
        let batch = corpus.thrice(100).unwrap();
        for message in 0..100 {
            let statements: Vec<_> =
                batch.statements.iter().filter(|statement| statement.message == message).collect();
            assert_eq!(statements.len(), 3);
            assert_eq!(statements[2].status, Status::Delivered);
        }
        assert_eq!(corpus.destination(13), corpus.destination(3));
    }

    #[test]
    fn one_message_in_a_hundred_is_on_a_list() {
        let corpus = Corpus::new(1, None).unwrap().with_lists(20);
        assert_eq!(corpus.destination(2_300), corpus.destination(300));
        assert_ne!(corpus.destination(2_301), corpus.destination(301));
        let members = (0..100_000).filter(|message| corpus.reference(*message) == "order-300");
        assert_eq!(members.count(), 50);
    }

    #[test]
    fn a_day_follows_the_one_before() {
        assert_eq!(time(FIRST_WEBHOOK_MS), "2026-02-12T10:00:00.000Z");
        assert_eq!(time(86_400_000 + 61_001), "2026-02-13T00:01:01.001Z");
    }

    #[test]
    fn a_request_is_about_as_long_as_the_room_made_for_it() {
        let batch = Corpus::new(1, None).unwrap().mixed(1).unwrap();
        let length = batch.requests.get(0).unwrap().len();
        assert!((REQUEST_LENGTH - 100..=REQUEST_LENGTH).contains(&length), "{length}");
        assert!((500.0..700.0).contains(&batch.mean_body_bytes()), "{}", batch.mean_body_bytes());
    }
}
