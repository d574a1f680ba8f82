//! Timer of one connection.

use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Timer that is polled with a deadline, which may differ from poll to poll.
///
/// Moving the deadline later costs nothing: the timer fires at the old deadline and is then reset.
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Creates a timer with its first deadline.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self(Box::pin(sleep_until(deadline.into())))
    }

    /// Whether the deadline has passed; if not, the task is woken at the deadline.
    pub(crate) fn has_passed(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if self.0.deadline() > deadline.into() {
            self.0.as_mut().reset(deadline.into());
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.0.as_mut().reset(deadline.into());
        }
        false
    }
}
