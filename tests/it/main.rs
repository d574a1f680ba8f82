//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod cli;
mod client;
mod configuration;
mod convergence;
mod crash_states;
mod disk;
mod durability;
mod faults;
mod logged_life;
mod logging_vfs;
mod outcomes;
mod power_cut;
mod proofs;
mod queries;
mod readme;
mod registration;
mod store_laws;
mod support;
mod twilio;
mod vectors;
