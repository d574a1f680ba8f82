//! Assembly of the document, and its comparison with `docs/openapi.json`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathsBuilder, ServerBuilder,
};

use super::operation::{self, EXTENSIONS_TAG, SERVICE_TAG, STATUS_TAG, WEBHOOKS_TAG, text_header};
use super::pages::PAGE_TAG;
use super::{operations, registration, schemas};
use crate::http::api::route::ApiRoute;
use crate::http::ops::docs::DOCUMENT;

const DESCRIPTION: &str = "\
Durable local mirror of the delivery statuses of SMS and RCS messages. statusmirror receives the gateway's \
webhooks, and answers the gateway's own status queries.

Every GET route except `/api/events` also accepts HEAD. The response to HEAD has no body. A method that is \
not listed for a route returns 405 with an `Allow` header. An unknown route returns 404. Every error is an \
`application/problem+json` object that describes the error and its remedy. Times are RFC 3339 in UTC, with \
zero, three or six digits after the second.

Every response under `/api` and `/webhooks` has an `X-Request-Id` header with the id of the request in the \
log, unless the request was rejected before it was read. The id is the request's own `X-Request-Id` if that \
has at most 64 letters, digits, `-`, `_` and `.`. A `traceparent` header (W3C Trace Context) is logged too.

If `server.internal_listen` is set, the first address serves only `/webhooks`, `/livez` and `/readyz`. The \
second address serves all other routes.";

/// Builds the document.
fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("statusmirror")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .contact(Some(ContactBuilder::new().name(Some("The statusmirror authors")).build()))
        .license(Some(
            LicenseBuilder::new()
                .name(env!("CARGO_PKG_LICENSE"))
                .identifier(Some(env!("CARGO_PKG_LICENSE")))
                .build(),
        ));
    let mut paths = PathsBuilder::new();
    for (method, path, operation) in operations::all() {
        paths = paths.path(path, utoipa::openapi::PathItem::new(method, operation));
    }
    let tags = [
        (STATUS_TAG, "The gateway's own queries, with its names and formats."),
        (EXTENSIONS_TAG, "Routes that the gateway does not have."),
        (WEBHOOKS_TAG, "Route for senders of webhooks."),
        (PAGE_TAG, "HTML page for people."),
        (SERVICE_TAG, "Routes for operators of the service."),
    ];
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new()
            .url("/")
            .description(Some("Server that returned this document."))
            .build()]))
        .tags(Some(
            tags.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build()),
        ))
        .paths(paths)
        .components(Some(components().build()))
        .build()
}

/// Document as JSON, with a form before JSON in each request body. utoipa sorts the content types instead.
///
/// openapi-generator takes the parameters of a method from the first content type. It never generates a class
/// for the body of a form, but imports that class if JSON comes first.
fn json() -> Value {
    let mut document = serde_json::to_value(document()).unwrap();
    let items = document["paths"].as_object_mut().unwrap().values_mut();
    for operation in items.flat_map(|item| item.as_object_mut().unwrap().values_mut()) {
        if let Some(contents) =
            operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut)
            && let Some(json) = contents.shift_remove("application/json")
        {
            contents.insert("application/json".to_owned(), json);
        }
    }
    document
}

fn components() -> ComponentsBuilder {
    let components = ComponentsBuilder::new()
        .header(operation::REQUEST_ID_HEADER, text_header("Id of the request in the log."))
        .security_scheme(
            "ApiKey",
            in_header("X-Api-Key", "API key with the scope `read` (GET) or `register` (PUT)."),
        )
        .security_scheme("UrlToken", in_query("token", "Scheme `url-token`: a secret of the source."))
        .security_scheme(
            "SignedUrl",
            in_query(
                "signature",
                "Scheme `signed-url`: the signature in a URL that `statusmirror callback-url` prints.",
            ),
        )
        .security_scheme(
            "StandardWebhooks",
            in_header(
                "webhook-signature",
                "Scheme `standard-webhooks`: the signature, with the headers `webhook-id` and \
                 `webhook-timestamp`. The prefix `svix-` may replace `webhook-` in all three names.",
            ),
        )
        .security_scheme(
            "TwilioSignature",
            in_header(
                "X-Twilio-Signature",
                "Scheme `native` of the dialect `twilio`: the signature. For the scheme `hmac`, the \
                 configuration names the header.",
            ),
        );
    with::<schemas::Problem>(with::<registration::Registration>(
        with::<schemas::MessageStatusList>(with::<schemas::MessageHistory>(with::<
            schemas::Registered,
        >(with::<
            schemas::WebhookReceipt,
        >(
            with::<schemas::GatewayWebhook>(with::<schemas::TwilioCallback>(with::<
                schemas::MessageChange,
            >(with::<
                schemas::StreamEnd,
            >(
                with::<schemas::FoundMessages>(components),
            )))),
        )))),
    ))
}

/// Adds a schema, and the schemas that it consists of.
fn with<T: ToSchema>(components: ComponentsBuilder) -> ComponentsBuilder {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    components.schemas_from_iter(parts).schema(T::name(), T::schema())
}

fn in_header(name: &str, description: &str) -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
}

fn in_query(name: &str, description: &str) -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(name, description)))
}

#[test]
fn the_committed_document_matches_the_code() {
    let generated = serde_json::to_string_pretty(&json()).unwrap() + "\n";
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let file = target.join("openapi.json");
    if generated != DOCUMENT {
        fs::create_dir_all(target).unwrap();
        fs::write(&file, generated).unwrap();
        panic!(
            "docs/openapi.json is out of date; review and update it: cp {} docs/",
            file.display()
        );
    }
}

#[test]
fn every_route_is_in_the_document() {
    let paths = document().paths;
    let is_documented = |method, path| paths.get_path_operation(path, method).is_some();
    // A new route has no arm here until it is documented, so the match fails to compile.
    let documented = |route: &ApiRoute| match route {
        ApiRoute::Message(_) | ApiRoute::LongPoll(..) => {
            (HttpMethod::Get, "/api/messagestatus/{messageid}")
        }
        ApiRoute::History(_) => (HttpMethod::Get, "/api/messagestatus/{messageid}/history"),
        ApiRoute::ByDestination(_) => {
            (HttpMethod::Get, "/api/messagestatus/phonenumber/{phonenumber}")
        }
        ApiRoute::ByReference(_) => {
            (HttpMethod::Get, "/api/messagestatus/reference/{referencekey}")
        }
        ApiRoute::ByProviderId(_) => {
            (HttpMethod::Get, "/api/messagestatus/provider/{source}/{providerid}")
        }
        ApiRoute::Messages => (HttpMethod::Get, "/api/messages"),
        ApiRoute::Export => (HttpMethod::Get, "/api/messages.csv"),
        ApiRoute::Events => (HttpMethod::Get, "/api/events"),
        ApiRoute::Registration(_) => (HttpMethod::Put, "/api/messages/{messageid}"),
    };
    let mut found = 0;
    for path in paths.paths.keys().filter(|path| path.starts_with("/api/")) {
        let (method, known) = documented(&ApiRoute::parse(path, "").unwrap());
        assert_eq!(known, path);
        assert!(is_documented(method, known), "{known}");
        found += 1;
    }
    assert!(found >= 8, "{found} routes under /api");
    // The routes of the framework are string literals in `server.rs`.
    let routes = include_str!("../http/server.rs").split('"').skip(1).step_by(2);
    let mut found = 0;
    for route in routes.filter(|text| text.starts_with('/')) {
        assert!(paths.paths.keys().any(|path| path.starts_with(route)), "{route}");
        found += 1;
    }
    assert!(found >= 8, "{found} routes");
}
