//! Operations for operators of the service: probes, metrics, and the API description with its page.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, ObjectBuilder};

use super::operation::{
    OperationDescription, SERVICE_TAG, json, protocol, response, text, text_header,
};
use super::{examples, parameters};
use crate::http::problem::Problem;
use crate::ingest::Rejection;
use crate::store::StoreError;

pub(crate) fn live() -> Operation {
    unkeyed("getLiveness", "Check liveness", "Succeeds while the process answers.")
        .answers(200, response("Process alive.", "text/plain", text(Some("ok\n"))))
        .build()
}

pub(crate) fn ready() -> Operation {
    let description =
        "Succeeds while the store can be written and the service is not shutting down.";
    unkeyed("getReadiness", "Check readiness", description)
        .answers(200, response("Service ready.", "text/plain", text(Some("ready\n"))))
        .rejects([
            ("shutdown in progress", Rejection::Closing.into()),
            ("store stopped", StoreError::Stopped.into()),
            ("corrupt data", StoreError::Corrupt("".into()).into()),
        ])
        .build()
}

pub(crate) fn metrics() -> Operation {
    let description = "Returns the counters and the current state of the service. The `Accept` header \
                       selects the format: Prometheus' text format 0.0.4, which is the default, or \
                       OpenMetrics. No label contains a phone number, a key or a reference.";
    let answer =
        response("Metrics of the service.", "text/plain", text(Some(examples::METRICS_EXAMPLE)))
            .content("application/openmetrics-text", text(None));
    unkeyed("getMetrics", "Get the metrics", description).answers(200, answer).build()
}

pub(crate) fn document() -> Operation {
    let object = ObjectBuilder::new();
    let content = ContentBuilder::new().schema(Some(object)).build();
    unkeyed(
        "getOpenApi",
        "Get this document",
        "Returns the description of the API, as OpenAPI 3.1.",
    )
    .answers(200, json("Description of the API.", content))
    .build()
}

pub(crate) fn page() -> Operation {
    let answer = response("Documentation page.", "text/html", text(None)).header(
        "Content-Security-Policy",
        text_header("Restricts the browser to requests to this server."),
    );
    unkeyed(
        "getDocs",
        "Open the documentation page",
        "Returns a page that shows this document and can try its requests.",
    )
    .answers(200, answer)
    .build()
}

pub(crate) fn page_file() -> Operation {
    let answer = response("File of the documentation page.", "text/javascript", text(None))
        .content("text/css", text(None))
        .header("Content-Encoding", text_header("`gzip`. Absent for the smallest file."));
    unkeyed(
        "getDocsFile",
        "Get a file of the documentation page",
        "Returns a script or style sheet of the page at `/docs`.",
    )
    .parameters([parameters::file(&["start.js", "swagger-ui.css", "swagger-ui-bundle.js"])])
    .answers(200, answer)
    .rejects([("unknown file", Problem::NoRoute)])
    .build()
}

/// Describes an operation that needs no API key.
fn unkeyed(id: &str, summary: &str, description: &str) -> OperationDescription {
    OperationDescription::new(id, SERVICE_TAG, summary, description).rejects(protocol())
}
