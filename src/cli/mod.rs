//! The commands, and what each ends with.

mod callback_url;
mod check_config;
mod copies;
mod doctor;
mod healthcheck;
mod live;
mod print_config;
mod process;
mod quarantine;
mod reload;
mod restore;
mod retention;
mod serve;
mod simulate;
mod telemetry;
mod tls;
mod upkeep;
mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::duration::{duration, positive};
use crate::config::{self, Config, ConfigError, Secrets};
use crate::dialect::is_name;
use crate::http::docs::DOCUMENT;
use crate::message::{Destination, MessageId};
use crate::store::sqlite::{self, OpenError};

/// Exit codes of sysexits.h.
const EX_USAGE: i32 = 64;
const EX_DATAERR: i32 = 65;
const EX_NOINPUT: i32 = 66;
const EX_UNAVAILABLE: i32 = 69;
const EX_SOFTWARE: i32 = 70;
const EX_CANTCREAT: i32 = 73;
const EX_IOERR: i32 = 74;
const EX_TEMPFAIL: i32 = 75;
const EX_NOPERM: i32 = 77;
const EX_CONFIG: i32 = 78;

/// How long the end of `serve` waits for whoever reads the log.
const FLUSH: Duration = Duration::from_secs(1);

/// A durable local mirror of the delivery statuses of SMS and RCS messages: takes the gateway's
/// webhooks, and answers the gateway's own status queries.
#[derive(Parser)]
#[command(version, after_help = "Example: statusmirror serve --config statusmirror.toml")]
struct Arguments {
    /// The configuration file. If none is given: that which `STATUSMIRROR_CONFIG` names, else
    /// ./statusmirror.toml, else /etc/statusmirror/statusmirror.toml; without any, safe defaults hold.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until told to stop (the default).
    #[command(after_help = "Example: statusmirror serve --config statusmirror.toml")]
    Serve {
        /// How long to wait for another process to give the database up, like 60s.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        lock_wait: Duration,
    },
    /// Says whether the configuration is right, and what should be known of it.
    #[command(after_help = "Example: statusmirror check-config --config statusmirror.toml")]
    CheckConfig,
    /// Prints every setting that holds, and where it comes from; of secrets only where they are.
    #[command(after_help = "Example: statusmirror print-config --config statusmirror.toml")]
    PrintConfig,
    /// Has the running server read its API keys and sources again, as SIGHUP does. With `--yes` also if
    /// that leaves no source or no key, or removes more than half of them.
    #[command(after_help = "Example: statusmirror reload --yes")]
    Reload {
        /// Remove what the configuration has no longer, however much that is.
        #[arg(long)]
        yes: bool,
    },
    /// Asks the server on this machine whether it is ready, and fails if it is not.
    #[command(after_help = "Example: statusmirror healthcheck --url http://127.0.0.1:8080")]
    Healthcheck(healthcheck::Arguments),
    /// Prints a callback URL to give to a sender, with its proof.
    #[command(
        after_help = "Example: statusmirror callback-url gateway --destination +393331234567 --key order-7"
    )]
    CallbackUrl(callback_url::Arguments),
    /// Prints the id under which a provider's message is found here.
    #[command(
        after_help = "Example: statusmirror message-id twilio SM1342fe1b2c904d1ab04f0fc7a58abca9"
    )]
    MessageId {
        /// The source that posts about it.
        source: String,
        /// The provider's id.
        id: String,
        /// The recipient, where several share the provider's id.
        destination: Option<Destination>,
    },
    /// Looks at webhooks that could not be understood, and reads them again.
    #[command(after_help = "Example: statusmirror quarantine list")]
    Quarantine {
        #[command(subcommand)]
        command: quarantine::Command,
    },
    /// Writes a copy of the database, of a running server too, to a file for `restore`.
    #[command(after_help = "Example: statusmirror backup /var/backups/mirror.db")]
    Backup {
        /// The file, which must not be there yet.
        file: PathBuf,
    },
    /// Checks a database from end to end, and prints how much is in it and hashes to compare.
    #[command(after_help = "Example: statusmirror check /var/backups/mirror.db")]
    Check {
        /// A file that no server has open, like a backup; without one, the configured database.
        file: Option<PathBuf>,
    },
    /// Puts a backup in the place of the database. The server must be stopped. The old files are kept
    /// beside it, and what was erased since the backup stays erased.
    #[command(after_help = "Example: statusmirror restore /var/backups/mirror.db")]
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// Opens a database whose WAL is damaged without the transactions behind the damage, once.
    #[command(after_help = "Example: statusmirror accept-wal-loss 4c1f0d2a9be37755")]
    AcceptWalLoss {
        /// The WAL's salt, as the rejected start prints it.
        salt: String,
    },
    /// Removes all that names a phone number: messages, histories, and what is in quarantine.
    #[command(after_help = "Example: statusmirror erase --destination +393331234567 --yes")]
    Erase {
        /// The number, as E.164.
        #[arg(long)]
        destination: Destination,
        #[command(flatten)]
        confirmed: upkeep::Confirmed,
    },
    /// Removes the messages of which nothing has arrived for so long, and what is in quarantine
    /// for longer.
    #[command(after_help = "Example: statusmirror prune --older-than 400d --dry-run")]
    Prune {
        /// How long, like 400d; store.retention if not given.
        #[arg(long, value_name = "TIME", value_parser = positive)]
        older_than: Option<Duration>,
        #[command(flatten)]
        confirmed: upkeep::Confirmed,
    },
    /// Posts the lives of many messages to a running server, and checks what it makes of them.
    #[command(after_help = "Example: statusmirror simulate --messages 10000")]
    Simulate(simulate::Arguments),
    /// Says why a webhook is refused: takes the raw request, as a proxy or curl -v prints it, on
    /// standard input. Ends with 65 if it is refused, and with 64 if it is no request.
    #[command(after_help = "Example: statusmirror verify gateway < request.txt")]
    Verify(verify::Arguments),
    /// Looks at a running installation from outside: clocks, keys, files, and whether a test delivery
    /// to each source arrives. Ends with 69 if anything fails.
    #[command(after_help = "Example: statusmirror doctor --config statusmirror.toml")]
    Doctor,
    /// Writes the manual pages, one for each command.
    #[command(after_help = "Example: statusmirror man /usr/local/share/man/man1")]
    Man {
        /// The directory to write them to, which must be there.
        directory: PathBuf,
    },
    /// Prints the OpenAPI document of all that the server answers.
    #[command(name = "openapi", after_help = "Example: statusmirror openapi > statusmirror.json")]
    OpenApi,
    /// Prints the completions of a shell.
    #[command(
        after_help = "Example: statusmirror completions bash > /etc/bash_completion.d/statusmirror"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Why a command failed: the exit code, and what to say.
#[derive(Debug)]
struct Failure {
    code: i32,
    words: String,
}

impl Failure {
    fn new(code: i32, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    /// Says it, and what to exit with.
    fn tell(&self) -> i32 {
        process::say_last(self.line());
        self.code
    }

    fn line(&self) -> String {
        format!("statusmirror: {}\n", self.words)
    }

    fn io(words: impl Into<String>) -> Self {
        Self::new(EX_IOERR, words)
    }

    fn unavailable(words: impl Into<String>) -> Self {
        Self::new(EX_UNAVAILABLE, words)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match &error {
            ConfigError::Unreadable { .. } => EX_NOPERM,
            ConfigError::File { .. }
            | ConfigError::Unconfirmed(_)
            | ConfigError::Make { .. }
            | ConfigError::Key { .. } => EX_CONFIG,
        };
        Self::new(code, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::io(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                EX_NOPERM
            }
            OpenError::ReadOnly { .. } => EX_NOPERM,
            OpenError::File { .. } | OpenError::NoRoom { .. } => EX_CANTCREAT,
            OpenError::InUse { .. } => EX_TEMPFAIL,
            OpenError::Foreign { .. }
            | OpenError::Version { .. }
            | OpenError::Damaged { .. }
            | OpenError::BackupBesideWal { .. }
            | OpenError::NotRestorable { .. }
            | OpenError::WalDamaged { .. }
            | OpenError::WalSound { .. } => EX_DATAERR,
            OpenError::Filesystem { .. } | OpenError::Linked { .. } => EX_CONFIG,
            OpenError::NotDurable { .. }
            | OpenError::Database { .. }
            | OpenError::Readers { .. }
            | OpenError::Thread { .. } => EX_IOERR,
        };
        Self::new(code, crate::admin::words(&error))
    }
}

/// Shows a key that was just made, on standard output, because the log keeps no secrets.
fn show_new_key(config: &Config) {
    if let Some(key) = config.demo_key.as_ref().filter(|key| key.new) {
        drop(writeln!(io::stdout(), "API key, shown only this once: {}", key.text));
    }
}

/// The whole path of a file, for errors: the working directory may be another one than somebody thinks.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_directory| path.to_owned())
}

/// Says which configuration file is read, beside what the command prints.
fn tell_file(file: Option<&Path>) {
    let words = file.map_or_else(
        || "none; defaults and the environment hold".to_owned(),
        |file| file.display().to_string(),
    );
    drop(writeln!(io::stderr(), "configuration file: {words}"));
}

/// Runs the command that the process was started with, and says what to exit with.
pub fn run() -> i32 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EX_USAGE } else { 0 };
            return error.print().map_or(EX_IOERR, |()| code);
        }
    };
    match process::prepare().map_err(Failure::from).and_then(|()| execute(arguments)) {
        Ok(()) => 0,
        Err(failure) => failure.tell(),
    }
}

/// Reads the configuration. The database's path is that of the file itself.
fn read_config(file: Option<&Path>, secrets: Secrets) -> Result<Config, Failure> {
    let mut config = config::read(file, secrets)?;
    config.store.path = sqlite::real_path(&config.store.path);
    Ok(config)
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let given = arguments.config.as_deref();
    let configured = |secrets| -> Result<Config, Failure> {
        let file = config::locate(given)?;
        read_config(file.as_deref(), secrets)
    };
    // For commands whose output does not say it.
    let told = |secrets| -> Result<Config, Failure> {
        let file = config::locate(given)?;
        tell_file(file.as_deref());
        read_config(file.as_deref(), secrets)
    };
    let mut out = io::stdout().lock();
    match arguments.command.unwrap_or(Command::Serve { lock_wait: Duration::ZERO }) {
        Command::Serve { lock_wait } => {
            drop(out);
            let runtime = serve::Runtime::start()?;
            let config = configured(Secrets::Make)?;
            let log = telemetry::start(&config.log)?;
            #[cfg(feature = "otlp")]
            let spans = telemetry::Spans::start();
            let served = serve::run(runtime, config, lock_wait, &log);
            #[cfg(feature = "otlp")]
            spans.flush();
            log.flush(FLUSH);
            served
        }
        Command::CheckConfig => check_config::run(&configured(Secrets::Imagine)?, &mut out),
        Command::PrintConfig => print_config::run(&told(Secrets::Imagine)?, &mut out),
        Command::Reload { yes } => {
            let file = config::locate(given)?;
            tell_file(file.as_deref());
            reload::ask(&sqlite::real_path(&config::database(file.as_deref())?), yes, &mut out)
        }
        Command::Healthcheck(arguments) => {
            let file = config::locate(given)?;
            tell_file(file.as_deref());
            healthcheck::run(&arguments, file.as_deref(), &mut out)
        }
        Command::CallbackUrl(arguments) => {
            callback_url::run(&told(Secrets::Find)?, &arguments, &mut out)
        }
        Command::MessageId { source, id, destination } => {
            if !is_name(&source) || id.is_empty() {
                let words = "name a source as it is configured, and the provider's id";
                return Err(Failure::new(EX_USAGE, words));
            }
            let id = MessageId::of_foreign(&source, &id, destination);
            Ok(writeln!(out, "{id}")?)
        }
        Command::Quarantine { command } => {
            quarantine::run(told(Secrets::IfThere)?, command, &mut out)
        }
        Command::Backup { file } => upkeep::back_up(told(Secrets::IfThere)?, &file, &mut out),
        Command::Check { file: Some(file) } => upkeep::check(&file, &mut out),
        Command::Check { file: None } => upkeep::check_own(&told(Secrets::IfThere)?, &mut out),
        Command::Restore { file } => restore::run(&told(Secrets::IfThere)?, &file, &mut out),
        Command::AcceptWalLoss { salt } => {
            let lost = sqlite::accept_wal_loss(&told(Secrets::IfThere)?.store.path, &salt)?;
            Ok(writeln!(out, "cut off: {lost} transactions; start the server")?)
        }
        Command::Erase { destination, confirmed } => {
            upkeep::erase(told(Secrets::IfThere)?, destination, &confirmed, &mut out)
        }
        Command::Prune { older_than, confirmed } => {
            upkeep::prune(told(Secrets::IfThere)?, older_than, &confirmed, &mut out)
        }
        Command::Simulate(arguments) => simulate::run(&arguments, &told(Secrets::Find)?, &mut out),
        Command::Verify(arguments) => verify::run(&told(Secrets::Find)?, &arguments, &mut out),
        Command::Doctor => doctor::run(&configured(Secrets::Find)?, &mut out),
        Command::Man { directory } => {
            let unwritable = |error| {
                let words = format!("cannot write to {}: {error}", whole(&directory).display());
                Failure::new(EX_CANTCREAT, words)
            };
            clap_mangen::generate_to(Arguments::command(), &directory).map_err(unwritable)
        }
        Command::OpenApi => Ok(out.write_all(DOCUMENT.as_bytes())?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "statusmirror", &mut out);
            Ok(())
        }
    }
}
