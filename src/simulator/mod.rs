//! Simulator: a gateway and an application in one.
//!
//! [`plan`] draws random messages with their statuses. [`mod@run`] posts them to a running server, shuffled,
//! repeated, and some forged or broken, then reads every message back through the three queries and compares
//! it with the plan.

pub(crate) mod plan;
pub(crate) mod random;
pub(crate) mod run;

pub use self::run::{Options, Report, Times, run};
