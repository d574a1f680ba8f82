//! A durable local mirror of the delivery statuses of SMS and RCS messages.
//!
//! Modules in the order in which they are best read, each knowing only those above it; see
//! `ARCHITECTURE.md` for the map.

pub mod message;

pub mod clock;
mod json;
pub mod memory_budget;
pub mod payload;

pub mod metrics;

pub mod store;
pub mod verify;

pub mod dialect;

#[cfg(feature = "sqlite")]
pub mod diagnosis;
pub mod ingest;

pub mod access;
pub mod admin;
pub mod http;

#[cfg(feature = "sqlite")]
pub mod config;
#[cfg(feature = "sqlite")]
pub mod simulator;

#[cfg(feature = "sqlite")]
pub mod cli;

#[cfg(test)]
mod openapi;
