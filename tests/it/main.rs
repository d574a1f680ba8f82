//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod cli;
mod client;
mod clock;
mod configuration;
mod convergence;
mod crowd;
mod disk;
mod durability;
mod faults;
mod kill_points;
mod outcomes;
mod posting;
mod power;
mod pressure;
mod proofs;
mod queries;
mod readme;
mod registration;
mod restart;
mod store_laws;
mod support;
mod truth;
mod twilio;
mod vectors;
