//! Signing as a sender does, with the first secret.

use ::hmac::{Hmac as Keyed, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::scheme::{Algorithm, Encoding, Hmac, Part, TimeAt, Unit, mac};
use crate::message::Timestamp;
use crate::verify::encoding::hex;
use crate::verify::request::GeneratedHeaders;
use crate::verify::{Place, Request};

impl Hmac {
    /// Headers that authenticate a request to this URL; `None` if the signature is not in a header, or there
    /// is no secret.
    pub(crate) fn sign(
        &self,
        request: &Request<'_>,
        url: &str,
        id: &str,
        now: Timestamp,
    ) -> Option<Vec<(String, String)>> {
        let Place::Header(header) = &self.at else { return None };
        let key = self.secrets.first()?.bytes();
        let mut headers = Vec::new();
        let time = self.timestamp.as_ref().map(|(at, unit)| (at, format_time(*unit, now)));
        if let Some((TimeAt::Header(name), time)) = &time {
            headers.push((name.clone(), time.clone()));
        }
        if self.signed.contains(&Part::Id) {
            headers.push((self.id_header.clone(), id.to_owned()));
        }
        for part in &self.signed {
            if let Part::Header(name) = part {
                let given = request.headers.get(name).required().ok();
                let given = given.and_then(|value| str::from_utf8(value).ok());
                if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    headers.push((name.clone(), given.unwrap_or(id).to_owned()));
                }
            }
        }
        let stated = time.as_ref().map(|(_, time)| time.as_bytes()).unwrap_or_default();
        let signed = Request { headers: &GeneratedHeaders(&headers), ..*request };
        let message = self.render(&signed, url, stated).ok()?;
        let signature = match self.algorithm {
            Algorithm::Sha1 => finalize(mac::<Keyed<Sha1>>(key, &message)),
            Algorithm::Sha256 => finalize(mac::<Keyed<Sha256>>(key, &message)),
            Algorithm::Sha512 => finalize(mac::<Keyed<Sha512>>(key, &message)),
        };
        let signature = match self.encoding {
            Encoding::Hex => hex(&signature),
            Encoding::Base64 => STANDARD.encode(&signature),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut value = text(&self.prefix) + &signature;
        if let (Some((TimeAt::Item(name), time)), Some(separator)) = (&time, &self.separator) {
            value = text(name) + time + &text(separator) + &value;
        }
        headers.push((header.clone(), value));
        Some(headers)
    }
}

fn finalize(mac: impl Mac) -> Vec<u8> {
    mac.finalize().into_bytes().to_vec()
}

fn format_time(unit: Unit, now: Timestamp) -> String {
    match unit {
        Unit::Seconds => now.seconds().to_string(),
        Unit::Milliseconds => now.micros().div_euclid(1_000).to_string(),
        Unit::Iso8601 => now.to_string(),
    }
}
