//! Routes for operators: probes, metrics and the API's documentation.
//!
//! [`health`] answers the probes. [`mod@metrics`] renders the counters in the format that [`metrics_format`]
//! negotiates. [`docs`] serves the OpenAPI document and its page, from [`static_files`].

pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod metrics_format;
pub(crate) mod metrics_text;
pub(crate) mod static_files;

pub(crate) use self::metrics::show;
