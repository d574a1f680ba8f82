//! The gateway's words: six statuses, in their order of precedence, and two channels.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Status of a message. A later variant beats an earlier one: evidence of delivery beats a report of failure,
/// because a handset's receipt cannot be undone, while failures are often time-outs that a late receipt
/// corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The provider accepted the message.
    ProviderAcceptance,
    /// The provider sent the message on.
    Sent,
    /// The provider rejected the message: it was never sent.
    Rejected,
    /// The message was sent and did not arrive.
    Undelivered,
    /// The handset received the message.
    Delivered,
    /// The recipient read the message (RCS only).
    Read,
}

/// Channel of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// SMS: a plain text message.
    Sms,
    /// RCS: a rich text message.
    Rcs,
}

/// Error: a word that the gateway does not use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(pub String);

impl Status {
    /// All statuses, lowest first.
    pub const ALL: [Self; 6] = [
        Self::ProviderAcceptance,
        Self::Sent,
        Self::Rejected,
        Self::Undelivered,
        Self::Delivered,
        Self::Read,
    ];

    /// The gateway's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProviderAcceptance => "PROVIDER_ACCEPTANCE",
            Self::Sent => "SENT",
            Self::Rejected => "REJECTED",
            Self::Undelivered => "UNDELIVERED",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
        }
    }

    /// Whether the status is final. A later notification may still correct it, but none needs to come.
    pub fn is_final(self) -> bool {
        match self {
            Self::ProviderAcceptance | Self::Sent => false,
            Self::Rejected | Self::Undelivered | Self::Delivered | Self::Read => true,
        }
    }

    /// Whether this status is evidence of delivery after a reported failure.
    pub fn corrects(self, previous: Self) -> bool {
        matches!(previous, Self::Rejected | Self::Undelivered)
            && matches!(self, Self::Delivered | Self::Read)
    }

    /// Whether the two statuses cannot both be true of one message: REJECTED means that it was never sent,
    /// and UNDELIVERED and DELIVERED exclude each other.
    pub fn contradicts(self, other: Self) -> bool {
        use Status::{Delivered, Read, Rejected, Sent, Undelivered};
        matches!(
            (self.min(other), self.max(other)),
            (Sent, Rejected)
                | (Rejected, Undelivered | Delivered | Read)
                | (Undelivered, Delivered | Read)
        )
    }
}

impl Channel {
    /// Both channels.
    pub const ALL: [Self; 2] = [Self::Sms, Self::Rcs];

    /// The gateway's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Rcs => "RCS",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl FromStr for Channel {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.name() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
