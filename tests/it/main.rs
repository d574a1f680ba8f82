//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod backup;
mod canaries;
mod cli;
mod client;
mod configuration;
mod convergence;
mod crash_states;
mod damage;
mod disk;
mod door;
mod durability;
mod failing_disk;
mod faults;
mod flips;
mod limits;
mod logged_life;
mod logging_vfs;
mod migration;
mod outcomes;
mod power_cut;
mod proofs;
mod queries;
mod readme;
mod registration;
mod reload;
mod removal;
mod store_laws;
mod support;
mod twilio;
mod vectors;
