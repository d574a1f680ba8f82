//! `twilio`: the status callback of Twilio's Programmable Messaging, for SMS, MMS and RCS.
//!
//! [`signature`] verifies it: Twilio signs the URL that it called and every parameter of the form, known or
//! not, with the account's token. [`callback`] reads it. A callback states no time with a zone; its messages
//! are named by their SIDs.

pub(crate) mod callback;
pub(crate) mod signature;

pub(crate) use self::callback::Twilio;
