//! Helpers of the tests of stores.

pub(crate) mod deliveries;
pub(crate) mod ingest_service;
pub(crate) mod logged_run;
pub(crate) mod model;
pub(crate) mod notifications;
pub(crate) mod opened;
pub(crate) mod search_check;
