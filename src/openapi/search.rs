//! Operations of the search: pages as JSON, and the export as CSV.

use serde_json::json;
use utoipa::openapi::path::Operation;

use super::operation::{EXTENSIONS_TAG, json, read, response, schema_content, text, text_header};
use super::schemas::FoundMessages;
use super::{examples, parameters};
use crate::http::api::{export, search_query};
use crate::http::problem::Problem;

pub(crate) fn messages() -> Operation {
    let description = "Searches all messages, newest `providerAcceptanceAt` first. Each filter restricts the \
                       result. An unknown parameter is rejected. The search for a page has a time limit: the \
                       page may have fewer messages than exist, or none, although the search goes on. The \
                       `Link` header is present whenever the search goes on. With `ids`, the response has \
                       the messages with these ids, in the order of the ids. Unknown ids are skipped.";
    let found = json!({
        "messages": [{"message": examples::message()["message"], "destination": "+1234567890"}],
        "withoutDestination": 3,
    });
    let link = "Address of the next page: `<…>; rel=\"next\"`. Present only if the search goes on.";
    let answer = json("Messages found.", schema_content::<FoundMessages>(found))
        .header("Link", text_header(link));
    let rejected = |query: &str| search_query::parse(query, 0).unwrap_err();
    read("searchMessages", EXTENSIONS_TAG, "Search messages", description)
        .parameters(parameters::filters())
        .parameters(parameters::search_page())
        .parameters([parameters::ids()])
        .answers(200, answer)
        .rejects(invalid_selections(rejected))
        .rejects([("unknown cursor", rejected("cursor=7"))])
        .build()
}

pub(crate) fn export() -> Operation {
    let description = "Returns all messages that `GET /api/messages` finds with the same filters, as one CSV \
                       without pages. With `ids`, the CSV has the messages with these ids, in the order of \
                       the ids. If the connection breaks, the CSV is incomplete. An unknown parameter is \
                       rejected.";
    let answer = response("CSV with a header line.", "text/csv", text(None))
        .header("Content-Disposition", text_header("Name of the file."));
    let rejected = |query: &str| export::parse(query).unwrap_err();
    read("exportMessages", EXTENSIONS_TAG, "Export messages as CSV", description)
        .parameters(parameters::filters())
        .parameters([parameters::ids(), parameters::csv_variant()])
        .answers(200, answer)
        .rejects(invalid_selections(rejected))
        .rejects([
            ("pages", rejected("count=7")),
            ("unknown variant", rejected("variant=7")),
            ("too many exports", Problem::Unavailable(export::TOO_MANY_EXPORTS)),
        ])
        .build()
}

/// Rejections of the parameters that select messages.
fn invalid_selections(rejected: impl Fn(&str) -> Problem) -> [(&'static str, Problem); 7] {
    [
        ("unknown parameter", "phone=7"),
        ("unknown status", "status=LOST"),
        ("unknown channel", "channel=FAX"),
        ("invalid time", "from=2026-02-12"),
        ("invalid destination filter", "destination=7"),
        ("invalid message ids", "ids=7"),
        ("filters combined with ids", "ids=011d9d6e-b5b9-4cb9-be13-2bc336a923ce&status=SENT"),
    ]
    .map(|(name, query)| (name, rejected(query)))
}
