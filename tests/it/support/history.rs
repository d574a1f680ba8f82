//! A message with a long history.

use serde_json::json;

use crate::support::*;

/// Posts that many notifications of one message, whose texts have this letter only and are as long as they may
/// be.
pub(crate) fn fill_with(server: &Server, notifications: u32, letter: char) -> String {
    let (id, mut connection) = (id(1), server.connect());
    let text = |letters: usize| letter.to_string().repeat(letters);
    let (most, key) = (text(1_024), text(512));
    for second in 0..notifications {
        let mut body = webhook(&id, "SENT", second);
        body["message"]["provider"] =
            json!({"name": most, "id": text(256), "status": most, "code": most, "message": most});
        body["message"]["reference"] = json!({"service": key, "action": key, "key": key});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.outcome(), if second == 0 { "applied" } else { "superseded" });
    }
    id
}

pub(crate) fn history_path(id: &str) -> String {
    format!("/api/messagestatus/{id}/history")
}
