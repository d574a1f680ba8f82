//! Routes under `/api`: the gateway's three queries, and routes of our own.
//!
//! [`route`] finds the caller and the route, then calls one of the handlers: [`messages`] (the three
//! queries), [`long_poll`], [`history`], [`search`] and its CSV [`export`], [`events`], [`registration`].
//! [`params`] parses paths and queries, [`cursor`] the place where the next page begins.

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
