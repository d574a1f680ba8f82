//! A durable local mirror of message statuses.
pub mod message;
