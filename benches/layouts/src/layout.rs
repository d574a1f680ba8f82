//! Layouts of the index of messages by id, destination and reference key.

/// Number of messages whose entries are sorted together. The store writes back a quarter of its cache at a time.
pub(crate) const BATCH_MESSAGES: usize = 8_192;

/// Number of runs of a size that are merged into a larger run in the layout `tiers`.
const TIER_RUNS: usize = 8;

/// Number of runs that are merged into the base in the layout `runs`.
const BASE_RUNS: usize = 64;

/// Layout of the index.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// No index: the part of the cost that all layouts have.
    None,
    /// Three indexes of SQLite.
    Indexes,
    /// Batches of 8,192 messages, sorted and added to one base at once.
    Sorted,
    /// Batches as runs, eight of which are merged into a larger run, and so on.
    Tiers,
    /// Batches as runs, 64 of which are merged into one base. The store has this layout, with its entries in blocks
    /// instead of rows of their own.
    Runs,
}

impl Layout {
    /// SQL that creates the index.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Indexes => {
                "CREATE UNIQUE INDEX message_by_id ON message (id);
                 CREATE INDEX message_by_destination ON message (destination, list_order);
                 CREATE INDEX message_by_reference ON message (reference_key, list_order);"
            }
            Self::Sorted | Self::Tiers | Self::Runs => {
                "CREATE TABLE message_index (
                     run        INTEGER NOT NULL,
                     kind       INTEGER NOT NULL,
                     key        ANY     NOT NULL,
                     list_order INTEGER NOT NULL,
                     n          INTEGER NOT NULL,
                     PRIMARY KEY (run, kind, key, list_order, n)
                 ) STRICT, WITHOUT ROWID;"
            }
        }
    }

    /// Way in which batches are merged; none if the layout has no batches.
    pub(crate) fn merging(self) -> Option<Merging> {
        match self {
            Self::None | Self::Indexes => None,
            Self::Sorted => Some(Merging::Never),
            Self::Tiers => Some(Merging::IntoRuns { fan_out: TIER_RUNS }),
            Self::Runs => Some(Merging::IntoBase { fan_out: BASE_RUNS }),
        }
    }
}

/// Way in which batches are merged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merging {
    /// A batch is added to the base, and there are no other runs.
    Never,
    /// A batch becomes a run. So many runs of a size become a larger run, and there is no base.
    IntoRuns { fan_out: usize },
    /// A batch becomes a run. The entries of so many runs are moved to the base.
    IntoBase { fan_out: usize },
}

impl Merging {
    /// Whether there is a base.
    pub(crate) fn has_base(self) -> bool {
        matches!(self, Self::Never | Self::IntoBase { .. })
    }

    /// Number of runs that are merged together; none if runs are not merged.
    pub(crate) fn fan_out(self) -> Option<usize> {
        match self {
            Self::Never => None,
            Self::IntoRuns { fan_out } | Self::IntoBase { fan_out } => Some(fan_out),
        }
    }
}
