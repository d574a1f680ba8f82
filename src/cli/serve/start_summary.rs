//! Summary that `serve` prints on a terminal once it listens.

use std::io::{Error, IsTerminal, Write, stdout};
use std::net::TcpListener;

use crate::config::{self, Config, DEMO_NAME};
use crate::http::Listeners;

/// Addresses of the public and the internal listeners, if there are any. They differ from the configuration
/// if that leaves the port open.
pub(super) fn addresses(listeners: &Listeners) -> Result<(String, Option<String>), Error> {
    let addresses = |listeners: &[TcpListener]| {
        let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
        Ok::<_, Error>(addresses.collect::<Result<Vec<_>, Error>>()?.join(", "))
    };
    let internal = addresses(&listeners.internal)?;
    Ok((addresses(&listeners.public)?, Some(internal).filter(|internal| !internal.is_empty())))
}

/// Prints the addresses, the files in use and commands to try next, if standard output is a terminal.
pub(super) fn print_summary(config: &Config, listeners: &Listeners) -> Result<(), Error> {
    let mut out = stdout().lock();
    if !out.is_terminal() {
        return Ok(());
    }
    let (public, internal) = addresses(listeners)?;
    let api = internal.as_ref().unwrap_or(&public).split(", ").next().unwrap_or_default();
    writeln!(out, "statusmirror {} on {public}", env!("CARGO_PKG_VERSION"))?;
    if let Some(internal) = &internal {
        writeln!(out, "  internal       {internal}: everything except webhooks")?;
    }
    writeln!(out, "  page           http://{api}/")?;
    writeln!(out, "  database       {}", config::absolute(&config.store.path).display())?;
    match &config.file {
        Some(file) => writeln!(out, "  configuration  {}", config::absolute(file).display())?,
        None => writeln!(out, "  configuration  no file; built-in defaults")?,
    }
    if let Some(secret) = &config.demo_secret {
        let path = config::absolute(&secret.path);
        writeln!(out, "  source         {DEMO_NAME}, with the secret in {}", path.display())?;
    }
    if let Some(key) = &config.demo_key {
        writeln!(out, "  API key        in {}", config::absolute(&key.path).display())?;
    }
    if let (Some(_), Some(key)) = (&config.demo_secret, &config.demo_key) {
        let program = std::env::args().next().unwrap_or_else(|| "statusmirror".to_owned());
        let key = key.path.display();
        writeln!(out, "Try next, in another terminal:")?;
        writeln!(out, "  {program} simulate --messages 1000")?;
        writeln!(out, "  {program} callback-url {DEMO_NAME} --destination +393331234567")?;
        writeln!(
            out,
            "  curl -H \"X-Api-Key: $(cat {key})\" \
             http://{api}/api/messagestatus/phonenumber/+393331234567"
        )?;
    }
    writeln!(out, "Each request is logged below. log.level = \"warn\" omits these lines.")
}
