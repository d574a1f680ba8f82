//! The programs that are measured, and how each is started.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::corpus::SECRET;

/// The key that queries bring.
pub(crate) const KEY: &str = "a-key-for-this-bench-alone";

/// The source that `simulate` posts to.
pub(crate) const SIMULATED: &str = "simulated";

/// PostgreSQL 15 as Debian packages it.
pub(crate) const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

/// A program that takes webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Receiver {
    /// Reads the body and answers.
    Noop,
    /// Also proves and parses it.
    Verified,
    /// statusmirror.
    Ours,
    /// An earlier binary of statusmirror; see `--against`.
    Before,
    /// statusmirror, in one program with what follows.
    Watched,
    /// statusmirror without metrics and logs.
    Unwatched,
    /// The same, without the sums of the hours too.
    Unsummed,
    /// statusmirror from its library, with a source whose deliveries have many entries.
    Batches,
    /// A pool of connections, and a transaction for each request, with `synchronous=FULL`.
    NaiveFull,
    /// The same, with `synchronous=NORMAL`.
    NaiveNormal,
    /// FastAPI with sqlite3.
    Fastapi,
    /// Express with better-sqlite3.
    Express,
    /// actix with PostgreSQL.
    Postgres,
}

impl Receiver {
    /// Its name in commands and in the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Verified => "verified",
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

    /// Whether it keeps what it takes.
    pub(crate) fn stores(self) -> bool {
        !matches!(self, Self::Noop | Self::Verified)
    }
}

/// Where everything lies.
pub(crate) struct Places {
    /// The repository.
    pub(crate) root: PathBuf,
    /// What the bench builds and makes.
    pub(crate) target: PathBuf,
    /// An earlier binary of the product.
    pub(crate) before: Option<PathBuf>,
}

impl Places {
    /// Of this repository.
    pub(crate) fn find() -> Result<Self> {
        let benches = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let root = benches.parent().context("no repository")?.to_owned();
        Ok(Self { root, target: benches.join("target"), before: None })
    }

    /// The binary of the product.
    pub(crate) fn product(&self) -> PathBuf {
        self.root.join("target/release/statusmirror")
    }

    /// Where servers keep what they store.
    pub(crate) fn data(&self) -> PathBuf {
        self.target.join("data")
    }

    /// The Python that FastAPI is installed for.
    pub(crate) fn python(&self) -> PathBuf {
        self.target.join("fastapi/bin/python")
    }

    /// Installs what the receivers need that are not written in Rust, and fails if something is
    /// missing that the system has to bring.
    pub(crate) fn install(&self, without: &[Receiver]) -> Result<()> {
        const HINT: &str = "or leave receivers out with --without";
        let wanted = |receiver: &Receiver| !without.contains(receiver);
        ensure!(
            !wanted(&Receiver::Postgres) || Path::new(POSTGRES).exists(),
            "install postgresql-15, {HINT}"
        );
        for receiver in [Receiver::Fastapi, Receiver::Express].iter().filter(|one| wanted(one)) {
            let installer = self.root.join("benches/receivers/install");
            let status = Command::new(installer).arg(receiver.name()).status()?;
            ensure!(status.success(), "install what {} needs, {HINT}", receiver.name());
        }
        Ok(())
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// The command that starts a receiver in a folder of its own.
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
            return self.ours(receiver, address, folder);
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
        existing(command)
    }

    fn ours(&self, receiver: Receiver, address: SocketAddr, folder: &Path) -> Result<Command> {
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
            self.before.clone().context("no earlier binary")?
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
        existing(command)
    }
}

fn existing(command: Command) -> Result<Command> {
    let program = OsString::from(command.get_program());
    let path = Path::new(&program);
    ensure!(path.is_relative() || path.exists(), "{} is not built", path.display());
    Ok(command)
}
