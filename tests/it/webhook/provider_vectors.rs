//! Test vectors of providers, posted to a server whose clock is the vector's.
//!
//! The requests in `tests/vectors` were made and judged by the providers' libraries.

use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use actix_web::web::Data;
use serde::Deserialize;
use serde_json::{Value, json};
use statusmirror::clock::Clock;
use statusmirror::config::{self, Secrets};
use statusmirror::http::app_state::Service;
use statusmirror::http::{self, Connections, Listeners};
use statusmirror::ingest::Ingest;
use statusmirror::message::Timestamp;
use statusmirror::metrics::Metrics;
use statusmirror::store::Store;
use statusmirror::store::sqlite::SqliteStore;

use crate::support::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    request: Request,
    verify: Value,
    expect: String,
    reject: Option<String>,
    now: Option<i64>,
    notifications: Option<Vec<Notification>>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
    headers: serde_json::Map<String, Value>,
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    provider_id: String,
    destination: Option<String>,
    status: String,
    time: Option<String>,
    channel: Option<String>,
    code: Option<String>,
}

/// Starts a server with this source and with a clock that stands at this second, runs `exchange` with a
/// connection to it, and stops it.
fn with_server(source: &Value, now: i64, exchange: impl FnOnce(Connection)) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("statusmirror.toml");
    let text = json!({
        "store": {"url": format!("sqlite:{}", folder.path().join("mirror.db").display())},
        "api_keys": {"tests": {"key": KEY}},
        "sources": {"it": source},
    });
    std::fs::write(&config, toml(&text, "")).unwrap();
    let (port_sender, port_receiver) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || serve(&config, now, &port_sender, stopped));
    let port =
        port_receiver.recv_timeout(Duration::from_secs(30)).expect("the server did not start");
    exchange(Connection::to(port));
    stop.send(()).unwrap();
    serving.join().unwrap();
}

/// Serves a configuration until `stopped`, after sending the port.
fn serve(
    config: &Path,
    now: i64,
    port_sender: &mpsc::Sender<u16>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let config = config::read(Some(config), Secrets::Require).unwrap();
    let (store, closing) = SqliteStore::open(&config.store).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clock = Clock::Fixed(Timestamp::from_micros(now * 1_000_000).unwrap());
    let metrics = Arc::new(Metrics::new(clock.now()));
    let (max_in_flight, budget) = (config.store.max_in_flight, config.store.budget);
    let service = Data::new(Service::new(
        Arc::new(Ingest::new(config.sources, Arc::clone(&store), max_in_flight, metrics, budget)),
        store,
        config.api_keys,
        config.server.trusted_proxies,
        clock,
    ));
    port_sender.send(listener.local_addr().unwrap().port()).unwrap();
    let listeners = Listeners { public: vec![listener], internal: Vec::new() };
    actix_web::rt::System::new().block_on(async {
        let connections = Connections { soft_limit: 16, hard_limit: 16 };
        let server = http::servers(&service, listeners, connections).unwrap().remove(0);
        let handle = server.handle();
        actix_web::rt::spawn(server);
        stopped.await.unwrap();
        handle.stop(false).await;
    });
    assert!(closing.close());
}

/// JSON object as TOML, section by section.
fn toml(value: &Value, section: &str) -> String {
    let mut keys = String::new();
    let mut sections = String::new();
    for (name, value) in value.as_object().unwrap() {
        if value.is_object() {
            let inner = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            write!(sections, "[{inner}]\n{}", toml(value, &inner)).unwrap();
        } else {
            // Strings, numbers and lists of them have the same notation in JSON and in TOML.
            writeln!(keys, "{name} = {value}").unwrap();
        }
    }
    keys + &sections
}

fn check(dialect: &str, vector: &Vector) {
    let name = &vector.name;
    let Request { method, url, headers, body } = &vector.request;
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let source = json!({"dialect": dialect, "public_url": address, "verify": vector.verify});
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (&**name, value.as_str().unwrap())).collect();
    with_server(&source, vector.now.unwrap_or(1_790_000_000), |mut server| {
        let path = format!("/webhooks/it?{query}");
        let answer = server.send(method, &path, &headers, body.as_bytes());
        match (&*vector.expect, vector.reject.as_deref()) {
            ("reject", Some("proof")) => answer.assert_problem(401),
            ("reject", Some("shape")) => assert_not_understood(&answer),
            // Only a verified body is quarantined, so a quarantined one shows that the request was accepted.
            ("accept", None) if vector.notifications.is_none() => assert_not_understood(&answer),
            ("accept", None) => {}
            other => panic!("{name}: unknown expectation {other:?}"),
        }
        for notification in vector.notifications.iter().flatten() {
            assert_eq!(answer.outcome(), "applied", "{name}");
            check_notification(&mut server, name, &answer, notification);
        }
        if vector.notifications.as_ref().is_some_and(Vec::is_empty) {
            assert_eq!(answer.outcome(), "ignored", "{name}");
        }
    });
}

fn check_notification(
    server: &mut Connection,
    name: &str,
    answer: &Answer,
    expected: &Notification,
) {
    let id = answer.json()["results"][0]["messageId"].as_str().unwrap().to_owned();
    let path = format!("/api/messagestatus/{id}/history");
    let history = server.send("GET", &path, &[("X-Api-Key", KEY)], b"").json();
    let entry = &history["history"][0];
    assert_eq!(entry["provider"]["id"], *expected.provider_id, "{name}");
    assert_eq!(entry["destination"], json!(expected.destination), "{name}");
    assert_eq!(entry["status"], *expected.status, "{name}");
    assert_eq!(entry["statusChangedAt"], json!(expected.time), "{name}");
    let channel = expected.channel.as_deref().unwrap_or("SMS").to_uppercase();
    assert_eq!(entry["channel"], *channel, "{name}");
    assert_eq!(entry["provider"]["code"], expected.code.as_deref().unwrap_or_default(), "{name}");
}

/// Asserts that the body was verified but not understood: 400 if it is not in the dialect's encoding,
/// otherwise quarantined.
fn assert_not_understood(answer: &Answer) {
    if answer.status == 400 {
        answer.assert_problem(400);
    } else {
        assert_eq!(answer.outcome(), "quarantined", "{answer:?}");
    }
}

fn check_all(dialect: &str, vectors: &str, min_count: usize) {
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    assert!(vectors.len() >= min_count, "{} vectors", vectors.len());
    for vector in &vectors {
        check(dialect, vector);
    }
}

#[test]
fn the_vectors_of_twilio_hold() {
    check_all("twilio", include_str!("../../vectors/twilio.json"), 63);
}

#[test]
fn the_vectors_of_the_generic_hmac_hold() {
    check_all("gateway", include_str!("../../vectors/hmac.json"), 32);
}

#[test]
fn the_vectors_of_standard_webhooks_hold() {
    check_all("gateway", include_str!("../../vectors/standard-webhooks.json"), 36);
}
