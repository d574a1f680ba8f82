//! Commands on the database: through the socket of a running server, or on the file if none runs.
//!
//! [`command`] has their arguments and calls them.

pub(crate) mod command;
pub(crate) mod quarantine;
pub(crate) mod restore;
pub(crate) mod upkeep;
