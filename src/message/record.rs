//! Record of a message: the join of all valid notifications of it.
//!
//! A [`Record`] is made of registers that each keep the smaller of two values. One notification makes a
//! record of its own ([`Record::of`]), and two records make a third ([`Record::merge`]). Merging is
//! commutative, associative and idempotent, so neither the order nor the repetition of notifications shows in
//! the result. The outcome of a delivery *when it arrived* does depend on the order; [`Record::judge`]
//! computes it, and it is not part of the record.

use std::cmp::Ordering;

use super::id::{Destination, Identity, MessageId};
use super::notification::{Kind, Notification};
use super::provider::Provider;
use super::reference::Reference;
use super::status::{Channel, Status};
use super::timestamp::Timestamp;
use super::view::Shown;

/// Strength of a claim, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Stated by the sender, about destination and reference.
    Registered,
    /// Reported with a time.
    Stated,
    /// Reported without a time.
    Unstated,
}

/// Order among all claims to one member of the record; the smallest wins.
///
/// Notifications are ordered: a stated time before none, then by time, then by identity. A registration's
/// claims to destination and reference come before all others, the latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Strength of the claim.
    pub tier: Tier,
    /// For a stated claim the stated time in microseconds; for a registration the arrival, negated; otherwise
    /// zero.
    pub at: i64,
    /// Identity of the notification that makes the claim.
    pub identity: Identity,
}

impl Rank {
    fn by_stated_time(notification: &Notification) -> Self {
        let identity = notification.identity();
        match notification.statement().stated_at {
            Some(time) => Self { tier: Tier::Stated, at: time.micros(), identity },
            None => Self { tier: Tier::Unstated, at: 0, identity },
        }
    }

    /// Stated time of the status that has this rank, if a time was stated.
    pub fn stated_at(self) -> Option<Timestamp> {
        match self.tier {
            Tier::Stated => Timestamp::from_micros(self.at),
            Tier::Registered | Tier::Unstated => None,
        }
    }

    fn for_sender_claims(notification: &Notification, arrived_at: Timestamp) -> Self {
        match notification.statement().kind {
            Kind::Report => Self::by_stated_time(notification),
            Kind::Registration => Self {
                tier: Tier::Registered,
                at: -arrived_at.micros(),
                identity: notification.identity(),
            },
        }
    }
}

/// A value with its rank. Of two claims the smaller is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim<T> {
    /// Rank of the claim.
    pub rank: Rank,
    /// Claimed value.
    pub value: T,
}

/// Times from which the acceptance of a message is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AcceptanceTimes {
    /// The earliest acceptance time stated.
    pub accepted: Option<Timestamp>,
    /// The earliest stated time of any status.
    pub stated: Option<Timestamp>,
    /// The earliest arrival of a notification.
    pub arrived: Timestamp,
}

impl AcceptanceTimes {
    /// Time at which the provider accepted the message: the stated one, or else the earliest stated time of
    /// any status, or else the earliest arrival.
    pub fn accepted_at(&self) -> Timestamp {
        self.accepted.or(self.stated).unwrap_or(self.arrived)
    }
}

/// Record: the current state of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The highest status validly stated.
    pub status: Status,
    /// Channel and provider, as stated by the first notification of that status.
    pub status_claim: Claim<(Channel, Provider)>,
    /// The earliest arrival of a notification of that status.
    pub status_arrived_at: Timestamp,
    /// Times from which the acceptance of the message is derived.
    pub acceptance: AcceptanceTimes,
    /// Destination, if stated.
    pub destination: Option<Claim<Destination>>,
    /// The client's reference, if stated; never an empty one.
    pub reference: Option<Claim<Reference>>,
    /// Number of SMS segments, if stated.
    pub segments: Option<Claim<u32>>,
}

/// Outcome of a delivery when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The same notification is stored already.
    Duplicate,
    /// The notification states something impossible; it never counts.
    Invalid,
    /// The notification contradicts the record's status, and may have changed it.
    Conflict,
    /// The notification changed the record.
    Applied,
    /// The notification changed nothing in the record.
    Superseded,
}

/// Result of judging a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Outcome of the delivery.
    pub outcome: Outcome,
    /// Record afterwards; none if the message has no valid notification.
    pub record: Option<Record>,
    /// Whether the record shows anything different from before.
    pub changed: bool,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Duplicate, Self::Invalid, Self::Conflict, Self::Applied, Self::Superseded];

    /// The word for the outcome in responses and in the history.
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
    /// Record made from one notification; none if the notification is invalid.
    pub fn of(notification: &Notification, arrived_at: Timestamp) -> Option<Self> {
        if !notification.is_valid() {
            return None;
        }
        let statement = notification.statement();
        let stated_rank = Rank::by_stated_time(notification);
        let sender_rank = Rank::for_sender_claims(notification, arrived_at);
        let reference = notification.reference();
        Some(Self {
            status: statement.status,
            status_claim: Claim {
                rank: stated_rank,
                value: (statement.channel, notification.provider().clone()),
            },
            status_arrived_at: arrived_at,
            acceptance: AcceptanceTimes {
                accepted: statement.accepted_at,
                stated: statement.stated_at,
                arrived: arrived_at,
            },
            destination: statement.destination.map(|value| Claim { rank: sender_rank, value }),
            reference: (!reference.is_empty())
                .then(|| Claim { rank: sender_rank, value: reference.clone() }),
            segments: statement.segments.map(|value| Claim { rank: stated_rank, value }),
        })
    }

    /// Merges two records.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (status, status_claim, status_arrived_at) = match self.status.cmp(&other.status) {
            Ordering::Greater => (self.status, self.status_claim, self.status_arrived_at),
            Ordering::Less => (other.status, other.status_claim, other.status_arrived_at),
            Ordering::Equal => (
                self.status,
                self.status_claim.min(other.status_claim),
                self.status_arrived_at.min(other.status_arrived_at),
            ),
        };
        Self {
            status,
            status_claim,
            status_arrived_at,
            acceptance: AcceptanceTimes {
                accepted: smaller(self.acceptance.accepted, other.acceptance.accepted),
                stated: smaller(self.acceptance.stated, other.acceptance.stated),
                arrived: self.acceptance.arrived.min(other.acceptance.arrived),
            },
            destination: smaller(self.destination, other.destination),
            reference: smaller(self.reference, other.reference),
            segments: smaller(self.segments, other.segments),
        }
    }

    /// Judges a notification that arrives now. `before` is the current record; `stored` says whether the same
    /// notification is stored already.
    ///
    /// A repeated registration renews its arrival, so that the last one always wins.
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
        let changed = !after.shows_same_values(before);
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

    /// Time at which the message reached its status: the stated one, or else the earliest arrival of that
    /// status.
    pub fn status_changed_at(&self) -> Timestamp {
        self.status_claim.rank.stated_at().unwrap_or(self.status_arrived_at)
    }

    /// Time at which the provider accepted the message.
    pub fn accepted_at(&self) -> Timestamp {
        self.acceptance.accepted_at()
    }

    /// Channel of the message.
    pub fn channel(&self) -> Channel {
        self.status_claim.value.0
    }

    /// The aggregator behind the gateway.
    pub fn provider(&self) -> &Provider {
        &self.status_claim.value.1
    }

    /// View of the record, for the message with this id.
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

    /// Whether both records show the same values, so that going from one to the other is no change.
    pub fn shows_same_values(&self, other: &Self) -> bool {
        fn value<T>(claim: Option<&Claim<T>>) -> Option<&T> {
            claim.map(|claim| &claim.value)
        }
        self.status == other.status
            && self.status_claim.value == other.status_claim.value
            && self.status_changed_at() == other.status_changed_at()
            && self.accepted_at() == other.accepted_at()
            && value(self.destination.as_ref()) == value(other.destination.as_ref())
            && value(self.reference.as_ref()) == value(other.reference.as_ref())
            && value(self.segments.as_ref()) == value(other.segments.as_ref())
    }
}

/// The smaller of two optional values; a missing value loses.
fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
