//! Rules of the page, without HTTP and HTML.
//!
//! [`explanation`] writes the sentences that a supporter reads: what happened to a message, and what to do.

pub(crate) mod chart;
pub(crate) mod chart_window;
pub(crate) mod delivery_times;
pub(crate) mod explanation;
#[cfg(test)]
pub(crate) mod explanation_tests;
pub(crate) mod outcome_words;
pub(crate) mod search_input;
pub(crate) mod timeline;
