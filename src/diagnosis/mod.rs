//! Diagnosis of a captured webhook: the server's steps one by one, and the finding if one of them rejects it.
//!
//! The diagnosis calls `Source::admit`, `Source::verify` and `Source::read`, as the server does, and has no
//! rules of its own. [`finding`] searches for the cause: [`tampering`] changes one thing in the request at a
//! time, and the scheme variants of `verify` change one setting at a time. A [`report`] shows no secret, and at
//! most the first characters of a credential.

pub(crate) mod captured_request;
pub(crate) mod finding;
pub(crate) mod report;
pub(crate) mod steps;
pub(crate) mod tampering;

pub use self::captured_request::{CapturedRequest, NotARequest};
pub(crate) use self::finding::describe_duration;
pub use self::report::{Diagnosis, Found, Step};
pub use self::steps::diagnose;
