//! `statusmirror callback-url`: an address to give to a sender, with its proof.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::{EX_CONFIG, EX_USAGE, Failure};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::duration::positive;
use crate::dialect::Source;
use crate::message::{Destination, MessageId, ReferenceTooLong};
use crate::proof::Scheme;
use crate::proof::signed_url::Callback;

/// How long a signed address is valid, unless told otherwise.
const DEFAULT_VALIDITY: &str = "30d";

/// What the address says beside its proof.
#[derive(Args, Default)]
pub(super) struct Arguments {
    /// The source that will post there.
    source: String,
    /// The recipient.
    #[arg(long, value_name = "NUMBER")]
    destination: Option<Destination>,
    /// The service of the reference.
    #[arg(long)]
    service: Option<String>,
    /// The action of the reference.
    #[arg(long)]
    action: Option<String>,
    /// The key of the reference.
    #[arg(long)]
    key: Option<String>,
    /// The message's id, for sources that name messages differently.
    #[arg(long, value_name = "UUID")]
    messageid: Option<MessageId>,
    /// How long a signed address is valid, like 12h; `never` for ever. 30d if not given.
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
}

/// Prints the address.
pub(super) fn run(
    config: &Config,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let source = source(config, &arguments.source)?;
    let texts = [&arguments.service, &arguments.action, &arguments.key];
    if texts.into_iter().flatten().any(|text| text.chars().any(char::is_control)) {
        let words = "a callback URL with a control character is refused when it is called";
        return Err(Failure::new(EX_USAGE, words));
    }
    for (name, text) in ["service", "action", "key"].into_iter().zip(texts) {
        let checked = text.as_deref().map_or(Ok(()), |text| ReferenceTooLong::check(name, text));
        checked.map_err(|error| Failure::new(EX_USAGE, format!("--{name}: {error}")))?;
    }
    let expires = match (&source.scheme, arguments.expires_in.as_deref()) {
        (Scheme::SignedUrl(_), Some("never")) => None,
        (Scheme::SignedUrl(_), text) => {
            let valid = positive(text.unwrap_or(DEFAULT_VALIDITY));
            Some(expiry(valid.map_err(|wrong| Failure::new(EX_USAGE, wrong))?))
        }
        (_, None) => None,
        (scheme, Some(_)) => {
            let words =
                format!("--expires-in: an address of the scheme {} does not expire", scheme.name());
            return Err(Failure::new(EX_USAGE, words));
        }
    };
    let callback = Callback {
        destination: arguments.destination.map(|number| number.to_string()),
        expires,
        action: arguments.action.clone(),
        key: arguments.key.clone(),
        messageid: arguments.messageid.map(|id| id.to_string()),
        service: arguments.service.clone(),
    };
    writeln!(out, "{}", url(config, source, &callback)?)?;
    Ok(())
}

/// The source of this name.
pub(super) fn source<'a>(config: &'a Config, name: &str) -> Result<&'a Source, Failure> {
    config.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let known: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        let words = format!("no source `{name}` is configured; there are {}", known.join(", "));
        Failure::new(EX_CONFIG, words)
    })
}

/// The address of a source with these parameters and their proof.
pub(super) fn url(
    config: &Config,
    source: &Source,
    callback: &Callback,
) -> Result<String, Failure> {
    let address = match source.public_url() {
        "" => format!("http://{}/webhooks/{}", config.server.listen, source.name),
        url => url.to_owned(),
    };
    // The proof is in the address, or the sender signs the address, or nobody asks.
    if !source.covers_url() {
        let words = format!(
            "source `{}` uses the scheme {}, whose proof does not cover what an address says; give \
             the sender {address}",
            source.name,
            source.scheme.name()
        );
        return Err(Failure::new(EX_USAGE, words));
    }
    let query = query(source, callback);
    Ok(if query.is_empty() { address } else { format!("{address}?{query}") })
}

/// The query of an address with these parameters, with the proof that it carries.
pub(super) fn query(source: &Source, callback: &Callback) -> String {
    let mut query = form_urlencoded::Serializer::new(callback.query());
    match &source.scheme {
        Scheme::UrlToken(secrets) => {
            let secret = secrets.first().map(|secret| String::from_utf8_lossy(secret.bytes()));
            query.append_pair("token", &secret.unwrap_or_default());
        }
        Scheme::SignedUrl(secrets) => {
            let signature = secrets.first().map(|s| callback.signature(&source.name, s));
            query.append_pair("signature", &signature.unwrap_or_default());
        }
        Scheme::Hmac(_) | Scheme::StandardWebhooks(_) | Scheme::Native(_) | Scheme::None => {}
    }
    query.finish()
}

fn expiry(valid: Duration) -> String {
    let valid = i64::try_from(valid.as_secs()).unwrap_or(i64::MAX);
    Clock::System.now().seconds().saturating_add(valid).to_string()
}
