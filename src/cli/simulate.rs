//! `statusmirror simulate`: the five-minute demonstration, and a check of a running server.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::callback_url::{source, url};
use crate::cli::common::exit_code::{EX_CONFIG, EX_USAGE, Failure};
use crate::cli::common::output::{Output, Report};
use crate::clock::Clock;
use crate::config::Config;
use crate::dialect::Source;
use crate::simulator::{self, Options};
use crate::verify::Scheme;
use crate::verify::signed_url::Callback;

/// Exit code if the results differ from the expected ones.
const EXIT_DIFFERENT: i32 = 1;

/// Amount to simulate, and the server to send it to.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Number of messages.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    messages: u32,
    /// Address of the server. Default: the configured one.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Address for queries, if the server has an internal listener. Default: the configured one.
    #[arg(long, value_name = "URL")]
    internal_url: Option<String>,
    /// Source to post as. Default: the first one with the dialect gateway.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Environment variable that holds the API key for registrations and queries. Default: the key kept beside
    /// the database.
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Number of connections.
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: usize,
    /// Seed of the random choices. Default: the current time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    output: Output,
}

/// Result of a simulation, with its seed.
#[derive(Serialize)]
struct Simulated {
    seed: u64,
    messages: u32,
    #[serde(flatten)]
    report: simulator::Report,
}

impl Report for Simulated {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", self.report)
    }
}

/// Runs the simulation, prints the report, and fails if there is any difference.
pub(crate) fn run(
    arguments: &Arguments,
    config: &Config,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut candidates = config.sources.iter().filter(|source| can_post_as(source));
    let source = match &arguments.source {
        Some(name) => source(config, name)?,
        None => candidates.next().ok_or_else(|| {
            let message = "simulate needs a source with the dialect gateway and the scheme \
                           url-token or signed-url; configure one";
            Failure::new(EX_CONFIG, message)
        })?,
    };
    if !can_post_as(source) {
        let message = format!(
            "--source: simulate cannot post as `{}`, only as a source of the dialect gateway with \
             the scheme url-token or signed-url",
            source.name
        );
        return Err(Failure::new(EX_USAGE, message));
    }
    let (server, api) = addresses(arguments, config)?;
    let now = Clock::System.now();
    let public = url(config, source, &Callback::default())?;
    let query = public.split_once('?').map_or("", |(_, query)| query);
    let options = Options {
        callback: format!("{server}/webhooks/{}?{query}", source.name),
        url: api,
        api_key: api_key(arguments, config)?,
        messages: arguments.messages,
        connections: arguments.connections,
        seed: arguments.seed.unwrap_or_else(|| now.micros().unsigned_abs()),
        now: now.seconds(),
    };
    if !arguments.output.is_json() {
        // Printed first, so that an interrupted simulation can be repeated.
        writeln!(out, "seed {}", options.seed)?;
    }
    let report = simulator::run(&options).map_err(Failure::unavailable)?;
    let simulated = Simulated { seed: options.seed, messages: options.messages, report };
    arguments.output.print(&simulated, out)?;
    if simulated.report.differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(EXIT_DIFFERENT, "the server's answers differ from the expected ones"))
    }
}

/// Base URLs of the server for webhooks and for queries.
fn addresses(arguments: &Arguments, config: &Config) -> Result<(String, String), Failure> {
    let configured = |listen: &String| format!("http://{listen}");
    let internal = config.server.internal_listen.as_ref().map(configured);
    let internal = arguments.internal_url.clone().or(internal.filter(|_| arguments.url.is_none()));
    let server = arguments.url.clone().unwrap_or_else(|| configured(&config.server.listen));
    let api = internal.unwrap_or_else(|| server.clone());
    for address in [&server, &api] {
        if !address.starts_with("http://") {
            let message =
                format!("{address} is not an http:// address; simulate speaks plain HTTP");
            return Err(Failure::new(EX_USAGE, message));
        }
    }
    let without_slash = |address: String| address.trim_end_matches('/').to_owned();
    Ok((without_slash(server), without_slash(api)))
}

/// Whether the simulation can write this source's dialect and its credential.
fn can_post_as(source: &Source) -> bool {
    let has_url_credential = matches!(source.scheme, Scheme::UrlToken(_) | Scheme::SignedUrl(_));
    source.dialect.name() == "gateway" && has_url_credential
}

fn api_key(arguments: &Arguments, config: &Config) -> Result<String, Failure> {
    match (&arguments.api_key_env, &config.demo_key) {
        (Some(variable), _) => Ok(crate::config::secret_from_env(variable)?),
        (None, Some(key)) => Ok(key.text.clone()),
        (None, None) => Err(Failure::new(
            EX_USAGE,
            "simulate needs an API key with the scopes read and register; name the environment \
             variable that holds one: --api-key-env NAME",
        )),
    }
}
