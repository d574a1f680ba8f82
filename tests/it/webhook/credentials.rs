//! Credentials in the URL, several secrets, and parameters that a signature covers.

use serde_json::{Value, json};

use crate::support::captured_requests::{QUERY, SIGNATURE};
use crate::support::*;

/// Source of the contract's example, which has the secret `s3cret`.
const SIGNED: &str = r#"
[sources.gateway]
verify = { scheme = "signed-url", secrets = ["a-newer-secret-of-ours", "s3cret"] }
"#;

/// Posts a webhook about message 1 with this query.
fn post_with_query(server: &Server, query: &str) -> Answer {
    let path = format!("/webhooks/gateway?{query}");
    server.send("POST", &path, JSON, webhook(&id(1), "SENT", 1).to_string().as_bytes())
}

/// First history entry of message 1.
fn history_entry(server: &Server) -> Value {
    server.history(&id(1))[0].clone()
}

#[test]
fn the_signed_url_of_the_contract_gives_destination_and_reference() {
    let server = Server::start(SIGNED);
    let answer = post_with_query(&server, &format!("{QUERY}&signature={SIGNATURE}"));
    assert_eq!(answer.outcome(), "applied");
    assert_eq!(history_entry(&server)["destination"], "+393331234567");
    assert_eq!(
        history_entry(&server)["reference"],
        json!({"service": "gateway", "key": "order 7"})
    );
}

#[test]
fn a_changed_signed_url_is_rejected() {
    let server = Server::start(SIGNED);
    for query in [
        QUERY.to_owned(),
        format!("{QUERY}&signature="),
        format!("{QUERY}&signature={}", SIGNATURE.replace('1', "2")),
        format!("{}&signature={SIGNATURE}", QUERY.replace('7', "8")),
        format!("{}&signature={SIGNATURE}", QUERY.replace("%2B", "+")),
        format!("{QUERY}&service=x&signature={SIGNATURE}"),
        format!("{QUERY}&key=order+7&signature={SIGNATURE}"),
        format!("{QUERY}&expires=1&signature={SIGNATURE}"),
        format!("{QUERY}&signature={SIGNATURE}&signature={SIGNATURE}"),
    ] {
        post_with_query(&server, &query).assert_problem(401);
    }
    assert!(server.history(&id(1)).is_empty());
    // Unknown parameters are ignored.
    let answer = post_with_query(&server, &format!("{QUERY}&signature={SIGNATURE}&x=1"));
    assert_eq!(answer.outcome(), "applied");
}

#[test]
fn a_printed_callback_url_works_until_it_expires() {
    let server = Server::start(SIGNED);
    let printed_query = |options: &[&str]| {
        let output = server.run(&[&["callback-url", "gateway"], options].concat());
        assert!(output.status.success(), "{output:?}");
        let url = String::from_utf8(output.stdout).unwrap();
        url.trim().split_once('?').unwrap().1.to_owned()
    };
    let all_options = [
        "--destination",
        "+393331234567",
        "--service",
        "S",
        "--action",
        "A&B",
        "--key",
        "ü/7",
        "--messageid",
        EXAMPLE_ID,
    ];
    assert_eq!(post_with_query(&server, &printed_query(&all_options)).outcome(), "applied");
    let reference = json!({"service": "S", "action": "A&B", "key": "ü/7"});
    assert_eq!(history_entry(&server)["reference"], reference);
    assert_eq!(post_with_query(&server, &printed_query(&["--expires-in", "never"])).status, 200);
    let expired = hmac_hex(b"s3cret", b"gateway\n\n1");
    post_with_query(&server, &format!("expires=1&signature={expired}")).assert_problem(401);
}

#[test]
fn any_of_several_secrets_is_accepted() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"url-token\", secrets = [\"the-old-token-0123456\", \"the-new-token-0123456\"] }",
    );
    assert_eq!(post_with_query(&server, "token=the-old-token-0123456").status, 200);
    assert_eq!(post_with_query(&server, "token=the-new-token-0123456").status, 200);
    post_with_query(&server, "token=the-new-token-0123457").assert_problem(401);
    post_with_query(&server, "token=").assert_problem(401);
}

#[test]
fn the_number_of_signatures_is_limited() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"standard-webhooks\", secrets = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", max_age_seconds = 4000000000 }",
    );
    let [id, time, (name, valid)] = standard_webhooks(EXAMPLE, 1_770_000_000);
    let post_with = |wrong_count: usize| {
        let signatures = format!("{}{valid}", "v1,AAAA ".repeat(wrong_count));
        let headers = [(id.0, &*id.1), (time.0, &*time.1), (name, &*signatures)];
        server.send("POST", "/webhooks/gateway", &headers, EXAMPLE.as_bytes())
    };
    assert_eq!(post_with(31).outcome(), "applied");
    post_with(32).assert_problem(401);
}

#[test]
fn scheme_none_accepts_everything_and_warns() {
    let server = Server::start("[sources.gateway]\nverify = { scheme = \"none\" }");
    let query = "destination=393331234567&action=A";
    assert_eq!(post_with_query(&server, query).outcome(), "applied");
    assert_eq!(history_entry(&server)["destination"], "+393331234567");
    assert_eq!(history_entry(&server)["reference"], json!({"service": "gateway", "action": "A"}));
    assert!(server.log().contains("without verification"), "{}", server.log());
}

#[test]
fn parameters_of_an_unverified_url_are_ignored() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"hmac\", secrets = [\"throw-away-hmac-secret\"], header = \"X-Signature\" }",
    );
    let body = webhook(&id(1), "SENT", 1).to_string();
    let signature = hmac_hex(b"throw-away-hmac-secret", body.as_bytes());
    let headers = [("X-Signature", signature.as_str())];
    let path = "/webhooks/gateway?destination=%2B393331234567&key=k";
    assert_eq!(server.send("POST", path, &headers, body.as_bytes()).outcome(), "applied");
    assert_eq!(history_entry(&server)["destination"], Value::Null);
    assert_eq!(history_entry(&server)["reference"], json!({}));
    for index in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[index] ^= 1;
        server.send("POST", path, &headers, &changed).assert_problem(401);
    }
}
