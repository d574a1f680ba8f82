//! Web page at `/`: the status of messages in plain sentences, and the state of the mirror.
//!
//! The shell and its files ([`asset_files`]) contain no data and need no key. The data comes as fragments of
//! HTML under `/ui`, which need a key like everything under `/api`, and is read by the same functions.
//! [`views`] loads and renders the fragments, [`model`] holds the rules and knows no web framework.
//!
//! # The page says what the API says
//!
//! A view is a fragment of HTML, rendered from the results of the API's own functions, so page and API cannot
//! contradict each other. The browser's part is a few modules: they fetch fragments with the key in a header,
//! insert them, and convert times to the reader's zone; only the live tail creates rows itself, from events.
//! The current view is in the part of the address behind `#`, which is never sent to a server, since it may
//! contain a phone number. The content security policy allows only the page's own files.

pub(crate) mod asset_files;
pub(crate) mod model;
pub(crate) mod route;
pub(crate) mod views;

#[cfg(test)]
pub(crate) use self::asset_files::FILES;
pub(crate) use self::asset_files::{file, shell};
pub(crate) use self::route::answer;
