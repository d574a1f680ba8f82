//! What the words mean by which webhooks and their entries are counted, and what to do about them.

/// What is said of an outcome: its name here, and its meaning.
pub(super) fn became(word: &'static str) -> (&'static str, &'static str) {
    match word {
        "applied" => ("New", "changed what is known of a message"),
        "duplicate" => ("Duplicate", "the same was known already: a retry"),
        "superseded" => ("Late", "as much or more was known already"),
        "conflict" => ("Conflict", "contradicts what was reported before"),
        "invalid" => ("Invalid", "an SMS that was read, which nobody can know"),
        "quarantined" => ("Quarantined", "not understood; see below"),
        "ignored" => ("Ignored", "is not about a status"),
        other => (other, ""),
    }
}

/// The outcomes as they are listed.
const ORDER: [&str; 7] =
    ["applied", "duplicate", "superseded", "conflict", "invalid", "ignored", "quarantined"];

/// Where an outcome stands among all.
pub(super) fn place(word: &str) -> usize {
    ORDER.iter().position(|known| *known == word).unwrap_or(ORDER.len())
}

/// Why a webhook was refused, and what to do.
pub(super) fn refused(cause: &'static str) -> (&'static str, &'static str) {
    match cause {
        "no_proof" => {
            ("without a proof", "Give the sender the whole callback URL, or have it sign.")
        }
        "wrong_proof" => (
            "with a wrong proof",
            "Compare the secret on both sides, and the public URL; or somebody tries. “statusmirror verify” \
             says what is wrong with a captured request.",
        ),
        "expired_proof" => (
            "with a proof that has expired",
            "Hand out a new callback URL: “statusmirror callback-url”.",
        ),
        "clock" => {
            ("signed in the future", "Set the clocks: the sender’s or this machine’s is wrong.")
        }
        "too_old" => (
            "signed too long ago",
            "Set the clocks; if the sender retries for longer, raise “max_age” of the source.",
        ),
        "not_understood" => (
            "authentic, but unreadable",
            "Look into the quarantine, and check the source’s “dialect”.",
        ),
        "unknown_source" => {
            ("for a source that is not configured", "Correct the callback URL, or add the source.")
        }
        "method" => {
            ("with a method that the source does not use", "Correct the sender’s settings.")
        }
        "content_type" => {
            ("with a content type that its proof cannot read", "Correct the sender’s settings.")
        }
        "too_large" => (
            "with too large a body",
            "If such bodies are right, raise “max_body_bytes” of the source.",
        ),
        "body" => {
            ("whose body did not come in time", "Look at the network and the proxy in between.")
        }
        "rate" => (
            "beyond the source’s “max_rate”",
            "If the sender is right to send so much, raise “max_rate” of the source; else hand out new \
             callback URLs.",
        ),
        "overloaded" | "shed" => (
            "because too much was under way",
            "The sender tries again. If it goes on, give this machine a faster disk or more cores.",
        ),
        "closing" => ("because the service was stopping", "The sender tries again: nothing to do."),
        "slow" => ("because storing took too long", "Look at the disk: the sender tries again."),
        "store" => {
            ("because the store did not take it", "Look at the log and at the disk’s space.")
        }
        other => (other, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Timestamp;
    use crate::metrics::{Configured, Metrics};

    #[test]
    fn every_word_that_is_counted_has_a_meaning() {
        let metrics = Metrics::new(Timestamp::EPOCH);
        let source = Configured { name: "gateway", secrets: 1, changed: false };
        metrics.configure([source], Timestamp::EPOCH);
        let (sources, nobody) = metrics.health(Timestamp::EPOCH);
        for (word, _) in &sources[0].entries {
            assert!(!became(word).1.is_empty() && place(word) < ORDER.len(), "{word}");
        }
        for (cause, _) in sources[0].refused.iter().chain(&nobody) {
            assert!(!refused(cause).1.is_empty(), "{cause}");
        }
    }
}
