//! Timer of one connection.

use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// A timer that is asked about a deadline each time, which may have moved since.
///
/// A deadline that moves later costs nothing: the timer fires at the old one and is set again then.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Timer whose first deadline is known.
    pub(super) fn new(deadline: Instant) -> Self {
        Self(Box::pin(sleep_until(deadline.into())))
    }

    /// Reports whether the deadline has passed; if not, the task is woken then.
    pub(super) fn has_passed(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
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
