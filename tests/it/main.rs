//! The service through its public interface: the real program, a real file, real HTTP.

#![cfg(test)]

mod api;
mod configuration;
mod durability;
mod load;
mod ops;
mod repo;
mod store;
mod support;
mod ui;
mod webhook;
