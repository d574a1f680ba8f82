//! How an operation is described: in few words, and its errors in the service's own.

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

use crate::http::problem::{Body, Problem};

/// What the header is called among the components that says the name of a request.
pub(super) const REQUEST_ID: &str = "RequestId";
/// What never reaches a handler, whatever the operation.
const UNREAD: [&str; 2] = ["408", "431"];

/// An operation, and why it may be refused.
pub(super) struct Described {
    operation: OperationBuilder,
    /// Whether its answers say the name of the request.
    named: bool,
    refusals: BTreeMap<u16, Vec<(&'static str, Problem)>>,
}

impl Described {
    pub(super) fn new(id: &str, tag: &str, summary: &str, description: &str) -> Self {
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tag(tag)
            .summary(Some(summary))
            .description(Some(description));
        Self { operation, named: false, refusals: BTreeMap::new() }
    }

    pub(super) fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        for parameter in parameters {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    /// What may be sent, of one of these content types.
    pub(super) fn body<const N: usize>(
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

    pub(super) fn answers(mut self, status: u16, response: ResponseBuilder) -> Self {
        self.operation = self.operation.response(status.to_string(), response.build());
        self
    }

    /// May be refused like this, each under a name.
    pub(super) fn refuses(
        mut self,
        refusals: impl IntoIterator<Item = (&'static str, Problem)>,
    ) -> Self {
        for (name, problem) in refusals {
            self.refusals.entry(problem.status().as_u16()).or_default().push((name, problem));
        }
        self
    }

    /// Says in its answers the name of the request.
    pub(super) fn named(mut self) -> Self {
        self.named = true;
        self
    }

    /// Wants one of these proofs of who asks.
    pub(super) fn secured(
        mut self,
        schemes: impl IntoIterator<Item = SecurityRequirement>,
    ) -> Self {
        self.operation = self.operation.securities(Some(schemes));
        self
    }

    pub(super) fn build(self) -> Operation {
        let mut operation = self.operation;
        for (status, refusals) in self.refusals {
            let names: Vec<_> = refusals.iter().map(|(name, _)| *name).collect();
            let examples = refusals.iter().map(|(name, problem)| {
                let value = serde_json::from_str(&problem.body()).unwrap();
                (*name, ExampleBuilder::new().value(Some(value)))
            });
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(Body::name())))
                .examples_from_iter(examples)
                .build();
            let response = ResponseBuilder::new()
                .description(format!("Refused: {}.", names.join("; ")))
                .content("application/problem+json", content);
            let response = match status {
                405 => response.header("Allow", text_header("The methods that are possible.")),
                429 | 503 => response.header("Retry-After", seconds_header()),
                _ => response,
            };
            operation = operation.response(status.to_string(), response.build());
        }
        let mut operation = operation.build();
        for (status, response) in &mut operation.responses.responses {
            if let (true, RefOr::T(response)) = (self.named, response)
                && !UNREAD.contains(&&**status)
            {
                let header = Ref::new(format!("#/components/headers/{REQUEST_ID}"));
                response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(header));
            }
        }
        operation
    }
}

/// A response with this content.
pub(super) fn response(description: &str, content_type: &str, content: Content) -> ResponseBuilder {
    ResponseBuilder::new().description(description).content(content_type, content)
}

/// What has this shape, like this.
pub(super) fn shaped<T: ToSchema>(example: Value) -> Content {
    let schema = Ref::from_schema_name(T::name());
    ContentBuilder::new().schema(Some(schema)).example(Some(example)).build()
}

/// Any text, like this.
pub(super) fn text(example: Option<&str>) -> Content {
    ContentBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(example.map(Value::from))
        .build()
}

pub(super) fn text_header(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
}

fn seconds_header() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new()
        .description(Some("After how many seconds to try again."))
        .schema(Some(schema))
        .build()
}
