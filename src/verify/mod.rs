//! Verification of webhooks: one scheme for each source, several secrets for each scheme, in constant time.
//!
//! A credential is checked over the raw bytes of a request, before anything is parsed. [`scheme`] chooses
//! between `url-token`, [`signed_url`], [`hmac`] and [`standard_webhooks`]. The reason of a rejection is for
//! the log; the sender learns nothing. [`variants`] serves the diagnosis: where a credential is, and with
//! which other setting it would verify.

pub(crate) mod encoding;
pub mod hmac;
pub(crate) mod request;
pub(crate) mod scheme;
pub(crate) mod secret;
pub mod signed_url;
pub mod standard_webhooks;
pub(crate) mod time_window;
pub mod variants;
pub(crate) mod verdict;

#[cfg(feature = "sqlite")]
pub(crate) use self::request::GeneratedHeaders;
pub use self::request::{Header, Headers, Place, Request};
pub use self::scheme::{Scheme, verify_token};
pub use self::secret::{SchemeError, Secret};
pub use self::time_window::{MIN_UNIX_MILLISECONDS, Window};
pub use self::verdict::{Unverified, Verified, find_secret};
