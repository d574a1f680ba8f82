//! Log level, which a reload may change while the program runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::json::OWN_TARGET_PREFIX;

/// Levels in the order of the messages that they add, with their names in the configuration.
const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];
/// Target of a library whose messages repeat what our log says.
const SILENT_TARGET: &str = "actix_http";

/// Level of the messages that are logged; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogLevel(Arc<AtomicUsize>);

impl LogLevel {
    /// Creates the level of this name; `None` if the name is unknown.
    pub(crate) fn new(name: &str) -> Option<Self> {
        index(name).map(|index| Self(Arc::new(AtomicUsize::new(index))))
    }

    /// Sets the level to the one of this name, which the configuration has checked.
    pub(crate) fn set(&self, name: &str) {
        if let Some(index) = index(name) {
            self.0.store(index, Ordering::Relaxed);
            // Each call site caches whether it is enabled, so a disabled message costs nothing.
            tracing::callsite::rebuild_interest_cache();
        }
    }

    /// Sets the level to the one of this name if that logs more.
    pub(crate) fn raise(&self, name: &str) {
        if index(name) > index(self.name()) {
            self.set(name);
        }
    }

    /// Name of the level.
    pub(crate) fn name(&self) -> &'static str {
        self.level().0
    }

    fn level(&self) -> (&'static str, LevelFilter) {
        LEVELS.get(self.0.load(Ordering::Relaxed)).copied().unwrap_or(("trace", LevelFilter::TRACE))
    }

    /// Whether a message is logged. The level applies to messages of this program. Libraries log data that
    /// anybody may send, as errors; only their warnings are worth an operator's time.
    fn allows(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        if target.starts_with(OWN_TARGET_PREFIX) {
            *metadata.level() <= self.level().1
        } else {
            *metadata.level() <= LevelFilter::WARN && !target.starts_with(SILENT_TARGET)
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLevel {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.allows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        self.allows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level().1.max(LevelFilter::WARN))
    }
}

/// Place of a level in [`LEVELS`].
fn index(name: &str) -> Option<usize> {
    LEVELS.iter().position(|(known, _)| *known == name)
}
