//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod architecture;
mod convergence;
mod outcomes;
mod queries;
mod registration;
mod support;
mod vectors;
