//! What stands in the path and the query of a request.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Required, Schema, SchemaFormat, Type,
};

use super::schemas::{Channel, Status};
use crate::http::query::{DEFAULT_COUNT, LARGEST_COUNT};
use crate::http::waiting::LONGEST;
use crate::message::MAX_REFERENCE_BYTES;

/// A message, in the path.
pub(super) fn message_id() -> Parameter {
    let schema = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let example = "011d9d6e-b5b9-4cb9-be13-2bc336a923ce";
    in_path("messageid", "Message identifier: a hyphenated UUID.", example, schema)
}

pub(super) fn phone_number() -> Parameter {
    in_path("phonenumber", NUMBER, "+1234567890", number())
}

const NUMBER: &str = "Phone number in E.164 format. Its `+` may be written as it is, as `%2B` or as a space, or \
                      left out.";

fn number() -> ObjectBuilder {
    text().pattern(Some(r"^[+ ]?[1-9][0-9]{6,14}$"))
}

pub(super) fn reference_key() -> Parameter {
    let description = format!(
        "External reference key. It may hold any characters, percent-encoded, up to {MAX_REFERENCE_BYTES} bytes."
    );
    in_path("referencekey", &description, "user-12345-verification", key())
}

fn key() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(MAX_REFERENCE_BYTES))
}

/// A source, in the path.
pub(super) fn source(example: &str) -> Parameter {
    let schema = text().pattern(Some("^[a-z0-9][a-z0-9_-]{0,63}$"));
    in_path("source", "The source's name in the configuration.", example, schema)
}

pub(super) fn provider_id() -> Parameter {
    let description = "The provider's own id of the message, percent-encoded.";
    let schema = text().min_length(Some(1));
    in_path("providerid", description, "SM1342fe1b2c904d1ab04f0fc7a58abca9", schema)
}

/// One of these files of a page.
pub(super) fn file(names: &[&str]) -> Parameter {
    let schema = text().enum_values(Some(names.iter().copied()));
    in_path("file", "One of the page's files.", names[0], schema)
}

/// Which hours the overview is about.
pub(super) fn window() -> [Parameter; 3] {
    let hours = integer().enum_values(Some([1, 24, 168, 720]));
    let offset = integer().minimum(Some(-840)).maximum(Some(840));
    let width = integer().minimum(Some(0)).maximum(Some(65_535));
    let ahead = "How many minutes the reader's clock is ahead of UTC: where days begin.";
    [
        in_query("hours", "How far it goes back.", Value::from(24), hours),
        in_query("offset", ahead, Value::from(60), offset),
        in_query("width", "How many pixels its chart may take.", Value::from(720), width),
    ]
}

/// What is typed into the search box.
pub(super) fn typed() -> [Parameter; 2] {
    [
        in_query("q", "What was typed.", Value::from("+39 333 123 4567"), text()),
        in_query("cursor", "Where the list of the others begins.", Value::Null, text()),
    ]
}

/// Behind which entry of the quarantine to begin.
pub(super) fn after() -> Parameter {
    let place = integer().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    in_query("after", "Only entries behind this place.", Value::Null, place)
}

/// Before which entry of a timeline to end.
pub(super) fn before() -> Parameter {
    let number = integer().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    in_query("before", "Only entries before this one.", Value::Null, number)
}

/// Which part of a list is asked for.
pub(super) fn page() -> [Parameter; 3] {
    [
        count(integer().minimum(Some(1)).default(Some(Value::from(DEFAULT_COUNT)))),
        in_query(
            "sendDate",
            "Only messages that the provider accepted before this time: ISO 8601 with an offset (`Z`, \
             `+01:00`, `+0100`). Without it there is no bound.",
            Value::from("2026-12-31T23:59:59Z"),
            time(),
        ),
        in_query("cursor", CURSOR, Value::Null, text()),
    ]
}

const IDS: &str =
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,99}$";

fn count(schema: ObjectBuilder) -> Parameter {
    let description = format!(
        "Maximum number of messages to return, from 1 to {LARGEST_COUNT}. A greater value is taken for \
         {LARGEST_COUNT}."
    );
    in_query("count", &description, Value::from(1), schema)
}

fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// Which messages are searched for, and how they are wanted. Without defaults: what a client sent by itself
/// could be refused beside `ids` or `format`.
pub(super) fn search() -> Vec<Parameter> {
    let ids = format!("Up to {LARGEST_COUNT} message ids with commas between them, and no filter.");
    let formats = text().enum_values(Some(["json", "csv", "csv-plain"]));
    let mut parameters = Vec::from(filters());
    parameters.extend([
        in_query("ids", &ids, Value::Null, text().pattern(Some(IDS))),
        in_query("format", "How they are written.", Value::Null, formats),
    ]);
    parameters
}

/// Which messages are searched for, and which part of them is wanted.
pub(super) fn filters() -> [Parameter; 9] {
    let statuses = ArrayBuilder::new().items(Ref::from_schema_name(Status::name())).build();
    let since =
        "Only messages that the provider accepted at this time or later: ISO 8601 with an offset.";
    let with =
        "Only messages whose phone number is known, or only those of which nobody stated it.";
    let source = "Only messages of which this source said something; of registrations that is `api:` and the \
                  key's name.";
    [
        in_query("from", since, Value::from("2026-01-01T00:00:00Z"), time()),
        in_query("to", "Only those accepted before this time.", Value::Null, time()),
        in_query(
            "status",
            "Only messages with this status; once for each that is wanted.",
            Value::from(["REJECTED", "UNDELIVERED"].as_slice()),
            Schema::Array(statuses),
        ),
        in_query(
            "channel",
            "Only messages of this channel.",
            Value::Null,
            Ref::from_schema_name(Channel::name()),
        ),
        in_query("source", source, Value::from("gateway"), text()),
        in_query(
            "code",
            "Only messages with this code of the provider.",
            Value::from("30003"),
            text(),
        ),
        in_query("number", with, Value::Null, text().enum_values(Some(["with", "without"]))),
        count(integer().minimum(Some(1))),
        in_query("cursor", CURSOR, Value::Null, text()),
    ]
}

const CURSOR: &str = "Where the page begins: what stands in the `Link` header of the page before, which is \
                      best followed as it is. Another cursor is refused.";

/// Whether to wait for what is to come.
pub(super) fn waiting() -> [Parameter; 2] {
    let wait = format!(
        "For how many seconds to wait at most. A greater value than {LONGEST} is taken for {LONGEST}."
    );
    [
        in_query("wait", &wait, Value::from(20), integer().minimum(Some(0))),
        // Without a default: a client that sent it by itself would have to send `wait` too.
        in_query(
            "until",
            "What to wait for: a final status, which it is for if nothing is said, or another record than \
             there is now. Refused without `wait`.",
            Value::from("final"),
            text().enum_values(Some(["final", "change"])),
        ),
    ]
}

/// Which events are wanted, and from where on.
pub(super) fn events() -> [Parameter; 5] {
    let statuses = ArrayBuilder::new().items(Ref::from_schema_name(Status::name())).build();
    let place =
        integer().minimum(Some(0)).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    [
        in_query("phonenumber", NUMBER, Value::from("+1234567890"), number()),
        in_query("referencekey", "External reference key.", Value::from("order-7"), key()),
        in_query(
            "status",
            "The status after the change; once for each that is wanted.",
            Value::from(["DELIVERED", "READ"].as_slice()),
            Schema::Array(statuses),
        ),
        in_query(
            "final",
            "Whether the status after the change is final: REJECTED, UNDELIVERED, DELIVERED or READ.",
            Value::from(true),
            ObjectBuilder::new().schema_type(SchemaType::from(Type::Boolean)),
        ),
        in_header(
            "Last-Event-ID",
            "The `id` of the last event that was received, behind which it goes on; 0 is before the first \
             one. Without it there is nothing of what was before.",
            place,
        ),
    ]
}

/// What a callback URL says of the message besides. A proof must cover the URL, else it means nothing.
pub(super) fn callback_url() -> [Parameter; 6] {
    [
        ("destination", "The recipient's phone number; wins over the body.", "+393331234567"),
        ("messageid", "The message's UUID, in a dialect with ids of its own.", MESSAGE),
        ("service", "The reference's service.", "SHOP"),
        ("action", "The reference's action.", "AUTH"),
        ("key", "The reference's key.", "order-7"),
        (
            "expires",
            "With `signature`: until when the URL is valid, in Unix seconds.",
            "1893456000",
        ),
    ]
    .map(|(name, description, example)| in_query(name, description, Value::from(example), text()))
}

const MESSAGE: &str = "b31b6607-9c55-48ba-b145-3f40b809d2d2";

/// What proves a webhook of the scheme `standard-webhooks` besides its signature.
pub(super) fn standard_webhooks() -> [Parameter; 2] {
    [
        ("webhook-id", "With `webhook-signature`: the delivery's id."),
        ("webhook-timestamp", "With `webhook-signature`: when it was signed, in Unix seconds."),
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
