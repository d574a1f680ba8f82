//! `statusmirror doctor`: checks of an installation, seen from outside.
//!
//! Changes nothing: test deliveries are ignored entries, and the lock is only inspected. [`files`] checks the
//! database and its folder, [`reach`] the running server.
//!
//! TLS is used only by `doctor` and towards a trace collector, with the machine's trusted certificates:
//! `doctor` must reach what senders reach. The holder of the lock is read in `/proc/locks`, since trying the
//! lock would keep a server from starting meanwhile.

pub(crate) mod files;
pub(crate) mod reach;
pub(crate) mod report;
pub(crate) mod run;

pub(crate) use self::run::run;
