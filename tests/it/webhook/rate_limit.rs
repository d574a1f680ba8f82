//! `max_rate`: the limit of a source's webhooks per second, such as those to a leaked callback URL.

use std::time::Instant;

use crate::support::*;

/// A source that is limited to one webhook per second, and a source without a limit.
const LIMITED: &str = r#"
[sources.gateway]
max_rate = 1
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
[sources.other]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }
"#;

#[test]
fn a_source_is_limited_to_its_own_rate() {
    let server = Server::start(LIMITED);
    let started = Instant::now();
    // Unverified webhooks do not count.
    for _ in 0..50 {
        let forged = server.send("POST", "/webhooks/gateway?token=wrong", JSON, EXAMPLE.as_bytes());
        assert_eq!(forged.status, 401);
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let mut accepted = 1;
    let mut number = 0;
    let rejected = wait_for(|| {
        number += 1;
        let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
        accepted += u64::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    rejected.assert_problem(503);
    assert!(rejected.header("retry-after").is_some());
    assert!(accepted <= started.elapsed().as_secs() + 2, "{accepted}");
    for number in 100..150 {
        let body = webhook(&id(number), "SENT", 1).to_string();
        let path = format!("/webhooks/other?token={TOKEN}");
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
    }
    let metrics = server.get("/metrics").body;
    let counted = "statusmirror_webhooks_rejected_total{source=\"gateway\",reason=\"rate\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(number))).status, 404);
    // A later retry is accepted.
    wait_for(|| (server.post(EXAMPLE).status == 200).then_some(()));
}
