//! `statusmirror healthcheck`: checks that the local server is ready. For containers, which have no curl.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use ureq::Agent;

use crate::cli::common::exit_code::{EX_USAGE, Failure};
use crate::config;

/// Time allowed for the server to answer. A supervisor that runs this command waits longer, as a rule.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Server to check.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Address of the server. Default: the configured one.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Asks whether the server is ready, and fails if it is not. Reads only the listen address of the
/// configuration: secrets may be unreadable here, and the file may already be changed for the next start.
pub(crate) fn run(
    arguments: &Arguments,
    file: Option<&Path>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let server = match &arguments.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(&config::listen(file)?)?),
    };
    let address = format!("{server}/readyz");
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_TIMEOUT))
        // The request goes to this machine.
        .proxy(None)
        .build()
        .into();
    let failed =
        |error| Failure::unavailable(format!("{address}: {error}; is the server running?"));
    let mut answer = agent.get(&address).call().map_err(failed)?;
    if answer.status().is_success() {
        return Ok(writeln!(out, "ready")?);
    }
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    Err(Failure::unavailable(format!("{address}: {}: {body}", answer.status())))
}

/// Address at which this machine reaches a server with this listen address. The public listener answers
/// `/readyz` whether or not there is an internal one.
fn reachable(listen: &str) -> Result<String, Failure> {
    let Ok(mut address) = listen.parse::<SocketAddr>() else { return Ok(listen.to_owned()) };
    if address.port() == 0 {
        let message = format!(
            "server.listen is {listen}, which has no fixed port; give the address with --url"
        );
        return Err(Failure::new(EX_USAGE, message));
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok(address.to_string())
}
