//! Pages of lists where many messages were accepted in the same second, and where they were not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result};

use super::fixture::fill;
use super::{Bench, ROUNDS, interleaved};
use crate::corpus::Corpus;
use crate::figures::Results;
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
#[derive(Clone, Copy)]
struct Page<'a> {
    name: &'a str,
    server: &'a Server,
    path: &'a str,
}

/// The first page and one far behind, of each list, with and without ties.
pub(super) fn ties(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut servers = [filled(bench, false)?, filled(bench, true)?];
    let mut paths = Vec::new();
    for (server, times) in servers.iter().zip(["spread", "tied"]) {
        for (list, path) in LISTS {
            paths.push((format!("{list}-{times}-first"), server, path.to_owned()));
            paths.push((format!("{list}-{times}-behind"), server, behind(server, path)?));
        }
    }
    let pages: Vec<_> =
        paths.iter().map(|(name, server, path)| Page { name, server, path }).collect();
    let rounds = interleaved(
        bench,
        &pages,
        ROUNDS,
        |page| page.name.to_owned(),
        |page| {
            let mut requests = Requests::default();
            requests.push(|bytes| get(bytes, page.path));
            let stream = Stream {
                requests: &requests,
                again: true,
                connections: 1,
                pace: Pace::Closed,
                answered: &mut |_, status, _| {
                    anyhow::ensure!(status == 200, "{}: {status}", page.path);
                    Ok(())
                },
            };
            let span = Span::Window { warm_up: WARM_UP / 4, length: LENGTH / 3 };
            let (tallies, used, memory) = measure(page.server, vec![stream], span)?;
            figures(sole(&tallies)?, &used, memory)
        },
    )?;
    results.rounds("ties", rounds);
    servers.iter_mut().try_for_each(Server::stop)
}

fn filled(bench: &Bench, tied: bool) -> Result<Server> {
    let server = Server::start(&bench.places, Receiver::Ours, &[])?;
    let corpus = Corpus::new(6, Some(1))?;
    let mut corpus = if tied { corpus.tied() } else { corpus };
    for _ in 0..MESSAGES / AT_A_TIME {
        let batch = corpus.fresh(AT_A_TIME)?;
        fill(&server, &batch, &mut Acknowledged::default())?;
    }
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
