//! Examples in the document. `tests/it/api/openapi.rs` checks that each matches its schema.

use serde_json::{Value, json};

/// Current state of a message: the gateway's own example.
pub(crate) fn message() -> Value {
    json!({"message": {
        "id": "011d9d6e-b5b9-4cb9-be13-2bc336a923ce",
        "providerAcceptanceAt": "2026-02-04T06:54:35Z",
        "statusChangedAt": "2026-02-04T06:54:55Z",
        "reference": {"service": "DIGITALSIGN", "action": "AUTH", "key": "EXT_KEY"},
        "channel": "SMS",
        "status": "DELIVERED",
        "provider": {
            "name": "PROVIDER1",
            "id": "bbe7a7b4-067b-484e-a55c-318f5716997e",
            "status": "delivered",
            "code": "0",
        },
        "sms": {"segments": 1},
    }})
}

/// History of the same message.
pub(crate) fn history() -> Value {
    let mut history = message();
    history["history"] = json!([{
        "source": "gateway",
        "status": "DELIVERED",
        "statusChangedAt": "2026-02-04T06:54:55Z",
        "receivedAt": "2026-02-04T06:54:56.120Z",
        "outcome": "applied",
        "channel": "SMS",
        "destination": "+1234567890",
        "reference": {"service": "DIGITALSIGN", "action": "AUTH", "key": "EXT_KEY"},
        "provider": {
            "name": "PROVIDER1",
            "id": "bbe7a7b4-067b-484e-a55c-318f5716997e",
            "status": "delivered",
            "code": "0",
        },
    }]);
    history
}

/// Webhook of the gateway: the example of the contract.
pub(crate) fn gateway_webhook() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/example.json")).unwrap()
}

pub(crate) fn twilio_callback() -> Value {
    json!({
        "MessageSid": "SM1342fe1b2c904d1ab04f0fc7a58abca9",
        "MessageStatus": "delivered",
        "To": "+15558675310",
        "From": "+15017250604",
    })
}

/// Event stream: its beginning, a change and its end.
pub(crate) fn events() -> String {
    let mut change = message();
    change["previous"] = "UNDELIVERED".into();
    change["corrected"] = true.into();
    let end = json!({
        "reason": "closing",
        "detail": "The service is stopping. Reconnect with `Last-Event-ID: 7`.",
    });
    format!(
        "retry: 1000\nid: 6\n\nid: 7\nevent: change\ndata: {change}\n\nid: 7\nevent: end\ndata: {end}\n\n"
    )
}

pub(crate) const METRICS_EXAMPLE: &str = "\
# HELP statusmirror_deliveries_in_flight Deliveries that wait for their commit.
# TYPE statusmirror_deliveries_in_flight gauge
statusmirror_deliveries_in_flight 0
";
