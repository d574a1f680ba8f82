//! What is known of a message: the join of everything validly said of it.
//!
//! A [`Record`] is made of registers that each keep the smaller of two values. One notification
//! makes a record of its own ([`Record::of`]), and two records make a third ([`Record::merge`]);
//! merging is commutative, associative and idempotent, so neither the order nor the repetition of
//! notifications can show in the result. What the outcome of a delivery was *when it arrived* does
//! depend on the order; that is [`Record::judge`], and no part of the record.

use std::cmp::Ordering;

use super::notification::{Kind, Notification};
use super::{
    Channel, Destination, Identity, MessageId, Provider, Reference, Shown, Status, Timestamp,
};

/// How strong a claim is, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The sender's own word about recipient and reference.
    Registered,
    /// Reported with a time.
    Stated,
    /// Reported without a time.
    Unstated,
}

/// Where a claim stands among all claims to one member of the record; the smallest wins.
///
/// The order of notifications is: a stated time before none, then by time, then by identity. A
/// registration's claims to recipient and reference come before all others, the latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// How strong the claim is.
    pub tier: Tier,
    /// Stated: the stated time, in microseconds. Registered: the arrival, negated. Else zero.
    pub at: i64,
    /// Whose claim it is.
    pub identity: Identity,
}

impl Rank {
    fn in_order(notification: &Notification) -> Self {
        let identity = notification.identity();
        match notification.statement().stated_at {
            Some(time) => Self { tier: Tier::Stated, at: time.micros(), identity },
            None => Self { tier: Tier::Unstated, at: 0, identity },
        }
    }

    /// When the status came about of which this is the rank, if that was stated.
    pub fn stated_at(self) -> Option<Timestamp> {
        match self.tier {
            Tier::Stated => Timestamp::from_micros(self.at),
            Tier::Registered | Tier::Unstated => None,
        }
    }

    fn of_senders_word(notification: &Notification, arrived_at: Timestamp) -> Self {
        match notification.statement().kind {
            Kind::Report => Self::in_order(notification),
            Kind::Registration => Self {
                tier: Tier::Registered,
                at: -arrived_at.micros(),
                identity: notification.identity(),
            },
        }
    }
}

/// A value and what it is worth. Of two claims the smaller is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim<T> {
    /// What the claim is worth.
    pub rank: Rank,
    /// What is claimed.
    pub value: T,
}

/// The arrivals and times that stand for when the provider accepted the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// The earliest acceptance time stated.
    pub accepted: Option<Timestamp>,
    /// The earliest time of a status stated.
    pub stated: Option<Timestamp>,
    /// The earliest arrival of a notification.
    pub arrived: Timestamp,
}

/// What is known of a message now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The highest status validly stated.
    pub status: Status,
    /// Channel and provider, as the first notification of that status states them.
    pub at_status: Claim<(Channel, Provider)>,
    /// The earliest arrival of a notification of that status.
    pub status_arrived_at: Timestamp,
    /// When the message began.
    pub began: Arrival,
    /// The recipient.
    pub destination: Option<Claim<Destination>>,
    /// The client's reference; never an empty one.
    pub reference: Option<Claim<Reference>>,
    /// How many SMS the message took.
    pub segments: Option<Claim<u32>>,
}

/// What a delivery did when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The same notification is stored already.
    Duplicate,
    /// It states what cannot be; it never counts.
    Invalid,
    /// It contradicts the record's status, and may have moved it.
    Conflict,
    /// The record changed.
    Applied,
    /// Nothing in the record changed.
    Superseded,
}

/// An outcome and the record after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What the delivery did.
    pub outcome: Outcome,
    /// The record after it; none if nothing valid has been said of the message.
    pub record: Option<Record>,
    /// Whether the record shows anything else than before.
    pub changed: bool,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Duplicate, Self::Invalid, Self::Conflict, Self::Applied, Self::Superseded];

    /// The word for it in answers and in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Applied => "applied",
            Self::Superseded => "superseded",
        }
    }
}

impl Record {
    /// The record of a message of which only this is known; none if the notification is invalid.
    pub fn of(notification: &Notification, arrived_at: Timestamp) -> Option<Self> {
        if !notification.is_valid() {
            return None;
        }
        let said = notification.statement();
        let in_order = Rank::in_order(notification);
        let senders_word = Rank::of_senders_word(notification, arrived_at);
        let reference = notification.reference();
        Some(Self {
            status: said.status,
            at_status: Claim {
                rank: in_order,
                value: (said.channel, notification.provider().clone()),
            },
            status_arrived_at: arrived_at,
            began: Arrival {
                accepted: said.accepted_at,
                stated: said.stated_at,
                arrived: arrived_at,
            },
            destination: said.destination.map(|value| Claim { rank: senders_word, value }),
            reference: (!reference.is_empty())
                .then(|| Claim { rank: senders_word, value: reference.clone() }),
            segments: said.segments.map(|value| Claim { rank: in_order, value }),
        })
    }

    /// The record of everything that both know.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (status, at_status, status_arrived_at) = match self.status.cmp(&other.status) {
            Ordering::Greater => (self.status, self.at_status, self.status_arrived_at),
            Ordering::Less => (other.status, other.at_status, other.status_arrived_at),
            Ordering::Equal => (
                self.status,
                self.at_status.min(other.at_status),
                self.status_arrived_at.min(other.status_arrived_at),
            ),
        };
        Self {
            status,
            at_status,
            status_arrived_at,
            began: Arrival {
                accepted: smaller(self.began.accepted, other.began.accepted),
                stated: smaller(self.began.stated, other.began.stated),
                arrived: self.began.arrived.min(other.began.arrived),
            },
            destination: smaller(self.destination, other.destination),
            reference: smaller(self.reference, other.reference),
            segments: smaller(self.segments, other.segments),
        }
    }

    /// Decides what a notification does that arrives now, when `before` is what is known and
    /// `stored` says whether the same notification is stored already.
    ///
    /// A registration that is repeated renews its arrival, so that the last one always wins.
    pub fn judge(
        before: Option<&Self>,
        notification: &Notification,
        arrived_at: Timestamp,
        stored: bool,
    ) -> Judged {
        let kind = notification.statement().kind;
        if stored && kind == Kind::Report {
            return Judged { outcome: Outcome::Duplicate, record: before.cloned(), changed: false };
        }
        let Some(alone) = Self::of(notification, arrived_at) else {
            return Judged { outcome: Outcome::Invalid, record: before.cloned(), changed: false };
        };
        let Some(before) = before else {
            return Judged { outcome: Outcome::Applied, record: Some(alone), changed: true };
        };
        let contradicts = before.status.contradicts(alone.status);
        let after = before.clone().merge(alone);
        let changed = !after.shows_the_same_as(before);
        let outcome = if contradicts {
            Outcome::Conflict
        } else if changed {
            Outcome::Applied
        } else if stored {
            Outcome::Duplicate
        } else {
            Outcome::Superseded
        };
        Judged { outcome, record: Some(after), changed }
    }

    /// When the message reached its status: as stated, else the earliest arrival of that status.
    pub fn status_changed_at(&self) -> Timestamp {
        self.at_status.rank.stated_at().unwrap_or(self.status_arrived_at)
    }

    /// When the provider accepted the message: as stated, else the earliest time stated of any
    /// status, else the earliest arrival.
    pub fn accepted_at(&self) -> Timestamp {
        self.began.accepted.or(self.began.stated).unwrap_or(self.began.arrived)
    }

    /// The way the message travelled.
    pub fn channel(&self) -> Channel {
        self.at_status.value.0
    }

    /// The aggregator behind the gateway.
    pub fn provider(&self) -> &Provider {
        &self.at_status.value.1
    }

    /// What is shown of the message, which has this name.
    pub fn shown(&self, id: MessageId) -> Shown<'_> {
        let reference = self.reference.as_ref().map(|claim| claim.value.map(String::as_str));
        Shown {
            id,
            status: self.status,
            status_changed_at: self.status_changed_at(),
            accepted_at: self.accepted_at(),
            channel: self.channel(),
            destination: self.destination.as_ref().map(|claim| claim.value),
            reference: reference.unwrap_or_default(),
            provider: self.provider().map(String::as_str),
            segments: self.segments.as_ref().map(|claim| claim.value),
        }
    }

    /// Whether both show the same, so that the one follows from the other without a change.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        fn value<T>(claim: Option<&Claim<T>>) -> Option<&T> {
            claim.map(|claim| &claim.value)
        }
        self.status == other.status
            && self.at_status.value == other.at_status.value
            && self.status_changed_at() == other.status_changed_at()
            && self.accepted_at() == other.accepted_at()
            && value(self.destination.as_ref()) == value(other.destination.as_ref())
            && value(self.reference.as_ref()) == value(other.reference.as_ref())
            && value(self.segments.as_ref()) == value(other.segments.as_ref())
    }
}

/// The smaller of two values, of which either may be missing.
fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
