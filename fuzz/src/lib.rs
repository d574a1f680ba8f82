//! What the fuzz targets have in common.
//!
//! Every input is written like an HTTP request, so that a seed can be read and written by hand:
//! method and address, header lines, an empty line, the body. Any bytes are an input.

pub mod json;
pub mod memory;
pub mod mutate;
pub mod proof;
pub mod request;
