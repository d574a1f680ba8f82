//! The OpenAPI document: each response that it describes is provoked and compared with its schema.

use serde_json::{Value, json};

use crate::support::http::event_client::EventClient;
use crate::support::openapi_document::{DOCUMENT, OpenApiCoverage};
use crate::support::*;

/// Statuses that only a slow client or a failing store provokes. Their bodies have the schema of all errors.
const NOT_PROVOKED: [&str; 3] = ["408", "500", "503"];
/// Destination that a test erases.
const ERASED: &str = "+393330000000";
const SOURCES: &str = r#"
[sources.gateway]
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }

[sources.twilio]
dialect = "twilio"
verify = { scheme = "url-token", secrets = ["a-token-for-these-tests"] }

[sources.signing]
dialect = "twilio"
public_url = "https://hooks.example.com/webhooks/signing"
verify = { scheme = "native", secrets = ["9f1c0a7be2d84e0fb36a5d1c2e7a4f80"] }
"#;

const MESSAGE: (&str, &str) = ("get", "/api/messagestatus/{messageid}");
const BY_DESTINATION: (&str, &str) = ("get", "/api/messagestatus/phonenumber/{phonenumber}");
const BY_KEY: (&str, &str) = ("get", "/api/messagestatus/reference/{referencekey}");
const BY_PROVIDER: (&str, &str) = ("get", "/api/messagestatus/provider/{source}/{providerid}");
const HISTORY: (&str, &str) = ("get", "/api/messagestatus/{messageid}/history");
const SEARCH: (&str, &str) = ("get", "/api/messages");
const EXPORT: (&str, &str) = ("get", "/api/messages.csv");
const OVERVIEW: (&str, &str) = ("get", "/ui/overview");
const VIEW: (&str, &str) = ("get", "/ui/message/{messageid}");
const EVENTS: (&str, &str) = ("get", "/api/events");
const REGISTRATION: (&str, &str) = ("put", "/api/messages/{messageid}");
const WEBHOOK: (&str, &str) = ("post", "/webhooks/{source}");

/// Fills in the parameters of a path template.
fn filled(path: &str) -> String {
    path.replace("{messageid}", &id(1))
        .replace("{phonenumber}", "+393331234567")
        .replace("{referencekey}", "webhook_3")
        .replace("{source}", "gateway")
        .replace("{providerid}", "SM1")
        .replace("{file}", "start.js")
}

#[test]
fn the_server_and_the_command_return_the_document_of_the_repository() {
    let server = Server::start(GATEWAY);
    let answer = server.send("GET", "/openapi.json", &[], b"");
    assert_eq!(answer.body, DOCUMENT);
    let printed = server.run(&["openapi"]);
    assert_eq!(text(&printed.stdout), DOCUMENT);
    assert!(DOCUMENT.starts_with("{\n  \"openapi\": \"3.1."));
}

#[test]
fn every_described_response_occurs_and_matches_its_schema() {
    let server = Server::start(SOURCES);
    let mut documented = OpenApiCoverage::new();
    post_webhooks(&server, &mut documented);
    register(&server, &mut documented);
    query(&server, &mut documented);
    // Errors before routing are the same for all operations.
    let large = "x".repeat(200_000);
    let large = server.send("GET", "/livez", &[("X-Large", &large)], b"");
    let mut broken = server.connect();
    broken.write(b"GET /livez HTTP/1.1\r\nno header\r\n\r\n");
    let broken = broken.read().unwrap();
    for (method, path) in documented.operations() {
        documented.check((&method, &path), &large);
        documented.check_body((&method, &path), &broken);
    }
    // Last, because afterwards this address is rate-limited.
    let is_api = |(_, path): &(String, String)| path.starts_with("/api") || path.starts_with("/ui");
    let api: Vec<_> = documented.operations().into_iter().filter(is_api).collect();
    for attempt in 0..60 {
        let (method, path) = &api[attempt % api.len()];
        let answer = server.send(&method.to_uppercase(), &filled(path), &[], b"");
        assert_eq!(answer.status, 403);
        documented.check((method, path), &answer);
    }
    for (method, path) in &api {
        // On a slow machine the address may fail again meanwhile.
        let answer = wait_for(|| {
            let answer = server.send(&method.to_uppercase(), &filled(path), &[], b"");
            (answer.status == 429).then_some(answer)
        });
        documented.check((method, path), &answer);
    }
    let mut missing = Vec::new();
    for (method, path) in documented.operations() {
        let responses = &documented.document["paths"][&path][&method]["responses"];
        for status in responses.as_object().unwrap().keys() {
            let response = (method.clone(), path.clone(), status.clone());
            if !NOT_PROVOKED.contains(&&**status) && !documented.seen.contains(&response) {
                missing.push(response);
            }
        }
    }
    assert_eq!(missing, [], "described responses that did not occur");
}

/// Posts webhooks with every outcome and every rejection.
fn post_webhooks(server: &Server, documented: &mut OpenApiCoverage) {
    let complete = json!({"type": "STATUS_UPDATE", "message": {
        "id": id(1), "channel": "RCS", "status": "UNDELIVERED",
        "providerAcceptanceAt": "2026-02-12T14:00:00.123Z",
        "statusChangedAt": "2026-02-12T14:00:01.123456Z", "destination": "+393331234567",
        "reference": {"service": "S", "action": "A", "key": "webhook_3"}, "sms": {"segments": 2},
        "provider": {"name": "N", "id": "I", "status": "S", "code": "C", "message": "M"},
    }});
    for (body, outcome) in [
        (EXAMPLE.to_owned(), "applied"),
        (complete.to_string(), "applied"),
        (webhook(&id(2), "READ", 1).to_string(), "invalid"),
        ("{}".to_owned(), "quarantined"),
    ] {
        let path = webhook_path("&destination=%2B393331234567");
        let answer = server.send("POST", &path, JSON, body.as_bytes());
        assert_eq!(answer.outcome(), outcome);
        documented.check(WEBHOOK, &answer);
    }
    let twilio = format!("/webhooks/twilio?token={TOKEN}");
    for (status, outcome) in [("sending", "ignored"), ("sent", "applied")] {
        let body = format!("MessageSid=SM1&MessageStatus={status}");
        let answer = server.send("POST", &twilio, FORM, body.as_bytes());
        assert_eq!(answer.outcome(), outcome);
        documented.check(WEBHOOK, &answer);
    }
    let path = webhook_path("");
    let large = vec![b' '; 300_000];
    for (status, method, path, headers, body) in [
        (400, "POST", &*path, JSON, &b"no JSON"[..]),
        (401, "POST", "/webhooks/gateway", JSON, b"{}"),
        (404, "POST", "/webhooks/unknown", JSON, b"{}"),
        (405, "DELETE", &path, JSON, b""),
        (413, "POST", &path, JSON, &large),
        (415, "POST", "/webhooks/signing", &[("Content-Type", "text/plain")], b""),
    ] {
        let answer = server.send(method, path, headers, body);
        assert_eq!(answer.status, status, "{answer:?}");
        documented.check(WEBHOOK, &answer);
    }
}

fn register(server: &Server, documented: &mut OpenApiCoverage) {
    for (status, id, body) in [
        (201, id(3), json!({"destination": ERASED})),
        (200, id(3), json!({"destination": ERASED, "sms": {"segments": 1}})),
        (400, id(3), json!({})),
        (413, id(3), Value::from(" ".repeat(70_000))),
    ] {
        let answer = server.put(&id, &body);
        assert_eq!(answer.status, status, "{answer:?}");
        documented.check(REGISTRATION, &answer);
    }
    assert!(server.run(&["erase", "--destination", ERASED, "--yes"]).status.success());
    let answer = server.put(&id(3), &json!({"destination": ERASED}));
    assert_eq!(answer.status, 409, "{answer:?}");
    documented.check(REGISTRATION, &answer);
}

fn query(server: &Server, documented: &mut OpenApiCoverage) {
    let path = |id: &str, suffix: &str| format!("/api/messagestatus/{id}{suffix}");
    for (status, operation, path) in [
        (200, MESSAGE, path(EXAMPLE_ID, "")),
        (200, MESSAGE, path(&id(1), "")),
        (400, MESSAGE, path("x", "")),
        (404, MESSAGE, path(&id(2), "")),
        (200, MESSAGE, path(EXAMPLE_ID, "?wait=60&until=final")),
        (200, MESSAGE, path(EXAMPLE_ID, "?wait=0&until=change")),
        (400, MESSAGE, path(EXAMPLE_ID, "?wait=x")),
        (400, MESSAGE, path(EXAMPLE_ID, "?until=final")),
        (404, MESSAGE, path(&id(2), "?wait=0")),
        (200, HISTORY, path(EXAMPLE_ID, "/history")),
        // A message with only invalid notifications has a history and no record.
        (200, HISTORY, path(&id(2), "/history")),
        (400, HISTORY, path("x", "/history")),
        (404, HISTORY, path(&id(9), "/history")),
        (200, BY_DESTINATION, path("phonenumber", "/+393331234567")),
        (400, BY_DESTINATION, path("phonenumber", "/39")),
        (200, BY_KEY, path("reference", "/webhook_3")),
        (400, BY_KEY, path("reference", "/webhook_3?count=0")),
        (200, BY_PROVIDER, path("provider", "/twilio/SM1")),
        (400, BY_PROVIDER, path("provider", "/twilio/SM1?sendDate=now")),
        (404, BY_PROVIDER, path("provider", "/unknown/SM1")),
        (200, SEARCH, "/api/messages?count=1&destination=with".to_owned()),
        (200, SEARCH, format!("/api/messages?ids={},{EXAMPLE_ID}", id(1))),
        (400, SEARCH, "/api/messages?status=LOST".to_owned()),
        (200, EXPORT, "/api/messages.csv?destination=with".to_owned()),
        (200, EXPORT, format!("/api/messages.csv?ids={EXAMPLE_ID}&variant=plain")),
        (400, EXPORT, "/api/messages.csv?variant=csv".to_owned()),
        (200, ("get", "/"), "/".to_owned()),
        (200, ("get", "/page/{file}"), "/page/page.js".to_owned()),
        (404, ("get", "/page/{file}"), "/page/other.js".to_owned()),
        (200, OVERVIEW, "/ui/overview?hours=168&offset=60&width=360".to_owned()),
        (400, OVERVIEW, "/ui/overview?hours=7".to_owned()),
        (200, ("get", "/ui/messages"), "/ui/messages?status=DELIVERED".to_owned()),
        (400, ("get", "/ui/messages"), "/ui/messages?status=LOST".to_owned()),
        (200, VIEW, format!("/ui/message/{EXAMPLE_ID}")),
        (400, VIEW, "/ui/message/x".to_owned()),
        (404, VIEW, format!("/ui/message/{}?before=1", id(99))),
        (200, ("get", "/ui/search"), "/ui/search?q=webhook_3".to_owned()),
        (400, ("get", "/ui/search"), format!("/ui/search?q={}", "x".repeat(600))),
        (200, ("get", "/ui/live"), "/ui/live".to_owned()),
        (200, ("get", "/ui/health"), "/ui/health?after=1".to_owned()),
        (400, ("get", "/ui/health"), "/ui/health?after=x".to_owned()),
        (200, ("get", "/livez"), "/livez".to_owned()),
        (200, ("get", "/readyz"), "/readyz".to_owned()),
        (200, ("get", "/metrics"), "/metrics".to_owned()),
        (200, ("get", "/openapi.json"), "/openapi.json".to_owned()),
        (200, ("get", "/docs"), "/docs".to_owned()),
        (200, ("get", "/docs/{file}"), "/docs/start.js".to_owned()),
        (404, ("get", "/docs/{file}"), "/docs/other.js".to_owned()),
    ] {
        let answer = server.get(&path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        documented.check(operation, &answer);
        let head = server.send("HEAD", &path, &[("X-Api-Key", KEY)], b"");
        assert_eq!((head.status, &*head.body), (status, ""), "{path}");
    }
    let metrics = &documented.document["paths"]["/metrics"]["get"]["responses"]["200"];
    let example = metrics["content"]["text/plain"]["example"].as_str().unwrap();
    let shown = server.get("/metrics").body;
    assert!(example.lines().all(|line| shown.lines().any(|other| other == line)), "{example}");
    let first = server.get("/api/messagestatus/phonenumber/+393331234567?count=1");
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    documented.check(BY_DESTINATION, &server.get(next));
    let filters = "phonenumber=%2B393331234567&referencekey=k&status=SENT&status=READ&final=true";
    // Only the head of an event stream is read, because the stream does not end.
    for (status, path) in [
        (200, format!("/api/events?{filters}")),
        (400, "/api/events?key=k".to_owned()),
        (400, "/api/events?status=sent".to_owned()),
    ] {
        let answer = server.get(&path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        documented.check(EVENTS, &answer);
    }
}

#[test]
fn events_match_their_schema() {
    let mut server = Server::start(GATEWAY);
    let documented = OpenApiCoverage::new();
    let mut client = EventClient::to(&server, "", None);
    client.read_start();
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.put(EXAMPLE_ID, &json!({"destination": ERASED})).status, 200);
    let changes = client.changes(2);
    for change in &changes {
        documented.assert_matches_schema("MessageChange", &change.data);
    }
    assert_eq!(changes[0].data["previous"], Value::Null);
    assert_eq!(changes[1].data["previous"], "DELIVERED");
    server.signal("-TERM");
    let end = client.next().expect("the stream ends with an `end` event");
    assert_eq!(end.name, "end");
    documented.assert_matches_schema("StreamEnd", &end.data);
    assert_eq!(server.wait(), Some(0));
    let (method, path) = EVENTS;
    let described = &documented.document["paths"][path][method]["responses"]["200"];
    let example = described["content"]["text/event-stream"]["example"].as_str().unwrap();
    let mut schemas = Vec::new();
    for event in example.split("\n\n").filter(|event| event.contains("data: ")) {
        let fields: Vec<_> = event.lines().filter_map(|line| line.split_once(": ")).collect();
        let field = |name: &str| fields.iter().find(|(field, _)| *field == name).unwrap().1;
        let schema = match field("event") {
            "change" => "MessageChange",
            "end" => "StreamEnd",
            other => panic!("unknown event `{other}` in the example"),
        };
        documented.assert_matches_schema(schema, &serde_json::from_str(field("data")).unwrap());
        schemas.push(schema);
    }
    assert_eq!(schemas, ["MessageChange", "StreamEnd"]);
}

#[test]
fn undocumented_methods_are_405() {
    let server = Server::start(GATEWAY);
    let documented = OpenApiCoverage::new();
    for (_, path) in documented.operations() {
        let item = documented.document["paths"][&path].as_object().unwrap();
        let described: Vec<_> = item.keys().map(|method| method.to_uppercase()).collect();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = server.send(method, &filled(&path), &[("X-Api-Key", KEY)], b"");
            if described.contains(&method.to_owned()) {
                assert_ne!(answer.status, 405, "{method} {path}");
            } else {
                answer.assert_problem(405);
                let allowed = answer.header("allow").unwrap().split(", ");
                let allowed: Vec<_> = allowed.filter(|method| *method != "HEAD").collect();
                assert_eq!(allowed, described, "{method} {path}");
            }
        }
    }
}

#[test]
fn an_operation_is_public_exactly_if_its_security_is_empty() {
    let server = Server::start(GATEWAY);
    let documented = OpenApiCoverage::new();
    let (mut public, mut restricted) = (0, 0);
    for (method, path) in documented.operations() {
        let security = &documented.document["paths"][&path][&method]["security"];
        let schemes = security.as_array().unwrap_or_else(|| panic!("{path} has no `security`"));
        let answer = server.send(&method.to_uppercase(), &filled(&path), JSON, b"{}");
        let is_rejected = [401, 403].contains(&answer.status);
        assert_eq!(is_rejected, !schemes.is_empty(), "{method} {path}: {answer:?}");
        *(if is_rejected { &mut restricted } else { &mut public }) += 1;
    }
    assert!(
        public >= 8 && restricted >= 16,
        "{public} public and {restricted} restricted operations"
    );
}

#[test]
fn every_query_has_one_type_of_success() {
    let documented = OpenApiCoverage::new();
    let types = |(method, path): (&str, &str)| {
        let response = &documented.document["paths"][path][method]["responses"]["200"];
        response["content"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let operations = documented.operations();
    let queries = operations.iter().filter(|(_, path)| path.starts_with("/api/"));
    for (method, path) in queries {
        assert_eq!(types((method, path)).len(), 1, "{method} {path}");
    }
    assert_eq!(types(SEARCH), ["application/json"]);
    assert_eq!(types(EXPORT), ["text/csv"]);
}

/// Generators of clients take the first content type of a body for the parameters of the method.
#[test]
fn the_form_is_the_first_content_type_of_a_webhook() {
    let documented = OpenApiCoverage::new();
    let (method, path) = WEBHOOK;
    let content = &documented.document["paths"][path][method]["requestBody"]["content"];
    let types: Vec<_> = content.as_object().unwrap().keys().collect();
    assert_eq!(types, ["application/x-www-form-urlencoded", "application/json"]);
}

#[test]
fn every_example_matches_its_schema() {
    fn walk(documented: &OpenApiCoverage, node: &Value, count: &mut usize) {
        if let Some(schema) = node.get("schema") {
            let named = node.get("examples").and_then(Value::as_object).into_iter().flatten();
            let named = named.map(|(_, example)| &example["value"]);
            for example in node.get("example").into_iter().chain(named) {
                documented.assert_valid(schema, example);
                *count += 1;
            }
        }
        let members = node.as_object().into_iter().flatten().map(|(_, member)| member);
        members
            .chain(node.as_array().into_iter().flatten())
            .for_each(|child| walk(documented, child, count));
    }
    let documented = OpenApiCoverage::new();
    let mut count = 0;
    walk(&documented, &documented.document["paths"], &mut count);
    assert!(count > 100, "{count} examples");
}

#[test]
fn the_documentation_page_requests_only_its_own_server() {
    let server = Server::start(GATEWAY);
    let page = server.send("GET", "/docs", &[], b"");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
    let sources = policy.split([' ', ';']).filter(|word| word.contains([':', '*', '.']));
    assert_eq!(sources.collect::<Vec<_>>(), ["data:"], "{policy}");
    let links: Vec<_> = page.body.split(['"', '\'']).filter(|text| text.contains('/')).collect();
    let files: Vec<_> = links.iter().filter_map(|link| link.strip_prefix("docs/")).collect();
    assert_eq!(files, ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"], "{links:?}");
    assert_eq!(page.body.matches("://").count(), 0);
    let start = server.send("GET", "/docs/start.js", &[], b"").body;
    assert_eq!(start.matches("://").count(), 0);
    assert!(start.contains("url: \"openapi.json\"") && start.contains("validatorUrl: null"));
    for file in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        let answer = server.send("HEAD", &format!("/docs/{file}"), &[], b"");
        assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
    }
}
