//! Views of the page, requested one after the other, and for comparison a query for one message.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bench, ROUNDS, interleaved};
use crate::figures::{Results, Round};
use crate::load::{Pace, Span, Stream, run};
use crate::receiver::{KEY, Receiver, SIMULATED};
use crate::requests::Requests;
use crate::round::{WARM_UP, WINDOW_LENGTH, measure, only_tally, render_get, round_from};
use crate::server::Server;

/// Number of stored messages.
pub(crate) const MESSAGES: usize = 200_000;
/// Number of messages that are requested in turn.
const REQUESTED_MESSAGES: usize = 100;

/// Views, each with its name in the figures and its path.
pub(crate) const VIEWS: [(&str, &str); 12] = [
    ("point", "/api/messagestatus/{id}"),
    ("message", "/ui/message/{id}"),
    ("number", "/ui/search?q={number}"),
    ("reference", "/ui/search?q={key}"),
    ("overview-24h", "/ui/overview?hours=24&offset=60"),
    ("overview-30d", "/ui/overview?hours=720&offset=60"),
    ("messages", "/ui/messages"),
    ("failed", "/ui/messages?status=REJECTED&status=UNDELIVERED"),
    // No message matches, so the whole list is searched.
    ("nothing", "/ui/messages?code=unknown-code"),
    ("nobody", "/ui/messages?source=unknown"),
    ("source", "/ui/messages?source=api:bench"),
    ("health", "/ui/health"),
];

/// Fills a store with `statusmirror simulate`, and measures each view.
pub(super) fn views(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut server = Server::start(&bench.paths, Receiver::Ours, &[])?;
    simulate(bench, &server)?;
    let messages = known_messages(&server)?;
    let rounds = interleaved(
        bench,
        &VIEWS,
        ROUNDS,
        |(name, _)| name.to_owned(),
        |(_, path)| measure_view(&server, path, &messages),
    )?;
    results.add_rounds("views", rounds);
    server.stop()
}

fn simulate(bench: &Bench, server: &Server) -> Result<()> {
    let output = Command::new(bench.paths.product())
        .arg("--config")
        .arg(server.folder.join("statusmirror.toml"))
        .args(["simulate", "--source", SIMULATED, "--api-key-env", "BENCH_KEY", "--messages"])
        .arg(MESSAGES.to_string())
        .env("BENCH_KEY", KEY)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Values of a stored message that fill the paths of the views.
struct KnownMessage {
    id: String,
    number: String,
    key: String,
}

/// Reads [`REQUESTED_MESSAGES`] messages of the store.
fn known_messages(server: &Server) -> Result<Vec<KnownMessage>> {
    let mut requests = Requests::default();
    requests.push(|bytes| {
        render_get(bytes, &format!("/api/messages?destination=with&count={REQUESTED_MESSAGES}"));
    });
    let mut messages = Vec::new();
    let stream = Stream {
        requests: &requests,
        repeat: false,
        connections: 1,
        pace: Pace::Closed,
        on_answer: &mut |_, _, body| {
            let answer: Value = serde_json::from_slice(body)?;
            let list = answer.get("messages").and_then(Value::as_array);
            for entry in list.context("the answer has no `messages`")? {
                let text = |pointer: &str| {
                    let text = entry.pointer(pointer).and_then(Value::as_str);
                    text.map(|text| text.replace('+', "%2B"))
                        .with_context(|| format!("a message has no {pointer}"))
                };
                messages.push(KnownMessage {
                    id: text("/message/id")?,
                    number: text("/destination")?,
                    key: text("/message/reference/key")?,
                });
            }
            Ok(())
        },
    };
    run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(
        messages.len() == REQUESTED_MESSAGES,
        "{} messages instead of {REQUESTED_MESSAGES}",
        messages.len()
    );
    Ok(messages)
}

/// Measures requests for a view on one connection, for each message in turn.
fn measure_view(server: &Server, path: &str, messages: &[KnownMessage]) -> Result<Round> {
    let mut requests = Requests::default();
    for KnownMessage { id, number, key } in messages {
        let path = path.replace("{id}", id).replace("{number}", number).replace("{key}", key);
        requests.push(|bytes| render_get(bytes, &path));
    }
    let stream = Stream {
        requests: &requests,
        repeat: true,
        connections: 1,
        pace: Pace::Closed,
        on_answer: &mut |_, status, _| {
            ensure!(status == 200, "{path}: {status}");
            Ok(())
        },
    };
    let span = Span::Window { warm_up: WARM_UP / 2, length: WINDOW_LENGTH / 2 };
    let (tallies, usage) = measure(server, vec![stream], span)?;
    round_from(only_tally(&tallies)?, &usage)
}
