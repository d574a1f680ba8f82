//! Dialects: the callback formats of providers, read into statements of the domain.
//!
//! [`contract`] is the trait, and [`catalog`] the table of all dialects. A dialect is one file beside
//! [`gateway`]: the methods and bodies it takes, its own signature if it has one, and how one delivery
//! becomes statements. It knows neither stores nor HTTP types. [`source`] is a configured sender: its
//! dialect, its verification scheme, and what all dialects have in common (ids, the parameters of the
//! callback URL, defaults).
//!
//! To add a dialect: a file beside `gateway.rs`, and a line in `catalog::ALL`.
//!
//! A dialect is a trait object: each provider is one file, and the steps common to all dialects are in
//! [`source`].

pub(crate) mod callback_params;
pub(crate) mod catalog;
pub(crate) mod contract;
pub(crate) mod gateway;
pub(crate) mod parse;
pub(crate) mod rate_limit;
pub(crate) mod registry;
pub(crate) mod source;
pub(crate) mod twilio;

pub use self::catalog::{ALL, by_name};
pub use self::contract::{
    DecodeError, Dialect, Entry, EntryStatement, Name, NativeSignature, NoStatement, ReadEntry,
    query_without_credentials,
};
pub use self::registry::Sources;
pub use self::source::{HeadRejection, Settings, Source, SourceError, is_encoded, is_name};
