//! OpenAPI document at `/openapi.json`, generated from the code by a test.
//!
//! The test compares the result with `docs/openapi.json`, which the program serves, so the server contains
//! neither the generator nor its library. The tests in `tests/it` and `scripts/acceptance/schemathesis`
//! compare the responses of a real server with the document.

pub(crate) mod document;
pub(crate) mod examples;
pub(crate) mod operation;
pub(crate) mod operations;
pub(crate) mod pages;
pub(crate) mod parameters;
pub(crate) mod registration;
pub(crate) mod schemas;
pub(crate) mod search;
pub(crate) mod service;
