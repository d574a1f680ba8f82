//! JSON: strict reading and fast writing.
//!
//! [`read`] is strict in the grammar and forgiving in texts. [`mod@write`] appends pieces to one buffer.

pub(crate) mod read;
pub(crate) mod write;
