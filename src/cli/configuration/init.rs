//! `statusmirror init`: writes a commented configuration with a source and an API key, and makes their secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::callback_url;
use crate::cli::common::exit_code::{EX_CANTCREAT, EX_USAGE, Failure};
use crate::config::{self, DEFAULTS_TOML, Secrets, generate_secret, write_secret_file};
use crate::dialect::{self, Dialect, is_name};
use crate::verify::signed_url::Callback;

/// File that is written if `--config` names none.
const DEFAULT_FILE: &str = "statusmirror.toml";
/// Name of the API key.
const KEY_NAME: &str = "application";
/// Start of the part of the defaults that has examples of keys and sources.
const EXAMPLES_START: &str = "# API keys:";

/// Answers to the questions. On a terminal, the command asks for those that are absent.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Dialect of the source. Default: gateway.
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<String>,
    /// Name of the source, which is part of its URL. Default: the name of the dialect.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Address under which senders reach the server, like `https://hooks.example.com`. Default: none.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Address to listen on. Default: 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Environment variable that will hold the secret of a provider with a signature of its own. Default: the
    /// name of the source, followed by `_SECRET`.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
}

/// Answers to all questions.
struct Answers {
    dialect: &'static dyn Dialect,
    source: String,
    public_url: String,
    listen: String,
    /// Variable that holds the provider's secret, if the provider has a signature of its own.
    secret_env: Option<String>,
}

/// Writes the configuration and the secrets, and prints what to do with them. Replaces no file.
pub(crate) fn run(
    file: Option<&Path>,
    arguments: Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let file = config::absolute(file.unwrap_or(Path::new(DEFAULT_FILE)));
    if file.exists() {
        return Err(exists(&file));
    }
    let answers = Answers::new(arguments)?;
    let secrets = file.with_file_name("secrets");
    let mut written = Written::default();
    let result = write_and_report(&answers, &file, &secrets, &mut written, out);
    if result.is_err() {
        written.remove();
    }
    result
}

fn exists(file: &Path) -> Failure {
    let message = format!(
        "{} exists; nothing was written. Edit it, or name another file with --config",
        file.display()
    );
    Failure::new(EX_CANTCREAT, message)
}

impl Answers {
    fn new(arguments: Arguments) -> Result<Self, Failure> {
        let names: Vec<_> = dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        let question = format!("Dialect of the webhooks: {}", names.join(", "));
        let name = answer(arguments.dialect, &question, "gateway")?;
        let dialect = dialect::by_name(&name).ok_or_else(|| {
            let message = format!("--dialect: `{name}` is unknown; use {}", names.join(", "));
            Failure::new(EX_USAGE, message)
        })?;
        let question = "Name of the source, which is part of its URL";
        let source = answer(arguments.source, question, dialect.name())?;
        if !is_name(&source) {
            let message = format!("--source: {}", dialect::SourceError::Name);
            return Err(Failure::new(EX_USAGE, message));
        }
        let question =
            "Address under which senders reach the server, like https://hooks.example.com";
        let public_url = answer(arguments.public_url, question, "")?;
        let has_signature = dialect.native().is_some();
        if has_signature && public_url.is_empty() {
            let message = format!(
                "--public-url is required: {} signs the URL that it calls; give the address under \
                 which it reaches the server",
                dialect.name()
            );
            return Err(Failure::new(EX_USAGE, message));
        }
        let listen = answer(arguments.listen, "Address to listen on", "127.0.0.1:8080")?;
        let secret_env = match (has_signature, arguments.secret_env) {
            (true, None) => Some(format!("{}_SECRET", source.to_uppercase().replace('-', "_"))),
            (true, variable) => variable,
            (false, None) => None,
            (false, Some(_)) => {
                let message = format!(
                    "--secret-env: the dialect {} has no signature of its own; its secret is \
                     generated",
                    dialect.name()
                );
                return Err(Failure::new(EX_USAGE, message));
            }
        };
        Ok(Self { dialect, source, public_url, listen, secret_env })
    }

    /// Text of the configuration: all settings with their comments, and those that differ from the defaults.
    fn configuration(&self, secret_file: &Path, key_file: &Path) -> String {
        let settings = DEFAULTS_TOML.split(EXAMPLES_START).next().unwrap_or_default();
        let lines: Vec<_> = settings.lines().map(|line| self.setting(line)).collect();
        let settings = lines.join("\n");
        let (key_file, source) = (json!(key_file), &self.source);
        let dialect = json!(self.dialect.name());
        let (scheme, secret) = match &self.secret_env {
            Some(variable) => ("native", format!("{{ env = {} }}", json!(variable))),
            None => ("url-token", format!("{{ file = {} }}", json!(secret_file))),
        };
        format!(
            "{settings}\n\
             # Key of the application that queries the server, in the header X-Api-Key.\n\
             [api_keys.{KEY_NAME}]\n\
             key = {{ file = {key_file} }}\n\
             scopes = [\"read\", \"register\"]\n\
             \n\
             # Sender of webhooks, which posts to /webhooks/{source}.\n\
             [sources.{source}]\n\
             dialect = {dialect}\n\
             verify = {{ scheme = \"{scheme}\", secrets = [{secret}] }}\n"
        )
    }

    /// Line of the defaults with the answer, if there is one for its key. Every other setting becomes a comment.
    fn setting(&self, line: &str) -> String {
        match line.split_once(" = ") {
            Some(("listen", _)) => format!("listen = {}", json!(self.listen)),
            Some(("public_url", _)) => format!("public_url = {}", json!(self.public_url)),
            Some(_) if !line.starts_with('#') => format!("# {line}"),
            _ => line.to_owned(),
        }
    }
}

/// Value of an option; if it is absent, the answer to a question, or the default without a terminal.
fn answer(given: Option<String>, question: &str, default: &str) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    let (input, mut prompt) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !prompt.is_terminal() {
        return Ok(default.to_owned());
    }
    let shown = if default.is_empty() { "none" } else { default };
    write!(prompt, "{question} [{shown}]: ")?;
    prompt.flush()?;
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    let line = line.trim();
    Ok(if line.is_empty() { default } else { line }.to_owned())
}

/// Files written so far.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Written {
    fn add(&mut self, file: &Path, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                self.0.push(file.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(file)),
            Err(error) => {
                let message = format!("cannot create {}: {error}", file.display());
                Err(Failure::new(EX_CANTCREAT, message))
            }
        }
    }

    fn remove(&self) {
        for file in &self.0 {
            drop(fs::remove_file(file));
        }
    }
}

fn write_and_report(
    answers: &Answers,
    file: &Path,
    secrets: &Path,
    written: &mut Written,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let secret_file = secrets.join(format!("{}.secret", answers.source));
    let key_file = secrets.join(format!("{KEY_NAME}.key"));
    if answers.secret_env.is_none() {
        written.add(&secret_file, write_secret_file(&secret_file, &generate_secret()))?;
    }
    written.add(&key_file, write_secret_file(&key_file, &generate_secret()))?;
    let text = answers.configuration(&secret_file, &key_file);
    written.add(file, write_new(file, &text))?;
    for file in &written.0 {
        writeln!(out, "wrote {}", file.display())?;
    }
    let callback = if answers.secret_env.is_some() {
        format!("{}/webhooks/{}", answers.public_url, answers.source)
    } else {
        let config = config::read(Some(file), Secrets::Ephemeral)?;
        let source = callback_url::source(&config, &answers.source)?;
        callback_url::url(&config, source, &Callback::default())?
    };
    writeln!(out, "\nGive the sender this callback URL:\n  {callback}")?;
    writeln!(
        out,
        "\nGive your application the address http://{} and the API key in\n  {}",
        answers.listen,
        key_file.display()
    )?;
    let file = file.display();
    writeln!(out, "\nRun next:")?;
    if let Some(variable) = &answers.secret_env {
        writeln!(out, "  export {variable}=…   # the secret with which the provider signs")?;
    }
    writeln!(out, "  statusmirror --config {file} check-config")?;
    writeln!(out, "  statusmirror --config {file} serve")?;
    Ok(writeln!(out, "  statusmirror --config {file} doctor   # in another terminal")?)
}

/// Writes a file that does not exist yet.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o640).open(file)?;
    created.write_all(text.as_bytes())?;
    created.sync_all()
}
