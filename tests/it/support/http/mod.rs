//! HTTP clients.

pub(crate) mod client;
pub(crate) mod event_client;
pub(crate) mod list_page;
pub(crate) mod raw_client;
