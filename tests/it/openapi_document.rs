//! The document of the service, and whether what is seen is as it says.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::client::Answer;

pub(crate) const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// The document, and what of it was seen on the server.
pub(crate) struct Documented {
    pub(crate) document: Value,
    pub(crate) seen: BTreeSet<(String, String, String)>,
}

impl Documented {
    pub(crate) fn new() -> Self {
        let mut document: Value = serde_json::from_str(DOCUMENT).unwrap();
        // A client takes members that it does not know. Here they are a mistake in the document.
        for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
            close(schema);
        }
        Self { document, seen: BTreeSet::new() }
    }

    /// Every operation: its method and its path.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone()))
        });
        all.collect()
    }

    /// What is valid of this schema, with what it refers to.
    fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.as_object().cloned().unwrap_or_default();
        root.insert("components".to_owned(), self.document["components"].clone());
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&Value::Object(root)).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_valid(&self, schema: &Value, value: &Value) {
        let errors: Vec<_> =
            self.validator(schema).iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}: {value:#}");
    }

    /// Asserts that this is what the component of this name describes.
    #[track_caller]
    pub(crate) fn assert_is(&self, name: &str, value: &Value) {
        self.assert_valid(&json!({"$ref": format!("#/components/schemas/{name}")}), value);
    }

    /// Asserts that an answer of this operation is as it is described.
    #[track_caller]
    pub(crate) fn check(&mut self, operation: (&str, &str), answer: &Answer) {
        for name in self.check_body(operation, answer) {
            // What else a good answer has, it need not have.
            if answer.status >= 400 || name == "X-Request-Id" {
                assert!(answer.header(&name).is_some(), "{operation:?} lacks {name}: {answer:?}");
            }
        }
    }

    /// The same, but for the headers that are described: says which.
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

/// Lets objects have no other members than those that are described.
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
