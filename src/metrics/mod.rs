//! Metrics: counters and histograms of the service.
//!
//! Instruments are resolved once and then cost a few atomic operations. A label is a name from the
//! configuration or a word of this program, never part of a request. Ages, file lengths and requests in
//! flight are read at each scrape, not kept here.

pub(crate) mod labels;
pub(crate) mod registry;
pub(crate) mod source;

pub use self::labels::{EntryOutcome, PREFIX, RejectReason};
pub use self::registry::{Commits, Configured, Metrics};
pub use self::source::{SourceHealth, SourceMetrics};
