//! Sources and API keys: from their text form to their typed form.

use std::num::NonZeroU32;

use super::error::{ConfigError, Mistakes};
use super::secret::{MIN_SECRET_BYTES, is_hash_of_blank};
use crate::access::api_key::{ApiKey, Scope};
use crate::config::layers::raw;
use crate::dialect::{self, Source, is_name};
use crate::ingest::BODY_BUDGET;
use crate::message::Timestamp;
use crate::verify::hmac::{self, Hmac};
use crate::verify::standard_webhooks::StandardWebhooks;
use crate::verify::{Scheme, SchemeError, Secret, Window, encoding};

/// Remaining validity below which a key is worth a warning, in seconds: two weeks.
const EXPIRY_WARNING_SECONDS: i64 = 14 * 24 * 60 * 60;

/// Dialect of this name; an error names the key whose value it is.
pub(crate) fn by_name(name: &str, key: &str) -> Result<&'static dyn dialect::Dialect, ConfigError> {
    dialect::by_name(name).ok_or_else(|| {
        let known: Vec<_> = dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        let remedy = format!("unknown dialect `{name}`; the dialects are {}", known.join(", "));
        ConfigError::at(key, remedy)
    })
}

/// Builds the source of this name. Without a public URL of its own, it uses the server's. Returns `None` if there
/// is a mistake, which is added to `mistakes`.
pub(crate) fn source(
    name: &str,
    raw: raw::Source,
    server_url: &str,
    warnings: &mut Vec<String>,
    mistakes: &mut Mistakes,
) -> Option<Source> {
    let key = |rest: &str| format!("sources.{name}{rest}");
    let window = Window {
        max_age_seconds: raw.verify.max_age_seconds,
        max_skew_seconds: raw.verify.max_skew_seconds,
    };
    let public_url = if !raw.public_url.is_empty() {
        raw.public_url
    } else if server_url.is_empty() {
        String::new()
    } else {
        format!("{server_url}/webhooks/{name}")
    };
    if !(1..=BODY_BUDGET).contains(&raw.max_body_bytes) {
        let remedy =
            format!("write a number from 1 to {BODY_BUDGET}, the limit of all bodies in progress");
        mistakes.add(ConfigError::at(&key(".max_body_bytes"), remedy));
    }
    let dialect = mistakes.value(by_name(&raw.dialect, &key(".dialect")));
    let scheme = mistakes.value(scheme(name, raw.verify, warnings));
    let settings = dialect::Settings {
        name: name.to_owned(),
        dialect: dialect?,
        scheme: scheme?,
        window,
        public_url,
        provider: (!raw.provider.is_empty()).then_some(raw.provider),
        max_body_bytes: raw.max_body_bytes,
        max_rate: NonZeroU32::new(raw.max_rate),
    };
    let source = Source::new(settings);
    mistakes.value(source.map_err(|bad| ConfigError::at(&key(""), bad.to_string())))
}

fn scheme(name: &str, raw: raw::Verify, warnings: &mut Vec<String>) -> Result<Scheme, ConfigError> {
    let key = |rest: &str| format!("sources.{name}.verify.{rest}");
    let unusable = |bad: SchemeError| ConfigError::at(&key(bad.key), bad.remedy);
    let hmac_only_key = raw.hmac_only_key();
    let mut secrets = Vec::new();
    for secret in raw.secrets.map(raw::OneOrMany::into_vec).unwrap_or_default() {
        let text = secret.resolve(&key("secrets"), warnings)?;
        if text.len() < MIN_SECRET_BYTES {
            warnings.push(format!(
                "{}: a secret has fewer than {MIN_SECRET_BYTES} characters and can be guessed",
                key("secrets")
            ));
        }
        secrets.push(Secret::new(&text));
    }
    if raw.scheme == "none" && (!secrets.is_empty() || hmac_only_key.is_some()) {
        let remedy =
            "the scheme none has no other keys; remove the other keys, or choose another scheme"
                .to_owned();
        return Err(ConfigError::at(&key("scheme"), remedy));
    }
    if raw.scheme == "none" {
        warnings.push(format!(
            "source `{name}` accepts every request without verification: anyone who can reach it can write"
        ));
        return Ok(Scheme::None);
    }
    let needs_secrets = ["url-token", "signed-url", "hmac", "standard-webhooks", "native"];
    if !needs_secrets.contains(&raw.scheme.as_str()) {
        let remedy = format!(
            "unknown scheme `{}`; the schemes are {} and none",
            raw.scheme,
            needs_secrets.join(", ")
        );
        return Err(ConfigError::at(&key("scheme"), remedy));
    }
    if raw.scheme != "hmac"
        && let Some(only) = hmac_only_key
    {
        let remedy = format!("only the scheme hmac has this key, not {}; remove it", raw.scheme);
        return Err(ConfigError::at(&key(only), remedy));
    }
    if secrets.is_empty() {
        let remedy = format!("the scheme {} needs at least one secret", raw.scheme);
        return Err(ConfigError::at(&key("secrets"), remedy));
    }
    Ok(match raw.scheme.as_str() {
        "url-token" => Scheme::UrlToken(secrets),
        "signed-url" => Scheme::SignedUrl(secrets),
        "standard-webhooks" => {
            Scheme::StandardWebhooks(StandardWebhooks::new(&secrets).map_err(unusable)?)
        }
        "hmac" => {
            let default = hmac::Settings::default();
            let settings = hmac::Settings {
                header: raw.header.unwrap_or(default.header),
                algorithm: raw.algorithm.unwrap_or(default.algorithm),
                encoding: raw.encoding.unwrap_or(default.encoding),
                prefix: raw.prefix.unwrap_or(default.prefix),
                separator: raw.separator.unwrap_or(default.separator),
                signed: raw.signed.unwrap_or(default.signed),
                timestamp: raw.timestamp.unwrap_or(default.timestamp),
                timestamp_unit: raw.timestamp_unit.unwrap_or(default.timestamp_unit),
                id_header: raw.id_header.unwrap_or(default.id_header),
                secret_encoding: raw.secret_encoding.unwrap_or(default.secret_encoding),
            };
            Scheme::Hmac(Hmac::new(&secrets, &settings).map_err(unusable)?)
        }
        _ => Scheme::Native(secrets),
    })
}

/// Builds the API key of this name. Returns `None` if there is a mistake, which is added to `mistakes`.
pub(crate) fn api_key(
    name: String,
    raw: raw::ApiKey,
    now: Timestamp,
    warnings: &mut Vec<String>,
    mistakes: &mut Mistakes,
) -> Option<ApiKey> {
    let key = |rest: &str| format!("api_keys.{name}{rest}");
    if !is_name(&name) {
        mistakes.add(ConfigError::at(&key(""), dialect::SourceError::Name.to_string()));
    }
    let scopes = mistakes.value(scopes(&raw.scopes.0, &key(".scopes")));
    let expires = raw.expires.map(|text| expiry(&text, &key(".expires"))).transpose();
    let expires = mistakes.value(expires).flatten();
    if let Some(expires) = expires {
        let (key, remaining_seconds) = (key(".expires"), expires.seconds() - now.seconds());
        if now > expires {
            warnings.push(format!("{key}: the key expired {expires}; create another key"));
        } else if remaining_seconds < EXPIRY_WARNING_SECONDS {
            warnings.push(format!("{key}: the key expires {expires}; create another key"));
        }
    }
    let sha256 = match (raw.key, raw.sha256) {
        (Some(secret), None) => secret.resolve(&key(".key"), warnings).map(|text| {
            if text.len() < MIN_SECRET_BYTES {
                warnings.push(format!(
                    "{}: the key has fewer than {MIN_SECRET_BYTES} characters and can be guessed",
                    key(".key")
                ));
            }
            ApiKey::new(&name, &text, Vec::new()).sha256
        }),
        (None, Some(hash)) => key_hash(&hash, &key(".sha256")),
        _ => Err(ConfigError::at(&key(""), "give either `key` or `sha256`".to_owned())),
    };
    let (scopes, sha256) = (scopes?, mistakes.value(sha256)?);
    Some(ApiKey { name, sha256, scopes, expires })
}

fn scopes(written: &[String], key: &str) -> Result<Vec<Scope>, ConfigError> {
    let mut scopes = Vec::new();
    for scope in written {
        scopes.push(match scope.as_str() {
            "read" => Scope::Read,
            "register" => Scope::Register,
            _ => {
                let remedy = format!("unknown scope `{scope}`; the scopes are read and register");
                return Err(ConfigError::at(key, remedy));
            }
        });
    }
    if scopes.is_empty() {
        let remedy = "a key needs at least one scope; write read, register or both".to_owned();
        return Err(ConfigError::at(key, remedy));
    }
    Ok(scopes)
}

/// Parses the SHA-256 of a key, in hexadecimal digits.
fn key_hash(hash: &str, key: &str) -> Result<[u8; 32], ConfigError> {
    let bytes = encoding::unhex(hash.as_bytes()).and_then(|bytes| bytes.try_into().ok());
    let sha256 =
        bytes.ok_or_else(|| ConfigError::at(key, "write the 64 digits of a SHA-256".to_owned()))?;
    if is_hash_of_blank(&sha256) {
        let remedy = "this is the hash of an empty or blank text, which an unset variable gives; \
                      hash the key itself"
            .to_owned();
        return Err(ConfigError::at(key, remedy));
    }
    Ok(sha256)
}

/// Parses a timestamp, or a day, which stands for its end.
fn expiry(text: &str, key: &str) -> Result<Timestamp, ConfigError> {
    let end_of_day = format!("{text}T23:59:59.999999Z").parse();
    end_of_day.or_else(|_no_day| text.parse::<Timestamp>()).map_err(|error| {
        let remedy = format!(
            "`{text}` is {error}; a date alone, like 2027-01-31, means the end of that day in UTC"
        );
        ConfigError::at(key, remedy)
    })
}
