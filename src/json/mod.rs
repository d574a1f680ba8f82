//! JSON: strict reading and fast writing.
//!
//! [`read`] is strict in the grammar and forgiving in texts. [`mod@write`] appends pieces to one buffer, for
//! answers, events and log lines.

pub(crate) mod read;
pub(crate) mod write;
