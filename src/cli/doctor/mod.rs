//! `statusmirror doctor`: is a running installation right, as seen from outside?
//!
//! Changes nothing: its test deliveries are ignored, and the lock is only looked at.

mod files;
mod reach;

use std::io::Write;

use super::{EX_UNAVAILABLE, Failure};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::diagnosis::Found;

/// A key that expires sooner than this is worth a warning: 30 days, in which another can be given to an
/// application.
const SOON_SECONDS: i64 = 30 * 24 * 60 * 60;

/// What was found, as it is printed.
struct Report<'a> {
    out: &'a mut dyn Write,
    failed: usize,
}

impl Report<'_> {
    /// One line: what was looked at, what was found, and the mend if there is one.
    fn say(&mut self, found: Found, what: &str, words: &str) -> Result<(), Failure> {
        if found == Found::Fail {
            self.failed += 1;
        }
        Ok(writeln!(self.out, "{found:<4}  {what}: {words}")?)
    }
}

/// Looks at everything, prints a line for each, and fails if anything is not as it must be.
pub(super) fn run(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let mut report = Report { out, failed: 0 };
    configuration(config, &mut report)?;
    keys(config, &mut report)?;
    files::check(config, &mut report)?;
    reach::check(config, &mut report)?;
    match report.failed {
        0 => Ok(()),
        1 => Err(Failure::new(EX_UNAVAILABLE, "1 thing is not as it must be")),
        failed => {
            Err(Failure::new(EX_UNAVAILABLE, format!("{failed} things are not as they must be")))
        }
    }
}

fn configuration(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let file = config
        .file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let (sources, keys) = (config.sources.len(), config.api_keys.len());
    let words = format!("right; {file}, sources: {sources}, API keys: {keys}");
    report.say(Found::Ok, "configuration", &words)?;
    // Of keys and of the database's permissions there is more to say.
    let permissions = config::exposed(&config.store.path);
    let is_said_later = |warning: &&String| {
        warning.contains(".expires: ") || permissions.as_ref() == Some(*warning)
    };
    for warning in config.warnings.iter().filter(|warning| !is_said_later(warning)) {
        report.say(Found::Warn, "configuration", warning)?;
    }
    Ok(())
}

fn keys(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let now = Clock::System.now();
    for key in &config.api_keys {
        let Some(expires) = key.expires else { continue };
        let what = format!("API key {}", key.name);
        let mend = "add another, give it to the application, and remove this one";
        if key.has_expired(now) {
            let words = format!("refused since {expires}; {mend}");
            report.say(Found::Fail, &what, &words)?;
        } else if expires.seconds() - now.seconds() < SOON_SECONDS {
            report.say(Found::Warn, &what, &format!("refused from {expires} on; {mend}"))?;
        } else {
            report.say(Found::Ok, &what, &format!("good until {expires}"))?;
        }
    }
    Ok(())
}
