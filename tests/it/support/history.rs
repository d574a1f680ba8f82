//! Message with a long history.

use serde_json::json;

use crate::support::*;

/// Posts this many notifications of one message and returns its id. Their texts have the maximum length and
/// consist of this letter.
pub(crate) fn post_long_history(server: &Server, notifications: u32, letter: char) -> String {
    let (id, mut connection) = (id(1), server.connect());
    let text = |letters: usize| letter.to_string().repeat(letters);
    let (provider_text, reference_text) = (text(1_024), text(512));
    for second in 0..notifications {
        let mut body = webhook(&id, "SENT", second);
        body["message"]["provider"] = json!({
            "name": provider_text,
            "id": text(256),
            "status": provider_text,
            "code": provider_text,
            "message": provider_text,
        });
        body["message"]["reference"] =
            json!({"service": reference_text, "action": reference_text, "key": reference_text});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.outcome(), if second == 0 { "applied" } else { "superseded" });
    }
    id
}

/// Path of a message's history in the API.
pub(crate) fn history_path(id: &str) -> String {
    format!("/api/messagestatus/{id}/history")
}
