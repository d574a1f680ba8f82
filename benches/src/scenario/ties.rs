//! Pages of lists of messages that were accepted in the same second, and of messages that were not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::fixture::fill;
use super::{Bench, ROUNDS, print_progress};
use crate::corpus::Corpus;
use crate::figures::{Results, Round, Rounds};
use crate::load::{Pace, Span, Stream};
use crate::receiver::{KEY, Receiver};
use crate::requests::Requests;
use crate::round::{
    Acknowledged, WARM_UP, WINDOW_LENGTH, measure, only_tally, render_get, round_from,
};
use crate::server::Server;

/// Number of messages, all with the same phone number and reference key.
pub(crate) const MESSAGES: usize = 300_000;
/// Number of messages posted at a time.
const BATCH_MESSAGES: usize = 100_000;
/// Number of pages of 100 messages before the later page.
const PAGES_BEFORE: usize = 50;
/// Lists, each with its name in the figures and its path.
pub(crate) const LISTS: [(&str, &str); 3] = [
    ("number", "/api/messagestatus/phonenumber/%2B393330000000?count=100"),
    ("key", "/api/messagestatus/reference/order-0?count=100"),
    ("search", "/api/messages?count=100"),
];

/// Page that is requested repeatedly.
struct Page<'a> {
    name: String,
    server: &'a Server,
    path: String,
}

/// Measures the first page and a later page of each list, with and without ties. The pages with and without
/// ties are measured at the same time, so that other load on the machine affects both.
pub(super) fn ties(bench: &Bench, results: &mut Results) -> Result<()> {
    let [mut spread, mut tied] = [filled_server(bench, false)?, filled_server(bench, true)?];
    let mut rounds = Rounds::new();
    for (list, path) in LISTS {
        for place in ["first", "behind"] {
            let page = |times: &str, server| {
                let path =
                    if place == "first" { path.to_owned() } else { later_page(server, path)? };
                anyhow::Ok(Page { name: format!("{list}-{times}-{place}"), server, path })
            };
            let pages = [page("spread", &spread)?, page("tied", &tied)?];
            for _ in 0..ROUNDS {
                let outcomes = thread::scope(|scope| {
                    let threads = pages.each_ref().map(|page| scope.spawn(|| measure_page(page)));
                    threads.map(ScopedJoinHandle::join)
                });
                for (page, outcome) in pages.iter().zip(outcomes) {
                    let round = outcome
                        .map_err(|_panic| anyhow!("the round of {} panicked", page.name))??;
                    print_progress(&page.name, &round);
                    rounds.entry(page.name.clone()).or_default().push(round);
                }
            }
        }
    }
    results.add_rounds("ties", rounds);
    spread.stop()?;
    tied.stop()
}

/// Measures requests for a page on one connection.
fn measure_page(page: &Page<'_>) -> Result<Round> {
    let mut requests = Requests::default();
    requests.push(|bytes| render_get(bytes, &page.path));
    let stream = Stream {
        requests: &requests,
        repeat: true,
        connections: 1,
        pace: Pace::Closed,
        on_answer: &mut |_, status, _| {
            ensure!(status == 200, "{}: {status}", page.path);
            Ok(())
        },
    };
    let span = Span::Window { warm_up: WARM_UP / 4, length: WINDOW_LENGTH / 3 };
    let (tallies, usage) = measure(page.server, vec![stream], span)?;
    round_from(only_tally(&tallies)?, &usage)
}

/// Starts a server and fills it; with `is_tied`, all messages were accepted in the same second.
fn filled_server(bench: &Bench, is_tied: bool) -> Result<Server> {
    let mut server = Server::start(&bench.paths, Receiver::Ours, &[])?;
    let corpus = Corpus::new(6, Some(1))?;
    let mut corpus = if is_tied { corpus.tied() } else { corpus };
    for _ in 0..MESSAGES / BATCH_MESSAGES {
        let batch = corpus.fresh(BATCH_MESSAGES)?;
        fill(&server, &batch, &mut Acknowledged::default())?;
    }
    // A restart empties the cache, from which pages of the latest messages would be read.
    server.stop()?;
    server.restart(&bench.paths)?;
    Ok(server)
}

/// Path of the page that follows [`PAGES_BEFORE`] pages.
fn later_page(server: &Server, path: &str) -> Result<String> {
    let mut path = path.to_owned();
    for _ in 0..PAGES_BEFORE {
        path = next_page(server, &path)?.context("no next page")?;
    }
    Ok(path)
}

/// Path of the next page in the `Link` header of a page.
fn next_page(server: &Server, path: &str) -> Result<Option<String>> {
    let mut socket = TcpStream::connect(server.address)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    for line in BufReader::new(socket).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let header = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("link"));
        if let Some((_, value)) = header {
            let target = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            return Ok(target.map(|(target, _)| target.to_owned()));
        }
    }
    Ok(None)
}
