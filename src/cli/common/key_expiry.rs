//! Expiry of an API key, for commands that warn of it.

use crate::access::api_key::ApiKey;
use crate::diagnosis::Found;
use crate::message::Timestamp;

/// Remaining validity below which a key is worth a warning, in seconds: 30 days, in which an application can
/// be given another key.
const EXPIRY_WARNING_SECONDS: i64 = 30 * 24 * 60 * 60;
/// Remedy for a key that expires.
const REMEDY: &str = "create another key, give it to the application, and remove this key";

/// Finding about the expiry of a key, with the remedy; `None` if the key does not expire.
pub(crate) fn check(key: &ApiKey, now: Timestamp) -> Option<(Found, String)> {
    let expires = key.expires?;
    Some(if key.has_expired(now) {
        (Found::Fail, format!("expired {expires}; {REMEDY}"))
    } else if expires.seconds() - now.seconds() < EXPIRY_WARNING_SECONDS {
        (Found::Warn, format!("expires {expires}; {REMEDY}"))
    } else {
        (Found::Ok, format!("valid until {expires}"))
    })
}
