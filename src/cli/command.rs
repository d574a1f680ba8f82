//! Arguments, dispatch and exit codes of every command.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use super::configuration::{check, init, print};
use super::database::command as database;
use super::{
    callback_url, doctor, healthcheck, reload, serve, simulate, status, telemetry, verify,
};
use crate::cli::common::config_file::read_config;
use crate::cli::common::exit_code::{EX_CANTCREAT, EX_USAGE, Failure};
use crate::cli::common::output::Output;
use crate::cli::common::process;
use crate::config::duration::duration;
use crate::config::{self, Config, Secrets};
use crate::dialect::is_name;
use crate::http::ops::docs::DOCUMENT;
use crate::message::{Destination, MessageId};
use crate::store::sqlite;

/// Maximum time that `serve` waits at its end for its log to be read.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Durable local mirror of the delivery statuses of SMS and RCS messages: receives the gateway's webhooks and
/// serves the gateway's own status queries.
#[derive(Parser)]
#[command(version, after_help = "Example: statusmirror serve --config statusmirror.toml")]
struct Arguments {
    /// Configuration file. Default: the file that `STATUSMIRROR_CONFIG` names, or else ./statusmirror.toml, or
    /// else /etc/statusmirror/statusmirror.toml. Without a file, safe defaults apply.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server (default command).
    #[command(after_help = "Example: statusmirror serve --config statusmirror.toml")]
    Serve {
        /// Time to wait for another process to release the database, like 60s.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        lock_wait: Duration,
    },
    /// Writes a commented configuration with a source and an API key, and makes their secrets. On a terminal, it
    /// asks a question for each absent option.
    #[command(
        after_help = "Example: statusmirror init --dialect twilio --public-url https://hooks.example.com"
    )]
    Init(init::Arguments),
    /// Checks the configuration and prints warnings.
    #[command(after_help = "Example: statusmirror check-config --config statusmirror.toml")]
    CheckConfig(check::Arguments),
    /// Prints the settings in effect and the origin of each. Secrets are printed as their location only.
    #[command(after_help = "Example: statusmirror print-config --config statusmirror.toml")]
    PrintConfig(Output),
    /// Prints the state of the running server: sources, rates, quarantine, store and keys. Exits with 1 if
    /// something needs attention.
    #[command(after_help = "Example: statusmirror status")]
    Status(Output),
    /// Reloads the API keys, sources and log level of the running server, like SIGHUP. A reload that would leave no source
    /// or no key, or remove more than half of them, needs `--yes`.
    #[command(after_help = "Example: statusmirror reload --yes")]
    Reload {
        /// Confirm the removal of any number of sources and keys.
        #[arg(long)]
        yes: bool,
    },
    /// Checks whether the server on this machine is ready; exits with an error if it is not.
    #[command(after_help = "Example: statusmirror healthcheck --url http://127.0.0.1:8080")]
    Healthcheck(healthcheck::Arguments),
    /// Prints a callback URL with its credential, to give to a sender.
    #[command(
        after_help = "Example: statusmirror callback-url gateway --destination +393331234567 --key order-7"
    )]
    CallbackUrl(callback_url::Arguments),
    /// Prints the message id of a provider's message.
    #[command(
        after_help = "Example: statusmirror message-id twilio SM1342fe1b2c904d1ab04f0fc7a58abca9"
    )]
    MessageId {
        /// Source that posts webhooks about the message.
        source: String,
        /// Provider's id of the message.
        id: String,
        /// Recipient, if several messages share the provider's id.
        destination: Option<Destination>,
    },
    #[command(flatten)]
    Database(database::Command),
    /// Simulates the notifications of many messages against a running server, and checks the results.
    #[command(after_help = "Example: statusmirror simulate --messages 10000")]
    Simulate(simulate::Arguments),
    /// Explains why a webhook is rejected. Reads the raw request from standard input, as a proxy or `curl -v`
    /// prints it. Exits with 65 if the webhook is rejected, and with 64 if the input is not a request.
    #[command(after_help = "Example: statusmirror verify gateway < request.txt")]
    Verify(verify::Arguments),
    /// Checks a running installation from outside: clocks, keys, files, and a test delivery to each source.
    /// Exits with 69 if a check fails.
    #[command(after_help = "Example: statusmirror doctor --config statusmirror.toml")]
    Doctor(Output),
    /// Writes the manual pages, one for each command.
    #[command(after_help = "Example: statusmirror man /usr/local/share/man/man1")]
    Man {
        /// Directory to write to. It must exist.
        directory: PathBuf,
    },
    /// Prints the server's OpenAPI document.
    #[command(name = "openapi", after_help = "Example: statusmirror openapi > statusmirror.json")]
    OpenApi,
    /// Prints shell completions.
    #[command(
        after_help = "Example: statusmirror completions bash > /etc/bash_completion.d/statusmirror"
    )]
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
    /// Prints the version of the program.
    #[command(after_help = "Example: statusmirror version")]
    Version,
}

/// Prints on standard error which configuration file is read.
fn log_config_file(file: Option<&Path>) {
    let message = file.map_or_else(
        || "none; defaults and environment variables apply".to_owned(),
        |file| file.display().to_string(),
    );
    drop(writeln!(io::stderr(), "configuration file: {message}"));
}

/// Runs the command that the process was started with, and returns its exit code.
pub fn run() -> i32 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EX_USAGE } else { 0 };
            return error.print().map_or_else(|error| Failure::from(error).code, |()| code);
        }
    };
    match process::prepare().map_err(Failure::from).and_then(|()| execute(arguments)) {
        Ok(()) => 0,
        Err(failure) => failure.report(),
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let config_file = arguments.config.as_deref();
    let load_config = |secrets| -> Result<Config, Failure> {
        let file = config::locate(config_file)?;
        read_config(file.as_deref(), secrets)
    };
    // Logs the file, for commands whose own output does not name it.
    let load_and_log_config = |secrets| -> Result<Config, Failure> {
        let file = config::locate(config_file)?;
        log_config_file(file.as_deref());
        read_config(file.as_deref(), secrets)
    };
    let mut out = io::stdout().lock();
    match arguments.command.unwrap_or(Command::Serve { lock_wait: Duration::ZERO }) {
        Command::Serve { lock_wait } => {
            drop(out);
            let runtime = serve::Runtime::start()?;
            let config = load_config(Secrets::Create)?;
            let (log, level) = telemetry::start(&config.log)?;
            #[cfg(feature = "otlp")]
            let spans = telemetry::Spans::start();
            let result = serve::run(runtime, config, lock_wait, &log, level);
            #[cfg(feature = "otlp")]
            spans.flush();
            log.flush(LOG_FLUSH_TIMEOUT);
            result
        }
        Command::Init(arguments) => init::run(config_file, arguments, &mut out),
        Command::CheckConfig(arguments) => {
            check::run(config::locate(config_file)?.as_deref(), &arguments, &mut out)
        }
        Command::PrintConfig(output) => {
            print::run(&load_and_log_config(Secrets::Ephemeral)?, output, &mut out)
        }
        Command::Status(output) => {
            status::run(&load_and_log_config(Secrets::Optional)?, output, &mut out)
        }
        Command::Reload { yes } => {
            let file = config::locate(config_file)?;
            log_config_file(file.as_deref());
            reload::ask(&sqlite::real_path(&config::database(file.as_deref())?), yes, &mut out)
        }
        Command::Healthcheck(arguments) => {
            let file = config::locate(config_file)?;
            log_config_file(file.as_deref());
            healthcheck::run(&arguments, file.as_deref(), &mut out)
        }
        Command::CallbackUrl(arguments) => {
            callback_url::run(&load_and_log_config(Secrets::Require)?, &arguments, &mut out)
        }
        Command::MessageId { source, id, destination } => {
            print_message_id(&source, &id, destination, &mut out)
        }
        Command::Database(command) => {
            let load = || load_and_log_config(Secrets::Optional);
            database::execute(command, &load, &mut out)
        }
        Command::Simulate(arguments) => {
            simulate::run(&arguments, &load_and_log_config(Secrets::Require)?, &mut out)
        }
        Command::Verify(arguments) => {
            verify::run(&load_and_log_config(Secrets::Require)?, &arguments, &mut out)
        }
        Command::Doctor(output) => doctor::run(&load_config(Secrets::Require)?, output, &mut out),
        Command::Man { directory } => {
            let unwritable = |error| {
                let message =
                    format!("cannot write to {}: {error}", config::absolute(&directory).display());
                Failure::new(EX_CANTCREAT, message)
            };
            clap_mangen::generate_to(Arguments::command(), &directory).map_err(unwritable)
        }
        Command::OpenApi => Ok(out.write_all(DOCUMENT.as_bytes())?),
        Command::Completions { shell } => {
            // The library panics if it cannot write.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "statusmirror", &mut text);
            Ok(out.write_all(&text)?)
        }
        Command::Version => Ok(out.write_all(Arguments::command().render_version().as_bytes())?),
    }
}

/// Prints the message id that belongs to a provider's id.
fn print_message_id(
    source: &str,
    id: &str,
    destination: Option<Destination>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if !is_name(source) || id.is_empty() {
        let message = "give a valid source name and a provider's id that is not empty";
        return Err(Failure::new(EX_USAGE, message));
    }
    Ok(writeln!(out, "{}", MessageId::from_foreign_id(source, id, destination))?)
}
