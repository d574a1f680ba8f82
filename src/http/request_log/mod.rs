//! Request log: one line for each request, and the span of the same facts for a trace collector.
//!
//! [`mod@line`] is written by the handler, which has all the facts; a span around the handler would cost more
//! than the line. A line contains no body, query, key or whole phone number. [`client_names`] limits the
//! names that a client chooses (`X-Request-Id`, `traceparent`), so that none puts a phone number into the
//! log.
//!
//! JSON lines are written by a layer of our own, piece by piece into one buffer: the library would pass each
//! value through a serializer, for each request. Lines are buffered for 10 ms and written by one thread
//! (`cli::telemetry`), so that only this thread waits for the reader of the log. The facts of a request are
//! stated once (`LogFields`): the line has all of them, the span for a collector those that do not tell of a
//! person. Without the feature `otlp` there are no spans.

pub(crate) mod client_names;
pub(crate) mod line;
#[cfg(feature = "otlp")]
pub(crate) mod span;

pub(crate) use self::line::{About, Line};
