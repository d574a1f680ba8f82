//! Bodies and signatures of webhooks.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The example webhook of the contract.
pub(crate) const EXAMPLE: &str = include_str!("../../fixtures/example.json");
/// Id of the message in the example webhook.
pub(crate) const EXAMPLE_ID: &str = "b31b6607-9c55-48ba-b145-3f40b809d2d2";
/// The content type of webhooks.
pub(crate) const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// The content type of forms.
pub(crate) const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];

/// Gateway webhook about this message: an SMS with this status, changed this many seconds after 14:00 UTC.
pub(crate) fn webhook(id: &str, status: &str, second: u32) -> Value {
    webhook_on("SMS", id, status, second)
}

/// Like [`webhook`], on this channel.
pub(crate) fn webhook_on(channel: &str, id: &str, status: &str, second: u32) -> Value {
    json!({
        "type": "STATUS_UPDATE",
        "message": {
            "id": id,
            "statusChangedAt": format!("2026-02-12T14:{:02}:{:02}Z", second / 60, second % 60),
            "channel": channel,
            "status": status,
        },
    })
}

/// HMAC-SHA256 of these bytes, in hex.
pub(crate) fn hmac_hex(key: &[u8], bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(bytes);
    let mut hex = String::new();
    for byte in mac.finalize().into_bytes() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// Headers of Standard Webhooks for this body, signed at this Unix second with the key from the tests of the
/// reference libraries.
pub(crate) fn standard_webhooks(body: &str, second: i64) -> [(&'static str, String); 3] {
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("m1.{second}.{body}").as_bytes());
    [
        ("webhook-id", "m1".to_owned()),
        ("webhook-timestamp", second.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))),
    ]
}
