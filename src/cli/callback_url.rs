//! `statusmirror callback-url`: prints a callback URL, with its credential, to give to a sender.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use crate::cli::common::exit_code::{EX_CONFIG, EX_USAGE, Failure};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::duration::positive;
use crate::dialect::Source;
use crate::message::{Destination, MessageId, ReferenceTooLong};
use crate::verify::Scheme;
use crate::verify::signed_url::Callback;

/// Default validity of a signed URL.
const DEFAULT_VALIDITY: &str = "30d";

/// Content of the address, besides its credential.
#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Source that will post to the URL.
    source: String,
    /// Recipient.
    #[arg(long, value_name = "NUMBER")]
    destination: Option<Destination>,
    /// Service of the reference.
    #[arg(long)]
    service: Option<String>,
    /// Action of the reference.
    #[arg(long)]
    action: Option<String>,
    /// Key of the reference.
    #[arg(long)]
    key: Option<String>,
    /// Message id, for a source whose dialect has ids of its own.
    #[arg(long, value_name = "UUID")]
    messageid: Option<MessageId>,
    /// Validity of a signed URL, like 12h, or `never`. Default: 30d.
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
}

/// Prints the callback URL.
pub(crate) fn run(
    config: &Config,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let source = source(config, &arguments.source)?;
    let texts = [&arguments.service, &arguments.action, &arguments.key];
    if texts.into_iter().flatten().any(|text| text.chars().any(char::is_control)) {
        let message = "the server rejects a callback URL with a control character; remove that \
                       character";
        return Err(Failure::new(EX_USAGE, message));
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
            let message = format!(
                "--expires-in: a callback URL of the scheme {} does not expire",
                scheme.name()
            );
            return Err(Failure::new(EX_USAGE, message));
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

/// Finds the source of this name.
pub(crate) fn source<'a>(config: &'a Config, name: &str) -> Result<&'a Source, Failure> {
    config.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let known: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        let message =
            format!("no source `{name}` is configured; configured sources: {}", known.join(", "));
        Failure::new(EX_CONFIG, message)
    })
}

/// URL of a source with these parameters and its credential.
pub(crate) fn url(
    config: &Config,
    source: &Source,
    callback: &Callback,
) -> Result<String, Failure> {
    let address = match source.public_url() {
        "" => format!("http://{}/webhooks/{}", config.server.listen, source.name),
        url => url.to_owned(),
    };
    // URL parameters are trusted if the URL carries the credential, the sender signs the URL, or the source
    // has no verification.
    if !source.covers_url() {
        let message = format!(
            "source `{}` uses the scheme {}, which does not verify the parameters of a callback \
             URL; give the sender {address}",
            source.name,
            source.scheme.name()
        );
        return Err(Failure::new(EX_USAGE, message));
    }
    let query = query(source, callback);
    Ok(if query.is_empty() { address } else { format!("{address}?{query}") })
}

/// Query with these parameters, and with the credential that the scheme puts into the URL.
pub(crate) fn query(source: &Source, callback: &Callback) -> String {
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
