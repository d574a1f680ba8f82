//! Metrics: their formats, and their values after known requests.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::*;

/// Source with two secrets, whose scheme signs a timestamp.
const SIGNED: &str = r#"
[sources.signed]
dialect = "gateway"
verify = { scheme = "standard-webhooks", secrets = [
    "whsec_bmV3ZXIgc2VjcmV0IG9mIHRoZXNlIHRlc3RzISEh",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
] }
"#;

fn scrape(port: u16) -> String {
    let accept = [("Accept", "application/openmetrics-text")];
    let answer = Connection::to(port).send("GET", "/metrics", &accept, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(format));
    assert_eq!(answer.header("vary"), Some("accept"));
    assert!(answer.body.ends_with("# EOF\n"));
    canaries::assert_none("the metrics", &answer.body);
    answer.body
}

/// Value of a series; `None` if the series is absent.
fn value(text: &str, series: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[track_caller]
fn assert_values(text: &str, expected: &[(&str, f64)]) {
    for (series, expected_value) in expected {
        assert_eq!(value(text, series), Some(*expected_value), "{series} in {text}");
    }
}

fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_secs()).unwrap()
}

#[test]
fn webhooks_are_counted_by_source_and_outcome() {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
    assert_eq!(server.post(&webhook(&id(1), "LOST", 1).to_string()).outcome(), "quarantined");
    server.post("no JSON").assert_problem(400);
    server.send("POST", "/webhooks/gateway?token=wrong", JSON, b"{}").assert_problem(401);
    server.send("POST", "/webhooks/gateway", JSON, b"{}").assert_problem(401);
    server.send("DELETE", "/webhooks/gateway", &[], b"").assert_problem(405);
    let too_long = vec![b' '; 300 << 10];
    server.send("POST", &webhook_path(""), JSON, &too_long).assert_problem(413);
    server.send("POST", "/webhooks/unknown-source", JSON, b"{}").assert_problem(404);
    let metrics = scrape(server.port);
    let notifications = |outcome| {
        format!("statusmirror_notifications_total{{source=\"gateway\",outcome=\"{outcome}\"}}")
    };
    let rejected = |source, reason| {
        format!("statusmirror_webhooks_rejected_total{{source=\"{source}\",reason=\"{reason}\"}}")
    };
    assert_values(
        &metrics,
        &[
            (&notifications("applied"), 1.0),
            (&notifications("duplicate"), 1.0),
            (&notifications("quarantined"), 1.0),
            (&notifications("conflict"), 0.0),
            (&rejected("gateway", "wrong_credential"), 1.0),
            (&rejected("gateway", "no_credential"), 1.0),
            (&rejected("gateway", "not_understood"), 1.0),
            (&rejected("gateway", "method"), 1.0),
            (&rejected("gateway", "too_large"), 1.0),
            (&rejected("", "unknown_source"), 1.0),
            (&rejected("twilio", "no_credential"), 0.0),
            ("statusmirror_webhooks_accepted_total{source=\"gateway\"}", 3.0),
            ("statusmirror_webhooks_accepted_total{source=\"twilio\"}", 0.0),
            ("statusmirror_notification_age_seconds_count{source=\"gateway\"}", 1.0),
            ("statusmirror_quarantine_entries", 2.0),
            ("statusmirror_deliveries_in_flight", 0.0),
            ("statusmirror_deliveries_in_flight_limit", 1024.0),
            ("statusmirror_store_up", 1.0),
        ],
    );
    assert!(!metrics.contains("unknown-source"), "{metrics}");
    let build = format!("statusmirror_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_values(&metrics, &[(&build, 1.0)]);
    let commits = value(&metrics, "statusmirror_commit_deliveries_count").unwrap();
    assert!(commits >= 4.0, "{metrics}");
    assert_eq!(value(&metrics, "statusmirror_commit_duration_seconds_count"), Some(commits));
    let size = |file| value(&metrics, &format!("statusmirror_store_size_bytes{{file=\"{file}\"}}"));
    assert!(size("database").unwrap() > 0.0 && size("wal").unwrap() > 0.0, "{metrics}");
}

#[test]
fn the_default_format_of_metrics_is_text() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let send = |accept: &[(&str, &str)]| {
        let answer = Connection::to(server.port).send("GET", "/metrics", accept, b"");
        assert_eq!(answer.status, 200);
        answer
    };
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    for accept in [
        &[][..],
        &[("Accept", "*/*")],
        &[("Accept", "text/plain;version=0.0.4;q=0.9,*/*;q=0.1")],
        &[("Accept", "application/openmetrics-text;q=0.3"), ("Accept", "text/*;q=0.4")],
    ] {
        let answer = send(accept);
        assert_eq!(answer.header("content-type"), Some(plain), "{accept:?}");
        let mut declared = std::collections::HashMap::new();
        for line in answer.body.lines() {
            if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|declaration| declaration.split_once(' '))
            {
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(declared.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                let families =
                    ["_bucket", "_sum", "_count"].map(|suffix| name.strip_suffix(suffix));
                let is_declared = declared.contains_key(name)
                    || families.into_iter().flatten().any(|name| declared.contains_key(name));
                assert!(is_declared, "{line}");
            }
        }
        assert_eq!(declared["statusmirror_build_info"], "gauge");
        assert_eq!(declared["statusmirror_webhooks_accepted_total"], "counter");
        assert_values(
            &answer.body,
            &[("statusmirror_webhooks_accepted_total{source=\"gateway\"}", 1.0)],
        );
    }
    let draft = send(&[("Accept", "application/openmetrics-text; version=0.0.1")]);
    let format = "application/openmetrics-text; version=0.0.1; charset=utf-8";
    assert_eq!(draft.header("content-type"), Some(format));
    assert!(draft.body.ends_with("# EOF\n"));
}

#[test]
fn last_seen_times_change_when_a_source_and_a_secret_are_accepted() {
    let server = Server::start(&format!("{GATEWAY}{SIGNED}"));
    let accepted =
        |source| format!("statusmirror_last_accepted_timestamp_seconds{{source=\"{source}\"}}");
    let verified = |secret| {
        let name = "statusmirror_last_secret_verified_timestamp_seconds";
        format!("{name}{{source=\"signed\",secret=\"{secret}\"}}")
    };
    let before = scrape(server.port);
    let start = value(&before, &accepted("signed")).unwrap();
    let second = f64::from(u32::try_from(now()).unwrap());
    assert!((second - 60.0..=second + 1.0).contains(&start), "{before}");
    let skew = "statusmirror_sender_clock_skew_seconds{source=\"signed\"}";
    assert_eq!(value(&before, skew), None);
    // Signed with the second secret, by a sender whose clock is 100 s ahead.
    let signature_headers = standard_webhooks(EXAMPLE, now() + 100);
    let headers: Vec<_> =
        signature_headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = server.send("POST", "/webhooks/signed", &headers, EXAMPLE.as_bytes());
    assert_eq!(answer.outcome(), "applied");
    let after = scrape(server.port);
    let value_after = |series: &str| value(&after, series).unwrap();
    assert!(
        value_after(&accepted("signed")) > start && value_after(&accepted("gateway")) <= start,
        "{after}"
    );
    assert!(value_after(&verified(1)) > start && value_after(&verified(0)) <= start, "{after}");
    assert!((1.0..=100.0).contains(&value_after(skew)), "{after}");
    // A timestamp too far in the future, then one too far in the past.
    for (second, reason) in [(now() + 10_000, "clock"), (now() - 30 * 86_400, "too_old")] {
        let body = webhook(&id(1), "SENT", 1).to_string();
        let signature_headers = standard_webhooks(&body, second);
        let headers: Vec<_> =
            signature_headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.send("POST", "/webhooks/signed", &headers, body.as_bytes()).assert_problem(401);
        let series = format!(
            "statusmirror_webhooks_rejected_total{{source=\"signed\",reason=\"{reason}\"}}"
        );
        assert_values(&scrape(server.port), &[(&series, 1.0)]);
    }
}

#[test]
fn a_reload_keeps_the_counters_of_remaining_sources_and_drops_the_others() {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let accepted = |source| format!("statusmirror_webhooks_accepted_total{{source=\"{source}\"}}");
    server.configure(|config| config.replace("[sources.twilio]", "[sources.other]"));
    server.reload();
    assert_eq!(server.post(EXAMPLE).outcome(), "duplicate");
    let metrics = scrape(server.port);
    assert_values(&metrics, &[(&accepted("gateway"), 2.0), (&accepted("other"), 0.0)]);
    assert!(!metrics.contains("\"twilio\""), "{metrics}");
}

#[test]
fn requests_are_counted_by_the_routes_template_and_the_status() {
    let server = Server::start(GATEWAY);
    server.post(EXAMPLE);
    server.get(&format!("/api/messagestatus/{EXAMPLE_ID}"));
    server.get(&format!("/api/messagestatus/{}", id(1))).assert_problem(404);
    server.get("/api/messagestatus/phonenumber/+393331234567");
    server.get("/api/messagestatus/reference/order-7");
    server.send("GET", "/api/messagestatus/reference/order-7", &[], b"").assert_problem(403);
    server.get("/api/nothing").assert_problem(404);
    server.put(&id(2), &json!({"destination": "+393331234567"}));
    server.get("/api/messages?status=SENT");
    server.get("/api/messages.csv?status=SENT");
    let metrics = scrape(server.port);
    let route = |route, status| {
        format!("statusmirror_api_requests_total{{route=\"{route}\",status=\"{status}\"}}")
    };
    assert_values(
        &metrics,
        &[
            (&route("/api/messagestatus/{messageid}", 200), 1.0),
            (&route("/api/messagestatus/{messageid}", 404), 1.0),
            (&route("/api/messagestatus/phonenumber/{phonenumber}", 200), 1.0),
            (&route("/api/messagestatus/reference/{key}", 200), 1.0),
            (&route("/api/messagestatus/reference/{key}", 403), 1.0),
            (&route("none", 404), 1.0),
            (&route("/api/messages/{messageid}", 201), 1.0),
            (&route("/api/messages", 200), 1.0),
            (&route("/api/messages.csv", 200), 1.0),
        ],
    );
    let durations = "statusmirror_api_request_duration_seconds_count\
                     {route=\"/api/messagestatus/{messageid}\"}";
    assert_values(&metrics, &[(durations, 2.0)]);
}

#[test]
fn messages_without_destination_or_final_status_are_measured() {
    let mut server = Server::start(GATEWAY);
    let assert_without_destination = |server: &Server, expected| {
        assert_values(
            &scrape(server.port),
            &[("statusmirror_messages_without_destination", expected)],
        );
    };
    let oldest = |server: &Server| {
        value(&scrape(server.port), "statusmirror_oldest_unfinished_timestamp_seconds").unwrap()
    };
    let post_without_destination = |server: &Server, id: &str, status: &str| {
        let body = webhook(id, status, 1).to_string();
        assert_eq!(server.post(&body).outcome(), "applied");
    };
    assert_without_destination(&server, 0.0);
    assert!(oldest(&server) <= 0.0);
    post_without_destination(&server, &id(1), "SENT");
    post_without_destination(&server, &id(2), "DELIVERED");
    assert_without_destination(&server, 2.0);
    let oldest_before = oldest(&server);
    assert!(oldest_before > 86_400.0, "the webhook is dated far in the past: {oldest_before}");
    // After a restart, the values come from the tables.
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    assert_without_destination(&server, 2.0);
    assert!(oldest(&server) >= oldest_before);
    post_without_destination(&server, &id(1), "UNDELIVERED");
    server.put(&id(2), &json!({"destination": "+393331234567"}));
    assert_without_destination(&server, 1.0);
    assert!(oldest(&server) <= 0.0);
}

#[test]
fn metrics_are_only_on_the_internal_listener_if_there_is_one() {
    let mut server = Server::start(GATEWAY);
    server.terminate();
    let listen = "listen = \"127.0.0.1:0\"\ninternal_listen = \"127.0.0.1:0\"";
    server.configure(|config| config.replace("listen = \"127.0.0.1:0\"", listen));
    server.restart();
    server.send("GET", "/metrics", &[], b"").assert_problem(404);
    scrape(server.internal_port().unwrap());
    let wrong_method =
        Connection::to(server.internal_port().unwrap()).send("POST", "/metrics", &[], b"");
    wrong_method.assert_problem(405);
}
