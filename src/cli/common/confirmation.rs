//! Confirmation of a command that removes data.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::exit_code::{EX_USAGE, Failure};

/// Exit code if the operator declined.
const EXIT_DECLINED: i32 = 1;

/// Whether to remove without asking, or not at all.
#[derive(Args)]
pub(crate) struct Confirmed {
    /// Print how much would be removed, and remove nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Remove without asking. Required if there is no terminal.
    #[arg(long)]
    yes: bool,
}

impl Confirmed {
    /// Whether an option decides, so that there is nothing to ask.
    pub(crate) fn is_decided(&self) -> bool {
        self.dry_run || self.yes
    }
}

/// Whether to go on: asks at a terminal, if no option decides.
pub(crate) fn is_confirmed(confirmed: &Confirmed) -> Result<bool, Failure> {
    if confirmed.dry_run || confirmed.yes {
        return Ok(confirmed.yes);
    }
    let (input, mut prompt) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !prompt.is_terminal() {
        let message = "nothing was removed: there is no terminal to ask for confirmation; to \
                       confirm, run the command again with --yes";
        return Err(Failure::new(EX_USAGE, message));
    }
    write!(prompt, "Remove this permanently? [y/N] ")?;
    prompt.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        _ => Err(Failure::new(EXIT_DECLINED, "nothing was removed")),
    }
}
