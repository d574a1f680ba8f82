//! Builder of an operation's description. Examples of errors are the service's own error texts.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder,
    SecurityRequirement, Type,
};

use super::schemas;
use crate::http::api::params;
use crate::http::problem::Problem;
use crate::store::StoreError;
use actix_web::http::StatusCode;

/// Tag of the gateway's own routes.
pub(crate) const STATUS_TAG: &str = "Message status";

/// Tag of routes that the gateway does not have.
pub(crate) const EXTENSIONS_TAG: &str = "Beyond the gateway";

/// Tag of the route for senders of webhooks.
pub(crate) const WEBHOOKS_TAG: &str = "Webhooks";

/// Tag of routes for operators of the service.
pub(crate) const SERVICE_TAG: &str = "Service";

/// Describes an operation that needs an API key.
pub(crate) fn keyed(id: &str, tag: &str, summary: &str, description: &str) -> OperationDescription {
    OperationDescription::new(id, tag, summary, description)
        .with_request_id()
        .requires_one_of([requirement("ApiKey")])
        .rejects(protocol())
        .rejects([
            ("missing or invalid API key", Problem::NoKey),
            (
                "too many requests without a valid API key",
                Problem::TooManyAttempts { wait: std::time::Duration::from_secs(1) },
            ),
        ])
}

/// Describes an operation that needs an API key and reads or writes the store before it answers.
pub(crate) fn api(id: &str, tag: &str, summary: &str, description: &str) -> OperationDescription {
    keyed(id, tag, summary, description).rejects([
        ("store stopped", StoreError::Stopped.into()),
        ("corrupt data", StoreError::Corrupt("".into()).into()),
    ])
}

/// Describes a query.
pub(crate) fn read(id: &str, tag: &str, summary: &str, description: &str) -> OperationDescription {
    api(id, tag, summary, description).rejects([
        ("missing scope", Problem::Scope { needed: "read" }),
        ("query too slow", StoreError::TooSlow.into()),
    ])
}

/// Rejections before a handler is called.
pub(crate) fn protocol() -> [(&'static str, Problem); 3] {
    [
        ("malformed HTTP request", Problem::Protocol(StatusCode::BAD_REQUEST)),
        ("headers too slow", Problem::Protocol(StatusCode::REQUEST_TIMEOUT)),
        ("headers too large", Problem::Protocol(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
    ]
}

pub(crate) fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, [""; 0])
}

pub(crate) fn json(description: &str, content: Content) -> ResponseBuilder {
    response(description, "application/json", content)
}

pub(crate) fn bad_request(detail: &str) -> Problem {
    Problem::BadRequest(detail.to_owned())
}

pub(crate) fn bad_message_id() -> Problem {
    params::message_id("7").unwrap_err()
}

/// Name of the component that describes the `X-Request-Id` header.
pub(crate) const REQUEST_ID_HEADER: &str = "RequestId";
/// Status codes of rejections before a handler is called, for every operation.
const PROTOCOL_REJECTION_STATUSES: [&str; 2] = ["408", "431"];

/// Operation being described, with its rejections.
pub(crate) struct OperationDescription {
    operation: OperationBuilder,
    /// Whether its responses have an `X-Request-Id` header.
    has_request_id: bool,
    rejections: BTreeMap<u16, Vec<(&'static str, Problem)>>,
}

impl OperationDescription {
    pub(crate) fn new(id: &str, tag: &str, summary: &str, description: &str) -> Self {
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tag(tag)
            .summary(Some(summary))
            .description(Some(description))
            // Public, unless `requires_one_of` says otherwise.
            .securities(Some::<[SecurityRequirement; 0]>([]));
        Self { operation, has_request_id: false, rejections: BTreeMap::new() }
    }

    pub(crate) fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        for parameter in parameters {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    /// Adds the request body, of one of these content types.
    pub(crate) fn body<const N: usize>(
        mut self,
        description: &str,
        contents: [(&str, Content); N],
    ) -> Self {
        let mut body =
            RequestBodyBuilder::new().description(Some(description)).required(Some(Required::True));
        for (content_type, content) in contents {
            body = body.content(content_type, content);
        }
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    pub(crate) fn answers(mut self, status: u16, response: ResponseBuilder) -> Self {
        self.operation = self.operation.response(status.to_string(), response.build());
        self
    }

    /// Adds rejections, each with its name.
    pub(crate) fn rejects(
        mut self,
        rejections: impl IntoIterator<Item = (&'static str, Problem)>,
    ) -> Self {
        for (name, problem) in rejections {
            self.rejections.entry(problem.status().as_u16()).or_default().push((name, problem));
        }
        self
    }

    /// Adds an `X-Request-Id` header to the responses.
    pub(crate) fn with_request_id(mut self) -> Self {
        self.has_request_id = true;
        self
    }

    /// Requires one of these credentials.
    pub(crate) fn requires_one_of(
        mut self,
        schemes: impl IntoIterator<Item = SecurityRequirement>,
    ) -> Self {
        self.operation = self.operation.securities(Some(schemes));
        self
    }

    pub(crate) fn build(self) -> Operation {
        let mut operation = self.operation;
        for (status, rejections) in self.rejections {
            let names: Vec<_> = rejections.iter().map(|(name, _)| *name).collect();
            let examples = rejections.iter().map(|(name, problem)| {
                let value = serde_json::from_str(&problem.body()).unwrap();
                (*name, ExampleBuilder::new().value(Some(value)))
            });
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(schemas::Problem::name())))
                .examples_from_iter(examples)
                .build();
            let response = ResponseBuilder::new()
                .description(format!("Rejected: {}.", names.join("; ")))
                .content("application/problem+json", content);
            let response = match status {
                405 => response.header("Allow", text_header("Allowed methods.")),
                429 | 503 => response.header("Retry-After", seconds_header()),
                _ => response,
            };
            operation = operation.response(status.to_string(), response.build());
        }
        let mut operation = operation.build();
        for (status, response) in &mut operation.responses.responses {
            if let (true, RefOr::T(response)) = (self.has_request_id, response)
                && !PROTOCOL_REJECTION_STATUSES.contains(&&**status)
            {
                let header = Ref::new(format!("#/components/headers/{REQUEST_ID_HEADER}"));
                response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(header));
            }
        }
        operation
    }
}

/// Response with this content.
pub(crate) fn response(description: &str, content_type: &str, content: Content) -> ResponseBuilder {
    ResponseBuilder::new().description(description).content(content_type, content)
}

/// Content of this schema, with an example.
pub(crate) fn schema_content<T: ToSchema>(example: Value) -> Content {
    let schema = Ref::from_schema_name(T::name());
    ContentBuilder::new().schema(Some(schema)).example(Some(example)).build()
}

/// Content of any text, with an optional example.
pub(crate) fn text(example: Option<&str>) -> Content {
    ContentBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(example.map(Value::from))
        .build()
}

pub(crate) fn text_header(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
}

fn seconds_header() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new()
        .description(Some("Time to wait before the next attempt, in seconds."))
        .schema(Some(schema))
        .build()
}
