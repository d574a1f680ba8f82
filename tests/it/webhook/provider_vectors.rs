//! Test vectors of providers, posted to a server whose clock is the vector's.
//!
//! The files in `tests/vectors` have requests as the providers' libraries made and judged them.

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

/// Serves a configuration with this source at this second, and asks it; the server ends then.
fn with_server(source: &Value, now: i64, ask: impl FnOnce(Connection)) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("statusmirror.toml");
    let text = json!({
        "store": {"url": format!("sqlite:{}", folder.path().join("mirror.db").display())},
        "api_keys": {"tests": {"key": KEY}},
        "sources": {"it": source},
    });
    std::fs::write(&config, toml(&text, "")).unwrap();
    let (port, ports) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || serve(&config, now, &port, stopped));
    let port = ports.recv_timeout(Duration::from_secs(30)).expect("the server did not start");
    ask(Connection::to(port));
    stop.send(()).unwrap();
    serving.join().unwrap();
}

fn serve(
    config: &Path,
    now: i64,
    port: &mpsc::Sender<u16>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let config = config::read(Some(config), Secrets::Find).unwrap();
    let (store, closing) = SqliteStore::open(&config.store).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clock = Clock::Fixed(Timestamp::from_micros(now * 1_000_000).unwrap());
    let metrics = Arc::new(Metrics::new(clock.now()));
    let (queue, budget) = (config.store.max_in_flight, config.store.budget);
    let service = Data::new(Service::new(
        Arc::new(Ingest::new(config.sources, Arc::clone(&store), queue, metrics, budget)),
        store,
        config.api_keys,
        config.server.trusted_proxies,
        clock,
    ));
    port.send(listener.local_addr().unwrap().port()).unwrap();
    let listeners = Listeners { public: vec![listener], internal: Vec::new() };
    actix_web::rt::System::new().block_on(async {
        let connections = Connections { kept: 16, accepted: 16 };
        let server = http::servers(&service, listeners, connections).unwrap().remove(0);
        let handle = server.handle();
        actix_web::rt::spawn(server);
        stopped.await.unwrap();
        handle.stop(false).await;
    });
    assert!(closing.close());
}

/// A table as TOML, section by section.
fn toml(value: &Value, section: &str) -> String {
    let mut keys = String::new();
    let mut sections = String::new();
    for (name, value) in value.as_object().unwrap() {
        if value.is_object() {
            let inner = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            write!(sections, "[{inner}]\n{}", toml(value, &inner)).unwrap();
        } else {
            // Texts, numbers and lists of them are written alike in JSON and in TOML.
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
            // A body that is no status is kept, which only an authentic one is.
            ("accept", None) if vector.notifications.is_none() => assert_not_understood(&answer),
            ("accept", None) => {}
            other => panic!("{name}: what is {other:?}?"),
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

fn check_notification(server: &mut Connection, name: &str, answer: &Answer, said: &Notification) {
    let id = answer.json()["results"][0]["messageId"].as_str().unwrap().to_owned();
    let path = format!("/api/messagestatus/{id}/history");
    let history = server.send("GET", &path, &[("X-Api-Key", KEY)], b"").json();
    let shown = &history["history"][0];
    assert_eq!(shown["provider"]["id"], *said.provider_id, "{name}");
    assert_eq!(shown["destination"], json!(said.destination), "{name}");
    assert_eq!(shown["status"], *said.status, "{name}");
    assert_eq!(shown["statusChangedAt"], json!(said.time), "{name}");
    let channel = said.channel.as_deref().unwrap_or("SMS").to_uppercase();
    assert_eq!(shown["channel"], *channel, "{name}");
    assert_eq!(shown["provider"]["code"], said.code.as_deref().unwrap_or_default(), "{name}");
}

/// Authentic, but no status: 400 if it is not even in the encoding, else quarantined.
fn assert_not_understood(answer: &Answer) {
    if answer.status == 400 {
        answer.assert_problem(400);
    } else {
        assert_eq!(answer.outcome(), "quarantined", "{answer:?}");
    }
}

fn check_all(dialect: &str, vectors: &str, least: usize) {
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    assert!(vectors.len() >= least, "{} vectors", vectors.len());
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
