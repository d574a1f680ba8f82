//! Credentials in the URL, several secrets, and parameters that a signature covers.

use serde_json::{Value, json};

use crate::support::*;

/// The contract's example: its source, secret, address and signature.
const SIGNED: &str = r#"
[sources.gateway]
verify = { scheme = "signed-url", secrets = ["a-newer-secret-of-ours", "s3cret"] }
"#;
const QUERY: &str = "destination=%2B393331234567&key=order+7";
const SIGNATURE: &str = "1b2251a94d5b8ef076af9062e2f3fb24518d80b8b7143bbb5eb9325b276580a6";

fn to_gateway(server: &Server, query: &str) -> Answer {
    let path = format!("/webhooks/gateway?{query}");
    server.send("POST", &path, JSON, webhook(&id(1), "SENT", 1).to_string().as_bytes())
}

fn shown(server: &Server) -> Value {
    server.history(&id(1))[0].clone()
}

#[test]
fn the_signed_url_of_the_contract_gives_destination_and_reference() {
    let server = Server::start(SIGNED);
    let answer = to_gateway(&server, &format!("{QUERY}&signature={SIGNATURE}"));
    assert_eq!(answer.outcome(), "applied");
    assert_eq!(shown(&server)["destination"], "+393331234567");
    assert_eq!(shown(&server)["reference"], json!({"service": "gateway", "key": "order 7"}));
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
        to_gateway(&server, &query).assert_problem(401);
    }
    assert!(server.history(&id(1)).is_empty());
    // Other parameters mean nothing.
    let answer = to_gateway(&server, &format!("{QUERY}&signature={SIGNATURE}&x=1"));
    assert_eq!(answer.outcome(), "applied");
}

#[test]
fn a_printed_callback_url_works_until_it_expires() {
    let server = Server::start(SIGNED);
    let address = |more: &[&str]| {
        let printed = server.run(&[&["callback-url", "gateway"], more].concat());
        assert!(printed.status.success(), "{printed:?}");
        let address = String::from_utf8(printed.stdout).unwrap();
        address.trim().split_once('?').unwrap().1.to_owned()
    };
    let all = [
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
    assert_eq!(to_gateway(&server, &address(&all)).outcome(), "applied");
    let reference = json!({"service": "S", "action": "A&B", "key": "ü/7"});
    assert_eq!(shown(&server)["reference"], reference);
    assert_eq!(to_gateway(&server, &address(&["--expires-in", "never"])).status, 200);
    let expired = hmac_hex(b"s3cret", b"gateway\n\n1");
    to_gateway(&server, &format!("expires=1&signature={expired}")).assert_problem(401);
}

#[test]
fn any_of_several_secrets_is_accepted() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"url-token\", secrets = [\"the-old-token-0123456\", \"the-new-token-0123456\"] }",
    );
    assert_eq!(to_gateway(&server, "token=the-old-token-0123456").status, 200);
    assert_eq!(to_gateway(&server, "token=the-new-token-0123456").status, 200);
    to_gateway(&server, "token=the-new-token-0123457").assert_problem(401);
    to_gateway(&server, "token=").assert_problem(401);
}

#[test]
fn the_number_of_signatures_is_limited() {
    let server = Server::start(
        "[sources.gateway]\n\
         verify = { scheme = \"standard-webhooks\", secrets = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", max_age_seconds = 4000000000 }",
    );
    let [id, time, (name, right)] = standard_webhooks(EXAMPLE, 1_770_000_000);
    let with = |wrong: usize| {
        let signatures = format!("{}{right}", "v1,AAAA ".repeat(wrong));
        let headers = [(id.0, &*id.1), (time.0, &*time.1), (name, &*signatures)];
        server.send("POST", "/webhooks/gateway", &headers, EXAMPLE.as_bytes())
    };
    assert_eq!(with(31).outcome(), "applied");
    with(32).assert_problem(401);
}

#[test]
fn scheme_none_accepts_everything_and_warns() {
    let server = Server::start("[sources.gateway]\nverify = { scheme = \"none\" }");
    let query = "destination=393331234567&action=A";
    assert_eq!(to_gateway(&server, query).outcome(), "applied");
    assert_eq!(shown(&server)["destination"], "+393331234567");
    assert_eq!(shown(&server)["reference"], json!({"service": "gateway", "action": "A"}));
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
    assert_eq!(shown(&server)["destination"], Value::Null);
    assert_eq!(shown(&server)["reference"], json!({}));
    for flipped in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[flipped] ^= 1;
        server.send("POST", path, &headers, &changed).assert_problem(401);
    }
}
