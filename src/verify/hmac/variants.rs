//! HMAC diagnosis: where credentials are, and with which other settings a request would verify.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header_items::items;
use super::scheme::{Algorithm, Encoding, Hmac, Part, TimeAt, to_seconds};
use crate::verify::encoding::from_base64;
use crate::verify::{Place, Request, Secret};

/// Maximum length of a prefix that ends in `=` or `,`, in bytes. A longer text before such a character is not
/// tried as a prefix.
const MAX_PREFIX_CHARACTERS: usize = 8;

impl Hmac {
    /// Places in a request that hold what this scheme needs.
    pub(crate) fn credential_places(&self) -> Vec<Place> {
        let time = self.timestamp.iter().filter_map(|(at, _)| match at {
            TimeAt::Header(name) => Some(name),
            TimeAt::Item(_) => None,
        });
        let id = self.signed.contains(&Part::Id).then_some(&self.id_header);
        let others = self.signed.iter().filter_map(|part| match part {
            Part::Header(name) => Some(name),
            Part::Text(_) | Part::Body | Part::Timestamp | Part::Id | Part::Method | Part::Url => {
                None
            }
        });
        let headers = time.chain(id).chain(others);
        let headers = headers.map(|name| Place::Header(name.clone()));
        [self.at.clone()].into_iter().chain(headers).collect()
    }

    /// Signed time, in seconds since 1970.
    pub(crate) fn stated_time(&self, request: &Request<'_>) -> Option<i64> {
        let (_, unit) = self.timestamp.as_ref()?;
        let value = self.value(request).ok()?;
        let time = self.time(request, &items(&value, self.separator.as_deref())).ok()??;
        to_seconds(time, *unit).ok()
    }

    /// Other settings with which the request verifies, written as in the configuration; `names` are the names
    /// of all the request's headers.
    pub(crate) fn other_variants(
        &self,
        request: &Request<'_>,
        names: &[&str],
        verifies: &dyn Fn(Self) -> bool,
    ) -> Option<String> {
        let mut others = vec![Variant { changed: Vec::new(), hmac: self.clone() }];
        vary(&mut others, |hmac| hmac.other_credential_places(names));
        vary(&mut others, |hmac| hmac.other_forms(request));
        vary(&mut others, Self::other_hashes);
        vary(&mut others, Self::other_secrets);
        vary(&mut others, |hmac| hmac.other_templates(names));
        // The variant with the fewest changes is the likeliest.
        others.sort_by_key(|other| other.changed.len());
        let found = others.into_iter().find(|other| verifies(other.hmac.clone()))?;
        Some(found.changed.join(", "))
    }

    fn other_credential_places(&self, names: &[&str]) -> Vec<Change> {
        let others = names.iter().filter(|name| is_signature_header(name));
        let at = |name: &&str| {
            let hmac = Self { at: Place::Header((*name).to_owned()), ..self.clone() };
            (vec![format!("header = \"{name}\"")], hmac)
        };
        others.map(at).collect()
    }

    fn other_forms(&self, request: &Request<'_>) -> Vec<Change> {
        let Ok(value) = self.value(request) else { return Vec::new() };
        let mut forms = Vec::new();
        for separator in [None, Some(b",".to_vec()), Some(b" ".to_vec())] {
            let mut prefixes = vec![Vec::new()];
            for item in items(&value, separator.as_deref()) {
                let end =
                    item.iter().take(MAX_PREFIX_CHARACTERS).position(|byte| b"=,".contains(byte));
                let prefix = end.and_then(|end| item.get(..=end));
                prefixes.extend(prefix.map(<[u8]>::to_vec));
            }
            let written = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
            for prefix in prefixes {
                let mut changed = Vec::new();
                if prefix != self.prefix {
                    changed.push(format!("prefix = \"{}\"", written(&prefix)));
                }
                if separator != self.separator {
                    let text = written(separator.as_deref().unwrap_or_default());
                    changed.push(format!("separator = \"{text}\""));
                }
                let separator = separator.clone();
                forms.push((changed, Self { prefix, separator, ..self.clone() }));
            }
        }
        forms
    }

    fn other_hashes(&self) -> Vec<Change> {
        let mut hashes = Vec::new();
        for (written, encoding) in [("hex", Encoding::Hex), ("base64", Encoding::Base64)] {
            for (hash, algorithm) in [
                ("sha256", Algorithm::Sha256),
                ("sha1", Algorithm::Sha1),
                ("sha512", Algorithm::Sha512),
            ] {
                let mut changed = Vec::new();
                if encoding != self.encoding {
                    changed.push(format!("encoding = \"{written}\""));
                }
                if algorithm != self.algorithm {
                    changed.push(format!("algorithm = \"{hash}\""));
                }
                hashes.push((changed, Self { algorithm, encoding, ..self.clone() }));
            }
        }
        hashes
    }

    fn other_secrets(&self) -> Vec<Change> {
        let decoded: Vec<_> = self.secrets.iter().map(from_base64).filter_map(Result::ok).collect();
        let text = |start: &str| -> Vec<Secret> {
            let text = |secret: &Secret| format!("{start}{}", STANDARD.encode(secret.bytes()));
            self.secrets.iter().map(|secret| Secret::new(&text(secret))).collect()
        };
        [("base64", decoded), ("utf8", text("")), ("utf8", text("whsec_"))]
            .map(|(encoding, secrets)| {
                let changed = vec![format!("secret_encoding = \"{encoding}\"")];
                (changed, Self { secrets, ..self.clone() })
            })
            .into()
    }

    fn other_templates(&self, names: &[&str]) -> Vec<Change> {
        let template = |text: &str, signed: Vec<Part>| {
            let hmac = Self { signed, timestamp: None, ..self.clone() };
            (vec![format!("signed = \"{text}\"")], hmac)
        };
        let mut templates = vec![
            template("{body}", vec![Part::Body]),
            template("{url}{body}", vec![Part::Url, Part::Body]),
        ];
        // Headers that a sender may sign beside the body: its ids and times.
        for name in names {
            let lower = name.to_ascii_lowercase();
            if !["time", "date", "id", "nonce"].iter().any(|part| lower.contains(part)) {
                continue;
            }
            for between in ["", ".", ":"] {
                let parts = [Part::Header((*name).to_owned()), Part::Text(between.to_owned())];
                let signed = parts.into_iter().chain([Part::Body]).collect();
                templates.push(if lower.contains("time") {
                    let (mut changed, hmac) =
                        template(&format!("{{timestamp}}{between}{{body}}"), signed);
                    changed.push(format!("timestamp = \"header:{name}\""));
                    (changed, hmac)
                } else {
                    template(&format!("{{header:{name}}}{between}{{body}}"), signed)
                });
            }
        }
        templates
    }
}

/// Changed settings, as they are written in the configuration, and the scheme with them.
type Change = (Vec<String>, Hmac);

/// Variant of the scheme, with the settings that were changed.
struct Variant {
    changed: Vec<String>,
    hmac: Hmac,
}

/// Adds, for each variant, the variants that result from these changes.
fn vary(others: &mut Vec<Variant>, changes: impl Fn(&Hmac) -> Vec<Change>) {
    let mut varied = Vec::new();
    for other in others.iter() {
        for (more, hmac) in changes(&other.hmac) {
            varied.push(Variant { changed: [other.changed.as_slice(), &more].concat(), hmac });
        }
    }
    others.append(&mut varied);
}

/// Whether a header of this name may hold a signature.
pub fn is_signature_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["signature", "hmac", "digest", "-sign"].iter().any(|part| name.contains(part))
}
