//! Messages as bytes: the gateway's JSON, and CSV.
//!
//! [`message_json`] writes exactly the members of the gateway's own answers, in their order. [`csv`] writes
//! RFC 4180, and [`formula_guard`] keeps a spreadsheet from taking text for a formula.

pub(crate) mod csv;
pub(crate) mod formula_guard;
pub(crate) mod message_json;

pub(crate) use self::csv::Csv;
