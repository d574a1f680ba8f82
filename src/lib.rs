//! A durable local mirror of the delivery statuses of SMS and RCS messages.
//!
//! Modules in the order in which they are best read, each knowing only those above it; see
//! `ARCHITECTURE.md` for the map.

pub mod budget;
pub mod content;
mod json;
pub mod message;

pub mod metrics;

pub mod clock;
pub mod proof;
pub mod store;

pub mod dialect;

pub mod ingest;

pub mod admin;
pub mod http;

#[cfg(feature = "sqlite")]
pub mod cli;
#[cfg(feature = "sqlite")]
pub mod config;
#[cfg(feature = "sqlite")]
pub mod diagnosis;
#[cfg(feature = "sqlite")]
pub mod simulate;
