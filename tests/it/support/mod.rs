//! Helpers of all tests: a server per test, its clients, faults, and models of the store.

pub(crate) mod backups;
pub(crate) mod canaries;
pub(crate) mod captured_requests;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod openapi_document;
pub(crate) mod posted_deliveries;
mod process;
mod server;
pub(crate) mod store;
pub(crate) mod unconfigured_server;
pub(crate) mod webhooks;

pub(crate) use http::client::{Answer, Connection};
pub(crate) use process::*;
pub(crate) use server::*;
pub(crate) use webhooks::*;
