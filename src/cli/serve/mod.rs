//! `statusmirror serve`.
//!
//! [`mod@run`] starts the server, waits for a signal or a failure, and shuts the server down. [`start_summary`] is
//! printed on a terminal once the server listens. [`retention`] removes old messages once a day.

pub(crate) mod retention;
pub(crate) mod run;
pub(crate) mod start_summary;

pub(crate) use self::run::{Runtime, run};
