//! The other side of every proof: who knows the secret, and signs.
//!
//! Written against the senders' documentation and not with the service's own code, where that is
//! possible in a few lines.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use statusmirror::dialect::{self, Settings, Source};
use statusmirror::message::Timestamp;
use statusmirror::verify::hmac::{Hmac as Scheme1, Settings as Template};
use statusmirror::verify::signed_url::Callback;
use statusmirror::verify::standard_webhooks::StandardWebhooks;
use statusmirror::verify::{Scheme, Secret, Window};

use crate::request::Message;

/// What time it is: 2026-02-12T14:51:00Z.
pub const NOW: i64 = 1_770_907_860;
/// The address that senders call.
const URL: &str = "https://hooks.example.com/webhooks/it";
/// The parameters that a callback URL may have.
const CALLBACK: [&str; 6] = ["action", "destination", "expires", "key", "messageid", "service"];
/// The most parameters of a form.
const MOST_PARAMETERS: usize = 1_000;
const FORM: &str = "application/x-www-form-urlencoded";

/// A way to prove a request.
pub enum Proof {
    /// `url-token`
    UrlToken,
    /// `signed-url`
    SignedUrl,
    /// `hmac` with these settings.
    Hmac(Box<Template>),
    /// `standard-webhooks` with a shared key.
    Shared,
    /// `standard-webhooks` with a public key.
    Public,
    /// `native` of the dialect `twilio`.
    Twilio,
}

/// A part of a request that a proof may cover.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// The method.
    Method,
    /// The raw query.
    Query,
    /// A header's value.
    Header(&'a str),
    /// The body.
    Body,
}

/// What must come of a signed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is authentic; its signed time may be too old.
    Proven {
        /// Whether it is.
        too_old: bool,
    },
    /// It is refused.
    Refused,
}

impl Proof {
    /// One of each kind.
    pub fn all() -> Vec<Self> {
        let template = |header: &str, signed: &str| Template {
            header: header.to_owned(),
            signed: signed.to_owned(),
            ..Template::default()
        };
        let text = str::to_owned;
        let templates = [
            template("X-Signature", "{body}"),
            Template {
                algorithm: text("sha1"),
                encoding: text("base64"),
                prefix: text("sha1="),
                ..template("X-Hub-Signature", "{method}{url}{body}")
            },
            Template {
                algorithm: text("sha512"),
                prefix: text("v1="),
                separator: text(","),
                timestamp: text("item:t"),
                ..template("X-Signatures", "{timestamp}.{body}")
            },
            Template {
                encoding: text("base64"),
                prefix: text("v1,"),
                separator: text(" "),
                timestamp: text("header:X-Timestamp"),
                timestamp_unit: text("ms"),
                id_header: text("X-Id"),
                secret_encoding: text("base64"),
                ..template("X-Signature", "{id}.{timestamp}.{body}")
            },
            Template {
                timestamp: text("header:X-Timestamp"),
                timestamp_unit: text("iso8601"),
                ..template("query:sig", "{timestamp}|{header:X-Nonce}|{body}")
            },
        ];
        let mut all =
            vec![Self::UrlToken, Self::SignedUrl, Self::Shared, Self::Public, Self::Twilio];
        all.extend(templates.map(Box::new).map(Self::Hmac));
        all
    }

    /// A source whose requests are proven with this key, or with another one.
    pub fn source(&self, key: &[u8; 32]) -> Source {
        let mut other = *key;
        other.reverse();
        let secrets = [other, *key].map(|key| Secret::new(&self.secret(&key)));
        let usable = "the settings are right";
        let scheme = match self {
            Self::UrlToken => Scheme::UrlToken(secrets.to_vec()),
            Self::SignedUrl => Scheme::SignedUrl(secrets.to_vec()),
            Self::Hmac(template) => Scheme::Hmac(Scheme1::new(&secrets, template).expect(usable)),
            Self::Shared | Self::Public => {
                Scheme::StandardWebhooks(StandardWebhooks::new(&secrets).expect(usable))
            }
            Self::Twilio => Scheme::Native(secrets.to_vec()),
        };
        let dialect = if matches!(self, Self::Twilio) { "twilio" } else { "gateway" };
        Source::new(Settings {
            name: "it".to_owned(),
            dialect: dialect::by_name(dialect).expect("the dialect is there"),
            scheme,
            window: Window::default(),
            public_url: URL.to_owned(),
            provider: None,
            max_body_bytes: 1 << 20,
            max_rate: None,
        })
        .expect(usable)
    }

    /// The secret, as the configuration has it.
    fn secret(&self, key: &[u8; 32]) -> String {
        match self {
            Self::Shared => format!("whsec_{}", STANDARD.encode(key)),
            Self::Public => {
                let public = SigningKey::from_bytes(key).verifying_key();
                format!("whpk_{}", STANDARD.encode(public.as_bytes()))
            }
            Self::Hmac(template) if template.secret_encoding == "base64" => STANDARD.encode(key),
            Self::UrlToken | Self::SignedUrl | Self::Hmac(_) | Self::Twilio => hex(key),
        }
    }

    /// Changes the request so that it is proven with this key, and says what must come of it.
    /// Times and ids that it has already stay, if they can be signed.
    pub fn sign(&self, key: &[u8; 32], message: &mut Message) -> Expected {
        const PROVEN: Expected = Expected::Proven { too_old: false };
        match self {
            Self::UrlToken => {
                message.set_parameter("token", &self.secret(key));
                PROVEN
            }
            Self::SignedUrl => sign_url(&self.secret(key), message),
            Self::Hmac(template) => sign_template(template, &self.secret(key), key, message),
            Self::Shared | Self::Public => {
                // The headers of the first prefix that there is any of count.
                for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
                    message.remove(name);
                }
                let id = given(message, "svix-id", b"msg_1");
                let time = given(message, "svix-timestamp", NOW.to_string().as_bytes());
                let text = [&*id, b".", &time, b".", &message.body].concat();
                let signature = match self {
                    Self::Public => {
                        let signature = SigningKey::from_bytes(key).sign(&text);
                        format!("v1a,{}", STANDARD.encode(signature.to_bytes()))
                    }
                    _ => format!("v1,{}", STANDARD.encode(mac::<Hmac<Sha256>>(key, &text))),
                };
                message.set("svix-signature", signature);
                judged(&time, "s")
            }
            Self::Twilio => {
                let text = if message.content_type().is_some_and(is_form) {
                    form_text(&message.body)
                } else {
                    message.set("Content-Type", "application/json");
                    message.set_parameter("bodySHA256", &hex(&Sha256::digest(&message.body)));
                    String::new()
                };
                let text = format!("{}{text}", url(message));
                message.remove("X-Twilio-Webhooks-Signature-Settings");
                let secret = self.secret(key);
                let signature = mac::<Hmac<Sha1>>(secret.as_bytes(), text.as_bytes());
                message.set("X-Twilio-Signature", STANDARD.encode(signature));
                let is_form = message.content_type().is_some_and(is_form);
                let count = form_urlencoded::parse(&message.body).count();
                if is_form && count > MOST_PARAMETERS { Expected::Refused } else { PROVEN }
            }
        }
    }

    /// The parts of a signed request of which no byte may be another.
    pub fn covered(&self) -> Vec<Part<'_>> {
        match self {
            Self::UrlToken | Self::SignedUrl => vec![Part::Query],
            Self::Shared | Self::Public => {
                let headers = ["svix-id", "svix-timestamp", "svix-signature"];
                [Part::Body].into_iter().chain(headers.map(Part::Header)).collect()
            }
            Self::Twilio => vec![Part::Query, Part::Header("X-Twilio-Signature"), Part::Body],
            Self::Hmac(template) => {
                let mut covered = vec![match template.header.strip_prefix("query:") {
                    Some(_) => Part::Query,
                    None => Part::Header(&template.header),
                }];
                for (_, name) in pieces(&template.signed) {
                    covered.extend(match name {
                        "body" => Some(Part::Body),
                        "method" => Some(Part::Method),
                        "url" => Some(Part::Query),
                        "id" => Some(Part::Header(&template.id_header)),
                        "timestamp" => template.timestamp.strip_prefix("header:").map(Part::Header),
                        name => name.strip_prefix("header:").map(Part::Header),
                    });
                }
                covered
            }
        }
    }

    /// What the covered parts say, without the freedom that there is in writing it: percent-encoding
    /// where values are signed decoded, the case of hex, parameters that mean nothing.
    pub fn meaning(&self, message: &Message) -> Vec<Vec<u8>> {
        let parameters = |wanted: &[&str]| -> Vec<Vec<u8>> {
            let pairs = form_urlencoded::parse(message.query().as_bytes());
            // These two are signed as empty if there is none.
            let pairs = pairs.filter(|(name, value)| {
                let is_none = ["destination", "expires"].contains(&&**name) && value.is_empty();
                wanted.contains(&&**name) && !is_none
            });
            let mut pairs: Vec<_> = pairs.map(|pair| format!("{pair:?}").into_bytes()).collect();
            pairs.sort();
            pairs
        };
        let header = |name: &str| message.only(name).unwrap_or_default().to_vec();
        match self {
            Self::UrlToken => parameters(&["token"]),
            Self::SignedUrl => {
                let mut said = parameters(&CALLBACK);
                said.extend(
                    parameters(&["signature"]).iter().map(|text| text.to_ascii_lowercase()),
                );
                said
            }
            Self::Shared | Self::Public | Self::Hmac(_) => {
                let is_hex = |name: &str| match self {
                    Self::Hmac(template) => template.header == name && template.encoding == "hex",
                    _ => false,
                };
                let part = |part: Part<'_>| match part {
                    Part::Method => vec![message.method.clone().into_bytes()],
                    Part::Body => vec![message.body.clone()],
                    Part::Header(name) if is_hex(name) => vec![header(name).to_ascii_lowercase()],
                    Part::Header(name) => vec![header(name)],
                    Part::Query => match self {
                        Self::Hmac(template) if template.header == "query:sig" => {
                            let signatures = parameters(&["sig"]);
                            signatures.iter().map(|text| text.to_ascii_lowercase()).collect()
                        }
                        _ => vec![message.query().as_bytes().to_vec()],
                    },
                };
                self.covered().into_iter().flat_map(part).collect()
            }
            Self::Twilio => {
                let body = if message.content_type().is_some_and(is_form) {
                    form_text(&message.body).into_bytes()
                } else {
                    message.body.clone()
                };
                // The query may be written in the ways that Twilio's libraries accept.
                let query = form_urlencoded::parse(message.query().as_bytes());
                let mut query: Vec<_> = query.into_owned().collect();
                query.sort_by(|(name, _), (other, _)| name.cmp(other));
                vec![format!("{query:?}").into_bytes(), header("X-Twilio-Signature"), body]
            }
        }
    }
}

/// Signs what the callback URL says already, each parameter once and without control characters.
fn sign_url(secret: &str, message: &mut Message) -> Expected {
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(message.query().as_bytes());
        let (_, value) = pairs.find(|(other, _)| other == name)?;
        Some(value.chars().filter(|letter| !letter.is_control()).collect::<String>())
    };
    let [action, destination, expires, key, messageid, service] = CALLBACK.map(value);
    let mut text = format!(
        "it\n{}\n{}",
        destination.as_deref().unwrap_or_default(),
        expires.as_deref().unwrap_or_default()
    );
    for (name, value) in
        [("action", &action), ("key", &key), ("messageid", &messageid), ("service", &service)]
    {
        if let Some(value) = value {
            text += &format!("\n{name}={value}");
        }
    }
    let signature = hex(&mac::<Hmac<Sha256>>(secret.as_bytes(), text.as_bytes()));
    let expected = match expires.as_deref().map(str::parse::<i64>) {
        None => Expected::Proven { too_old: false },
        Some(Ok(expires)) if NOW <= expires => Expected::Proven { too_old: false },
        Some(_) => Expected::Refused,
    };
    let callback = Callback { destination, expires, action, key, messageid, service };
    assert_eq!(callback.signature("it", &Secret::new(secret)), signature);
    message.remove_parameters(&CALLBACK);
    message.remove_parameters(&["signature"]);
    let query = [message.query(), &callback.query()].join("&");
    message.query = Some(format!("{query}&signature={signature}"));
    expected
}

fn sign_template(
    template: &Template,
    secret: &str,
    key: &[u8; 32],
    message: &mut Message,
) -> Expected {
    let now = match template.timestamp_unit.as_str() {
        "s" => NOW.to_string(),
        "ms" => (NOW * 1_000).to_string(),
        _ => "2026-02-12T14:51:00Z".to_owned(),
    };
    let time = match template.timestamp.split_once(':') {
        Some(("header", name)) => given(message, name, now.as_bytes()),
        Some(_) => {
            let time = message.only("X-Timestamp").unwrap_or(now.as_bytes());
            time.iter().copied().filter(u8::is_ascii_alphanumeric).collect()
        }
        None => Vec::new(),
    };
    let mut text = Vec::new();
    for (before, name) in pieces(&template.signed) {
        text.extend_from_slice(before.as_bytes());
        match name {
            "" => {}
            "body" => text.extend_from_slice(&message.body),
            "method" => text.extend_from_slice(message.method.as_bytes()),
            "url" => text.extend_from_slice(url(message).as_bytes()),
            "timestamp" => text.extend_from_slice(&time),
            "id" => text.extend(given(message, &template.id_header, b"1")),
            name => {
                let name = name.strip_prefix("header:").expect("there is no other placeholder");
                text.extend(given(message, name, b"1"));
            }
        }
    }
    let secret = if template.secret_encoding == "base64" { &key[..] } else { secret.as_bytes() };
    let signature = match template.algorithm.as_str() {
        "sha1" => mac::<Hmac<Sha1>>(secret, &text),
        "sha256" => mac::<Hmac<Sha256>>(secret, &text),
        _ => mac::<Hmac<Sha512>>(secret, &text),
    };
    let signature =
        if template.encoding == "hex" { hex(&signature) } else { STANDARD.encode(signature) };
    let mut value = format!("{}{signature}", template.prefix);
    if let Some(item) = template.timestamp.strip_prefix("item:") {
        let time = String::from_utf8_lossy(&time);
        value = format!("{item}={time}{}{value}", template.separator);
    }
    match template.header.strip_prefix("query:") {
        Some(name) => message.set_parameter(name, &value),
        None => message.set(&template.header, value),
    }
    if template.timestamp.is_empty() {
        Expected::Proven { too_old: false }
    } else {
        judged(&time, &template.timestamp_unit)
    }
}

/// What must come of a signed time: 14 days of age and 300 seconds of lead are allowed.
fn judged(time: &[u8], unit: &str) -> Expected {
    let text = str::from_utf8(time).ok();
    let seconds = if unit == "iso8601" {
        text.and_then(|text| text.parse::<Timestamp>().ok()).map(Timestamp::seconds)
    } else {
        let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|text| text.parse::<i64>().ok());
        number.map(|number| if unit == "ms" { number / 1_000 } else { number })
    };
    match seconds.map(|seconds| i128::from(NOW) - i128::from(seconds)) {
        Some(age) if age >= -300 => Expected::Proven { too_old: age > 14 * 24 * 60 * 60 },
        Some(_) | None => Expected::Refused,
    }
}

/// The value of a header, which the message is given if it does not have exactly one.
fn given(message: &mut Message, name: &str, default: &[u8]) -> Vec<u8> {
    if message.only(name).is_none() {
        message.set(name, default);
    }
    message.only(name).unwrap_or(default).to_vec()
}

/// The placeholders of a template, each with the text before it; the last may be none.
fn pieces(template: &str) -> impl Iterator<Item = (&str, &str)> {
    template
        .split('}')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('{').unwrap_or((piece, "")))
}

fn url(message: &Message) -> String {
    match &message.query {
        Some(query) => format!("{URL}?{query}"),
        None => URL.to_owned(),
    }
}

fn is_form(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(FORM)
}

/// Names and values of a form as Twilio signs them: sorted, without repetitions.
fn form_text(body: &[u8]) -> String {
    let pairs: BTreeSet<_> = form_urlencoded::parse(body).into_owned().collect();
    pairs.into_iter().map(|(name, value)| name + &value).collect()
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key may have any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
