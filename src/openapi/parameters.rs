//! Parameters in the path, the query and the headers of a request.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Required, Schema, SchemaFormat, Type,
};

use super::schemas::{Channel, Status};
use crate::http::api::long_poll::MAX_WAIT_SECONDS;
use crate::http::api::params::{DEFAULT_COUNT, MAX_COUNT};
use crate::message::MAX_REFERENCE_BYTES;

/// Message id, in the path.
pub(crate) fn message_id() -> Parameter {
    let schema = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let example = "011d9d6e-b5b9-4cb9-be13-2bc336a923ce";
    in_path("messageid", "Message identifier: a hyphenated UUID.", example, schema)
}

pub(crate) fn phone_number() -> Parameter {
    in_path("phonenumber", PHONE_NUMBER_DESCRIPTION, "+1234567890", number())
}

const PHONE_NUMBER_DESCRIPTION: &str = "Phone number in E.164 format. Its `+` may be plain, percent-encoded \
                                        (`%2B`), a space or absent.";

fn number() -> ObjectBuilder {
    text().pattern(Some(r"^[+ ]?[1-9][0-9]{6,14}$"))
}

pub(crate) fn reference_key() -> Parameter {
    let description = format!(
        "External reference key, percent-encoded. Any characters are allowed, up to {MAX_REFERENCE_BYTES} \
         bytes."
    );
    in_path("referencekey", &description, "user-12345-verification", key())
}

fn key() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(MAX_REFERENCE_BYTES))
}

/// Source name, in the path.
pub(crate) fn source(example: &str) -> Parameter {
    let schema = text().pattern(Some("^[a-z0-9][a-z0-9_-]{0,63}$"));
    in_path("source", "Name of the source in the configuration.", example, schema)
}

pub(crate) fn provider_id() -> Parameter {
    let description = "Provider's own id of the message, percent-encoded.";
    let schema = text().min_length(Some(1));
    in_path("providerid", description, "SM1342fe1b2c904d1ab04f0fc7a58abca9", schema)
}

/// Name of a file of a page, in the path.
pub(crate) fn file(names: &[&str]) -> Parameter {
    let schema = text().enum_values(Some(names.iter().copied()));
    in_path("file", "Name of the file.", names[0], schema)
}

/// Time window and size of the overview.
pub(crate) fn window() -> [Parameter; 3] {
    let hours = integer().enum_values(Some([1, 24, 168, 720]));
    let offset = integer().minimum(Some(-840)).maximum(Some(840));
    let width = integer().minimum(Some(0)).maximum(Some(65_535));
    let ahead = "Minutes by which the reader's clock is ahead of UTC. The offset determines where days \
                 begin.";
    [
        in_query("hours", "Length of the time window, in hours.", Value::from(24), hours),
        in_query("offset", ahead, Value::from(60), offset),
        in_query("width", "Width available to the chart, in pixels.", Value::from(720), width),
    ]
}

/// Text of the search box, and the page of its results.
pub(crate) fn search_box() -> [Parameter; 2] {
    [
        in_query("q", "Text to search for.", Value::from("+39 333 123 4567"), text()),
        in_query("cursor", "Cursor of the list of older messages.", Value::Null, text()),
    ]
}

/// Place in the quarantine, before the first entry of the page.
pub(crate) fn after() -> Parameter {
    let place = integer().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    in_query("after", "Only entries after this place in the quarantine.", Value::Null, place)
}

/// Entry of a timeline, after the last entry of the page.
pub(crate) fn before() -> Parameter {
    let number = integer().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    in_query("before", "Only entries before the entry of this number.", Value::Null, number)
}

/// Page of a list.
pub(crate) fn page() -> [Parameter; 3] {
    [
        count(integer().minimum(Some(1)).default(Some(Value::from(DEFAULT_COUNT)))),
        in_query(
            "sendDate",
            "Only messages that the provider accepted before this time, in ISO 8601 with an offset (`Z`, \
             `+01:00`, `+0100`). By default there is no bound.",
            Value::from("2026-12-31T23:59:59Z"),
            time(),
        ),
        in_query("cursor", CURSOR_DESCRIPTION, Value::Null, text()),
    ]
}

const IDS_PATTERN: &str =
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,99}$";

fn count(schema: ObjectBuilder) -> Parameter {
    let description = format!(
        "Maximum number of messages to return, from 1 to {MAX_COUNT}. Values above {MAX_COUNT} mean \
         {MAX_COUNT}."
    );
    in_query("count", &description, Value::from(1), schema)
}

fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// Message ids, in place of filters and page.
pub(crate) fn ids() -> Parameter {
    let description = format!(
        "Up to {MAX_COUNT} message ids, separated by commas. Cannot be combined with filters."
    );
    in_query("ids", &description, Value::Null, text().pattern(Some(IDS_PATTERN)))
}

/// Variant of a CSV.
pub(crate) fn csv_variant() -> Parameter {
    let description = "Variant of the CSV. `spreadsheet`, which is the default, begins with a byte order mark, \
                       and a `'` precedes every text that a spreadsheet would take for a formula, a number or \
                       a date. `plain` is for programs: every text is unchanged.";
    let names = text().enum_values(Some(["spreadsheet", "plain"]));
    in_query("variant", description, Value::from("plain"), names)
}

/// Page of a search. `count` has no default, because a client that sends it on its own could send it beside
/// `ids`, and would be rejected.
pub(crate) fn search_page() -> [Parameter; 2] {
    [count(integer().minimum(Some(1))), in_query("cursor", CURSOR_DESCRIPTION, Value::Null, text())]
}

/// Filters of a search.
pub(crate) fn filters() -> [Parameter; 7] {
    let statuses = ArrayBuilder::new().items(Ref::from_schema_name(Status::name())).build();
    let since = "Only messages that the provider accepted at this time or later, in ISO 8601 with an offset.";
    let with = "Only messages with a known destination (`with`), or only messages without one (`without`).";
    let source = "Only messages with a notification from this source. For a registration, the source is \
                  `api:` followed by the name of the API key.";
    [
        in_query("from", since, Value::from("2026-01-01T00:00:00Z"), time()),
        in_query(
            "to",
            "Only messages that the provider accepted before this time.",
            Value::Null,
            time(),
        ),
        in_query(
            "status",
            "Only messages with this status. Repeat the parameter for each further status.",
            Value::from(["REJECTED", "UNDELIVERED"].as_slice()),
            Schema::Array(statuses),
        ),
        in_query(
            "channel",
            "Only messages on this channel.",
            Value::Null,
            Ref::from_schema_name(Channel::name()),
        ),
        in_query("source", source, Value::from("gateway"), text()),
        in_query("code", "Only messages with this provider code.", Value::from("30003"), text()),
        in_query("destination", with, Value::Null, text().enum_values(Some(["with", "without"]))),
    ]
}

const CURSOR_DESCRIPTION: &str = "Cursor of the page, from the `Link` header of the previous page. Clients \
                                  should follow the link unchanged. Any other cursor is rejected.";

/// Parameters of a long poll.
pub(crate) fn long_poll() -> [Parameter; 2] {
    let wait = format!(
        "Maximum wait of the long poll, in seconds. Values above {MAX_WAIT_SECONDS} mean {MAX_WAIT_SECONDS}."
    );
    [
        in_query("wait", &wait, Value::from(20), integer().minimum(Some(0))),
        // No default: a client that sends `until` on its own would have to send `wait` too.
        in_query(
            "until",
            "Condition that ends the long poll: `final` for a final status, which is the default, or \
             `change` for a change of the record. Rejected without `wait`.",
            Value::from("final"),
            text().enum_values(Some(["final", "change"])),
        ),
    ]
}

/// Filters of an event stream, and its start.
pub(crate) fn events() -> [Parameter; 5] {
    let statuses = ArrayBuilder::new().items(Ref::from_schema_name(Status::name())).build();
    let place =
        integer().minimum(Some(0)).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    [
        in_query("phonenumber", PHONE_NUMBER_DESCRIPTION, Value::from("+1234567890"), number()),
        in_query("referencekey", "External reference key.", Value::from("order-7"), key()),
        in_query(
            "status",
            "Only changes after which the message has this status. Repeat the parameter for each further \
             status.",
            Value::from(["DELIVERED", "READ"].as_slice()),
            Schema::Array(statuses),
        ),
        in_query(
            "final",
            "Only changes after which the status is final (`true`) or not final (`false`). REJECTED, \
             UNDELIVERED, DELIVERED and READ are final.",
            Value::from(true),
            ObjectBuilder::new().schema_type(SchemaType::from(Type::Boolean)),
        ),
        in_header(
            "Last-Event-ID",
            "`id` of the last event that the client received. The stream continues after this event. 0 is \
             before the first event. Without this header the stream has no earlier events.",
            place,
        ),
    ]
}

/// Parameters of a callback URL. They are ignored unless verification covers the URL.
pub(crate) fn callback_url() -> [Parameter; 6] {
    [
        (
            "destination",
            "Recipient's phone number. Takes precedence over the body.",
            "+393331234567",
        ),
        (
            "messageid",
            "UUID of the message, for a dialect with ids of its own.",
            EXAMPLE_MESSAGE_ID,
        ),
        ("service", "Service of the reference.", "SHOP"),
        ("action", "Action of the reference.", "AUTH"),
        ("key", "Key of the reference.", "order-7"),
        (
            "expires",
            "Last second in which the URL is valid, in Unix seconds. Used with `signature`.",
            "1893456000",
        ),
    ]
    .map(|(name, description, example)| in_query(name, description, Value::from(example), text()))
}

const EXAMPLE_MESSAGE_ID: &str = "b31b6607-9c55-48ba-b145-3f40b809d2d2";

/// Headers of the scheme `standard-webhooks` beside the signature.
pub(crate) fn standard_webhooks() -> [Parameter; 2] {
    [
        ("webhook-id", "Id of the delivery. Used with `webhook-signature`."),
        (
            "webhook-timestamp",
            "Time of the signature, in Unix seconds. Used with `webhook-signature`.",
        ),
    ]
    .map(|(name, description)| in_header(name, description, text().pattern(Some("^[ -~]*$"))))
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from(Type::Integer))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from(Type::String))
}

fn in_path(name: &str, description: &str, example: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .example(Some(Value::from(example)))
        .schema(Some(schema))
        .build()
}

fn in_header(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn in_query(
    name: &str,
    description: &str,
    example: Value,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .example((!example.is_null()).then_some(example))
        .schema(Some(schema))
        .build()
}
