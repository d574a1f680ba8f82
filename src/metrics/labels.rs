//! Metric labels: closed sets, and names from the configuration.

use prometheus_client::encoding::EncodeLabelSet;

use crate::message::Outcome;

/// Prefix of every metric name.
pub const PREFIX: &str = "statusmirror";

/// Outcome of one entry of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    /// Judged against its message, with this outcome.
    Judged(Outcome),
    /// Quarantined.
    Quarantined,
    /// Ignored: states no message status.
    Ignored,
}

impl EntryOutcome {
    /// All outcomes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Outcome::ALL.into_iter().map(Self::Judged).chain([Self::Quarantined, Self::Ignored])
    }

    /// Name of the outcome in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Judged(outcome) => outcome.name(),
            Self::Quarantined => "quarantined",
            Self::Ignored => "ignored",
        }
    }
}

/// Reason for rejecting a webhook or an API request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// No credential.
    NoCredential,
    /// Wrong credential.
    WrongCredential,
    /// Expired credential.
    ExpiredCredential,
    /// Signed time too far in the future.
    Clock,
    /// Signed time too old, and not all of the delivery is stored already.
    TooOld,
    /// Verified, but the payload could not be parsed.
    NotUnderstood,
    /// Malformed: invalid `Host`, or undecodable path.
    Malformed,
    /// No source of this name.
    UnknownSource,
    /// Method that the source does not use.
    Method,
    /// Content type whose bodies the source's verification cannot read.
    ContentType,
    /// Body too large.
    TooLarge,
    /// Body missing, or not received in time.
    Body,
    /// Source exceeded its `max_rate`.
    Rate,
    /// Too many deliveries under way.
    Overloaded,
    /// Shed: more requests came than the service can look at.
    Shed,
    /// Service shutting down.
    Closing,
    /// Commit timed out.
    Slow,
    /// Database error.
    Store,
    /// API key without the scope that the request needs.
    MissingScope,
    /// Too many failed attempts from this client.
    TooManyAttempts,
}

impl RejectReason {
    pub(crate) const ALL: [Self; 20] = [
        Self::NoCredential,
        Self::WrongCredential,
        Self::ExpiredCredential,
        Self::Clock,
        Self::TooOld,
        Self::NotUnderstood,
        Self::Malformed,
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
        Self::MissingScope,
        Self::TooManyAttempts,
    ];

    /// Name of the reason in metrics and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::WrongCredential => "wrong_credential",
            Self::ExpiredCredential => "expired_credential",
            Self::Clock => "clock",
            Self::TooOld => "too_old",
            Self::NotUnderstood => "not_understood",
            Self::Malformed => "malformed",
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
            Self::MissingScope => "missing_scope",
            Self::TooManyAttempts => "too_many_attempts",
        }
    }

    /// Whether a webhook can be rejected for this reason before its source is known.
    pub(crate) fn applies_without_source(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::UnknownSource | Self::Overloaded | Self::Shed | Self::Closing
        )
    }

    /// Whether a webhook of an existing source can be rejected for this reason.
    pub(crate) fn applies_to_source(self) -> bool {
        !matches!(
            self,
            Self::Malformed
                | Self::UnknownSource
                | Self::Shed
                | Self::MissingScope
                | Self::TooManyAttempts
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SourceLabels {
    pub(crate) source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) source: String,
    pub(crate) outcome: &'static str,
}

/// Source and reason; the source is empty while none is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    pub(crate) source: String,
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SecretLabels {
    pub(crate) source: String,
    pub(crate) secret: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub(crate) route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteStatusLabels {
    pub(crate) route: &'static str,
    pub(crate) status: u16,
}
