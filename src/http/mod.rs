//! HTTP: routes, limits, and the server.
//!
//! This is the only layer that knows the web framework, status codes and JSON. A request passes, in order:
//! [`connection`] (the loop around the framework's codec) · [`front`] (checks of every request, whatever its
//! route) · [`shedding`] (503 for webhooks while the worker is late) · [`server`]'s routes · [`webhook`],
//! [`api`], [`ops`] or [`ui`]. [`auth`] finds the caller's key, [`problem`] renders every error,
//! [`request_log`] writes the request's line.
//!
//! # Under overload, a late worker rejects webhooks
//!
//! The semaphore of `ingest` bounds the deliveries that wait for the writer. Most deliveries wait in sockets
//! instead, for a worker that reads them later and later because it accepts all that it can. A worker that
//! stays late rejects webhooks at once, before any other work, until it is on time again ([`shedding`]). A
//! burst is accepted whole, and so are webhooks that come a few at a time.
//!
//! A [`path`] is normalized once, before routes, load shedding and the log use it.

pub(crate) mod api;
pub mod app_state;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod concurrency_limit;
pub(crate) mod connection;
pub(crate) mod front;
pub(crate) mod keyed;
pub(crate) mod ops;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod render;
pub(crate) mod request_log;
pub(crate) mod server;
pub(crate) mod shedding;
pub(crate) mod ui;
pub(crate) mod webhook;

pub use self::server::{Connections, Listeners, Routes, all, app, servers};
