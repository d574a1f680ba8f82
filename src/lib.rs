//! A durable local mirror of message statuses.
pub mod content;
pub mod message;
pub mod store;
