//! Pages of lists where many messages were accepted in the same second, and where they were not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::fixture::fill;
use super::{Bench, ROUNDS, progress};
use crate::corpus::Corpus;
use crate::figures::{Results, Round, Rounds};
use crate::load::{Pace, Requests, Span, Stream};
use crate::receiver::{KEY, Receiver};
use crate::round::{Acknowledged, LENGTH, WARM_UP, figures, get, measure, sole};
use crate::server::Server;

/// How many messages there are, all with the same number and reference key.
pub(crate) const MESSAGES: usize = 300_000;
/// How many are posted at a time.
const AT_A_TIME: usize = 100_000;
/// How many pages of 100 lie before the one far behind.
const PAGES: usize = 50;
/// The lists, each with its name in the figures.
pub(crate) const LISTS: [(&str, &str); 3] = [
    ("number", "/api/messagestatus/phonenumber/%2B393330000000?count=100"),
    ("key", "/api/messagestatus/reference/order-0?count=100"),
    ("search", "/api/messages?count=100"),
];

/// A page that is asked for again and again.
struct Page<'a> {
    name: String,
    server: &'a Server,
    path: String,
}

/// The first page and one far behind, of each list, with and without ties: both at the same time, so that what
/// the machine does meanwhile hits both.
pub(super) fn ties(bench: &Bench, results: &mut Results) -> Result<()> {
    let [mut spread, mut tied] = [filled(bench, false)?, filled(bench, true)?];
    let mut rounds = Rounds::new();
    for (list, path) in LISTS {
        for place in ["first", "behind"] {
            let page = |times: &str, server| {
                let path = if place == "first" { path.to_owned() } else { behind(server, path)? };
                anyhow::Ok(Page { name: format!("{list}-{times}-{place}"), server, path })
            };
            let pages = [page("spread", &spread)?, page("tied", &tied)?];
            for _ in 0..ROUNDS {
                let asked = thread::scope(|scope| {
                    let threads = pages.each_ref().map(|page| scope.spawn(|| ask(page)));
                    threads.map(ScopedJoinHandle::join)
                });
                for (page, asked) in pages.iter().zip(asked) {
                    let round = asked.map_err(|_panic| anyhow!("{}: a panic", page.name))??;
                    progress(&page.name, &round);
                    rounds.entry(page.name.clone()).or_default().push(round);
                }
            }
        }
    }
    results.rounds("ties", rounds);
    spread.stop()?;
    tied.stop()
}

/// Asks for a page on one connection.
fn ask(page: &Page<'_>) -> Result<Round> {
    let mut requests = Requests::default();
    requests.push(|bytes| get(bytes, &page.path));
    let stream = Stream {
        requests: &requests,
        again: true,
        connections: 1,
        pace: Pace::Closed,
        answered: &mut |_, status, _| {
            ensure!(status == 200, "{}: {status}", page.path);
            Ok(())
        },
    };
    let span = Span::Window { warm_up: WARM_UP / 4, length: LENGTH / 3 };
    let (tallies, used, memory) = measure(page.server, vec![stream], span)?;
    figures(sole(&tallies)?, &used, memory)
}

fn filled(bench: &Bench, tied: bool) -> Result<Server> {
    let mut server = Server::start(&bench.places, Receiver::Ours, &[])?;
    let corpus = Corpus::new(6, Some(1))?;
    let mut corpus = if tied { corpus.tied() } else { corpus };
    for _ in 0..MESSAGES / AT_A_TIME {
        let batch = corpus.fresh(AT_A_TIME)?;
        fill(&server, &batch, &mut Acknowledged::default())?;
    }
    // Of those that came last a page would be read from memory, but only if it is theirs alone.
    server.stop()?;
    server.start_again(&bench.places)?;
    Ok(server)
}

/// The path of the page that so many pages lie before.
fn behind(server: &Server, path: &str) -> Result<String> {
    let mut path = path.to_owned();
    for _ in 0..PAGES {
        path = next(server, &path)?.context("no next page")?;
    }
    Ok(path)
}

/// The next page's path, as the `Link` header of an answer names it.
fn next(server: &Server, path: &str) -> Result<Option<String>> {
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
        let value = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("link"));
        if let Some((_, value)) = value {
            let address = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            return Ok(address.map(|(address, _)| address.to_owned()));
        }
    }
    Ok(None)
}
