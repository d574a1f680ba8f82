//! Meaning of outcomes and rejections on the page, and the remedy for each.

use crate::message::Outcome;
use crate::metrics::{EntryOutcome, RejectReason};

/// Name of an outcome on the page, and its meaning.
pub(crate) fn meaning(outcome: EntryOutcome) -> (&'static str, &'static str) {
    match outcome {
        EntryOutcome::Judged(Outcome::Applied) => ("New", "changed what is known of a message"),
        EntryOutcome::Judged(Outcome::Duplicate) => {
            ("Duplicate", "the same was known already: a retry")
        }
        EntryOutcome::Judged(Outcome::Superseded) => ("Late", "as much or more was known already"),
        EntryOutcome::Judged(Outcome::Conflict) => {
            ("Conflict", "contradicts what was reported before")
        }
        EntryOutcome::Judged(Outcome::Invalid) => {
            ("Invalid", "an SMS reported as read, which cannot be known")
        }
        EntryOutcome::Quarantined => ("Quarantined", "not understood; see below"),
        EntryOutcome::Ignored => ("Ignored", "is not about a status"),
    }
}

/// Place of an outcome among all on the page.
pub(crate) fn rank(outcome: EntryOutcome) -> usize {
    match outcome {
        EntryOutcome::Judged(Outcome::Applied) => 0,
        EntryOutcome::Judged(Outcome::Duplicate) => 1,
        EntryOutcome::Judged(Outcome::Superseded) => 2,
        EntryOutcome::Judged(Outcome::Conflict) => 3,
        EntryOutcome::Judged(Outcome::Invalid) => 4,
        EntryOutcome::Ignored => 5,
        EntryOutcome::Quarantined => 6,
    }
}

/// Reason for the rejection of a webhook in words, and what to do; `None` for a reason that only concerns API
/// requests.
pub(crate) fn remedy(reason: RejectReason) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        RejectReason::NoCredential => {
            ("without a credential", "Give the sender the whole callback URL, or have it sign.")
        }
        RejectReason::WrongCredential => (
            "with a wrong credential",
            "Compare the secret on both sides, and the public URL; or somebody tries. “statusmirror verify” \
             says what is wrong with a captured request.",
        ),
        RejectReason::ExpiredCredential => (
            "with an expired credential",
            "Hand out a new callback URL: “statusmirror callback-url”.",
        ),
        RejectReason::Clock => {
            ("signed in the future", "Set the clocks: the sender’s or this machine’s is wrong.")
        }
        RejectReason::TooOld => (
            "signed too long ago",
            "Set the clocks; if the sender retries for longer, raise “max_age_seconds” of the source.",
        ),
        RejectReason::NotUnderstood => (
            "authentic, but unreadable",
            "Look into the quarantine, and check the source’s “dialect”.",
        ),
        RejectReason::Malformed => (
            "whose host or path cannot be read",
            "Correct the callback URL, and the proxy in between.",
        ),
        RejectReason::UnknownSource => {
            ("for a source that is not configured", "Correct the callback URL, or add the source.")
        }
        RejectReason::Method => {
            ("with a method that the source does not use", "Correct the sender’s settings.")
        }
        RejectReason::ContentType => (
            "with a content type that its verification cannot read",
            "Correct the sender’s settings.",
        ),
        RejectReason::TooLarge => (
            "with too large a body",
            "If such bodies are right, raise “max_body_bytes” of the source.",
        ),
        RejectReason::Body => {
            ("whose body did not come in time", "Look at the network and the proxy in between.")
        }
        RejectReason::Rate => (
            "beyond the source’s “max_rate”",
            "If the sender is right to send so much, raise “max_rate” of the source; else hand out new \
             callback URLs.",
        ),
        RejectReason::Overloaded | RejectReason::Shed => (
            "because too much was under way",
            "The sender tries again. If it goes on, give this machine a faster disk or more cores.",
        ),
        RejectReason::Closing => {
            ("because the service was stopping", "The sender tries again: nothing to do.")
        }
        RejectReason::Slow => {
            ("because storing took too long", "Look at the disk: the sender tries again.")
        }
        RejectReason::Store => {
            ("because the delivery was not stored", "Look at the log and at the disk’s space.")
        }
        RejectReason::MissingScope | RejectReason::TooManyAttempts => return None,
    })
}
