//! `Cache-Control` and `ETag` of each response.

use crate::support::*;

const FILES: [&str; 7] = [
    "/",
    "/page/page.js",
    "/page/page.css",
    "/docs",
    "/docs/start.js",
    "/docs/swagger-ui.css",
    "/openapi.json",
];

#[test]
fn only_static_files_may_be_cached() {
    let server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let message = format!("/api/messagestatus/{EXAMPLE_ID}");
    for (method, path, status) in [
        ("GET", &*message, 200),
        ("HEAD", &message, 200),
        ("GET", &format!("{message}/history"), 200),
        ("GET", "/api/messagestatus/phonenumber/+393331234567", 200),
        ("GET", "/api/messages", 200),
        ("GET", "/api/messages.csv", 200),
        ("GET", "/api/events", 200),
        ("GET", "/api/messagestatus/no-uuid", 400),
        ("GET", "/api//messages", 400),
        ("GET", "//api/messages", 400),
        ("GET", "/%61pi/messages", 400),
        ("GET", "/api/nothing", 404),
        ("DELETE", "/api/messages", 405),
        ("GET", "/api", 404),
        ("GET", "/ui/overview", 200),
        ("GET", "/ui/nothing", 404),
        ("POST", "/ui/overview", 405),
        ("GET", "/livez", 200),
        ("POST", "/livez", 405),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/webhooks/gateway", 405),
        ("POST", "/webhooks/unknown", 404),
        ("POST", "/page/page.js", 405),
        ("GET", "/page/nothing", 404),
        ("GET", "/docs/nothing", 404),
    ] {
        let answer = server.send(method, path, &[("X-Api-Key", KEY)], b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}: {answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
    }
    for path in ["/api/messages", "/ui/overview"] {
        let rejection = server.send("GET", path, &[], b"");
        assert_eq!((rejection.status, rejection.header("cache-control")), (403, Some("no-store")));
    }
    let accepted = server.post(EXAMPLE);
    assert_eq!(accepted.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_matching_etag_is_304() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    let mut tags = Vec::new();
    for path in FILES {
        let mut get_file = |known: &str| {
            let headers = [("If-None-Match", known)];
            connection.send("HEAD", path, &headers[..usize::from(!known.is_empty())], b"")
        };
        let answer = get_file("");
        let tag = answer.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{path}: {tag}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let not_modified = get_file(&known);
            assert_eq!((not_modified.status, &*not_modified.body), (304, ""), "{path} {known}");
            assert_eq!(not_modified.header("etag"), Some(&*tag), "{path}");
            assert_eq!(not_modified.header("cache-control"), Some("no-cache"), "{path}");
        }
        for other in ["\"x\"", "W/\"x\"", "x"] {
            assert_eq!(get_file(other).status, 200, "{path} {other}");
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), FILES.len(), "each file has its own tag");
}
