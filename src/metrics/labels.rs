//! The words that metrics are counted by: closed sets, and names from the configuration.

use prometheus_client::encoding::EncodeLabelSet;

use crate::message::Outcome;

/// What became of an entry of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was judged.
    Judged(Outcome),
    /// It was put aside.
    Quarantined,
    /// It says nothing about a status.
    Ignored,
}

impl Became {
    /// All there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Outcome::ALL.into_iter().map(Self::Judged).chain([Self::Quarantined, Self::Ignored])
    }

    /// The word that an answer has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Judged(outcome) => outcome.name(),
            Self::Quarantined => "quarantined",
            Self::Ignored => "ignored",
        }
    }
}

/// Why a webhook was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no proof.
    NoProof,
    /// There is one, and it is wrong.
    WrongProof,
    /// It was valid until some time ago.
    ExpiredProof,
    /// It is of a time that is too far ahead.
    Clock,
    /// It is of a time that is too long ago, and not all of what is said is stored already.
    TooOld,
    /// It is authentic, and nobody can read it.
    NotUnderstood,
    /// There is no source of this name.
    UnknownSource,
    /// The source does not use the method.
    Method,
    /// Its proof cannot read such a body.
    ContentType,
    /// The body is too large.
    TooLarge,
    /// The body did not come, or not in time.
    Body,
    /// The source has sent more than its `max_rate` allows.
    Rate,
    /// Too much is under way.
    Overloaded,
    /// More came than could be looked at.
    Shed,
    /// The service is shutting down.
    Closing,
    /// The commit took too long.
    Slow,
    /// The store did not take it.
    Store,
}

impl Cause {
    pub(super) const ALL: [Self; 17] = [
        Self::NoProof,
        Self::WrongProof,
        Self::ExpiredProof,
        Self::Clock,
        Self::TooOld,
        Self::NotUnderstood,
        Self::UnknownSource,
        Self::Method,
        Self::ContentType,
        Self::TooLarge,
        Self::Body,
        Self::Rate,
        Self::Overloaded,
        Self::Shed,
        Self::Closing,
        Self::Slow,
        Self::Store,
    ];

    /// The word for it in metrics and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
            Self::WrongProof => "wrong_proof",
            Self::ExpiredProof => "expired_proof",
            Self::Clock => "clock",
            Self::TooOld => "too_old",
            Self::NotUnderstood => "not_understood",
            Self::UnknownSource => "unknown_source",
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::TooLarge => "too_large",
            Self::Body => "body",
            Self::Rate => "rate",
            Self::Overloaded => "overloaded",
            Self::Shed => "shed",
            Self::Closing => "closing",
            Self::Slow => "slow",
            Self::Store => "store",
        }
    }

    /// Whether it is found before it is known whether there is such a source.
    pub(super) fn needs_no_source(self) -> bool {
        matches!(self, Self::UnknownSource | Self::Overloaded | Self::Shed | Self::Closing)
    }

    /// Whether it is found of a webhook for a source that there is.
    pub(super) fn needs_source(self) -> bool {
        !matches!(self, Self::UnknownSource | Self::Shed)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfSource {
    pub(super) source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfOutcome {
    pub(super) source: String,
    pub(super) outcome: &'static str,
}

/// Of no source it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfCause {
    pub(super) source: String,
    pub(super) cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfSecret {
    pub(super) source: String,
    pub(super) secret: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    pub(super) route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteAndStatus {
    pub(super) route: &'static str,
    pub(super) status: u16,
}
