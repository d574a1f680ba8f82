//! Texts that look like protocol syntax, in every output: none changes the framing of a response.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use crate::support::http::raw_client::{RawClient, RawResponse};
use crate::support::*;

/// Texts that a proxy, browser or spreadsheet could take for its own syntax.
const TEXTS: [&str; 20] = [
    "HTTP/1.1 400 x\r\ncontent-length: 0",
    "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
    "\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "0\r\n\r\n",
    "\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: t\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "data: x\n\nevent: end\ndata: {}\n\n",
    "id: 1\nretry: 1\n\n: ",
    "\u{2028}\u{2029}\u{85}",
    "\"><script>alert(1)</script><img src=x onerror=alert(2)>",
    "</title></script><!--",
    "=1+1",
    "+SUM(A1)\n=HYPERLINK(\"x\")",
    "\u{ff1d}1\u{ff0b}1",
    "a\"b,c;d\te\"\"\r\nf",
    "393331234567",
    "} # HELP x\nstatusmirror_up 1\n# EOF\n",
    "\\u0000\\\"\\",
    "%0d%0aSet-Cookie: x=y",
];

/// Sends a request and reads its answer. A second request on the connection fails if the framing was wrong.
fn exchange(client: &mut RawClient, request: &str) -> RawResponse {
    let answer = client.send(request).answer(request.split(' ').next().unwrap());
    let alive = client.send("GET /livez HTTP/1.1\r\nHost: t\r\n\r\n").answer("GET");
    assert_eq!((alive.status, alive.text()), (200, "ok\n"), "after {request}");
    answer
}

fn get(client: &mut RawClient, path: &str) -> RawResponse {
    exchange(client, &format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n\r\n"))
}

fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string()
}

#[test]
fn no_text_changes_the_framing_of_a_response() {
    let server = Server::start(GATEWAY);
    let mut client = RawClient::to(server.port);
    for (number, text) in (1..).zip(TEXTS) {
        let mut body = webhook(&id(number), "DELIVERED", 1);
        let message = &mut body["message"];
        message["reference"] = json!({"service": text, "action": text, "key": text});
        message["provider"] =
            json!({"name": text, "id": text, "status": text, "code": text, "message": text});
        let body = body.to_string();
        let posted = exchange(
            &mut client,
            &format!(
                "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
                webhook_path(""),
                body.len()
            ),
        );
        assert_eq!(posted.status, 200, "{posted:?}");
        let invalid_body = format!(
            "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{text}",
            webhook_path(""),
            text.len()
        );
        // As an invalid body, and as an unknown status. The reason for the rejection may quote the text.
        assert_ne!(exchange(&mut client, &invalid_body).status, 401);
        let body = json!({"type": text, "message": {"status": text}}).to_string();
        let unknown_status = format!(
            "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
            webhook_path(""),
            body.len()
        );
        exchange(&mut client, &unknown_status);
    }
    for (number, text) in (1..).zip(TEXTS) {
        let message = format!("/api/messagestatus/{}", id(number));
        for path in [message.clone(), format!("{message}/history")] {
            let json: Value = serde_json::from_str(get(&mut client, &path).text()).unwrap();
            let key = json.pointer("/message/reference/key").unwrap();
            assert_eq!(key, text, "{path}");
        }
        let text = encoded(text);
        let list = get(&mut client, &format!("/api/messagestatus/reference/{text}"));
        assert!(list.text().contains(&id(number)), "{list:?}");
        for path in [
            format!("/api/messages?code={text}"),
            format!("/api/messages?cursor={text}"),
            format!("/api/messagestatus/phonenumber/{text}"),
            format!("/api/messagestatus/provider/{text}/{text}"),
            format!("/api/{text}"),
            format!("/{text}"),
            format!("/webhooks/{text}"),
            format!("/docs/{text}"),
            format!("/ui/search?q={text}"),
            format!("/ui/messages?code={text}&source={text}"),
            format!("/ui/message/{}", id(number)),
        ] {
            let answer = get(&mut client, &path);
            assert!(answer.status < 500, "{path}: {answer:?}");
            if path.starts_with("/ui") && answer.status == 200 {
                assert!(
                    !answer.text().contains("<script>") && !answer.text().contains("<img"),
                    "{path}"
                );
            }
        }
        let request_with_id = format!(
            "GET /api/messages HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\nX-Request-Id: {text}\r\n\r\n"
        );
        assert_eq!(exchange(&mut client, &request_with_id).status, 200);
    }
    // Each message is one record of the CSV.
    let csv = get(&mut client, "/api/messages.csv");
    let mut reader = csv::Reader::from_reader(&*csv.body);
    assert_eq!(reader.records().map(Result::unwrap).count(), TEXTS.len());
    for path in ["/metrics", "/ui/overview", "/ui/health", "/api/messages"] {
        assert_eq!(get(&mut client, path).status, 200, "{path}");
    }
    let mut events = RawClient::to(server.port);
    events.send(format!(
        "GET /api/events HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\nLast-Event-ID: 0\r\n\r\n"
    ));
    let head = String::from_utf8(events.until("\r\n\r\n")).unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    for (number, text) in (1..).zip(TEXTS) {
        events.until("event: change\ndata: ");
        let data = events.until("\n\n");
        let change: Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(change["message"]["id"], id(number));
        assert_eq!(change["message"]["reference"]["key"], text);
    }
}

#[test]
fn a_doubled_slash_or_an_encoded_letter_of_a_route_is_400_but_reaches_a_webhook() {
    let server = Server::start(GATEWAY);
    let mut client = RawClient::to(server.port);
    for path in [
        "//api/messages",
        "/api//messages",
        "/api/messagestatus//reference/x",
        "/api/messagestatus/reference//x",
        "/%61pi/messages",
        "/api/m%65ssages",
        "/api/messagestatus/%70honenumber/39333",
        "/ui//overview",
        "/ui/%6Fverview",
        "/livez%2F",
        "/%6Civez",
        "/%77ebhooks/gateway",
        "//docs",
    ] {
        let answer = get(&mut client, path);
        assert!(answer.status == 400 && answer.text().contains("detail"), "{path}: {answer:?}");
    }
    // The key is checked first.
    server.send("GET", "/api//messages", &[], b"").assert_problem(403);
    let query = webhook_path("").split_once('?').unwrap().1.to_owned();
    for path in [
        "/webhooks/gateway/",
        "//webhooks/gateway",
        "/webhooks//gateway",
        "///webhooks///gateway//",
    ] {
        let answer = server.send("POST", &format!("{path}?{query}"), JSON, EXAMPLE.as_bytes());
        assert!(["applied", "duplicate"].contains(&&*answer.outcome()), "{path}: {answer:?}");
    }
    let absolute_url = format!("http://hooks.example.com//webhooks/gateway/?{query}");
    assert_eq!(server.send("POST", &absolute_url, JSON, EXAMPLE.as_bytes()).outcome(), "duplicate");
}
