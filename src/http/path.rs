//! Request path: normalized once, before anything else uses it.
//!
//! Routes, load shedding and the log see the same path. In the fixed parts of a route, a percent-encoded
//! character or a doubled slash is an error, because two programs could read it in two ways. Only under
//! `/webhooks` doubled and trailing slashes are removed: a sender takes a 4xx for final, and would lose the
//! delivery for a slash in its configuration.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// Routes followed by an id.
const ID_ROUTES: [&str; 3] = [LISTS_ROUTE, "/api/messages/", "/ui/message/"];
/// Route followed by a list's name or an id.
const LISTS_ROUTE: &str = "/api/messagestatus/";
/// Names of the lists, whose keys may contain any character.
const LISTS: [&str; 3] = ["phonenumber", "reference", "provider"];

/// Part of the service that a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// `/webhooks`.
    Webhooks,
    /// Files of the page and the documents, which are the same for everybody.
    Files,
    /// `/api` and `/ui`, which answer only with a key.
    Keyed,
    /// Every other path.
    Other,
}

impl Area {
    /// Area of a normalized path.
    pub(crate) fn of(path: &str) -> Self {
        let first = path.strip_prefix('/').and_then(|path| path.split('/').next());
        match first {
            Some("webhooks") => Self::Webhooks,
            Some("" | "docs" | "page" | "openapi.json") => Self::Files,
            Some("api" | "ui") => Self::Keyed,
            _ => Self::Other,
        }
    }
}

/// Normalizes a path. Invalid paths under `/api` and `/ui` are left to [`check`], which runs after
/// authentication.
pub(crate) fn normalize(path: &str) -> Result<Cow<'_, str>, Problem> {
    let parts = path.trim_start_matches('/');
    let first = parts.split('/').next().unwrap_or_default();
    match first {
        "webhooks" => Ok(normalize_webhook(path, parts)),
        "api" | "ui" if !path.starts_with("//") => Ok(Cow::Borrowed(path)),
        _ => check_fixed(path).map(|()| Cow::Borrowed(path)),
    }
}

/// Checks a path under `/api` or `/ui`. A list's key behind its route may contain any percent-encoded
/// character.
pub(crate) fn check(path: &str) -> Result<(), Problem> {
    let Some(rest) = ID_ROUTES.iter().find_map(|route| path.strip_prefix(route)) else {
        return check_fixed(path);
    };
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if path.starts_with(LISTS_ROUTE) && LISTS.contains(&id) {
        // A slash at the start of a key, or a doubled one in it, is percent-encoded.
        return if rest.starts_with('/') || rest.contains("//") {
            Err(doubled_slash_problem())
        } else {
            Ok(())
        };
    }
    // The id may be percent-encoded; a list's name in its place may not.
    let is_list = percent_decode_str(id).decode_utf8().is_ok_and(|id| LISTS.contains(&&*id));
    if is_list {
        Err(encoded_problem())
    } else if id.is_empty() {
        check_fixed(path)
    } else {
        check_fixed(rest)
    }
}

fn check_fixed(path: &str) -> Result<(), Problem> {
    if path.contains("//") {
        return Err(doubled_slash_problem());
    }
    if path.contains('%') {
        return Err(encoded_problem());
    }
    Ok(())
}

fn encoded_problem() -> Problem {
    Problem::BadRequest(
        "The path's fixed parts are written without percent-encoding; only an id, a name or a key in it \
         may be encoded."
            .to_owned(),
    )
}

fn doubled_slash_problem() -> Problem {
    Problem::BadRequest(
        "The path has a double slash: check whether the base URL ends with a slash. A slash inside \
         a key is written %2F."
            .to_owned(),
    )
}

/// Normalizes a path under `/webhooks`: removes doubled slashes and the one at its end.
fn normalize_webhook<'a>(path: &'a str, parts: &str) -> Cow<'a, str> {
    let is_normal = path.strip_prefix('/') == Some(parts)
        && !parts.contains("//")
        && (!parts.ends_with('/') || parts == "webhooks/");
    if is_normal {
        return Cow::Borrowed(path);
    }
    let parts = parts.split('/').filter(|part| !part.is_empty());
    parts.fold(String::new(), |path, part| path + "/" + part).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhook_paths_lose_extra_slashes() {
        for (path, expected) in [
            ("/webhooks/gateway", "/webhooks/gateway"),
            ("/webhooks/gateway/", "/webhooks/gateway"),
            ("//webhooks//gateway//", "/webhooks/gateway"),
            ("/webhooks", "/webhooks"),
            ("/webhooks//", "/webhooks"),
            ("/webhooks/a//b", "/webhooks/a/b"),
            ("/webhooks/gate%77ay/", "/webhooks/gate%77ay"),
            ("/livez", "/livez"),
            ("/", "/"),
            ("*", "*"),
        ] {
            assert_eq!(normalize(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn fixed_parts_have_one_spelling() {
        for path in [
            "/%61pi/messages",
            "//api/messages",
            "/webhook%73/gateway",
            "/%77ebhooks/gateway",
            "/livez%20",
            "//livez",
            "/docs//x",
            "//",
        ] {
            assert!(normalize(path).is_err(), "{path}");
        }
        for (path, is_valid) in [
            ("/api/messagestatus/reference/a%2Fb/c%25", true),
            ("/api/messagestatus/phonenumber/%2B39333", true),
            ("/api/messagestatus/provider/t%77ilio/SM%31", true),
            ("/api/messagestatus/b31b%36607", true),
            ("/api/messages/b31b%36607", true),
            ("/ui/message/b31b%36607", true),
            ("/api/messagestatus//x", false),
            ("/api/messages//", false),
            ("/api/messages.csv", true),
            ("/api/messages%2Ecsv", false),
            ("/api/messagestatus/reference//a", false),
            ("/api/messagestatus/reference/a//b", false),
            ("/api//messages", false),
            ("/api/mess%61ges", false),
            ("/api/messagestatus/%72eference/a", false),
            ("/api/messagestatus/x/hist%6Fry", false),
            ("/ui/over%76iew", false),
            ("/ui//overview", false),
        ] {
            assert_eq!(check(path).is_ok(), is_valid, "{path}");
        }
    }
}
