//! Every operation of the service. A new one is an entry here, and an arm of `documented` in the parent.

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use serde_json::json;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::{Content, ResponseBuilder, SecurityRequirement};

use super::examples;
use super::operation::{Described, response, shaped, text, text_header};
use super::pages;
use super::parameters;
use super::schemas::{
    FoundMessages, GatewayWebhook, MessageHistory, MessageStatus, MessageStatusList, Registered,
    TwilioCallback, WebhookReceipt,
};
use super::service;
use crate::http::cursor::StaleCursor;
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::register::Body as Registration;
use crate::http::search;
use crate::http::waiting::{self, LONGEST};
use crate::http::{events, export};
use crate::ingest::Refusal;
use crate::store::StoreError;

/// What the gateway has too.
pub(super) const STATUS: &str = "Message status";
/// What it has not.
pub(super) const BEYOND: &str = "Beyond the gateway";
/// For whoever posts.
pub(super) const WEBHOOKS: &str = "Webhooks";
/// For whoever runs the service.
pub(super) const SERVICE: &str = "Service";

/// Each with where it is.
pub(super) fn all() -> Vec<(HttpMethod, &'static str, Operation)> {
    use HttpMethod::{Get, Post, Put};
    vec![
        (Get, "/api/messagestatus/{messageid}", message()),
        (Get, "/api/messagestatus/phonenumber/{phonenumber}", by_phone_number()),
        (Get, "/api/messagestatus/reference/{referencekey}", by_reference_key()),
        (Get, "/api/messagestatus/provider/{source}/{providerid}", by_provider_id()),
        (Get, "/api/messagestatus/{messageid}/history", history()),
        (Get, "/api/messages", messages()),
        (Get, "/api/events", events()),
        (Put, "/api/messages/{messageid}", registration()),
        (Post, "/webhooks/{source}", webhook()),
        (Get, "/", pages::shell()),
        (Get, "/page/{file}", pages::file()),
        (Get, "/ui/overview", pages::overview()),
        (Get, "/ui/messages", pages::messages()),
        (Get, "/ui/message/{messageid}", pages::message()),
        (Get, "/ui/search", pages::search()),
        (Get, "/ui/live", pages::live()),
        (Get, "/ui/health", pages::health()),
        (Get, "/livez", service::live()),
        (Get, "/readyz", service::ready()),
        (Get, "/metrics", service::metrics()),
        (Get, "/openapi.json", service::document()),
        (Get, "/docs", service::page()),
        (Get, "/docs/{file}", service::page_file()),
    ]
}

fn message() -> Operation {
    let id = "getMessageStatusByMessageId";
    let description = "Retrieves the delivery status for a specific message. A message is known from its \
                       first webhook or its registration on. With `wait` the answer comes when its status \
                       is final, or has changed, and at the latest after that time or when the service \
                       stops: what is known by then. A message that is not known yet is waited for too.";
    read(id, STATUS, "Get message status by message ID", description)
        .parameters([parameters::message_id()])
        .parameters(parameters::waiting())
        .answers(
            200,
            json("What is known of the message.", shaped::<MessageStatus>(examples::message())),
        )
        .refuses([
            ("not a UUID", bad_message_id()),
            ("no time to wait", bad(&no_time_to_wait())),
            ("nothing to wait for", bad("`until` is `final` or `change`.")),
            ("not known", Problem::UnknownMessage),
            ("too many wait", Problem::Unavailable(waiting::TOO_MANY)),
        ])
        .build()
}

fn by_phone_number() -> Operation {
    let id = "getLatestMessagesStatusByPhoneNumber";
    let description = "Retrieves the delivery status of the latest messages sent to a given phone number. \
                       If no messages are found, the list is empty.";
    list(id, STATUS, "Get the latest messages status by phone number", description)
        .parameters([parameters::phone_number()])
        .parameters(parameters::page())
        .refuses([("no phone number", bad(NOT_A_NUMBER))])
        .build()
}

fn by_reference_key() -> Operation {
    let id = "getLatestMessagesStatusByReferenceKey";
    let summary = "Get the latest messages status by the external reference key";
    let description = "Retrieves the delivery status of the latest messages associated with the external \
                       key specified in the reference.key parameter of the send API. If no messages are \
                       found, the list is empty.";
    list(id, STATUS, summary, description)
        .parameters([parameters::reference_key()])
        .parameters(parameters::page())
        .refuses([("too long a key", bad("A reference key has 1 to 512 bytes; this one has 600."))])
        .build()
}

fn by_provider_id() -> Operation {
    let description = "Finds messages by the provider's own id, for sources whose dialect has such ids. If \
                       no messages are found, the list is empty.";
    let summary = "Get the latest messages status by the provider's id";
    list("getLatestMessagesStatusByProviderId", BEYOND, summary, description)
        .parameters([parameters::source("twilio"), parameters::provider_id()])
        .parameters(parameters::page())
        .refuses([("no such source", Problem::UnknownSource)])
        .build()
}

fn history() -> Operation {
    let description =
        "Retrieves every notification about a message as it arrived, and what it did.";
    let answer =
        json("All that was said of the message.", shaped::<MessageHistory>(examples::history()));
    read("getMessageHistory", BEYOND, "Get the history of a message", description)
        .parameters([parameters::message_id()])
        .answers(200, answer)
        .refuses([("not a UUID", bad_message_id()), ("not known", Problem::UnknownMessage)])
        .build()
}

fn messages() -> Operation {
    let description = "Searches all messages, newest `providerAcceptanceAt` first. The parameters leave out \
                       what they do not name; another parameter is refused. A search takes only so long: a \
                       page may have fewer messages than there are, even none, and goes on nevertheless, as \
                       its `Link` header says. With `ids` it answers these messages, as far as they are \
                       known, in that order. A CSV has all that are found, without pages: `csv` is for spreadsheets, with a \
                       byte order mark and a `'` before what they would take for a formula, a number or a date; \
                       `csv-plain` is for programs, with every text as it is.";
    let found = json!({
        "messages": [{"message": examples::message()["message"], "destination": "+1234567890"}],
        "withoutNumber": 3,
    });
    let link = "If the search goes on: `<…>; rel=\"next\"`, the address of the next page.";
    let answer = json("The messages that were found.", shaped::<FoundMessages>(found))
        .content("text/csv", text(None))
        .header("Link", text_header(link))
        .header("Content-Disposition", text_header("Of a CSV the name of the file."));
    let refused = |name: &'static str, query: &str| (name, search::read(query, 0).unwrap_err());
    read("searchMessages", BEYOND, "Search messages", description)
        .parameters(parameters::search())
        .answers(200, answer)
        .refuses([
            refused("no such parameter", "phone=7"),
            refused("no such status", "status=LOST"),
            refused("no such channel", "channel=FAX"),
            refused("no time", "from=2026-02-12"),
            refused("neither with nor without", "number=7"),
            refused("no message ids", "ids=7"),
            refused("filters beside ids", "ids=011d9d6e-b5b9-4cb9-be13-2bc336a923ce&status=SENT"),
            ("too many exports", Problem::Unavailable(export::TOO_MANY)),
            refused("pages of a CSV", "format=csv&count=7"),
            refused("no cursor of this search", "cursor=7"),
        ])
        .build()
}

fn events() -> Operation {
    let description = "Tells every change of a record as a server-sent event, in the order in which they \
                       were stored, each once: the `data` of a `change` is a `MessageChange`. It begins \
                       with the place from where it tells, and something comes at least every 15 seconds, \
                       often only an `id`. The last event is called `end` and has a `StreamEnd` as its \
                       `data`; come again then. What was erased or pruned is not told. The parameters \
                       leave out what they do not name, by what the message is after the change; another \
                       parameter is refused.";
    let no_filter = TestRequest::with_uri("/api/events?key=order-7").to_http_request();
    keyed("streamEvents", BEYOND, "Listen to changes", description)
        .parameters(parameters::events())
        .answers(
            200,
            response("Events, without end.", "text/event-stream", text(Some(&examples::events()))),
        )
        .refuses([
            ("no such filter", query::filter(&no_filter).unwrap_err()),
            ("an id that was never given", bad(NEVER_GIVEN)),
            ("too many listen", Problem::Unavailable(events::TOO_MANY)),
            ("not the key's scope", Problem::Scope { needed: "read" }),
        ])
        .build()
}

fn registration() -> Operation {
    let description = "Registers a sent message: the sender's own word about it, which wins over what \
                       webhooks say of its destination and reference. The last registration wins over \
                       earlier ones. A body of at most 64 KiB.";
    let example = json!({
        "destination": "+393331234567",
        "reference": {"service": "SHOP", "key": "order-7"},
        "providerAcceptanceAt": "2026-02-12T15:00:00Z",
    });
    let answer = |description: &str, outcome: &str| {
        let mut body = examples::message();
        body["outcome"] = outcome.into();
        let link = |id: &str| {
            LinkBuilder::new()
                .operation_id(id)
                .parameter("messageid", "$request.path.messageid")
                .build()
        };
        json(description, shaped::<Registered>(body))
            .link("status", link("getMessageStatusByMessageId"))
            .link("history", link("getMessageHistory"))
    };
    api("registerMessage", BEYOND, "Register a sent message", description)
        .parameters([parameters::message_id()])
        .body(
            "What the sender says of it.",
            [("application/json", shaped::<Registration>(example))],
        )
        .answers(201, answer("Nothing was known of the message before.", "applied"))
        .answers(200, answer("It was known already.", "duplicate"))
        .refuses([
            ("not a UUID", bad_message_id()),
            (
                "no registration",
                bad("The body is no registration: missing field `destination` at line 1 column 2."),
            ),
            ("not the key's scope", Problem::Scope { needed: "register" }),
            ("too much was said of it", Problem::TooMany),
            ("it was erased", Problem::Erased),
            ("too large a body", Problem::TooLarge { most: 64 << 10 }),
            ("too much to do", StoreError::Overloaded.into()),
            ("closing", Refusal::Closing.into()),
        ])
        .build()
}

fn webhook() -> Operation {
    let description = "Takes a webhook, and answers once it is on disk. What a source of this name posts, \
                       and how it proves that it does, its configuration says: `dialect` and `verify`. The \
                       other parameters say more of the message where the proof covers the URL. A body of \
                       at most `max_body_bytes` (256 KiB).";
    let gateway = shaped::<GatewayWebhook>(examples::gateway_webhook());
    let twilio = shaped::<TwilioCallback>(examples::twilio_callback());
    let receipt = json!({"results": [{
        "messageId": "b31b6607-9c55-48ba-b145-3f40b809d2d2", "outcome": "applied", "status": "DELIVERED",
    }]});
    Described::new("receiveWebhook", WEBHOOKS, "Take a webhook", description)
        .named()
        .parameters([parameters::source("gateway")])
        .parameters(parameters::callback_url())
        .parameters(parameters::standard_webhooks())
        .body(
            "What the source's dialect says. What is authentic but not of this shape is put in quarantine.",
            [("application/json", gateway), ("application/x-www-form-urlencoded", twilio)],
        )
        .secured(
            ["UrlToken", "SignedUrl", "StandardWebhooks", "TwilioSignature"]
                .map(needs)
                .into_iter()
                .chain([SecurityRequirement::default()]),
        )
        .answers(
            200,
            json("What was done with each notification.", shaped::<WebhookReceipt>(receipt)),
        )
        .refuses(protocol())
        .refuses([
            ("not in the dialect's encoding", Problem::NotEncoded(NO_JSON.to_owned())),
            ("not proven", Problem::Unproven),
            ("no such source", Problem::UnknownSource),
            (
                "not a method of the dialect",
                Problem::Method { allowed: "POST".to_owned() },
            ),
            ("too large a body", Problem::TooLarge { most: 256 << 10 }),
            ("the proof cannot read it", Problem::ContentType(UNREADABLE)),
            ("too much to do", Refusal::Overloaded.into()),
            ("closing", Refusal::Closing.into()),
            ("too slow", Refusal::Slow.into()),
            ("quarantine full", StoreError::QuarantineFull.into()),
            ("store stopped", StoreError::Stopped.into()),
            ("corrupt", StoreError::Corrupt("".into()).into()),
        ])
        .build()
}

/// Whoever has a key may ask.
fn keyed(id: &str, tag: &str, summary: &str, description: &str) -> Described {
    Described::new(id, tag, summary, description)
        .named()
        .secured([needs("ApiKey")])
        .refuses(protocol())
        .refuses([
            ("no valid key", Problem::NoKey),
            (
                "too many without one",
                Problem::TooManyAttempts { wait: std::time::Duration::from_secs(1) },
            ),
        ])
}

/// The same, for what the store is asked before the answer.
fn api(id: &str, tag: &str, summary: &str, description: &str) -> Described {
    keyed(id, tag, summary, description).refuses([
        ("store stopped", StoreError::Stopped.into()),
        ("corrupt", StoreError::Corrupt("".into()).into()),
    ])
}

/// A query.
pub(super) fn read(id: &str, tag: &str, summary: &str, description: &str) -> Described {
    api(id, tag, summary, description).refuses([
        ("not the key's scope", Problem::Scope { needed: "read" }),
        ("too slow", StoreError::TooSlow.into()),
    ])
}

/// A query for a list.
fn list(id: &str, tag: &str, summary: &str, description: &str) -> Described {
    let description = format!("{description} Newest `providerAcceptanceAt` first.");
    let answer = json!({"messages": [examples::message()]});
    let link = "If the list goes on: `<…>; rel=\"next\"`, the address of the next page.";
    read(id, tag, summary, &description)
        .answers(
            200,
            json("The messages.", shaped::<MessageStatusList>(answer))
                .header("Link", text_header(link)),
        )
        .refuses([
            (
                "no count",
                bad("`count` must be a whole number from 1 on; above 100 it is taken for 100."),
            ),
            (
                "no time",
                bad("`sendDate` is a time without a zone; write it like 2026-02-12T14:51:00Z."),
            ),
            ("no cursor of this list", StaleCursor::Unknown.into()),
        ])
}

/// What never reaches a handler.
pub(super) fn protocol() -> [(&'static str, Problem); 3] {
    [
        ("no HTTP/1.1", Problem::Protocol(StatusCode::BAD_REQUEST)),
        ("too slow headers", Problem::Protocol(StatusCode::REQUEST_TIMEOUT)),
        ("too large headers", Problem::Protocol(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
    ]
}

fn needs(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, [""; 0])
}

pub(super) fn json(description: &str, content: Content) -> ResponseBuilder {
    response(description, "application/json", content)
}

pub(super) fn bad(detail: &str) -> Problem {
    Problem::BadRequest(detail.to_owned())
}

pub(super) fn bad_message_id() -> Problem {
    query::message_id("7").unwrap_err()
}

fn no_time_to_wait() -> String {
    format!("`wait` must be a whole number of seconds; above {LONGEST} it is taken for {LONGEST}.")
}

const NEVER_GIVEN: &str = "`Last-Event-ID` is the `id` of the last event that was received, a whole number; 0 \
                           is before the first one.";
const NOT_A_NUMBER: &str =
    "The phone number in the path is not in E.164 format, like +393331234567.";
const NO_JSON: &str = "the body is no JSON: expected value at line 1 column 1";
const UNREADABLE: &str = "The proof of this source cannot read a body of this content type.";
