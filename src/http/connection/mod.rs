//! One HTTP/1 connection: reads requests, calls the service, writes the answers.
//!
//! The framework decodes requests and encodes answers (its codec). The loop around the codec is ours. The
//! framework's own loop limits only the time of a connection's first head, answers 408 before it has read the
//! bytes that are in the socket, answers `Connection: Upgrade` with the same header, and does not tell what a
//! connection waits for. Our loop knows that at every moment:
//!
//! - [`mod@serve`] is the loop over the [`state`] of one connection. One request is in flight at a time;
//!   later ones wait in the buffer.
//! - [`link`] holds the socket, the codec and the buffers. A body is read when its handler asks for it, so
//!   a slow handler leaves the rest in the kernel, whose buffers are bounded.
//! - [`body`] is the stream that the handler reads.
//! - [`answer`] writes an answer and closes a connection that cannot be reused; [`date`] is its `Date`.
//! - [`registry`] knows what each connection of a worker waits for. When file descriptors or the memory of
//!   unfinished heads run short, it closes the connections that have waited longest. An answer that needed
//!   no credential counts as waiting while its client does not read it. The alternative, a limit of such
//!   answers, would need to know which of them are large: many small ones, sent one after the other, hold a
//!   connection too.
//! - [`sender`] tells whether the awaited body is one of a verified sender; its connection is closed last.
//! - [`buffers`] are lent to connections that read or write, so that 50,000 waiting connections have none.
//! - [`timer`] is the timer of one connection, which is set for each wait without touching the timer wheel.
//!
//! Every limit is applied only after all available bytes were read: a process that was stopped for a while
//! finds complete requests in its sockets.

mod answer;
mod body;
mod buffers;
mod date;
mod link;
mod registry;
mod sender;
mod serve;
mod state;
mod timer;

pub(crate) use self::registry::{Limits, Registry};
pub(crate) use self::sender::SenderBody;
pub(crate) use self::serve::{Answer, Worker, serve};
