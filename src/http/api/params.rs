//! Parameters of a request: parts of its path, still percent-encoded, and its query.

use std::borrow::Cow;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;

use super::cursor::List;
use crate::http::problem::Problem;
use crate::message::{
    Channel, Destination, MAX_REFERENCE_BYTES, MessageId, NotATime, Status, Timestamp,
};
use crate::store::{Filter, Page};

/// Default number of messages on a page.
pub(crate) const DEFAULT_COUNT: u32 = 50;
/// Maximum number of messages on a page.
pub(crate) const MAX_COUNT: u32 = 100;

/// Parses the message id in the path.
pub(crate) fn message_id(text: &str) -> Result<MessageId, Problem> {
    decoded(text)?
        .parse()
        .map_err(|error| Problem::BadRequest(format!("The message id in the path is {error}.")))
}

/// Parses the phone number at the end of the path, with its `+` plain, percent-encoded, as a space, or left
/// out.
pub(crate) fn destination(text: &str) -> Result<Destination, Problem> {
    number(&decoded(text)?, "The phone number in the path")
}

fn number(text: &str, what: &str) -> Result<Destination, Problem> {
    let digits = text.strip_prefix(['+', ' ']).unwrap_or(text);
    Destination::from_digits(digits)
        .map_err(|error| Problem::BadRequest(format!("{what} is {error}.")))
}

/// Parses the reference key at the end of the path. It may contain any character, slashes too.
pub(crate) fn reference_key(text: &str) -> Result<String, Problem> {
    key(decoded(text)?.into_owned())
}

/// Checks the length of a reference key.
pub(crate) fn key(key: String) -> Result<String, Problem> {
    if key.is_empty() || key.len() > MAX_REFERENCE_BYTES {
        return Err(Problem::BadRequest(format!(
            "A reference key has 1 to {MAX_REFERENCE_BYTES} bytes; this one has {}.",
            key.len()
        )));
    }
    Ok(key)
}

/// Parses the source and the provider's id at the end of the path.
pub(crate) fn provider_id(text: &str) -> Result<(String, String), Problem> {
    let (source, id) = text.split_once('/').unwrap_or((text, ""));
    Ok((decoded(source)?.into_owned(), decoded(id)?.into_owned()))
}

/// Parses the parameters of a page.
///
/// `count` and `sendDate` are the gateway's; `cursor` is that of a `Link` header.
pub(crate) fn page(request: &HttpRequest, list: &List, lineage: u32) -> Result<Page, Problem> {
    let mut page = Page { count: DEFAULT_COUNT, before: None, after: None };
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*name {
            "count" => page.count = count(&value)?,
            "sendDate" => page.before = Some(time("sendDate", &value)?),
            "cursor" => page.after = Some(list.parse_place(lineage, &value)?),
            _ => {}
        }
    }
    Ok(page)
}

/// Parses the filter of an event stream. An unknown parameter may be a misspelt filter, so it is an error.
pub(crate) fn filter(request: &HttpRequest) -> Result<Filter, Problem> {
    let mut filter = Filter::default();
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*name {
            "phonenumber" => filter.destination = Some(number(&value, "`phonenumber`")?),
            "referencekey" => filter.reference_key = Some(key(value.into_owned())?),
            "status" => filter.statuses.push(status(&value)?),
            "final" => filter.is_final = Some(is_final(&value)?),
            _ => {
                return Err(Problem::BadRequest(format!(
                    "Unknown filter `{name}`; the filters are `phonenumber`, `referencekey`, \
                     `status` and `final`."
                )));
            }
        }
    }
    Ok(filter)
}

/// Parses a status.
pub(crate) fn status(word: &str) -> Result<Status, Problem> {
    word.parse().map_err(|_unknown| {
        let names = Status::ALL.map(Status::name).join(", ");
        Problem::BadRequest(format!("`status` is one of {names}; give it once for each."))
    })
}

/// Parses a channel.
pub(crate) fn channel(word: &str) -> Result<Channel, Problem> {
    word.parse().map_err(|_unknown| {
        let names = Channel::ALL.map(Channel::name).join(" or ");
        Problem::BadRequest(format!("`channel` is {names}."))
    })
}

fn is_final(word: &str) -> Result<bool, Problem> {
    word.parse().map_err(|_neither| {
        Problem::BadRequest(
            "`final` is `true` or `false`: whether the status after the change is final."
                .to_owned(),
        )
    })
}

/// Parses the maximum number of messages on a page.
pub(crate) fn count(text: &str) -> Result<u32, Problem> {
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.trim_start_matches('0');
    if !is_whole || digits.is_empty() {
        return Err(Problem::BadRequest(format!(
            "`count` must be a whole number from 1 on; values above {MAX_COUNT} mean {MAX_COUNT}."
        )));
    }
    // A number that does not fit is above the maximum too.
    Ok(digits.parse().unwrap_or(MAX_COUNT).min(MAX_COUNT))
}

/// Parses the time in the parameter of this name.
pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let moment = text.parse().or_else(|error| {
        // An unescaped `+` has become a space: the last one, since an earlier one may stand for the `T`.
        let (before, offset) = text.trim_end().rsplit_once(' ').ok_or(error)?;
        format!("{before}+{offset}").parse().map_err(|_no_offset: NotATime| error)
    });
    moment.map_err(|error| Problem::BadRequest(format!("`{name}` is {error}.")))
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_not_utf8| {
        Problem::BadRequest("The path is not UTF-8 after percent-decoding.".to_owned())
    })
}
