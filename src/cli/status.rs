//! `statusmirror status`: state of the running server on one screen, and the conditions that need attention.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::admin::{self, ServerStatus, SourceStatus};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::key_expiry;
use crate::cli::common::live;
use crate::cli::common::output::{Output, Report};
use crate::clock::Clock;
use crate::config::Config;
use crate::diagnosis::{Found, describe_duration};
use crate::message::Timestamp;

/// Exit code if something needs attention.
const EXIT_ATTENTION: i32 = 1;
/// Time over which the rate of webhooks is measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Share of a quarantine limit from which the quarantine needs attention, in percent.
const QUARANTINE_PERCENT: u64 = 90;

/// State of an installation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Conditions that need attention, each with its remedy; empty if all is well.
    attention: Vec<String>,
    database: PathBuf,
    configuration: Option<PathBuf>,
    #[serde(flatten)]
    server: ServerStatus,
    quarantine_max_rows: u64,
    quarantine_max_bytes: u64,
    api_keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    name: String,
    expires: Option<String>,
}

/// Prints the state of the running server. Fails if something needs attention, or if no server runs.
pub(crate) fn run(config: &Config, output: Output, out: &mut impl Write) -> Result<(), Failure> {
    let database = &config.store.path;
    let ask = || {
        live::ask(database, admin::Status {})?.ok_or_else(|| {
            let message = format!(
                "no server has the database {} open; start `statusmirror serve`, or run this \
                 command with the server's configuration, in the server's working directory",
                database.display()
            );
            Failure::unavailable(message)
        })
    };
    let (before, asked_at) = (ask()?, Instant::now());
    thread::sleep(RATE_WINDOW);
    let mut server = ask()?;
    set_rates(&mut server.sources, &before.sources, asked_at.elapsed());
    let status = Status {
        attention: attention(config, &server, Clock::System.now()),
        database: database.clone(),
        configuration: config.file.clone(),
        server,
        quarantine_max_rows: config.store.quarantine_max_rows,
        quarantine_max_bytes: config.store.quarantine_max_bytes,
        api_keys: config
            .api_keys
            .iter()
            .map(|key| Key {
                name: key.name.clone(),
                expires: key.expires.map(|expires| expires.to_string()),
            })
            .collect(),
    };
    output.print(&status, out)?;
    match status.attention.len() {
        0 => Ok(()),
        1 => Err(Failure::new(EXIT_ATTENTION, "1 thing needs attention")),
        count => Err(Failure::new(EXIT_ATTENTION, format!("{count} things need attention"))),
    }
}

/// Sets the rate of each source, with one decimal. A source that a reload has just added has the rate 0.
fn set_rates(sources: &mut [SourceStatus], before: &[SourceStatus], elapsed: Duration) {
    for source in sources {
        let earlier = before.iter().find(|earlier| earlier.name == source.name);
        let accepted =
            earlier.map_or(0, |earlier| source.accepted.saturating_sub(earlier.accepted));
        let accepted = f64::from(u32::try_from(accepted).unwrap_or(u32::MAX));
        source.accepted_per_second = (accepted / elapsed.as_secs_f64() * 10.0).round() / 10.0;
    }
}

/// Conditions that need attention, each with its remedy.
fn attention(config: &Config, server: &ServerStatus, now: Timestamp) -> Vec<String> {
    let mut attention = Vec::new();
    if let Some(reason) = &server.not_ready {
        attention.push(format!("webhooks cannot be stored: {reason}; see the server's log"));
    }
    for source in &server.sources {
        let rejected: u64 = source.rejected.iter().map(|rejected| rejected.webhooks).sum();
        if rejected > 0 && source.accepted == 0 {
            attention.push(format!(
                "source {}: every webhook was rejected ({}); explain one with `statusmirror verify \
                 {}`",
                source.name,
                reasons(source),
                source.name
            ));
        }
    }
    let store = &server.store;
    let limits = [
        (store.quarantined, config.store.quarantine_max_rows, "rows"),
        (store.quarantined_bytes, config.store.quarantine_max_bytes, "bytes"),
    ];
    let is_nearly_full = |(used, limit, _): &(u64, u64, &str)| {
        used.saturating_mul(100) >= limit.saturating_mul(QUARANTINE_PERCENT)
    };
    if store.quarantined > 0 {
        let full = limits.iter().find(|limit| is_nearly_full(limit)).map(|(_, limit, unit)| {
            format!(", close to quarantine.max_{unit} = {limit}, beyond which webhooks get 503")
        });
        attention.push(format!(
            "quarantine: {} entries could not be read{}; list them with `statusmirror quarantine \
             list`",
            store.quarantined,
            full.unwrap_or_default()
        ));
    }
    if store.prune_waiting > 0 {
        attention.push(format!(
            "retention: {} messages and quarantined entries wait until a prune is confirmed; check \
             clock and store.retention, then run `statusmirror prune --yes`",
            store.prune_waiting
        ));
    }
    for key in &config.api_keys {
        if let Some((Found::Warn | Found::Fail, detail)) = key_expiry::check(key, now) {
            attention.push(format!("API key {}: {detail}", key.name));
        }
    }
    attention
}

/// Reasons for which webhooks of a source were rejected, with their numbers.
fn reasons(source: &SourceStatus) -> String {
    let reasons: Vec<_> = source
        .rejected
        .iter()
        .map(|rejected| format!("{} {}", rejected.webhooks, rejected.reason))
        .collect();
    reasons.join(", ")
}

impl Report for Status {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { server, .. } = self;
        let store = &server.store;
        let uptime = i64::try_from(server.uptime_seconds).unwrap_or(i64::MAX);
        writeln!(
            out,
            "statusmirror {}, running for {}, since {}",
            server.version,
            describe_duration(uptime),
            server.started_at
        )?;
        match &self.configuration {
            Some(file) => writeln!(out, "configuration  {}", file.display())?,
            None => writeln!(out, "configuration  no file; built-in defaults")?,
        }
        writeln!(
            out,
            "database       {} ({} KiB, WAL {} KiB)",
            self.database.display(),
            store.database_bytes >> 10,
            store.wal_bytes >> 10
        )?;
        writeln!(out, "quarantine     {} of {} rows", store.quarantined, self.quarantine_max_rows)?;
        writeln!(out, "in flight      {} deliveries", server.deliveries_in_flight)?;
        for key in &self.api_keys {
            let expires = key.expires.as_deref().unwrap_or("without expiry");
            writeln!(out, "API key        {}, {expires}", key.name)?;
        }
        writeln!(out)?;
        let width = server.sources.iter().map(|source| source.name.len()).max().unwrap_or(0).max(6);
        writeln!(out, "{:<width$}  last webhook   accepted  per second  rejected", "source")?;
        for source in &server.sources {
            let last = source.seconds_since_accepted.map_or_else(
                || "none yet".to_owned(),
                |seconds| {
                    format!("{} ago", describe_duration(i64::try_from(seconds).unwrap_or(i64::MAX)))
                },
            );
            let SourceStatus { name, accepted, accepted_per_second: rate, .. } = source;
            let rejected =
                if source.rejected.is_empty() { "0".to_owned() } else { reasons(source) };
            writeln!(out, "{name:<width$}  {last:<12}  {accepted:>9}  {rate:>10.1}  {rejected}")?;
        }
        for rejected in &server.rejected_without_source {
            writeln!(out, "rejected without a source: {} {}", rejected.webhooks, rejected.reason)?;
        }
        writeln!(out)?;
        if self.attention.is_empty() {
            return writeln!(out, "All is well.");
        }
        writeln!(out, "Needs attention:")?;
        for item in &self.attention {
            writeln!(out, "  {item}")?;
        }
        Ok(())
    }
}
