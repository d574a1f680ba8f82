//! The views of the page, asked for one after the other, beside a query for one message.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bench, ROUNDS, interleaved};
use crate::figures::{Results, Round};
use crate::load::{Pace, Requests, Span, Stream, run};
use crate::receiver::{KEY, Receiver, SIMULATED};
use crate::round::{LENGTH, WARM_UP, figures, get, measure, sole};
use crate::server::Server;

/// How many messages there are.
pub(crate) const MESSAGES: usize = 200_000;
/// How many of them are asked for in turn.
const ASKED: usize = 100;

/// What is asked for, each with its name in the figures.
pub(crate) const VIEWS: [(&str, &str); 12] = [
    ("point", "/api/messagestatus/{id}"),
    ("message", "/ui/message/{id}"),
    ("number", "/ui/search?q={number}"),
    ("reference", "/ui/search?q={key}"),
    ("overview-24h", "/ui/overview?hours=24&offset=60"),
    ("overview-30d", "/ui/overview?hours=720&offset=60"),
    ("messages", "/ui/messages"),
    ("failed", "/ui/messages?status=REJECTED&status=UNDELIVERED"),
    // Nothing has them, so that all is looked through.
    ("nothing", "/ui/messages?code=nobody-has-this-code"),
    ("nobody", "/ui/messages?source=nobody"),
    ("source", "/ui/messages?source=api:bench"),
    ("health", "/ui/health"),
];

/// Fills a store as `simulate` does, and asks for each view.
pub(super) fn views(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut server = Server::start(&bench.places, Receiver::Ours, &[])?;
    simulate(bench, &server)?;
    let messages = some(&server)?;
    let rounds = interleaved(
        bench,
        &VIEWS,
        ROUNDS,
        |(name, _)| name.to_owned(),
        |(_, path)| one_by_one(&server, path, &messages),
    )?;
    results.rounds("views", rounds);
    server.stop()
}

fn simulate(bench: &Bench, server: &Server) -> Result<()> {
    let done = Command::new(bench.places.product())
        .arg("--config")
        .arg(server.folder.join("statusmirror.toml"))
        .args(["simulate", "--source", SIMULATED, "--api-key-env", "BENCH_KEY", "--messages"])
        .arg(MESSAGES.to_string())
        .env("BENCH_KEY", KEY)
        .output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// What some of the messages are asked for by.
struct Known {
    id: String,
    number: String,
    key: String,
}

fn some(server: &Server) -> Result<Vec<Known>> {
    let mut requests = Requests::default();
    requests.push(|bytes| get(bytes, &format!("/api/messages?destination=with&count={ASKED}")));
    let mut known = Vec::new();
    let stream = Stream {
        requests: &requests,
        again: false,
        connections: 1,
        pace: Pace::Closed,
        answered: &mut |_, _, body| {
            let answer: Value = serde_json::from_slice(body)?;
            let found = answer.get("messages").and_then(Value::as_array);
            for found in found.context("no list")? {
                let text = |pointer| {
                    let text = found.pointer(pointer).and_then(Value::as_str);
                    text.map(|text| text.replace('+', "%2B")).context("a member is missing")
                };
                known.push(Known {
                    id: text("/message/id")?,
                    number: text("/destination")?,
                    key: text("/message/reference/key")?,
                });
            }
            Ok(())
        },
    };
    run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    ensure!(known.len() == ASKED, "{} messages instead of {ASKED}", known.len());
    Ok(known)
}

fn one_by_one(server: &Server, path: &str, messages: &[Known]) -> Result<Round> {
    let mut requests = Requests::default();
    for Known { id, number, key } in messages {
        let path = path.replace("{id}", id).replace("{number}", number).replace("{key}", key);
        requests.push(|bytes| get(bytes, &path));
    }
    let stream = Stream {
        requests: &requests,
        again: true,
        connections: 1,
        pace: Pace::Closed,
        answered: &mut |_, status, _| {
            ensure!(status == 200, "{path}: {status}");
            Ok(())
        },
    };
    let span = Span::Window { warm_up: WARM_UP / 2, length: LENGTH / 2 };
    let (tallies, used, memory) = measure(server, vec![stream], span)?;
    figures(sole(&tallies)?, &used, memory)
}
