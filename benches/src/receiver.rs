//! Measured programs, and the command that starts each.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::corpus::SECRET;

/// API key of queries.
pub(crate) const KEY: &str = "a-key-for-this-bench-alone";

/// Name of the source that `statusmirror simulate` posts to.
pub(crate) const SIMULATED: &str = "simulated";

/// Path of PostgreSQL 15 in Debian's package.
pub(crate) const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

/// Program that receives webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Receiver {
    /// Server that reads the body and answers.
    Noop,
    /// Server that also verifies and parses the body, and stores nothing.
    Verified,
    /// Server that also appends each webhook to a file and syncs it: the floor of durable ingest.
    Floor,
    /// Release binary of statusmirror.
    Ours,
    /// Earlier binary of statusmirror; see `--against`.
    Before,
    /// statusmirror in the program `mirror`, which also provides the next three.
    Watched,
    /// statusmirror without metrics and logs.
    Unwatched,
    /// statusmirror without metrics, logs and hourly counts.
    Unsummed,
    /// statusmirror without metrics and logs, with a source whose deliveries have many entries.
    Batches,
    /// Naive design with SQLite: a connection pool and a transaction per request, with `synchronous=FULL`.
    NaiveFull,
    /// Naive design with `synchronous=NORMAL`.
    NaiveNormal,
    /// FastAPI with sqlite3.
    Fastapi,
    /// Express with better-sqlite3.
    Express,
    /// actix with PostgreSQL.
    Postgres,
}

impl Receiver {
    /// Name on the command line and in the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Verified => "verified",
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Before => "before",
            Self::Watched => "watched",
            Self::Unwatched => "unwatched",
            Self::Unsummed => "unsummed",
            Self::Batches => "batches",
            Self::NaiveFull => "naive-full",
            Self::NaiveNormal => "naive-normal",
            Self::Fastapi => "fastapi",
            Self::Express => "express",
            Self::Postgres => "postgres",
        }
    }

    /// Whether the program stores webhooks.
    pub(crate) fn stores(self) -> bool {
        !matches!(self, Self::Noop | Self::Verified)
    }

    /// Whether the program answers queries for what it stored, and recognizes a webhook that comes twice.
    pub(crate) fn answers_queries(self) -> bool {
        !matches!(self, Self::Noop | Self::Verified | Self::Floor)
    }
}

/// Paths of the repository and of build outputs.
pub(crate) struct Paths {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// Folder of the bench's build outputs and data.
    pub(crate) target: PathBuf,
    /// Earlier binary of the product.
    pub(crate) before: Option<PathBuf>,
}

impl Paths {
    /// Paths of the repository that the bench was built in.
    pub(crate) fn of_repository() -> Result<Self> {
        let benches = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let root = benches.parent().context("the folder of the bench has no parent")?.to_owned();
        Ok(Self { root, target: benches.join("target"), before: None })
    }

    /// Release binary of the product.
    pub(crate) fn product(&self) -> PathBuf {
        self.root.join("target/release/statusmirror")
    }

    /// Folder of the servers' files.
    pub(crate) fn data(&self) -> PathBuf {
        self.target.join("data")
    }

    /// Python interpreter of the FastAPI receiver.
    pub(crate) fn python(&self) -> PathBuf {
        self.target.join("fastapi/bin/python")
    }

    /// Installs the dependencies of the receivers in Python and JavaScript. Fails if a package of the system
    /// is missing.
    pub(crate) fn install_dependencies(&self, without: &[Receiver]) -> Result<()> {
        const HINT: &str = "or leave receivers out with --without";
        let is_included = |receiver: &Receiver| !without.contains(receiver);
        ensure!(
            !is_included(&Receiver::Postgres) || Path::new(POSTGRES).exists(),
            "install postgresql-15, {HINT}"
        );
        for receiver in [Receiver::Fastapi, Receiver::Express].into_iter().filter(is_included) {
            let installer = self.root.join("benches/receivers/install");
            let status = Command::new(installer).arg(receiver.name()).status()?;
            ensure!(
                status.success(),
                "cannot install the dependencies of {}; install what is missing, {HINT}",
                receiver.name()
            );
        }
        Ok(())
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Command that starts a receiver in a folder of its own.
    pub(crate) fn command(
        &self,
        receiver: Receiver,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Command> {
        if let Receiver::Ours
        | Receiver::Before
        | Receiver::Watched
        | Receiver::Unwatched
        | Receiver::Unsummed
        | Receiver::Batches = receiver
        {
            return self.statusmirror(receiver, address, folder);
        }
        let receivers = self.root.join("benches/receivers");
        let mut command = match receiver {
            Receiver::Fastapi => {
                let mut command = Command::new(self.python());
                command.arg(receivers.join("fastapi/main.py"));
                command
            }
            Receiver::Express => {
                let mut command = Command::new("node");
                command.arg(receivers.join("express/server.js"));
                command
            }
            Receiver::NaiveFull | Receiver::NaiveNormal => Command::new(self.program("naive")),
            Receiver::Noop
            | Receiver::Verified
            | Receiver::Floor
            | Receiver::Postgres
            | Receiver::Ours
            | Receiver::Before
            | Receiver::Watched
            | Receiver::Unwatched
            | Receiver::Unsummed
            | Receiver::Batches => Command::new(self.program(receiver.name())),
        };
        let synchronous = if receiver == Receiver::NaiveNormal { "NORMAL" } else { "FULL" };
        command
            .env("LISTEN", address.to_string())
            .env("SECRET", SECRET)
            .env("SYNCHRONOUS", synchronous);
        ensure_built(command)
    }

    /// Writes the configuration of a statusmirror, and returns the command that starts it.
    fn statusmirror(
        &self,
        receiver: Receiver,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Command> {
        let config = folder.join("statusmirror.toml");
        let database = folder.join("mirror.db");
        let text = format!(
            "[server]\nlisten = \"{address}\"\n\
             [store]\nurl = \"sqlite:{}\"\n\
             [api_keys.bench]\nkey = \"{KEY}\"\nscopes = [\"read\", \"register\"]\n\
             [sources.bench.verify]\nscheme = \"hmac\"\nheader = \"X-Signature\"\nsecrets = [\"{SECRET}\"]\n\
             [sources.{SIMULATED}.verify]\nscheme = \"url-token\"\nsecrets = [\"{SECRET}\"]\n",
            database.display()
        );
        fs::write(&config, text)?;
        let program = if receiver == Receiver::Ours {
            self.product()
        } else if receiver == Receiver::Before {
            self.before.clone().context("--against names no earlier binary")?
        } else {
            self.program("mirror")
        };
        let mut command = Command::new(program);
        if matches!(receiver, Receiver::Unwatched | Receiver::Unsummed | Receiver::Batches) {
            command.env("UNWATCHED", "1");
        }
        if receiver == Receiver::Unsummed {
            command.env("UNSUMMED", "1");
        }
        if receiver == Receiver::Batches {
            command.env("BATCHES", "1");
        }
        command.arg("--config").arg(config);
        ensure_built(command)
    }
}

/// Fails if the program of the command does not exist. A name without a path is looked up by the system.
fn ensure_built(command: Command) -> Result<Command> {
    let program = OsString::from(command.get_program());
    let path = Path::new(&program);
    ensure!(path.is_relative() || path.exists(), "{} is not built", path.display());
    Ok(command)
}
