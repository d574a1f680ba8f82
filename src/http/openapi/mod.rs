//! The document at `/openapi.json`, made from the code: the bodies that are read, the words that are
//! known, the errors as they are answered.
//!
//! It is made by a test alone, which compares it with the file in the tree: the program hands out that
//! file, and needs neither the time to make it nor the library that does. What the document says of
//! answers is tried on a real server, by `tests/it/openapi.rs` and `scripts/schemathesis`.

mod examples;
mod operation;
mod operations;
mod pages;
mod parameters;
pub(super) mod schemas;
mod service;

use std::fs;
use std::path::Path;

use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
};

use self::operation::text_header;
use self::operations::{BEYOND, SERVICE, STATUS, WEBHOOKS};
use self::pages::PAGE;
use super::api::Asked;
use super::docs::DOCUMENT;
use super::{problem, register};

const DESCRIPTION: &str = "\
A durable local mirror of the delivery statuses of SMS and RCS messages: it takes the gateway's webhooks, \
and answers the gateway's own status queries.

Every GET but that of `/api/events` is also answered to HEAD, without a body. To another method than those \
listed the answer is 405 with `Allow`, elsewhere 404. Every error is an `application/problem+json` that says \
what to do. Times are RFC 3339 in UTC, with no, three or six digits after the second.

Every answer under `/api` and `/webhooks` says in `X-Request-Id` under which name the log has the request, \
unless the request was refused unread. It is the name that the request brings in its own `X-Request-Id`, if \
that has at most 64 letters, digits, `-`, `_` and `.`; a `traceparent` (W3C Trace Context) is logged too.

With `server.internal_listen` the first address serves `/webhooks`, `/livez` and `/readyz` alone, and \
everything else has the second.";

/// The document.
fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("statusmirror")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
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
        (STATUS, "The gateway's own queries, with its names and shapes."),
        (BEYOND, "What the gateway has not."),
        (WEBHOOKS, "For whoever posts."),
        (PAGE, "For people: HTML."),
        (SERVICE, "For whoever runs it."),
    ];
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(
            tags.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build()),
        ))
        .paths(paths)
        .components(Some(components().build()))
        .build()
}

fn components() -> ComponentsBuilder {
    let components = ComponentsBuilder::new()
        .header(operation::REQUEST_ID, text_header("The name under which the log has the request."))
        .security_scheme("ApiKey", in_header("X-Api-Key", "An API key with the scope `read` (GET) or `register` (PUT)."))
        .security_scheme("UrlToken", in_query("token", "`url-token`: a secret of the source."))
        .security_scheme("SignedUrl", in_query("signature", "`signed-url`: what `statusmirror callback-url` prints."))
        .security_scheme("StandardWebhooks", in_header("webhook-signature", "`standard-webhooks`, with `webhook-id` and `webhook-timestamp`; also as `svix-…`."))
        .security_scheme("TwilioSignature", in_header("X-Twilio-Signature", "`native` of the dialect `twilio`. The scheme `hmac` has a header that the configuration names."));
    with::<problem::Body<'_>>(with::<register::Body>(with::<schemas::MessageStatusList>(with::<
        schemas::MessageHistory,
    >(
        with::<schemas::Registered>(with::<schemas::WebhookReceipt>(
            with::<schemas::GatewayWebhook>(with::<schemas::TwilioCallback>(with::<
                schemas::MessageChange,
            >(with::<
                schemas::StreamEnd,
            >(
                with::<schemas::FoundMessages>(components),
            )))),
        )),
    ))))
}

/// A shape, and all that it consists of.
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
fn the_document_in_the_tree_is_that_of_the_code() {
    let made = document().to_pretty_json().unwrap() + "\n";
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let file = target.join("openapi.json");
    if made != DOCUMENT {
        fs::create_dir_all(target).unwrap();
        fs::write(&file, made).unwrap();
        panic!("the code says otherwise; see what, and renew it: cp {} docs/", file.display());
    }
}

#[test]
fn every_route_is_in_the_document() {
    let paths = document().paths;
    let is_documented = |method, path| paths.get_path_operation(path, method).is_some();
    // A new route finds no arm here until it is documented.
    let documented = |asked: &Asked<'_>| match asked {
        Asked::Message(_) | Asked::MessageToCome(_) => {
            (HttpMethod::Get, "/api/messagestatus/{messageid}")
        }
        Asked::History(_) => (HttpMethod::Get, "/api/messagestatus/{messageid}/history"),
        Asked::ByDestination => (HttpMethod::Get, "/api/messagestatus/phonenumber/{phonenumber}"),
        Asked::ByReference => (HttpMethod::Get, "/api/messagestatus/reference/{referencekey}"),
        Asked::ByForeignId => {
            (HttpMethod::Get, "/api/messagestatus/provider/{source}/{providerid}")
        }
        Asked::Messages => (HttpMethod::Get, "/api/messages"),
        Asked::Events => (HttpMethod::Get, "/api/events"),
        Asked::Registration(_) => (HttpMethod::Put, "/api/messages/{messageid}"),
    };
    let mut found = 0;
    for path in paths.paths.keys().filter_map(|path| path.strip_prefix("/api")) {
        let (method, known) = documented(&Asked::at(path, "").unwrap());
        assert_eq!(known.strip_prefix("/api"), Some(path));
        assert!(is_documented(method, known), "{known}");
        found += 1;
    }
    assert!(found >= 7, "{found} routes under /api");
    // What the framework is told to route is written out there.
    let routes = include_str!("../mod.rs").split('"').skip(1).step_by(2);
    let mut found = 0;
    for route in routes.filter(|text| text.starts_with('/')) {
        assert!(paths.paths.keys().any(|path| path.starts_with(route)), "{route}");
        found += 1;
    }
    assert!(found >= 8, "{found} routes");
}
