//! Flag from a body's reader to its connection: whether the sender is verified.
//!
//! The framework's payload lies between reader and connection, and passes nothing on. Both run on the same
//! thread, and the connection is polled within the reader.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _};

thread_local! {
    static IS_VERIFIED: Cell<bool> = const { Cell::new(false) };
}

/// Body stream that knows whether its sender is verified.
pub(crate) struct SenderBody<S> {
    body: S,
    is_verified: bool,
}

impl<S> SenderBody<S> {
    pub(crate) fn new(body: S, is_verified: bool) -> Self {
        Self { body, is_verified }
    }
}

impl<S: Stream + Unpin> Stream for SenderBody<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        IS_VERIFIED.set(self.is_verified);
        let next = self.body.poll_next_unpin(cx);
        IS_VERIFIED.set(false);
        next
    }
}

/// Whether the sender of the body being polled is verified.
pub(super) fn is_verified() -> bool {
    IS_VERIFIED.get()
}
