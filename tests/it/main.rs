//! The service through its public face: the real program, a real file, real HTTP.

#![cfg(test)]

mod answers;
mod convergence;
mod outcomes;
mod support;
