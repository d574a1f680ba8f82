//! The words a gateway uses: six statuses, in their order of precedence, and two channels.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What became of a message. A later variant beats an earlier one: evidence of delivery beats a
/// report of failure, because a handset's receipt cannot be undone, while failures are often
/// time-outs that a late receipt corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The provider took the request.
    ProviderAcceptance,
    /// The provider sent it on.
    Sent,
    /// The provider refused it: it was never sent.
    Rejected,
    /// It was sent and did not arrive.
    Undelivered,
    /// The handset has it.
    Delivered,
    /// The recipient has read it (RCS only).
    Read,
}

/// The way a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A text message.
    Sms,
    /// A rich text message.
    Rcs,
}

/// A word that is none of the gateway's.
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

    /// Whether nothing more is to be expected: what comes later may still correct it, but need not come.
    pub fn is_final(self) -> bool {
        match self {
            Self::ProviderAcceptance | Self::Sent => false,
            Self::Rejected | Self::Undelivered | Self::Delivered | Self::Read => true,
        }
    }

    /// Whether it is evidence of delivery, where a failure was reported before.
    pub fn corrects(self, previous: Self) -> bool {
        matches!(previous, Self::Rejected | Self::Undelivered)
            && matches!(self, Self::Delivered | Self::Read)
    }

    /// Whether both cannot be true of one message: REJECTED means that it was never sent, and
    /// UNDELIVERED and DELIVERED exclude each other.
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
