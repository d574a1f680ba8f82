//! `GET /api/messages` and `GET /api/messages.csv`: filters, pages, ids and CSV.

use serde_json::{Value, json};

use crate::support::http::list_page::{next, numbers};
use crate::support::*;

/// Posts a webhook with `status` for message `number`, with these additional members.
fn post(server: &Server, number: u64, status: &str, members: &Value) {
    let mut webhook = webhook(&id(number), status, u32::try_from(number % 60).unwrap());
    for (name, value) in members.as_object().unwrap() {
        webhook["message"][name] = value.clone();
    }
    assert_eq!(server.post(&webhook.to_string()).outcome(), "applied");
}

/// Starts a server with six different messages.
fn start_with_messages() -> Server {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    let destination = json!({"destination": "+393331234567"});
    post(&server, 1, "SENT", &destination);
    post(&server, 2, "DELIVERED", &json!({"reference": {"key": "=HYPERLINK(\"x\")"}}));
    let failed = json!({"name": "N", "id": "I", "status": "failed", "code": "30003",
        "message": "gone, \"for good\"\nor so"});
    post(&server, 3, "UNDELIVERED", &json!({"provider": failed, "destination": "+393331234567"}));
    post(&server, 4, "READ", &json!({"channel": "RCS"}));
    let registered = server.put(
        &id(5),
        &json!({"destination": "+393337654321",
        "providerAcceptanceAt": "2026-02-12T14:00:05Z"}),
    );
    assert_eq!(registered.status, 201);
    let form = format!("MessageSid=SM1&MessageStatus=sent&To=%2B393331234567&x={}", id(6));
    let path = format!("/webhooks/twilio?token={TOKEN}&messageid={}", id(6));
    assert_eq!(server.send("POST", &path, FORM, form.as_bytes()).outcome(), "applied");
    server
}

#[test]
fn each_filter_excludes_other_messages() {
    let server = start_with_messages();
    let found = |query: &str| numbers(&server.get(&format!("/api/messages{query}")));
    let accepted_at = |number: u64| {
        let shown = server.get(&format!("/api/messagestatus/{}", id(number))).json();
        shown["message"]["providerAcceptanceAt"].as_str().unwrap().to_owned()
    };
    // Newest acceptance first.
    let mut all = found("");
    let times: Vec<_> = all.iter().map(|number| accepted_at(*number)).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6]);
    let sorted = |query: &str| {
        let mut numbers = found(query);
        numbers.sort_unstable();
        numbers
    };
    for (query, expected) in [
        ("?status=SENT", vec![1, 6]),
        ("?status=SENT&status=READ", vec![1, 4, 6]),
        ("?channel=RCS", vec![4]),
        ("?source=twilio", vec![6]),
        ("?source=api:tests", vec![5]),
        ("?source=unknown", vec![]),
        ("?code=30003", vec![3]),
        ("?destination=with", vec![1, 3, 5, 6]),
        ("?destination=without", vec![2, 4]),
        ("?destination=with&status=SENT&source=gateway", vec![1]),
    ] {
        assert_eq!(sorted(query), expected, "{query}");
    }
    // `from` is inclusive, and `to` is exclusive.
    let bound = accepted_at(3);
    let since = sorted(&format!("?from={bound}"));
    let before = sorted(&format!("?to={bound}"));
    assert!(since.contains(&3) && !before.contains(&3), "{since:?} {before:?}");
    assert_eq!(since.len() + before.len(), 6);
    assert_eq!(found(&format!("?from={bound}&to={bound}")), [0; 0]);
    // The answer has the destination of each message, and the number of messages without one.
    let body = server.get("/api/messages?code=30003").json();
    assert_eq!(body["messages"][0]["destination"], "+393331234567");
    assert_eq!(body["withoutDestination"], 2);
    let body = server.get("/api/messages?channel=RCS").json();
    assert_eq!(body["messages"][0]["destination"], Value::Null);
    let shown = server.get(&format!("/api/messagestatus/{}", id(4))).json();
    assert_eq!(body["messages"][0]["message"], shown["message"], "in the format of the gateway");
}

#[test]
fn pages_cover_all_messages_also_at_equal_times() {
    let server = Server::start(GATEWAY);
    for number in 1..=25 {
        let status = if number % 2 == 0 { "SENT" } else { "DELIVERED" };
        let accepted = format!("2026-02-12T14:00:0{}Z", number % 3);
        post(&server, number, status, &json!({"providerAcceptanceAt": accepted}));
    }
    for (query, expected) in
        [("", 25), ("&status=SENT", 12), ("&status=SENT&destination=without", 12)]
    {
        let mut seen = Vec::new();
        let mut path = Some(format!("/api/messages?count=4{query}"));
        while let Some(page) = path {
            let answer = server.get(&page);
            let found = numbers(&answer);
            assert!(found.len() <= 4);
            seen.extend(found);
            path = next(&answer);
        }
        let listed = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((listed, seen.len()), (expected, expected), "{query}");
    }
    let answer = server.get("/api/messages?count=4&status=SENT");
    let cursor = answer.header("link").unwrap().split("cursor=").nth(1).unwrap();
    let cursor = cursor.split('>').next().unwrap();
    // A cursor is valid only with the filters of its list.
    let rejection = server.get(&format!("/api/messages?count=4&status=READ&cursor={cursor}"));
    rejection.assert_problem(400);
}

#[test]
fn messages_are_listed_by_id() {
    let server = start_with_messages();
    let ids = [3, 9, 1].map(id).join(",");
    let answer = server.get(&format!("/api/messages?ids={ids}"));
    assert_eq!(numbers(&answer), [3, 1], "known messages, in the order of the query");
    assert_eq!(answer.header("link"), None);
    assert_eq!(answer.json()["withoutDestination"], 2, "the number for all messages");
    let ids_up_to = |count: u64| (1..=count).map(id).collect::<Vec<_>>().join(",");
    assert_eq!(numbers(&server.get(&format!("/api/messages?ids={}", ids_up_to(100)))).len(), 6);
    server.get(&format!("/api/messages?ids={}", ids_up_to(101))).assert_problem(400);
    server.get(&format!("/api/messages?ids={ids}&status=SENT")).assert_problem(400);
    for page in ["count=7", "cursor=x"] {
        let answer = server.get(&format!("/api/messages?{page}&ids={ids}"));
        answer.assert_problem(400);
        let (name, _) = page.split_once('=').unwrap();
        let expected = format!("`ids` cannot be combined with `{name}`");
        assert!(answer.body.contains(&expected), "{}", answer.body);
    }
    assert_eq!(server.get(&format!("/api/messages.csv?variant=plain&ids={ids}")).status, 200);
    let csv = server.get(&format!("/api/messages.csv?ids={ids}"));
    let header = csv.body.lines().next().unwrap();
    assert!(header.starts_with("\u{feff}id,destination,"), "{header}");
    assert!(csv.body.contains(&id(3)) && csv.body.contains(&id(1)));
}

#[test]
fn an_unknown_parameter_is_400_and_lists_the_known_ones() {
    let server = Server::start(GATEWAY);
    for (query, expected) in [
        ("phone=1", "Unknown parameter `phone`"),
        ("status=LOST", "PROVIDER_ACCEPTANCE, SENT"),
        ("channel=FAX", "SMS or RCS"),
        ("from=yesterday", "`from` is not a time"),
        ("to=2026-02-12T14:00:00", "`to` is a time without a zone"),
        ("destination=%2B393331234567", "/api/messagestatus/phonenumber/"),
        ("count=0", "`count` must be"),
        ("cursor=x", "Start without a cursor"),
        ("ids=x", "not a UUID"),
        ("format=csv", "Unknown parameter `format`"),
        ("format=csv", "/api/messages.csv"),
        ("variant=plain", "Unknown parameter `variant`"),
    ] {
        let answer = server.get(&format!("/api/messages?{query}"));
        answer.assert_problem(400);
        assert!(answer.body.contains(expected), "{query}: {}", answer.body);
    }
    let ids = id(1);
    for (query, expected) in [
        ("phone=1", "Unknown parameter `phone`"),
        ("format=csv", "Unknown parameter `format`"),
        ("status=LOST", "PROVIDER_ACCEPTANCE, SENT"),
        ("ids=x", "not a UUID"),
        (&*format!("ids={ids}&code=7"), "cannot be combined with `code`"),
        ("variant=xml", "`spreadsheet` (guarded cells, for spreadsheets) or `plain`"),
        ("count=7", "omit `count`"),
        ("variant=plain&cursor=x", "omit `count` and `cursor`"),
    ] {
        let answer = server.get(&format!("/api/messages.csv?{query}"));
        answer.assert_problem(400);
        assert!(answer.body.contains(expected), "{query}: {}", answer.body);
    }
    for path in ["/api/messages", "/api/messages.csv"] {
        server.send("POST", path, &[("X-Api-Key", KEY)], b"").assert_problem(405);
    }
}

#[test]
fn a_csv_has_all_matches_and_no_formulas() {
    let server = start_with_messages();
    let answer = server.get("/api/messages.csv?destination=without");
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let attachment = answer.header("content-disposition");
    assert_eq!(attachment, Some("attachment; filename=\"messages.csv\""));
    let without_bom = |body: &str| {
        body.strip_prefix('\u{feff}').expect("a CSV begins with a byte order mark").to_owned()
    };
    let text = without_bom(&answer.body);
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let cell = |row: &csv::StringRecord, name: &str| {
        row.get(columns.iter().position(|column| column == name).unwrap()).unwrap().to_owned()
    };
    let found: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(found.len(), 2);
    let second = found.iter().find(|row| cell(row, "id") == id(2)).unwrap();
    assert_eq!(cell(second, "reference.key"), "'=HYPERLINK(\"x\")");
    assert_eq!((&*cell(second, "destination"), &*cell(second, "status")), ("", "DELIVERED"));
    let answer = server.get("/api/messages.csv?code=30003");
    let text = without_bom(&answer.body);
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let row = rows.records().next().unwrap().unwrap();
    assert_eq!(cell(&row, "provider.message"), "gone, \"for good\"\nor so");
    assert_eq!(cell(&row, "destination"), "'+393331234567");
    let shown = server.get(&format!("/api/messagestatus/{}", id(3))).json();
    assert_eq!(cell(&row, "statusChangedAt"), shown["message"]["statusChangedAt"]);
    let head = server.send("HEAD", "/api/messages.csv", &[("X-Api-Key", KEY)], b"");
    assert_eq!((head.status, &*head.body), (200, ""));
}

#[test]
fn a_plain_csv_has_every_text_unchanged() {
    let server = Server::start(GATEWAY);
    let texts = ["=1+1", " ＝cmd", "a\n+1", "007", "\tx", "a;-1", "2026-02-12"];
    let mut guarded = Vec::new();
    for (number, text) in (0_u64..).zip(texts) {
        let reference = json!({"reference": {"service": "s", "key": text}});
        post(&server, number, "SENT", &reference);
        guarded.push(match text {
            "a\n+1" => "a\n'+1".to_owned(),
            "a;-1" => "a;'-1".to_owned(),
            _ => format!("'{text}"),
        });
    }
    let plain = texts.map(str::to_owned).to_vec();
    for (query, expected) in
        [("?variant=plain", plain), ("?variant=spreadsheet", guarded.clone()), ("", guarded)]
    {
        let answer = server.get(&format!("/api/messages.csv{query}"));
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        let has_bom = answer.body.starts_with('\u{feff}');
        assert_eq!(has_bom, query != "?variant=plain");
        let mut rows =
            csv::Reader::from_reader(answer.body.trim_start_matches('\u{feff}').as_bytes());
        let column = rows.headers().unwrap().iter().position(|name| name == "reference.key");
        let mut keys: Vec<_> = rows
            .records()
            .map(|row| row.unwrap().get(column.unwrap()).unwrap().to_owned())
            .collect();
        keys.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(keys, expected, "{query}");
    }
}

#[test]
fn a_csv_of_several_chunks_is_complete() {
    let server = Server::start(GATEWAY);
    for number in 0..2_500_u64 {
        let accepted = format!("2026-02-12T14:00:{:02}Z", number % 7);
        post(&server, number, "SENT", &json!({"providerAcceptanceAt": accepted}));
    }
    let answer = server.get("/api/messages.csv");
    let id = |line: &'_ str| line.split(',').next().unwrap().to_owned();
    let mut ids: Vec<_> = answer.body.lines().skip(1).map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2_500);
    assert!(answer.body.ends_with('\n'));
}
