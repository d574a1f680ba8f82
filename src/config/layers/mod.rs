//! Layers of the configuration as text: found, read, merged, and with the origin of each key.
//!
//! [`locate`] finds the file, [`regular_file`] reads it, [`written_file`] parses it, [`mod@read`] merges the
//! layers into [`raw`] settings, and [`provenance`] knows which layer sets each key.

pub(crate) mod locate;
pub(crate) mod provenance;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod regular_file;
pub(crate) mod written_file;
