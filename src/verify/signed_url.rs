//! `signed-url`: the callback URL that our application hands out carries its own signature.
//!
//! The signature proves that the application handed the URL out, not which message a request is about.

use std::borrow::Cow;
use std::fmt::Write;

use ::hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use super::encoding::{hex, unhex};
use super::secret::Secret;
use super::time_window::MIN_UNIX_MILLISECONDS;
use super::verdict::{Unverified, Verified, find_secret};
use crate::message::Timestamp;

/// Parameters that are signed beside the destination and the expiry, in their order.
const SIGNED_PARAMETERS: [&str; 4] = ["action", "key", "messageid", "service"];

/// Parameters of a callback URL; signed as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// Destination, as the parameter states it.
    pub destination: Option<String>,
    /// Last second in which the URL is valid.
    pub expires: Option<String>,
    /// Action of the reference.
    pub action: Option<String>,
    /// Key of the reference.
    pub key: Option<String>,
    /// Id of the message.
    pub messageid: Option<String>,
    /// Service of the reference.
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

    /// Parameters as a query, without a signature. Ordered by name: some senders sort the parameters before
    /// they call, and sign the URL as they were given it.
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

    /// Signed text.
    fn text(&self, source: &str) -> String {
        let text = |member: &Option<String>| member.clone().unwrap_or_default();
        let mut signed = format!("{source}\n{}\n{}", text(&self.destination), text(&self.expires));
        let values = [&self.action, &self.key, &self.messageid, &self.service];
        for (name, value) in SIGNED_PARAMETERS.iter().zip(values) {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _written = write!(signed, "\n{name}={value}");
            }
        }
        signed
    }

    /// Signature of these parameters for this source, in hex.
    pub fn signature(&self, source: &str, secret: &Secret) -> String {
        hex(&mac(secret, &self.text(source)).finalize().into_bytes())
    }
}

/// Verifies the `?signature=` of a callback URL.
pub fn verify(
    secrets: &[Secret],
    source: &str,
    query: &str,
    now: Timestamp,
) -> Result<Verified, Unverified> {
    let (callback, signature) = read(query)?;
    let signature =
        unhex(signature.ok_or(Unverified::Missing)?.as_bytes()).ok_or(Unverified::Wrong)?;
    let text = callback.text(source);
    let verified =
        find_secret(secrets, |secret| mac(secret, &text).verify_slice(&signature).is_ok())?;
    match &callback.expires {
        None => Ok(verified),
        Some(expires) => {
            let expires: i64 = expires.parse().map_err(|_no_number| Unverified::Wrong)?;
            if now.seconds() > expires {
                return Err(Unverified::Expired);
            }
            Ok(Verified { expires_in_milliseconds: expires >= MIN_UNIX_MILLISECONDS, ..verified })
        }
    }
}

/// Last second in which a URL is valid, if it states one.
pub(crate) fn expires(query: &str) -> Option<i64> {
    read(query).ok()?.0.expires?.parse().ok()
}

fn read(query: &str) -> Result<(Callback, Option<String>), Unverified> {
    let mut callback = Callback::default();
    let mut signature = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A name that is not UTF-8 is no parameter of ours, and is ignored.
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
            return Err(Unverified::Wrong);
        }
        *member = Some(value);
    }
    Ok((callback, signature))
}

/// Percent-decodes a text; borrows it if nothing is encoded.
fn decoded(text: &str) -> Result<Cow<'_, str>, Unverified> {
    let not_utf8 = |_error| Unverified::Wrong;
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

    fn check(query: &str, now: i64) -> Result<Verified, Unverified> {
        let now = Timestamp::from_micros(now * 1_000_000).unwrap();
        verify(&[Secret::new("other"), Secret::new("s3cret")], "gateway", query, now)
    }

    #[test]
    fn the_documented_example_verifies() {
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
    fn altered_parameters_are_rejected() {
        let good = format!("destination=%2B393331234567&key=order+7&signature={SIGNATURE}");
        assert_eq!(check("key=order+7", 0), Err(Unverified::Missing));
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
            assert_eq!(check(&bad, 0), Err(Unverified::Wrong), "{bad}");
        }
    }

    #[test]
    fn a_url_is_valid_through_its_last_second() {
        let callback = Callback { expires: Some("100".to_owned()), ..Callback::default() };
        let signature = callback.signature("gateway", &Secret::new("s3cret"));
        let query = format!("{}&signature={signature}", callback.query());
        assert_eq!(check(&query, 100), Ok(Verified::by(1)));
        assert_eq!(check(&query, 101), Err(Unverified::Expired));
        // Also valid when the clock is before 1970.
        assert_eq!(check(&query, -100_000), Ok(Verified::by(1)));
    }
}
