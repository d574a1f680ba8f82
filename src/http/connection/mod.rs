//! One HTTP/1 connection: reads requests, calls the service, writes the answers.
//!
//! The framework decodes requests and encodes answers (its codec). The loop around the codec is ours,
//! because the framework's own loop limits the time of a connection's first head only, answers 408 before
//! it has read what lies in the socket, answers `Connection: Upgrade` with the same header, and does not
//! say what a connection waits for. Here that is known at every moment:
//!
//! - [`mod@serve`] holds the loop. One request is under way at a time; later ones wait in the buffer.
//! - [`link`] holds the socket, the codec and the buffers. A body is read when its handler asks for it, so
//!   a slow handler leaves the rest in the kernel, whose buffers are bounded.
//! - [`body`] is the stream that the handler reads.
//! - [`answer`] writes an answer and closes a connection that cannot be used again.
//! - [`registry`] knows what each connection of a worker waits for, and closes those that have waited
//!   longest when descriptors run short.
//! - [`timer`] is one timer for a connection, which is set for each wait without touching the timer wheel.
//!
//! Every limit is judged only after all available bytes were read: a process that was stopped for a while
//! finds requests that lie complete in their sockets.

mod answer;
mod body;
mod link;
mod registry;
mod serve;
mod timer;

pub(super) use self::registry::Registry;
pub(super) use self::serve::{Worker, serve};
