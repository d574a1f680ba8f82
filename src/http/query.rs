//! What a query asks for: the last part of its path, and its parameters.

use std::borrow::Cow;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;

use super::cursor::List;
use super::problem::Problem;
use crate::message::{
    Channel, Destination, MAX_REFERENCE_BYTES, MessageId, NotATime, Status, Timestamp,
};
use crate::store::{Filter, Page};

/// How many messages a list has, if it is not said.
pub(crate) const DEFAULT_COUNT: u32 = 50;
/// More are not given at a time.
pub(crate) const LARGEST_COUNT: u32 = 100;

/// The message named in the path.
pub(crate) fn message_id(text: &str) -> Result<MessageId, Problem> {
    text.parse()
        .map_err(|error| Problem::BadRequest(format!("The message id in the path is {error}.")))
}

/// The phone number at the end of the path: with its `+` plain, encoded, as a space, or left out.
pub(crate) fn destination(request: &HttpRequest) -> Result<Destination, Problem> {
    let text = decoded(tail(request))?;
    number(&text, "The phone number in the path")
}

fn number(text: &str, what: &str) -> Result<Destination, Problem> {
    let digits = text.strip_prefix(['+', ' ']).unwrap_or(text);
    Destination::from_digits(digits)
        .map_err(|error| Problem::BadRequest(format!("{what} is {error}.")))
}

/// The reference key at the end of the path. It may hold anything, slashes too.
pub(crate) fn reference_key(request: &HttpRequest) -> Result<String, Problem> {
    key(decoded(tail(request))?.into_owned())
}

/// A reference key, which has as many bytes as it may have.
pub(crate) fn key(key: String) -> Result<String, Problem> {
    if key.is_empty() || key.len() > MAX_REFERENCE_BYTES {
        return Err(Problem::BadRequest(format!(
            "A reference key has 1 to {MAX_REFERENCE_BYTES} bytes; this one has {}.",
            key.len()
        )));
    }
    Ok(key)
}

/// The source and the provider's id at the end of the path.
pub(crate) fn foreign_id(request: &HttpRequest) -> Result<(String, String), Problem> {
    let tail = tail(request);
    let (source, id) = tail.split_once('/').unwrap_or((tail, ""));
    Ok((decoded(source)?.into_owned(), decoded(id)?.into_owned()))
}

/// The part of a list that the parameters ask for.
///
/// `count` and `sendDate` are the gateway's; `cursor` is the one a `Link` header gave.
pub(crate) fn page(request: &HttpRequest, list: &List, lineage: u32) -> Result<Page, Problem> {
    let mut page = Page { count: DEFAULT_COUNT, before: None, after: None };
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*name {
            "count" => page.count = count(&value)?,
            "sendDate" => page.before = Some(time("sendDate", &value)?),
            "cursor" => page.after = Some(list.place(lineage, &value)?),
            _ => {}
        }
    }
    Ok(page)
}

/// Which changes are wanted. What is not known may be a filter that was misspelt, so it is an error.
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
                    "`{name}` is no filter of events; there are `phonenumber`, `referencekey`, \
                     `status` and `final`."
                )));
            }
        }
    }
    Ok(filter)
}

/// A status.
pub(crate) fn status(word: &str) -> Result<Status, Problem> {
    word.parse().map_err(|_unknown| {
        let words = Status::ALL.map(Status::name).join(", ");
        Problem::BadRequest(format!("`status` is one of {words}; give it once for each."))
    })
}

/// A channel.
pub(crate) fn channel(word: &str) -> Result<Channel, Problem> {
    word.parse().map_err(|_unknown| {
        let words = Channel::ALL.map(Channel::name).join(" or ");
        Problem::BadRequest(format!("`channel` is {words}."))
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

/// How many messages are wanted at most.
pub(crate) fn count(text: &str) -> Result<u32, Problem> {
    let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.trim_start_matches('0');
    if !whole || digits.is_empty() {
        return Err(Problem::BadRequest(format!(
            "`count` must be a whole number from 1 on; above {LARGEST_COUNT} it is taken for \
             {LARGEST_COUNT}."
        )));
    }
    // What does not fit into a number is above the largest count too.
    Ok(digits.parse().unwrap_or(LARGEST_COUNT).min(LARGEST_COUNT))
}

/// The time in the parameter of this name.
pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let moment = text.parse().or_else(|error| {
        // A `+` that was not escaped has become a space: the last one, since one may stand for the `T`.
        let (before, offset) = text.trim_end().rsplit_once(' ').ok_or(error)?;
        format!("{before}+{offset}").parse().map_err(|_no_offset: NotATime| error)
    });
    moment.map_err(|error| Problem::BadRequest(format!("`{name}` is {error}.")))
}

/// What stands behind `/api/messagestatus/phonenumber/` and the like, as it was sent: the framework's
/// own decoding would lose the difference between `/` and `%2F`.
fn tail(request: &HttpRequest) -> &str {
    // Behind four slashes: what stands between them may be percent-encoded too.
    request.uri().path().splitn(5, '/').nth(4).unwrap_or_default()
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_not_utf8| {
        Problem::BadRequest("The path is not UTF-8 after percent-decoding.".to_owned())
    })
}
