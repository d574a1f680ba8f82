//! Page at `/`: access to it, and its sentences about each message.

use serde_json::{Value, json};

use crate::support::*;

const DESTINATION: &str = "+393331234567";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Paths of all views, each with content to show.
const FRAGMENTS: [&str; 6] = [
    "/ui/overview",
    "/ui/messages",
    "/ui/message/00000000-0000-4000-8000-000000000001",
    "/ui/search?q=00000000-0000-4000-8000-000000000001",
    "/ui/live",
    "/ui/health",
];

/// Webhook with additional members of the message.
fn webhook_with(number: u64, status: &str, second: u32, members: &Value) -> String {
    let mut body = webhook(&id(number), status, second);
    for (name, value) in members.as_object().unwrap() {
        body["message"][name] = value.clone();
    }
    body.to_string()
}

/// Text of the view at this path, without markup and with single spaces.
fn page_text(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{answer:?}");
    let texts =
        answer.body.split('<').map(|part| part.split_once('>').map_or("", |(_, text)| text));
    let text = texts.collect::<Vec<_>>().join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_contains(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn the_shell_and_its_files_need_no_key_and_allow_no_other_origin() {
    let server = Server::start(GATEWAY);
    let shell = server.send("GET", "/", &[], b"");
    assert_eq!(shell.header("content-type"), Some("text/html; charset=utf-8"));
    let links = shell.body.split('"').filter_map(|text| text.strip_prefix("page/"));
    let mut names: Vec<_> = links.map(str::to_owned).collect();
    assert_eq!(names, ["icon.svg", "page.css", "page.js"]);
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        seen += 1;
        let file = server.send("GET", &format!("/page/{name}"), &[], b"");
        assert_eq!(file.status, 200, "{name}");
        for (header, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(file.header(header), Some(value), "{name}");
            assert_eq!(shell.header(header), Some(value));
        }
        // The modules that a module imports are served, too.
        for import in file.body.split(r#"from "./"#).skip(1) {
            let name = import.split_once('"').unwrap().0.to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    assert!(seen > 6, "{names:?}");
    for forbidden in ["style=", "onclick=", "<script>", "http://", "https://"] {
        assert!(!shell.body.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn each_fragment_needs_a_key_and_is_not_cached() {
    let server = Server::start(GATEWAY);
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({})));
    for path in FRAGMENTS {
        server.send("GET", path, &[], b"").assert_problem(403);
        let wrong = [("X-Api-Key", "a-wrong-key-for-this-test")];
        server.send("GET", path, &wrong, b"").assert_problem(403);
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.body.matches("<h1").count(), 1, "{path}");
        assert!(!answer.body.contains(" style="), "{path}");
    }
    let metrics = server.get("/metrics").body;
    let line = r#"statusmirror_api_requests_total{route="/ui/message/{messageid}",status="403"} 2"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(server.log().contains(r#""route":"/ui/overview","status":200"#));
}

#[test]
fn attempts_without_a_key_are_limited_as_in_the_api() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    let last = (0..200).map(|_| connection.send("GET", "/ui/overview", &[], b"")).last().unwrap();
    last.assert_problem(429);
    connection.send("GET", "/", &[], b"").header("content-security-policy").unwrap();
}

#[test]
fn with_an_internal_listener_the_page_is_only_there() {
    let envs = [("STATUSMIRROR__SERVER__INTERNAL_LISTEN", "127.0.0.1:0".to_owned())];
    let server = Server::start_with(GATEWAY, &envs);
    let mut internal = Connection::to(server.internal_port().unwrap());
    for path in ["/", "/page/page.js", "/ui/live"] {
        server.get(path).assert_problem(404);
        assert_eq!(internal.send("GET", path, &[("X-Api-Key", KEY)], b"").status, 200, "{path}");
    }
}

#[test]
fn rejected_undelivered_late_and_contradicted_messages_differ() {
    let server = Server::start(GATEWAY);
    let failure = json!({"provider": {
        "name": "P", "id": "1", "status": "s", "code": "27", "message": "Absent",
    }});
    server.post(&webhook_with(1, "REJECTED", 5, &failure));
    server.post(&webhook_with(2, "SENT", 1, &json!({})));
    server.post(&webhook_with(2, "UNDELIVERED", 5, &failure));
    server.post(&webhook_with(3, "DELIVERED", 5, &json!({})));
    server.post(&webhook_with(3, "SENT", 1, &json!({})));
    server.post(&webhook_with(4, "UNDELIVERED", 5, &failure));
    server.post(&webhook_with(4, "DELIVERED", 9, &json!({})));
    server.post(&webhook_with(5, "READ", 9, &json!({})));
    server.put(&id(6), &json!({"destination": DESTINATION}));
    let cases: [(u64, &[&str], &[&str]); 6] = [
        (1, &["never sent", "27", "Absent", "Remove the cause"], &["Contradicted:"]),
        (2, &["did not arrive", "27", "send it again"], &["Contradicted:", "never sent"]),
        (
            3,
            &["was delivered", "Late: what was reported as SENT", "DELIVERED was known already"],
            &["Contradicted:"],
        ),
        (4, &["was delivered", "Contradicted:", "Contradicts UNDELIVERED"], &["did not arrive"]),
        (5, &["Nothing valid is known", "Invalid:"], &["was delivered"]),
        (6, &["was registered", "no provider has said anything"], &["was sent at"]),
    ];
    for (number, expected, unexpected) in cases {
        let text = page_text(&server, &format!("/ui/message/{}", id(number)));
        assert_contains(&text, expected);
        for part in unexpected {
            assert!(!text.contains(part), "{part:?} is in: {text}");
        }
    }
    assert_contains(
        &page_text(&server, &format!("/ui/message/{}", id(9))),
        &["Not known here", "not “not sent”"],
    );
}

#[test]
fn a_message_links_to_its_json() {
    let server = Server::start(GATEWAY);
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({"reference": {"key": "<&\"'>"}})));
    let body = server.get(FRAGMENTS[2]).body;
    let path = format!("api/messagestatus/{}/history", id(1));
    assert!(body.contains(&format!("data-history=\"{path}\"")), "{body}");
    assert!(!body.contains("receivedAt"), "{body}");
    assert_eq!(server.get(&format!("/{path}")).json()["history"][0]["status"], "DELIVERED");
}

#[test]
fn foreign_texts_are_escaped_in_every_view() {
    let server = Server::start(GATEWAY);
    let markup = "<img src=x onerror=alert(1)>";
    let members = json!({
        "reference": {"service": markup, "action": markup, "key": markup},
        "provider": {
            "name": markup, "id": markup, "status": markup, "code": markup, "message": markup,
        },
        "destination": DESTINATION,
    });
    for number in 1..=2 {
        server.post(&webhook_with(number, "REJECTED", 5, &members));
    }
    let unknown = json!({"type": markup, "message": {}}).to_string();
    assert_eq!(server.post(&unknown).outcome(), "quarantined");
    let paths = [
        "/ui/overview?hours=720",
        "/ui/messages",
        "/ui/messages?code=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/ui/search?q=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/ui/search?q=%3Cimg%20src=y%20onerror=alert(1)%3E",
        "/ui/search?q=%2B393331234567",
        "/ui/health",
    ];
    for path in paths.into_iter().chain(FRAGMENTS) {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("<img"), "{path}");
    }
    assert!(server.get("/ui/health").body.contains("&#60;img"));
}

#[test]
fn the_search_box_accepts_a_number_a_key_or_an_id() {
    let server = Server::start(GATEWAY);
    let members = json!({"destination": DESTINATION, "reference": {"key": "order 7"}});
    server.post(&webhook_with(1, "DELIVERED", 5, &members));
    server.post(&webhook_with(2, "SENT", 5, &json!({"reference": {"key": "20260212"}})));
    for q in ["%2B393331234567", "0039+333+123-45.67", "393331234567", "+(39)+333%2F1234567"] {
        let text = page_text(&server, &format!("/ui/search?q={q}"));
        assert_contains(&text, &["Newest message for number +393331234567", "was delivered"]);
    }
    let upper = id(1).to_ascii_uppercase();
    assert_contains(
        &page_text(&server, &format!("/ui/search?q=%20{upper}%20")),
        &["was delivered"],
    );
    let by_key = page_text(&server, "/ui/search?q=order+7");
    assert_contains(&by_key, &["Newest message for reference key “order 7”"]);
    // Digits are a destination only if no message has them as its reference key.
    let digits = page_text(&server, "/ui/search?q=20260212");
    assert_contains(&digits, &["Newest message for reference key “20260212”", "was sent"]);
    let national = page_text(&server, "/ui/search?q=0333+1234567");
    assert_contains(&national, &["Which country", "+39 3331234567", "no message has it"]);
    assert_contains(
        &page_text(&server, "/ui/search?q=order+8"),
        &["No message with this reference key"],
    );
    assert_contains(&page_text(&server, "/ui/search?q="), &["Paste a phone number"]);
    for path in ["/ui/search?q=order+7&cursor=x", "/ui/search?q=%2B393331234567&cursor=x"] {
        server.get(path).assert_problem(400);
    }
}

#[test]
fn a_missing_destination_is_explained() {
    let server = Server::start(GATEWAY);
    let unknown = "/ui/search?q=%2B393339999999";
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({"destination": DESTINATION})));
    assert_contains(&page_text(&server, unknown), &["every record here has a number"]);
    server.post(&webhook_with(2, "DELIVERED", 5, &json!({})));
    server.post(&webhook_with(3, "DELIVERED", 5, &json!({})));
    let text = page_text(&server, unknown);
    assert_contains(
        &text,
        &["“Not known here” is not “not sent”", "2 records here have no number"],
    );
    assert_contains(&text, &["?destination=", "PUT /api/messages/{id}"]);
    assert!(server.get(unknown).body.contains("#/messages?destination=without"));
    let list = server.get("/ui/messages?destination=without").body;
    assert_eq!(list.matches("no number</a>").count(), 2, "{list}");
    assert!(!list.contains(DESTINATION), "{list}");
}

#[test]
fn pages_of_lists_keep_their_filters() {
    let server = Server::start(GATEWAY);
    for number in 1..=60 {
        let status = if number % 2 == 0 { "DELIVERED" } else { "REJECTED" };
        let members = json!({"destination": DESTINATION});
        server.post(&webhook_with(number, status, u32::try_from(number).unwrap(), &members));
    }
    let next = |body: &str| {
        let link = body.split_once(r##"rel="next" href="#/"##)?.1.split_once('"')?.0;
        Some(format!("/ui/{}", link.replace("&#38;", "&")))
    };
    for (first, messages) in
        [("/ui/messages?status=REJECTED&count=20", 30), ("/ui/search?q=%2B393331234567", 60)]
    {
        let (mut path, mut found) = (first.to_owned(), Vec::new());
        loop {
            let body = server.get(&path).body;
            // A search shows its newest message in full.
            if let Some((_, rest)) = body.split_once("<dt>Id</dt><dd><code>") {
                found.push(rest.split_once('<').unwrap().0.to_owned());
            }
            let links = body.split(r##"<a href="#/message/"##).skip(1);
            found.extend(links.map(|link| link.split_once('"').unwrap().0.to_owned()));
            match next(&body) {
                Some(next) => path = next,
                None => break,
            }
        }
        let total = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!((total, found.len()), (messages, messages), "{first}");
    }
}

#[test]
fn the_overview_counts_what_was_accepted_in_the_window() {
    let server = Server::start(GATEWAY);
    let registered = server.put(&id(1), &json!({"destination": DESTINATION})).json();
    let now = &registered["message"]["providerAcceptanceAt"];
    for (number, status) in [(1, "DELIVERED"), (2, "DELIVERED"), (3, "REJECTED"), (4, "SENT")] {
        let members = json!({"statusChangedAt": now, "provider": {"code": "27"}});
        server.post(&webhook_with(number, status, 5, &members));
    }
    // A message with a time in the future is not counted before that time.
    server.post(&webhook_with(9, "SENT", 5, &json!({"statusChangedAt": "2999-01-01T00:00:00Z"})));
    for hours in [1, 24, 168, 720] {
        let text = page_text(&server, &format!("/ui/overview?hours={hours}&offset=60"));
        assert_contains(&text, &["Messages 4", "66.7 % of 3 whose end is known", "UTC+01:00"]);
        assert_contains(&text, &["1 rejected, 0 undelivered"]);
        assert_contains(&text, &["4 messages, 2 delivered, 1 failed, 1 unfinished"]);
    }
    let body = server.get("/ui/overview").body;
    assert!(body.contains("#/messages?status=REJECTED&#38;code=27&#38;from="), "{body}");
    server.get("/ui/overview?hours=25").assert_problem(400);
    server.get("/ui/messages?status=NOPE").assert_problem(400);
}

#[test]
fn health_shows_outcomes_and_rejection_reasons() {
    let server = Server::start(GATEWAY);
    assert_contains(
        &page_text(&server, "/ui/health"),
        &["Webhooks accepted 0", "none for", "Empty:"],
    );
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({})));
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({})));
    server.post(&json!({"type": "OTHER"}).to_string());
    server.send("POST", "/webhooks/gateway?token=a-wrong-token", JSON, b"{}").assert_problem(401);
    server.send("POST", "/webhooks/unknown", JSON, b"{}").assert_problem(404);
    let text = page_text(&server, "/ui/health");
    assert_contains(&text, &["Webhooks accepted 3", "the same was known already: a retry 1"]);
    assert_contains(
        &text,
        &["1 with a wrong credential. Compare the secret", "1 for a source that is not"],
    );
    assert_contains(&text, &["unknown word `OTHER`", "statusmirror quarantine show "]);
}

#[test]
fn an_empty_mirror_shows_how_to_get_messages() {
    let server = Server::start(GATEWAY);
    for path in ["/ui/overview", "/ui/messages", "/ui/live"] {
        assert_contains(&page_text(&server, path), &["statusmirror simulate --messages 1000"]);
    }
    server.post(&webhook_with(1, "DELIVERED", 5, &json!({})));
    assert_contains(
        &page_text(&server, "/ui/overview?hours=1"),
        &["No message was accepted in this time"],
    );
    assert_contains(
        &page_text(&server, "/ui/messages?status=REJECTED"),
        &["No message is like that"],
    );
}
