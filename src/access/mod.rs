//! Access to the API: keys and their scopes, the limit on failed authentication, and the client's address
//! behind trusted proxies.
//!
//! Knows neither HTTP types nor the configuration's form, so `http` and `config` share it.

pub mod api_key;
pub mod auth_limiter;
pub mod trusted_proxies;
