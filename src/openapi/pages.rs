//! Operations of the web page. The HTML of its views is not part of the API contract.

use utoipa::openapi::path::Operation;

use super::operation::{
    OperationDescription, bad_message_id, bad_request, protocol, read, response, text, text_header,
};
use super::parameters;
use crate::http::problem::Problem;
use crate::http::ui::FILES;

/// Tag of the web page.
pub(crate) const PAGE_TAG: &str = "Page";

pub(crate) fn shell() -> Operation {
    let answer = response("Page.", "text/html", text(None)).header(
        "Content-Security-Policy",
        text_header("Restricts the browser to requests to this server."),
    );
    let description =
        "Returns the page without its views. The page loads the views with an API key.";
    OperationDescription::new("getPage", PAGE_TAG, "Open the page", description)
        .rejects(protocol())
        .answers(200, answer)
        .build()
}

pub(crate) fn file() -> Operation {
    let answer = response("File of the page.", "text/javascript", text(None))
        .content("text/css", text(None))
        .content("image/svg+xml", text(None));
    let names = FILES.each_ref().map(|(name, _)| *name);
    OperationDescription::new(
        "getPageFile",
        PAGE_TAG,
        "Get a file of the page",
        "Returns a script, style sheet or icon of the page.",
    )
    .rejects(protocol())
    .parameters([parameters::file(&names)])
    .answers(200, answer)
    .rejects([("unknown file", Problem::NoRoute)])
    .build()
}

pub(crate) fn overview() -> Operation {
    let description = "Returns the results of recently accepted messages, as totals.";
    view("viewOverview", "View the overview", description)
        .parameters(parameters::window())
        .rejects([("invalid time window", bad_request("`hours` is 1, 24, 168 or 720."))])
        .build()
}

pub(crate) fn messages() -> Operation {
    let description =
        "Returns the messages that `GET /api/messages` finds with the same parameters.";
    view("viewMessages", "View a list of messages", description)
        .parameters(parameters::filters())
        .parameters(parameters::search_page())
        .rejects([("unknown status", bad_request(INVALID_STATUS))])
        .build()
}

pub(crate) fn message() -> Operation {
    let description = "Returns the state of a message in words, with the newest 100 entries of its timeline. \
                       With `before`, returns the 100 entries before that entry.";
    view("viewMessage", "View a message", description)
        .parameters([parameters::message_id(), parameters::before()])
        .rejects([
            ("invalid message id", bad_message_id()),
            (
                "invalid entry number",
                bad_request("`before` is the number of an entry of the timeline."),
            ),
            ("entries of an unknown message", Problem::UnknownMessage),
        ])
        .build()
}

pub(crate) fn search() -> Operation {
    let description = "Finds messages by a text: a phone number in any common notation, a message id or a \
                       reference key.";
    view("viewSearch", "View search results", description)
        .parameters(parameters::search_box())
        .rejects([(
            "reference key too long",
            bad_request("A reference key has 1 to 512 bytes; this one has 600."),
        )])
        .build()
}

pub(crate) fn live() -> Operation {
    view(
        "viewLive",
        "View changes as they happen",
        "Returns the frame for the changes that `GET /api/events` streams.",
    )
    .build()
}

pub(crate) fn health() -> Operation {
    let description = "Returns the state of the sources, and the entries in quarantine.";
    view("viewHealth", "View the health of the sources", description)
        .parameters([parameters::after()])
        .rejects([(
            "invalid quarantine place",
            bad_request("`after` is the place of a quarantined entry."),
        )])
        .build()
}

const INVALID_STATUS: &str = "`status` is one of PROVIDER_ACCEPTANCE, SENT, REJECTED, UNDELIVERED, \
                              DELIVERED, READ; give it once for each.";

/// Describes a view of the page.
fn view(id: &str, summary: &str, description: &str) -> OperationDescription {
    let answer = response("Fragment of HTML.", "text/html", text(None))
        .header("Cache-Control", text_header("`no-store`"));
    read(id, PAGE_TAG, summary, description).answers(200, answer)
}
