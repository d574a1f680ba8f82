//! The operations for whoever runs the service, and the pages that it has.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, ObjectBuilder};

use super::examples;
use super::operation::{Described, response, text, text_header};
use super::operations::{SERVICE, json, protocol};
use super::parameters;
use crate::http::problem::Problem;
use crate::ingest::Refusal;
use crate::store::StoreError;

pub(super) fn live() -> Operation {
    asked("getLiveness", "Is the process alive?", "The process answers.")
        .answers(200, response("It is.", "text/plain", text(Some("ok\n"))))
        .build()
}

pub(super) fn ready() -> Operation {
    let description = "The store can be written, and the service is not shutting down.";
    asked("getReadiness", "Can it do its work?", description)
        .answers(200, response("It can.", "text/plain", text(Some("ready\n"))))
        .refuses([
            ("closing", Refusal::Closing.into()),
            ("store stopped", StoreError::Stopped.into()),
            ("corrupt", StoreError::Corrupt("".into()).into()),
        ])
        .build()
}

pub(super) fn metrics() -> Operation {
    let description = "What was counted, and how it is doing now. `Accept` chooses between Prometheus' text \
                       format 0.0.4, which is the default, and OpenMetrics. No label holds a number, a key or \
                       a reference.";
    let answer = response("The metrics.", "text/plain", text(Some(examples::METRICS)))
        .content("application/openmetrics-text", text(None));
    asked("getMetrics", "Get the metrics", description).answers(200, answer).build()
}

pub(super) fn document() -> Operation {
    let object = ObjectBuilder::new();
    let content = ContentBuilder::new().schema(Some(object)).build();
    asked("getOpenApi", "Get this document", "What is answered to what, as OpenAPI 3.1.")
        .answers(200, json("This document.", content))
        .build()
}

pub(super) fn page() -> Operation {
    let answer = response("The page.", "text/html", text(None)).header(
        "Content-Security-Policy",
        text_header("Lets the browser ask nobody but this server."),
    );
    asked("getDocs", "Read this document", "A page that shows it, and tries what it says.")
        .answers(200, answer)
        .build()
}

pub(super) fn page_file() -> Operation {
    let answer = response("The file.", "text/javascript", text(None))
        .content("text/css", text(None))
        .header("Content-Encoding", text_header("`gzip`, but for the smallest."));
    asked("getDocsFile", "Get a part of the page", "What the page at `/docs` loads.")
        .parameters([parameters::file(&["start.js", "swagger-ui.css", "swagger-ui-bundle.js"])])
        .answers(200, answer)
        .refuses([("no such file", Problem::NoRoute)])
        .build()
}

/// Anybody may ask.
fn asked(id: &str, summary: &str, description: &str) -> Described {
    Described::new(id, SERVICE, summary, description).refuses(protocol())
}
