//! `signed-url`: the callback URL that our application hands out carries its own proof.
//!
//! It proves that the application handed it out, not which message it is about.

use std::borrow::Cow;
use std::fmt::Write;

use ::hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use super::encoding::{hex, unhex};
use super::{MILLISECONDS_FROM, Secret, Unproven, Verified, any};
use crate::message::Timestamp;

/// The parameters that are signed beside the destination and the end of validity, in their order.
const OTHERS: [&str; 4] = ["action", "key", "messageid", "service"];

/// What a callback URL says; signed as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// The recipient, as the parameter has it.
    pub destination: Option<String>,
    /// The last second in which the URL is valid.
    pub expires: Option<String>,
    /// The reference's action.
    pub action: Option<String>,
    /// The reference's key.
    pub key: Option<String>,
    /// The message's id.
    pub messageid: Option<String>,
    /// The reference's service.
    pub service: Option<String>,
}

impl Callback {
    fn member(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "destination" => &mut self.destination,
            "expires" => &mut self.expires,
            "action" => &mut self.action,
            "key" => &mut self.key,
            "messageid" => &mut self.messageid,
            "service" => &mut self.service,
            _ => return None,
        })
    }

    /// The parameters, without a signature, as a query. In the order of their names: some senders sort
    /// them before they call, and sign what they were given.
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let Self { destination, expires, action, key, messageid, service } = self;
        let members = [
            ("action", action),
            ("destination", destination),
            ("expires", expires),
            ("key", key),
            ("messageid", messageid),
            ("service", service),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    /// The text that is signed.
    fn text(&self, source: &str) -> String {
        let text = |member: &Option<String>| member.clone().unwrap_or_default();
        let mut signed = format!("{source}\n{}\n{}", text(&self.destination), text(&self.expires));
        let values = [&self.action, &self.key, &self.messageid, &self.service];
        for (name, value) in OTHERS.iter().zip(values) {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _written = write!(signed, "\n{name}={value}");
            }
        }
        signed
    }

    /// The signature of these parameters for this source, in hex.
    pub fn signature(&self, source: &str, secret: &Secret) -> String {
        hex(&mac(secret, &self.text(source)).finalize().into_bytes())
    }
}

/// Verifies `?signature=` of a callback URL.
pub fn verify(
    secrets: &[Secret],
    source: &str,
    query: &str,
    now: Timestamp,
) -> Result<Verified, Unproven> {
    let (callback, signature) = read(query)?;
    let signature = unhex(signature.ok_or(Unproven::Missing)?.as_bytes()).ok_or(Unproven::Wrong)?;
    let text = callback.text(source);
    let proven = any(secrets, |secret| mac(secret, &text).verify_slice(&signature).is_ok())?;
    match &callback.expires {
        None => Ok(proven),
        Some(expires) => {
            let expires: i64 = expires.parse().map_err(|_no_number| Unproven::Wrong)?;
            if now.seconds() > expires {
                return Err(Unproven::Expired);
            }
            Ok(Verified { expires_in_milliseconds: expires >= MILLISECONDS_FROM, ..proven })
        }
    }
}

/// The last second in which an address is valid, if it says one.
pub(crate) fn expires(query: &str) -> Option<i64> {
    read(query).ok()?.0.expires?.parse().ok()
}

fn read(query: &str) -> Result<(Callback, Option<String>), Unproven> {
    let mut callback = Callback::default();
    let mut signature = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A name that is no UTF-8 is none of ours, and means nothing.
        let Ok(name) = decoded(name) else { continue };
        let member = match &*name {
            "signature" => &mut signature,
            name => match callback.member(name) {
                Some(member) => member,
                None => continue,
            },
        };
        let value = decoded(value)?.into_owned();
        if member.is_some() || value.chars().any(char::is_control) {
            return Err(Unproven::Wrong);
        }
        *member = Some(value);
    }
    Ok((callback, signature))
}

/// The text without its encoding; the text itself if it has none.
fn decoded(text: &str) -> Result<Cow<'_, str>, Unproven> {
    let not_utf8 = |_error| Unproven::Wrong;
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(not_utf8)?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(not_utf8)
}

fn mac(secret: &Secret, text: &str) -> Hmac<Sha256> {
    super::hmac::mac::<Hmac<Sha256>>(secret.bytes(), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "1b2251a94d5b8ef076af9062e2f3fb24518d80b8b7143bbb5eb9325b276580a6";

    fn check(query: &str, now: i64) -> Result<Verified, Unproven> {
        let now = Timestamp::from_micros(now * 1_000_000).unwrap();
        verify(&[Secret::new("other"), Secret::new("s3cret")], "gateway", query, now)
    }

    #[test]
    fn the_documented_example_holds() {
        let callback = Callback {
            destination: Some("+393331234567".to_owned()),
            key: Some("order 7".to_owned()),
            ..Callback::default()
        };
        assert_eq!(callback.signature("gateway", &Secret::new("s3cret")), SIGNATURE);
        let query = format!("{}&signature={SIGNATURE}", callback.query());
        assert_eq!(query, format!("destination=%2B393331234567&key=order+7&signature={SIGNATURE}"));
        assert_eq!(check(&query, 0), Ok(Verified::by(1)));
        assert_eq!(check(&format!("{query}&other=1"), 0), Ok(Verified::by(1)));
    }

    #[test]
    fn what_is_not_signed_as_it_stands_is_refused() {
        let good = format!("destination=%2B393331234567&key=order+7&signature={SIGNATURE}");
        assert_eq!(check("key=order+7", 0), Err(Unproven::Missing));
        for bad in [
            good.replace("order+7", "order+8"),
            good.replace("%2B39", "+39"),
            format!("{good}&key=order+7"),
            format!("{good}&service=x"),
            format!("{good}&action=%0A"),
            format!("{good}&action=%ff"),
            good.replace(SIGNATURE, "nonsense"),
            good.replace("&key=order+7", ""),
        ] {
            assert_eq!(check(&bad, 0), Err(Unproven::Wrong), "{bad}");
        }
    }

    #[test]
    fn a_url_is_valid_through_its_last_second() {
        let callback = Callback { expires: Some("100".to_owned()), ..Callback::default() };
        let signature = callback.signature("gateway", &Secret::new("s3cret"));
        let query = format!("{}&signature={signature}", callback.query());
        assert_eq!(check(&query, 100), Ok(Verified::by(1)));
        assert_eq!(check(&query, 101), Err(Unproven::Expired));
        // Also where the clock says that it is before 1970.
        assert_eq!(check(&query, -100_000), Ok(Verified::by(1)));
    }
}
