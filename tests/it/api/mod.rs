//! The query API: messages, history, lists, events, registration, and access to them.

mod access;
mod auth_limiter;
mod cache_headers;
mod events;
mod gateway_queries;
mod long_histories;
mod long_poll;
mod message_list;
mod openapi;
mod read_consistency;
mod registration;
mod response_framing;
mod stale_cursors;
