//! Parameters of a Twilio callback, read into one statement.

use std::borrow::Cow;

use ::hmac::{Hmac, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::signature::{Algorithm, parameters, signed_urls};
use crate::dialect::parse::{channel, missing, unknown};
use crate::dialect::source::called_url;
use crate::dialect::{
    DecodeError, Dialect, EntryStatement, Name, NativeSignature, NoStatement, ReadEntry,
};
use crate::json::read::without_byte_order_mark;
use crate::message::{Channel, Destination, Reference, StatedProvider, Status, Timestamp};
use crate::payload::RawPayload;
use crate::verify::encoding::unhex;
use crate::verify::hmac::mac;
use crate::verify::{Header, Place, Request, Secret, Unverified, Verified, find_secret};

/// Twilio's dialect.
pub(crate) struct Twilio;

impl Dialect for Twilio {
    fn name(&self) -> &'static str {
        "twilio"
    }

    fn foreign_ids(&self) -> bool {
        true
    }

    fn native(&self) -> Option<&dyn NativeSignature> {
        Some(self)
    }

    fn test_delivery(&self) -> (&'static str, &'static str) {
        (FORM_MEDIA_TYPE, "MessageSid=SM00000000000000000000000000000000&MessageStatus=receiving")
    }

    fn read(&self, content: &RawPayload) -> Result<Vec<ReadEntry>, DecodeError> {
        if is_media_type(content.content_type.as_deref(), JSON_MEDIA_TYPE) {
            return Err(DecodeError("the body is JSON, not a form".to_owned()));
        }
        let form = str::from_utf8(without_byte_order_mark(&content.body))
            .map_err(|_error| DecodeError("the body is not UTF-8".to_owned()))?;
        Ok(vec![statement(&Fields::read(form))])
    }
}

/// Parameters that are read; a form may have any number of others.
const FIELDS: [&str; 9] = [
    "MessageSid",
    "MessageStatus",
    "From",
    "To",
    "ChannelPrefix",
    "EventType",
    "ErrorCode",
    "ErrorMessage",
    "ChannelStatusMessage",
];

/// Parameters of a form that are read.
struct Fields<'a>([(&'static str, Option<Cow<'a, str>>); FIELDS.len()]);

impl<'a> Fields<'a> {
    /// Reads a form. The first of several values counts, as in the provider's own libraries.
    fn read(form: &'a str) -> Self {
        let mut fields = FIELDS.map(|name| (name, None));
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            let field = fields.iter_mut().find(|(known, _)| *known == name);
            if let Some((_, first)) = field {
                first.get_or_insert(value);
            }
        }
        Self(fields)
    }

    /// Value of a parameter, if present and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        value.as_deref().filter(|value| !value.is_empty())
    }
}

const FORM_MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
const JSON_MEDIA_TYPE: &str = "application/json";
/// Header that holds the signature.
const SIGNATURE_HEADER: &str = "X-Twilio-Signature";
/// Header that names the signature's algorithm.
const SETTINGS_HEADER: &str = "X-Twilio-Webhooks-Signature-Settings";

/// Plain words for an error code, if known.
fn plain_words(code: &str) -> Option<&'static str> {
    Some(match code {
        "21211" | "21614" => "not a valid mobile number",
        "21408" => "sending to that country is not enabled on the account",
        "21610" => "the recipient has opted out",
        "30001" => "Twilio's queue overflowed",
        "30002" => "the account is suspended",
        "30003" => "the handset is unreachable: off, or without coverage",
        "30004" => "blocked by the recipient or the carrier",
        "30005" => "unknown or inactive destination number",
        "30006" => "a landline, or a carrier that cannot receive SMS",
        "30007" => "filtered as spam by Twilio or the carrier",
        "30008" => "unknown error at the carrier",
        "30010" => "the price exceeds the maximum that was set",
        "30022" => "the rate limit for US A2P 10DLC was exceeded",
        "30023" => "the daily cap for US A2P 10DLC was reached",
        "30032" => "the toll-free number is not verified",
        "30410" => "the provider timed out",
        "63003" => "the channel could not find the recipient",
        "63016" => "outside the window in which WhatsApp allows it",
        "63036" => "the number cannot be reached by RCS at this time",
        _ => return None,
    })
}

fn is_media_type(content_type: Option<&str>, wanted: &str) -> bool {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(wanted)
}

fn statement(fields: &Fields<'_>) -> ReadEntry {
    let field = |name: &str| fields.get(name);
    let own = |name: &str| field(name).unwrap_or_default().to_owned();
    let sid = field("MessageSid").ok_or_else(|| missing("MessageSid"))?;
    let word = field("MessageStatus").ok_or_else(|| missing("MessageStatus"))?;
    // An RCS message that fell back to SMS is recognised by its sender, which then has no prefix.
    let party = field("From").or_else(|| field("To"));
    // `tel:` marks a phone number, and no channel.
    let prefix =
        party.and_then(Destination::prefix).filter(|prefix| !prefix.eq_ignore_ascii_case("tel"));
    let channel = match field("ChannelPrefix").or(prefix.as_deref()) {
        Some(prefix) => channel(&prefix.to_ascii_uppercase())?,
        None => Channel::Sms,
    };
    let is_read = field("EventType").is_some_and(|event| event.eq_ignore_ascii_case("READ"));
    let status = match word.to_ascii_lowercase().as_str() {
        "accepted" | "scheduled" | "queued" => Status::ProviderAcceptance,
        "sent" => Status::Sent,
        // Older senders report a read message in another field, `EventType`.
        "delivered" if !is_read => Status::Delivered,
        "delivered" | "read" => Status::Read,
        "undelivered" => Status::Undelivered,
        "failed" | "canceled" => Status::Rejected,
        "sending" | "partially_delivered" | "receiving" | "received" => {
            return Err(NoStatement::Ignored(format!(
                "`{word}` is not a status of a sent message"
            )));
        }
        _ => return Err(unknown("MessageStatus", word)),
    };
    let description = field("ChannelStatusMessage").or_else(|| field("ErrorMessage"));
    let plain_words = match status {
        Status::Rejected | Status::Undelivered => {
            let cancelled = word.eq_ignore_ascii_case("canceled");
            field("ErrorCode")
                .and_then(plain_words)
                .or(cancelled.then_some("cancelled before it was sent"))
        }
        Status::ProviderAcceptance | Status::Sent | Status::Delivered | Status::Read => None,
    };
    Ok(Box::new(EntryStatement {
        message: Name::ProviderId,
        status,
        stated_at: None,
        accepted_at: None,
        channel,
        destination: field("To").and_then(Destination::parse_lenient),
        reference: Reference::default(),
        provider: StatedProvider {
            name: String::new(),
            id: sid.to_owned(),
            status: word.to_owned(),
            code: own("ErrorCode"),
            message: description.unwrap_or_default().to_owned(),
        },
        plain_words,
        segments: None,
    }))
}

impl NativeSignature for Twilio {
    fn supports_content_type(&self, content_type: Option<&str>) -> bool {
        is_media_type(content_type, FORM_MEDIA_TYPE) || is_media_type(content_type, JSON_MEDIA_TYPE)
    }

    fn covers_url(&self) -> bool {
        true
    }

    fn credential_places(&self) -> Vec<Place> {
        vec![Place::Header(SIGNATURE_HEADER.to_owned())]
    }

    fn sign(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
    ) -> Option<Vec<(String, String)>> {
        let url = called_url(url, request.query);
        let signed = mac::<Hmac<Sha1>>(secrets.first()?.bytes(), url.as_bytes());
        let signature = signed.chain_update(parameters(request.body)?).finalize().into_bytes();
        Some(vec![(SIGNATURE_HEADER.to_owned(), STANDARD.encode(signature))])
    }

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
        _now: Timestamp,
    ) -> Result<Verified, Unverified> {
        let signature = request.headers.get(SIGNATURE_HEADER).required()?;
        let signature = STANDARD.decode(signature).map_err(|_error| Unverified::Wrong)?;
        let algorithm = match request.headers.get(SETTINGS_HEADER) {
            Header::Absent => Algorithm::Sha1,
            Header::One(settings) => Algorithm::named(settings, signature.len())?,
            Header::Several => return Err(Unverified::Wrong),
        };
        let parameters = if is_media_type(request.content_type, FORM_MEDIA_TYPE) {
            parameters(request.body).ok_or(Unverified::Wrong)?
        } else {
            check_body_hash(request)?;
            Vec::new()
        };
        // The matching form of the URL is no secret, so the search may stop at the first match.
        let verifies = |url: String| {
            let signed = [url.as_bytes(), &parameters];
            find_secret(secrets, |secret| algorithm.verifies(secret, signed, &signature)).ok()
        };
        signed_urls(url, request.query, parameters.len())
            .find_map(verifies)
            .ok_or(Unverified::Wrong)
    }
}

/// Checks a body that is not a form against its hash in the query; without that hash, the signature does not
/// cover the body.
fn check_body_hash(request: &Request<'_>) -> Result<(), Unverified> {
    let stated = request
        .parameters()
        .find(|(name, hash)| name == "bodySHA256" && !hash.is_empty())
        .and_then(|(_, hash)| unhex(hash.as_bytes()))
        .ok_or(Unverified::Wrong)?;
    if Sha256::digest(request.body).as_slice() == stated { Ok(()) } else { Err(Unverified::Wrong) }
}
