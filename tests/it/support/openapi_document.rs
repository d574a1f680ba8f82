//! The OpenAPI document, and checks of responses against it.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, Schemas};
use serde_json::{Map, Value, json};

use crate::support::http::client::Answer;

pub(crate) const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// The document, and the responses of it that the server gave.
pub(crate) struct OpenApiCoverage {
    pub(crate) document: Value,
    /// Method, path and status of each checked response.
    pub(crate) seen: BTreeSet<(String, String, String)>,
}

impl OpenApiCoverage {
    pub(crate) fn new() -> Self {
        let mut document: Value = serde_json::from_str(DOCUMENT).unwrap();
        // Clients ignore unknown members. Here a member that the document does not describe is an error.
        for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
            close(schema);
        }
        Self { document, seen: BTreeSet::new() }
    }

    /// Method and path of every operation.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone()))
        });
        all.collect()
    }

    /// Asserts that a value is valid under a schema, which may refer to components of the document.
    #[track_caller]
    pub(crate) fn assert_valid(&self, schema: &Value, value: &Value) {
        let mut root = schema.as_object().cloned().unwrap_or_default();
        root.insert("components".to_owned(), self.document["components"].clone());
        let mut compiler = Compiler::new();
        // The dialect of OpenAPI 3.1.
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource("schema.json", Value::Object(root)).unwrap();
        let mut schemas = Schemas::new();
        let schema = compiler.compile("schema.json", &mut schemas).unwrap();
        if let Err(error) = schemas.validate(value, schema) {
            panic!("{error}: {value:#}");
        }
    }

    /// Asserts that a value is valid under the document's schema of this name.
    #[track_caller]
    pub(crate) fn assert_matches_schema(&self, name: &str, value: &Value) {
        self.assert_valid(&json!({"$ref": format!("#/components/schemas/{name}")}), value);
    }

    /// Asserts that an answer of an operation has the described status, body and headers.
    #[track_caller]
    pub(crate) fn check(&mut self, operation: (&str, &str), answer: &Answer) {
        for name in self.check_body(operation, answer) {
            // Successful answers may lack the other headers.
            if answer.status >= 400 || name == "X-Request-Id" {
                assert!(answer.header(&name).is_some(), "{operation:?} lacks {name}: {answer:?}");
            }
        }
    }

    /// Asserts that an answer has a described status and body; returns the names of the described headers.
    #[track_caller]
    pub(crate) fn check_body(
        &mut self,
        (method, path): (&str, &str),
        answer: &Answer,
    ) -> Vec<String> {
        let status = answer.status.to_string();
        let response = &self.document["paths"][path][method]["responses"][&status];
        assert!(response.is_object(), "{method} {path} is not described: {answer:?}");
        let content_type = answer.header("content-type").unwrap().split(';').next().unwrap();
        let content = &response["content"][content_type];
        assert!(content.is_object(), "{method} {path} has no {content_type}: {answer:?}");
        if content_type.ends_with("json") {
            self.assert_valid(&content["schema"], &answer.json());
        }
        let headers: Map<_, _> = response["headers"].as_object().cloned().unwrap_or_default();
        self.seen.insert((method.to_owned(), path.to_owned(), status));
        headers.into_iter().map(|(name, _)| name).collect()
    }
}

/// Makes undescribed members of objects invalid in a schema.
fn close(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        if members.contains_key("properties") {
            members.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        members.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

#[test]
#[should_panic(expected = "is not valid uuid")]
fn a_value_that_does_not_fit_its_format_is_noticed() {
    OpenApiCoverage::new().assert_valid(&json!({"type": "string", "format": "uuid"}), &json!("x"));
}
