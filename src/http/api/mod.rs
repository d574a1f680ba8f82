//! Routes under `/api`: the gateway's three queries, and routes of our own.
//!
//! [`route`] parses the path, [`mod@answer`] finds the caller and calls one of the handlers: [`messages`] (the three
//! queries), [`long_poll`], [`history`], [`search`], its CSV [`export`], [`events`], [`registration`].
//! [`params`] parses the parts of paths and queries, [`cursor`] the place where the next page begins.

pub(crate) mod answer;
pub(crate) mod cursor;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod long_poll;
pub(crate) mod messages;
pub(crate) mod params;
pub(crate) mod registration;
pub(crate) mod route;
pub(crate) mod search;
pub(crate) mod search_query;
