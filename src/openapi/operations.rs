//! All operations of the service. A new one needs an entry here, and an arm of `documented` in `document`.

use actix_web::test::TestRequest;
use serde_json::json;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{HttpMethod, Operation};

use super::operation::{
    EXTENSIONS_TAG, STATUS_TAG, WEBHOOKS_TAG, api, bad_message_id, bad_request, json, keyed,
    protocol, read, requirement,
};
use super::operation::{OperationDescription, response, schema_content, text, text_header};
use super::registration::Registration;
use super::schemas::{
    GatewayWebhook, MessageHistory, MessageStatus, MessageStatusList, Registered, TwilioCallback,
    WebhookReceipt,
};
use super::{examples, pages, parameters, search, service};
use crate::http::api::cursor::StaleCursor;
use crate::http::api::long_poll::{self, MAX_WAIT_SECONDS};
use crate::http::api::params;
use crate::http::problem::Problem;
use crate::ingest::Rejection;
use crate::store::StoreError;

/// All operations, each with its method and path.
pub(crate) fn all() -> Vec<(HttpMethod, &'static str, Operation)> {
    use HttpMethod::{Get, Post, Put};
    vec![
        (Get, "/api/messagestatus/{messageid}", message()),
        (Get, "/api/messagestatus/phonenumber/{phonenumber}", by_phone_number()),
        (Get, "/api/messagestatus/reference/{referencekey}", by_reference_key()),
        (Get, "/api/messagestatus/provider/{source}/{providerid}", by_provider_id()),
        (Get, "/api/messagestatus/{messageid}/history", history()),
        (Get, "/api/messages", search::messages()),
        (Get, "/api/messages.csv", search::export()),
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
    let description = "Retrieves the delivery status for a specific message. A message is known after its \
                       first webhook or its registration. With `wait`, the request is a long poll: the \
                       response comes when the status is final or, with `until=change`, when the record \
                       has changed. The response comes at the latest when the wait is over or the service \
                       stops, with the current state. A long poll also waits for a message that is not \
                       known yet.";
    read(id, STATUS_TAG, "Get message status by message ID", description)
        .parameters([parameters::message_id()])
        .parameters(parameters::long_poll())
        .answers(
            200,
            json(
                "Current state of the message.",
                schema_content::<MessageStatus>(examples::message()),
            ),
        )
        .rejects([
            ("invalid message id", bad_message_id()),
            ("invalid wait time", bad_request(&invalid_wait())),
            ("invalid wait condition", bad_request("`until` is `final` or `change`.")),
            ("unknown message", Problem::UnknownMessage),
            ("too many long polls", Problem::Unavailable(long_poll::TOO_MANY_LONG_POLLS)),
        ])
        .build()
}

fn by_phone_number() -> Operation {
    let id = "getLatestMessagesStatusByPhoneNumber";
    let description = "Retrieves the delivery status of the latest messages sent to a given phone number. \
                       If no messages are found, the list is empty.";
    list(id, STATUS_TAG, "Get the latest messages status by phone number", description)
        .parameters([parameters::phone_number()])
        .parameters(parameters::page())
        .rejects([("invalid phone number", bad_request(INVALID_PHONE_NUMBER))])
        .build()
}

fn by_reference_key() -> Operation {
    let id = "getLatestMessagesStatusByReferenceKey";
    let summary = "Get the latest messages status by the external reference key";
    let description = "Retrieves the delivery status of the latest messages associated with the external \
                       key specified in the reference.key parameter of the send API. If no messages are \
                       found, the list is empty.";
    list(id, STATUS_TAG, summary, description)
        .parameters([parameters::reference_key()])
        .parameters(parameters::page())
        .rejects([(
            "reference key too long",
            bad_request("A reference key has 1 to 512 bytes; this one has 600."),
        )])
        .build()
}

fn by_provider_id() -> Operation {
    let description = "Finds messages by the provider's own id. Applies only to sources whose dialect has \
                       such ids. If no messages are found, the list is empty.";
    let summary = "Get the latest messages status by the provider's id";
    list("getLatestMessagesStatusByProviderId", EXTENSIONS_TAG, summary, description)
        .parameters([parameters::source("twilio"), parameters::provider_id()])
        .parameters(parameters::page())
        .rejects([("unknown source", Problem::UnknownSource)])
        .build()
}

fn history() -> Operation {
    let description =
        "Retrieves every notification about a message as it arrived, each with its outcome.";
    let answer =
        json("History of the message.", schema_content::<MessageHistory>(examples::history()));
    read("getMessageHistory", EXTENSIONS_TAG, "Get the history of a message", description)
        .parameters([parameters::message_id()])
        .answers(200, answer)
        .rejects([
            ("invalid message id", bad_message_id()),
            ("unknown message", Problem::UnknownMessage),
        ])
        .build()
}

fn events() -> Operation {
    let description = "Streams every change of a record as a server-sent event, in commit order, each change \
                       once. The `data` of a `change` event is a `MessageChange`. The stream begins with the \
                       `id` after which it continues. The server sends something at least every 15 seconds, \
                       often only an `id`. The last event is named `end`, and its `data` is a `StreamEnd`; \
                       the client should then reconnect. Changes of messages that were erased or pruned in \
                       the meantime are not streamed. Each parameter is a filter on the message as it is \
                       after the change. An unknown parameter is rejected.";
    let no_filter = TestRequest::with_uri("/api/events?key=order-7").to_http_request();
    keyed("streamEvents", EXTENSIONS_TAG, "Stream changes", description)
        .parameters(parameters::events())
        .answers(
            200,
            response("Stream of events.", "text/event-stream", text(Some(&examples::events()))),
        )
        .rejects([
            ("unknown filter", params::filter(&no_filter).unwrap_err()),
            ("invalid event id", bad_request(INVALID_LAST_EVENT_ID)),
            (
                "too many event streams",
                Problem::Unavailable(crate::http::api::events::stream::TOO_MANY_STREAMS),
            ),
            ("missing scope", Problem::Scope { needed: "read" }),
        ])
        .build()
}

fn registration() -> Operation {
    let description = "Registers a sent message, as its sender states it. The destination and the reference \
                       of a registration take precedence over those of webhooks. The last registration \
                       takes precedence over earlier ones. The body may have at most 64 KiB.";
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
        json(description, schema_content::<Registered>(body))
            .link("status", link("getMessageStatusByMessageId"))
            .link("history", link("getMessageHistory"))
    };
    api("registerMessage", EXTENSIONS_TAG, "Register a sent message", description)
        .parameters([parameters::message_id()])
        .body(
            "Sender's statement about the message.",
            [("application/json", schema_content::<Registration>(example))],
        )
        .answers(201, answer("Registered. The message was unknown before.", "applied"))
        .answers(200, answer("Registered. The message was already known.", "duplicate"))
        .rejects([
            ("invalid message id", bad_message_id()),
            (
                "invalid registration",
                bad_request(
                    "Invalid registration: missing field `destination` at line 1 column 2.",
                ),
            ),
            ("missing scope", Problem::Scope { needed: "register" }),
            ("too many notifications", Problem::TooMany),
            ("erased message", Problem::Erased),
            ("body too large", Problem::TooLarge { max_bytes: 64 << 10 }),
            ("store overloaded", StoreError::Overloaded.into()),
            ("shutdown in progress", Rejection::Closing.into()),
        ])
        .build()
}

fn webhook() -> Operation {
    let description = "Receives a webhook. The response comes once the webhook is on disk. The configuration \
                       of the source sets the format of its webhooks (`dialect`) and their verification \
                       (`verify`). The other parameters describe the message, if verification covers the \
                       URL. The body may have at most `max_body_bytes` of the source (256 KiB by default).";
    let gateway = schema_content::<GatewayWebhook>(examples::gateway_webhook());
    let twilio = schema_content::<TwilioCallback>(examples::twilio_callback());
    let receipt = json!({"results": [{
        "messageId": "b31b6607-9c55-48ba-b145-3f40b809d2d2", "outcome": "applied", "status": "DELIVERED",
    }]});
    OperationDescription::new("receiveWebhook", WEBHOOKS_TAG, "Receive a webhook", description)
        .with_request_id()
        .parameters([parameters::source("gateway")])
        .parameters(parameters::callback_url())
        .parameters(parameters::standard_webhooks())
        .body(
            "Body in the format of the source's dialect. An authentic body in another format is put in \
             quarantine.",
            [("application/x-www-form-urlencoded", twilio), ("application/json", gateway)],
        )
        .requires_one_of(
            ["UrlToken", "SignedUrl", "StandardWebhooks", "TwilioSignature"]
                .map(requirement)
                .into_iter()
                .chain([SecurityRequirement::default()]),
        )
        .answers(
            200,
            json("Result of each notification.", schema_content::<WebhookReceipt>(receipt)),
        )
        .rejects(protocol())
        .rejects([
            ("body not in the dialect's encoding", Problem::NotEncoded(INVALID_JSON.to_owned())),
            ("failed verification", Problem::Unverified),
            ("unknown source", Problem::UnknownSource),
            (
                "method not in the dialect",
                Problem::Method { allowed: "POST".to_owned() },
            ),
            ("body too large", Problem::TooLarge { max_bytes: 256 << 10 }),
            ("content type unreadable for the verification", Problem::ContentType(UNSUPPORTED_CONTENT_TYPE)),
            ("too many requests in flight", Rejection::Overloaded.into()),
            ("shutdown in progress", Rejection::Closing.into()),
            ("commit too slow", Rejection::Slow.into()),
            ("quarantine full", StoreError::QuarantineFull.into()),
            ("store stopped", StoreError::Stopped.into()),
            ("corrupt data", StoreError::Corrupt("".into()).into()),
        ])
        .build()
}

/// Describes a query for a list.
fn list(id: &str, tag: &str, summary: &str, description: &str) -> OperationDescription {
    let description = format!("{description} Newest `providerAcceptanceAt` first.");
    let answer = json!({"messages": [examples::message()]});
    let link = "Address of the next page: `<…>; rel=\"next\"`. Present only if the list goes on.";
    read(id, tag, summary, &description)
        .answers(
            200,
            json("Messages.", schema_content::<MessageStatusList>(answer))
                .header("Link", text_header(link)),
        )
        .rejects([
            (
                "invalid count",
                bad_request("`count` must be a whole number from 1 on; values above 100 mean 100."),
            ),
            (
                "invalid time",
                bad_request(
                    "`sendDate` is a time without a zone; write it like 2026-02-12T14:51:00Z.",
                ),
            ),
            ("unknown cursor", StaleCursor::Unknown.into()),
        ])
}

fn invalid_wait() -> String {
    format!(
        "`wait` must be a whole number of seconds; values above {MAX_WAIT_SECONDS} mean {MAX_WAIT_SECONDS}."
    )
}

const INVALID_LAST_EVENT_ID: &str = "`Last-Event-ID` is the `id` of the last event that was received, a \
                                     whole number; 0 is before the first one.";
const INVALID_PHONE_NUMBER: &str =
    "The phone number in the path is not a phone number in E.164, like +393331234567.";
const INVALID_JSON: &str = "the body is not JSON: expected value at line 1 column 1";
const UNSUPPORTED_CONTENT_TYPE: &str =
    "The verification of this source cannot read a body of this content type.";
