//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod backup;
mod canaries;
mod captured;
mod cli;
mod client;
mod clock;
mod configuration;
mod convergence;
mod crash_states;
mod crowd;
mod damage;
mod disk;
mod doctor;
mod documents;
mod door;
mod durability;
mod events;
mod failing_disk;
mod faults;
mod flips;
mod folding;
mod kill_points;
mod limits;
mod log;
mod logged_life;
mod logging_vfs;
mod metrics;
mod migration;
mod openapi;
<<<<<<< HEAD
mod openapi_document;
=======
#[cfg(feature = "otlp")]
mod otlp;
>>>>>>> 7ecb290 (Each request as a span, for who collects traces (feature `otlp`))
mod outcomes;
mod posting;
mod power;
mod power_cut;
mod pressure;
mod proofs;
mod queries;
mod readme;
mod registration;
mod reload;
mod removal;
mod restart;
mod sender;
mod serving;
mod store_laws;
mod store_model;
mod support;
mod truth;
mod twilio;
mod vectors;
mod verify;
mod waiting;
