//! The webhooks that are sent: unique, signed, and rendered as whole requests before anything is
//! measured. The same seed gives the same ones, so that every receiver gets the same bytes.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use crate::load::Requests;

/// What webhooks are signed with.
pub(crate) const SECRET: &str = "a-secret-for-this-bench-alone";
/// How many messages back an update may reach.
pub(crate) const RECENT: usize = 20_000;
/// About how long a request is, with its head.
const LENGTH: usize = 840;
/// How far behind a message its second and third notifications come in [`Corpus::thrice`].
const LAG: usize = 5_000;

/// When the first webhook comes, in milliseconds of the day.
const FIRST: u64 = 10 * 3_600_000;
/// How long before a message's first webhook it was accepted at most, in milliseconds.
const LONGEST: u64 = 2_000;

/// A status that the bench sends, a later one beating an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// The provider took the request.
    ProviderAcceptance,
    /// The provider sent it on.
    Sent,
    /// The handset has it.
    Delivered,
}

impl Status {
    /// The gateway's word, and the provider's own.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ProviderAcceptance => ("PROVIDER_ACCEPTANCE", "Accepted", "1"),
            Self::Sent => ("SENT", "Submitted", "2"),
            Self::Delivered => ("DELIVERED", "Delivered", "0"),
        }
    }

    /// The status with this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        let all = [Self::ProviderAcceptance, Self::Sent, Self::Delivered];
        all.into_iter().find(|status| status.words().0 == word)
    }
}

/// What a webhook says.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    /// The message, by its number in [`Corpus::ids`].
    pub(crate) message: usize,
    /// Its status.
    pub(crate) status: Status,
}

/// Some webhooks.
pub(crate) struct Batch {
    /// As they are sent.
    pub(crate) requests: Requests,
    /// What each of them says.
    pub(crate) said: Vec<Said>,
}

/// The messages so far, and what makes more of them.
pub(crate) struct Corpus {
    rng: Rng,
    mac: Hmac<Sha256>,
    /// How many destinations and references the messages share; none: each has its own.
    shared: Option<usize>,
    notifications: u64,
    /// The messages' ids.
    pub(crate) ids: Vec<Uuid>,
    told: Vec<u8>,
    /// When each was accepted, in milliseconds of the day.
    accepted: Vec<u64>,
    /// Whether all were accepted at the same time.
    tied: bool,
}

impl Corpus {
    /// One without messages yet.
    pub(crate) fn new(seed: u64, shared: Option<usize>) -> Result<Self> {
        let mac = Hmac::new_from_slice(SECRET.as_bytes()).context("no key")?;
        let rng = Rng::with_seed(seed);
        let (ids, told, accepted) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { rng, mac, shared, notifications: 0, ids, told, accepted, tied: false })
    }

    /// The same, with all messages accepted at the same time.
    pub(crate) fn tied(self) -> Self {
        Self { tied: true, ..self }
    }

    /// The load: a third about new messages, the rest about a random one of the recent ones.
    pub(crate) fn mixed(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count);
        for number in 0..count {
            let known = self.ids.len();
            let message = if number % 3 == 0 || known == 0 {
                self.add()
            } else {
                self.rng.usize(known.saturating_sub(RECENT)..known)
            };
            self.say(&mut batch, message, None)?;
        }
        Ok(batch)
    }

    /// One notification about each of so many new messages.
    pub(crate) fn fresh(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count);
        for _ in 0..count {
            let message = self.add();
            self.say(&mut batch, message, None)?;
        }
        Ok(batch)
    }

    /// Three notifications about each of so many new messages, others in between.
    pub(crate) fn thrice(&mut self, count: usize) -> Result<Batch> {
        let mut batch = Batch::with_capacity(count * 3);
        let first = self.ids.len();
        let statuses = [Status::ProviderAcceptance, Status::Sent, Status::Delivered];
        for number in 0..count + 2 * LAG {
            if number < count {
                self.add();
            }
            for (status, lag) in statuses.into_iter().zip([0, LAG, 2 * LAG]) {
                if let Some(message) = number.checked_sub(lag).filter(|number| *number < count) {
                    self.say(&mut batch, first + message, Some(status))?;
                }
            }
        }
        Ok(batch)
    }

    /// The destination of a message.
    pub(crate) fn destination(&self, message: usize) -> String {
        format!("+39333{:07}", self.shared.map_or(message, |shared| message % shared))
    }

    /// The key of a message's reference.
    pub(crate) fn reference(&self, message: usize) -> String {
        format!("order-{}", self.shared.map_or(message, |shared| message % shared))
    }

    /// Takes back all but the first of the messages: of the others nothing was sent.
    pub(crate) fn forget_unsent(&mut self, sent: usize) {
        self.ids.truncate(sent);
        self.told.truncate(sent);
        self.accepted.truncate(sent);
    }

    fn add(&mut self) -> usize {
        let id = self.random_id();
        self.ids.push(id);
        self.told.push(0);
        // A moment before its first webhook.
        let before = self.rng.u64(..LONGEST);
        self.accepted.push(if self.tied { FIRST } else { FIRST + self.notifications - before });
        self.ids.len() - 1
    }

    fn random_id(&mut self) -> Uuid {
        Builder::from_random_bytes(self.rng.u128(..).to_ne_bytes()).into_uuid()
    }

    /// The next status of a message: one after the other, but each tenth SENT comes late.
    fn next(&mut self, told: u8) -> Status {
        match told {
            0 => Status::ProviderAcceptance,
            1 => Status::Sent,
            _ if self.rng.u8(..10) == 0 => Status::Sent,
            _ => Status::Delivered,
        }
    }

    fn say(&mut self, batch: &mut Batch, message: usize, status: Option<Status>) -> Result<()> {
        let told = self.told.get_mut(message).context("no such message")?;
        let before = *told;
        *told = before.saturating_add(1);
        let status = status.unwrap_or_else(|| self.next(before));
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
        batch.said.push(Said { message, status });
        Ok(())
    }

    fn body(&mut self, message: usize, status: Status) -> Result<String> {
        // A webhook is told from others by its time, as the gateway's are: a thousand come in a second.
        self.notifications += 1;
        let changed = time(FIRST + self.notifications);
        let accepted = time(*self.accepted.get(message).context("no such message")?);
        let (id, webhook, provider) = (self.id(message)?, self.random_id(), self.random_id());
        let (destination, key) = (self.destination(message), self.reference(message));
        let (word, own, code) = status.words();
        let mut body = Vec::with_capacity(LENGTH);
        write!(
            body,
            r#"{{"id":"{webhook}","webhookConfigurationId":"2b1d7c52-95a4-4f7e-8a55-0d0f3a1c9e10","type":"STATUS_UPDATE","createdAt":"{changed}","message":{{"id":"{id}","destination":"{destination}","providerAcceptanceAt":"{accepted}","statusChangedAt":"{changed}","reference":{{"service":"SHOP","action":"ORDER","key":"{key}"}},"channel":"SMS","status":"{word}","provider":{{"name":"MITTO","id":"{provider}","status":"{own}","code":"{code}"}},"sms":{{"segments":1}}}}}}"#
        )?;
        String::from_utf8(body).context("not UTF-8")
    }

    fn id(&self, message: usize) -> Result<Uuid> {
        self.ids.get(message).copied().context("no such message")
    }
}

/// This millisecond of a day, the first ten hours of which nothing happens.
fn time(millis: u64) -> String {
    let (hour, minute, second) =
        (millis / 3_600_000 % 24, millis / 60_000 % 60, millis / 1_000 % 60);
    format!("2026-02-12T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1_000)
}

impl Batch {
    fn with_capacity(count: usize) -> Self {
        Self { requests: Requests::with_capacity(count, LENGTH), said: Vec::with_capacity(count) }
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
        assert!(batch.said.iter().any(|said| said.status == Status::Delivered));
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
            let told: Vec<_> = batch.said.iter().filter(|said| said.message == message).collect();
            assert_eq!(told.len(), 3);
            assert_eq!(told[2].status, Status::Delivered);
        }
        assert_eq!(corpus.destination(13), corpus.destination(3));
    }

    #[test]
    fn a_request_is_about_as_long_as_the_room_made_for_it() {
        let batch = Corpus::new(1, None).unwrap().mixed(1).unwrap();
        let length = batch.requests.get(0).unwrap().len();
        assert!((LENGTH - 100..=LENGTH).contains(&length), "{length}");
    }
}
