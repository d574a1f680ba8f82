//! `hmac`: a header of a configured name holds an HMAC of the raw body, or of a template.
//!
//! One rule covers the senders: take the header's value, split it where a separator is configured, keep the
//! items that begin with the prefix; the delivery is verified if any of them verifies with any secret.
//! [`scheme`] verifies, [`signing`] signs as a sender does, [`variants`] serves the diagnosis.

pub(crate) mod header_items;
pub(crate) mod scheme;
pub(crate) mod signing;
pub(crate) mod variants;

pub use self::scheme::{Hmac, Settings};
pub(crate) use self::scheme::{mac, matches_any, parse_digits};
pub use self::variants::is_signature_header;
