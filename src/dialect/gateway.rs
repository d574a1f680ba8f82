//! `gateway`: the gateway's own webhook, a status in the shape of its query answers.
//!
//! Required are `type`, and of the message `id`, `status`, `channel` and `statusChangedAt` with a zone.
//! `message.destination` is our extension of the format, and so is the type `TEST`, which is ignored.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny};
use serde_json::value::RawValue;

use super::contract::{DecodeError, Dialect, EntryStatement, Name, NoStatement, ReadEntry};
use super::parse::{channel, missing, optional_time, shape_error, unknown};
use crate::json::read::{self, Object};
use crate::message::{Destination, Reference, StatedProvider, Status};
use crate::payload::RawPayload;

/// The only webhook type that states a status.
const STATUS_UPDATE: &str = "STATUS_UPDATE";
/// Our own webhook type, to test whether webhooks arrive.
const TEST: &str = "TEST";

/// The gateway's dialect.
pub(crate) struct Gateway;

impl Dialect for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn foreign_ids(&self) -> bool {
        false
    }

    fn test_delivery(&self) -> (&'static str, &'static str) {
        ("application/json", r#"{"type":"TEST"}"#)
    }

    fn read(&self, content: &RawPayload) -> Result<Vec<ReadEntry>, DecodeError> {
        let text = read::text(&content.body);
        let is_read = serde_json::from_str::<Object<Payload<'_>>>(&text);
        let repaired = if is_read.is_err() { read::replace_lone_surrogates(&text) } else { None };
        let (payload, text) = match &repaired {
            Some(repaired) => (serde_json::from_str(repaired), repaired.as_str()),
            None => (is_read, &*text),
        };
        match payload {
            Ok(Object(payload)) => Ok(vec![statement(payload)]),
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Ok(vec![Err(shape_error::<Object<Payload<'_>>>(text))])
            }
            Err(error) => Err(DecodeError(format!("the body is not JSON: {error}"))),
        }
    }
}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    message: Option<Object<Message<'a>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    provider_acceptance_at: Option<Text<'a>>,
    status_changed_at: Option<Text<'a>>,
    reference: Option<Object<ReferencePayload<'a>>>,
    channel: Option<Text<'a>>,
    status: Option<Text<'a>>,
    provider: Option<Object<ProviderPayload<'a>>>,
    sms: Option<Object<Sms<'a>>>,
    destination: Option<Text<'a>>,
}

#[derive(serde::Deserialize, Default)]
struct ReferencePayload<'a> {
    #[serde(borrow)]
    service: Option<Text<'a>>,
    action: Option<Text<'a>>,
    key: Option<Text<'a>>,
}

#[derive(serde::Deserialize, Default)]
struct ProviderPayload<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    id: Option<Text<'a>>,
    status: Option<Text<'a>>,
    code: Option<Text<'a>>,
    message: Option<Text<'a>>,
}

#[derive(serde::Deserialize)]
struct Sms<'a> {
    #[serde(borrow)]
    segments: Option<Text<'a>>,
}

/// Text, or a number kept as text digit by digit, since ids may have more digits than any number type.
struct Text<'a> {
    text: Cow<'a, str>,
    is_number: bool,
}

impl Text<'_> {
    /// Reads a phone number, as leniently as in a callback URL.
    fn destination(&self) -> Option<Destination> {
        if self.is_number {
            // The dot of `393331234567.0` does not separate groups of digits.
            return Destination::from_digits(&read::plain_number(&self.text)?).ok();
        }
        Destination::parse_lenient(&self.text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let quoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        match (quoted, raw.as_bytes().first()) {
            // A text without an escape needs no decoding.
            (Some(text), _) if !text.contains('\\') => {
                Ok(Text { text: Cow::Borrowed(text), is_number: false })
            }
            (Some(_), _) => serde_json::from_str(raw)
                .map(|text| Text { text, is_number: false })
                .map_err(D::Error::custom),
            (None, Some(b'-' | b'0'..=b'9')) => {
                Ok(Text { text: Cow::Borrowed(raw), is_number: true })
            }
            (None, _) => Err(D::Error::custom("neither a text nor a number")),
        }
    }
}

/// Text of a member, if present and not empty.
fn text(member: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    member.map(|Text { text, .. }| text).filter(|text| !text.is_empty())
}

fn required<'a>(member: Option<Text<'a>>, name: &str) -> Result<Cow<'a, str>, NoStatement> {
    text(member).ok_or_else(|| missing(name))
}

fn statement(payload: Payload<'_>) -> ReadEntry {
    let kind = required(payload.r#type, "type")?;
    if kind == TEST {
        return Err(NoStatement::Ignored("a test".to_owned()));
    }
    if kind != STATUS_UPDATE {
        return Err(unknown("type", &kind));
    }
    let Object(message) = payload.message.ok_or_else(|| missing("message"))?;
    let id = required(message.id, "message.id")?
        .parse()
        .map_err(|error| NoStatement::Unreadable(format!("message.id is {error}")))?;
    let word = required(message.status, "message.status")?;
    let status: Status = word.parse().map_err(|_error| unknown("message.status", &word))?;
    let channel = channel(&required(message.channel, "message.channel")?)?;
    let stated_at = required(message.status_changed_at, "message.statusChangedAt")?
        .parse()
        .map_err(|error| NoStatement::Unreadable(format!("message.statusChangedAt is {error}")))?;
    let accepted_at = match text(message.provider_acceptance_at) {
        Some(text) => optional_time("message.providerAcceptanceAt", &text)?,
        None => None,
    };
    let Object(ReferencePayload { service, action, key }) = message.reference.unwrap_or_default();
    let owned = |member| text(member).map(Cow::into_owned);
    let reference = Reference::new(owned(service), owned(action), owned(key)).map_err(|error| {
        NoStatement::Unreadable(format!("message.reference.{}: {error}", error.member))
    })?;
    let Object(provider) = message.provider.unwrap_or_default();
    let segments = text(message.sms.and_then(|Object(sms)| sms.segments))
        .map(|text| {
            read::whole_number(&text).ok_or_else(|| {
                NoStatement::Unreadable("message.sms.segments is not a whole number".to_owned())
            })
        })
        .transpose()?;
    Ok(Box::new(EntryStatement {
        message: Name::Ours(id),
        status,
        stated_at: Some(stated_at),
        accepted_at,
        channel,
        destination: message.destination.and_then(|number| number.destination()),
        reference,
        provider: StatedProvider {
            name: owned(provider.name).unwrap_or_default(),
            id: owned(provider.id).unwrap_or_default(),
            status: owned(provider.status).unwrap_or_default(),
            code: owned(provider.code).unwrap_or_default(),
            message: owned(provider.message).unwrap_or_default(),
        },
        plain_words: None,
        segments,
    }))
}
