//! The operations of the page for people. What its views look like is no contract.

use utoipa::openapi::path::Operation;

use super::operation::{Described, response, text, text_header};
use super::operations::{bad, bad_message_id, protocol, read};
use super::parameters;
use crate::http::page::FILES;
use crate::http::problem::Problem;

/// For whoever asks what became of a message.
pub(super) const PAGE: &str = "Page";

pub(super) fn shell() -> Operation {
    let answer = response("The page.", "text/html", text(None)).header(
        "Content-Security-Policy",
        text_header("Lets the browser ask nobody but this server."),
    );
    let description = "The page without its views, which it asks for with a key.";
    Described::new("getPage", PAGE, "Open the page", description)
        .refuses(protocol())
        .answers(200, answer)
        .build()
}

pub(super) fn file() -> Operation {
    let answer = response("The file.", "text/javascript", text(None))
        .content("text/css", text(None))
        .content("image/svg+xml", text(None));
    let names = FILES.each_ref().map(|(name, _)| *name);
    Described::new("getPageFile", PAGE, "Get a part of the page", "What the page consists of.")
        .refuses(protocol())
        .parameters([parameters::file(&names)])
        .answers(200, answer)
        .refuses([("no such file", Problem::NoRoute)])
        .build()
}

pub(super) fn overview() -> Operation {
    let description = "What became of the messages that were accepted lately, in sums.";
    view("viewOverview", "See the overview", description)
        .parameters(parameters::window())
        .refuses([("no such window", bad("`hours` is 1, 24, 168 or 720."))])
        .build()
}

pub(super) fn messages() -> Operation {
    let description = "What `GET /api/messages` finds, with the same parameters.";
    view("viewMessages", "See a list of messages", description)
        .parameters(parameters::filters())
        .refuses([("no such status", bad("`status` is none that there is."))])
        .build()
}

pub(super) fn message() -> Operation {
    let description = "In words, with the newest 100 entries of its timeline. With `before`, the 100 entries \
                       before that one.";
    view("viewMessage", "See what became of a message", description)
        .parameters([parameters::message_id(), parameters::before()])
        .refuses([
            ("not a UUID", bad_message_id()),
            ("no entry", bad("`before` is the number of an entry of the timeline.")),
            ("entries of an unknown message", Problem::UnknownMessage),
        ])
        .build()
}

pub(super) fn search() -> Operation {
    let description = "Finds what was typed: a phone number in any of the ways in which people write \
                       them, a message id or a reference key.";
    view("viewSearch", "See what is found of a text", description)
        .parameters(parameters::typed())
        .refuses([("too long a key", bad("A reference key has 1 to 512 bytes; this one has 600."))])
        .build()
}

pub(super) fn live() -> Operation {
    view("viewLive", "See changes as they happen", "The frame for what `GET /api/events` tells.")
        .build()
}

pub(super) fn health() -> Operation {
    let description = "How the sources are doing, and what is in quarantine.";
    view("viewHealth", "See how the sources are doing", description)
        .parameters([parameters::after()])
        .refuses([("no place", bad("`after` is the place of a quarantined entry."))])
        .build()
}

/// A view of the page.
fn view(id: &str, summary: &str, description: &str) -> Described {
    let answer = response("A fragment of HTML.", "text/html", text(None))
        .header("Cache-Control", text_header("`no-store`"));
    read(id, PAGE, summary, description).answers(200, answer)
}
