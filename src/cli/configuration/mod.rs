//! Commands about the configuration: write one, check it, print the settings in effect.

pub(crate) mod check;
pub(crate) mod init;
pub(crate) mod print;
