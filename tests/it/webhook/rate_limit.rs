//! `max_rate`: a limit for one leaked callback URL.

use std::time::Instant;

use crate::support::*;

/// A source that may send one webhook a second, and another one.
const SLOW: &str = r#"
[sources.gateway]
max_rate = 1
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
[sources.other]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;

#[test]
fn a_source_is_limited_to_its_own_rate() {
    let server = Server::start(SLOW);
    let since = Instant::now();
    // Who proves nothing takes nothing.
    for _ in 0..50 {
        let forged = server.send("POST", "/webhooks/gateway?token=wrong", JSON, EXAMPLE.as_bytes());
        assert_eq!(forged.status, 401);
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut accepted = 1;
    let mut number = 0;
    let refused = eventually(|| {
        number += 1;
        let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
        accepted += u64::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    refused.assert_problem(503);
    assert!(refused.header("retry-after").is_some());
    assert!(accepted <= since.elapsed().as_secs() + 2, "{accepted}");
    for number in 100..150 {
        let body = webhook(&id(number), "SENT", 1).to_string();
        let path = format!("/webhooks/other?token={TOKEN}");
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
    }
    let metrics = server.get("/metrics").body;
    let counted = "statusmirror_webhooks_rejected_total{source=\"gateway\",reason=\"rate\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(number))).status, 404);
    // The sender comes again.
    eventually(|| (server.post(EXAMPLE).status == 200).then_some(()));
}
