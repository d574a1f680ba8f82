//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod canaries;
mod cli;
mod client;
mod configuration;
mod convergence;
mod disk;
mod door;
mod durability;
mod faults;
mod flips;
mod limits;
mod outcomes;
mod proofs;
mod queries;
mod readme;
mod registration;
mod reload;
mod store_laws;
mod support;
mod twilio;
mod vectors;
