//! Files that a power cut leaves after logged operations.
//!
//! Synced operations are on disk. Of the unsynced ones none, all or a part are: a disk promises no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::faults::amounts::SeededRng;
use crate::support::faults::logging_vfs::Operation;

/// Unit in which a disk writes.
const SECTOR_BYTES: usize = 512;

/// Part of the unsynced operations that survives a power cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Surviving {
    Nothing,
    Everything,
    /// Each operation as a whole, with this probability in eighths.
    Whole(u64),
    /// Each sector of each write, with this probability in eighths.
    Sectors(u64),
}

impl Surviving {
    /// Random variant.
    pub(crate) fn random(rng: &mut SeededRng) -> Self {
        match rng.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::Whole(1 + rng.below(7)),
            _ => Self::Sectors(1 + rng.below(7)),
        }
    }

    /// Whether the next operation or sector survives.
    fn keeps(self, rng: &mut SeededRng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Whole(eighths) | Self::Sectors(eighths) => rng.below(8) < eighths,
        }
    }
}

/// Disk on which a log of operations is replayed.
#[derive(Default)]
pub(crate) struct SimulatedDisk<'a> {
    operations: &'a [Operation],
    /// Number of replayed operations.
    replayed: usize,
    /// Synced content of each file.
    files: Vec<Vec<u8>>,
    /// Synced names, each with the number of its file.
    names: BTreeMap<&'a str, usize>,
    /// Indices of the unsynced operations.
    unsynced: Vec<usize>,
    /// Number of writes that the cuts left in part.
    pub(crate) torn: u64,
}

impl<'a> SimulatedDisk<'a> {
    /// Creates an empty disk, before the first operation.
    pub(crate) fn new(operations: &'a [Operation]) -> Self {
        Self { operations, ..Self::default() }
    }

    /// Replays the log up to this index.
    pub(crate) fn replay_to(&mut self, end: usize) {
        for index in self.replayed..end {
            match &self.operations[index] {
                Operation::Sync { file: synced, before } => self.sync(*before, |operation| {
                    matches!(
                        operation,
                        Operation::Write { file, .. } | Operation::Truncate { file, .. }
                            if file == synced
                    )
                }),
                Operation::SyncNames { before } => self.sync(*before, |operation| {
                    matches!(operation, Operation::Create { .. } | Operation::Delete { .. })
                }),
                Operation::Create { .. } => {
                    self.files.push(Vec::new());
                    self.unsynced.push(index);
                }
                Operation::Delete { .. } | Operation::Write { .. } | Operation::Truncate { .. } => {
                    self.unsynced.push(index);
                }
            }
        }
        self.replayed = end;
    }

    /// Makes the selected operations with an index below `before` durable.
    fn sync(&mut self, before: usize, is_selected: impl Fn(&Operation) -> bool) {
        let operations = self.operations;
        let (synced, unsynced) = self
            .unsynced
            .iter()
            .partition(|index| **index < before && is_selected(&operations[**index]));
        self.unsynced = unsynced;
        let synced: Vec<usize> = synced;
        for index in synced {
            match &operations[index] {
                Operation::Create { name, file } => drop(self.names.insert(name, *file)),
                Operation::Delete { name } => drop(self.names.remove(name.as_str())),
                Operation::Write { file, at, bytes } => {
                    write_at(&mut self.files[*file], *at, bytes);
                }
                Operation::Truncate { file, length } => self.files[*file].resize(*length, 0),
                Operation::Sync { .. } | Operation::SyncNames { .. } => {}
            }
        }
    }

    /// Files, by name, that a power cut leaves at this moment.
    pub(crate) fn cut(
        &mut self,
        surviving: Surviving,
        rng: &mut SeededRng,
    ) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        // Operations on one name reach the disk in order: after a lost one, the later ones are lost too.
        let mut lost_names = BTreeSet::new();
        for index in &self.unsynced {
            match &self.operations[*index] {
                Operation::Create { name, .. } | Operation::Delete { name }
                    if lost_names.contains(name) || !surviving.keeps(rng) =>
                {
                    lost_names.insert(name);
                }
                Operation::Create { name, file } => drop(names.insert(name, *file)),
                Operation::Delete { name } => drop(names.remove(name.as_str())),
                Operation::Truncate { file, length } => {
                    if surviving.keeps(rng) {
                        files[*file].resize(*length, 0);
                    }
                }
                Operation::Write { file, at, bytes } => {
                    let (mut kept, mut lost) = (0, 0);
                    for (at, piece) in pieces(*at, bytes, surviving) {
                        if surviving.keeps(rng) {
                            write_at(&mut files[*file], at, piece);
                            kept += 1;
                            continue;
                        }
                        lost += 1;
                        // The file's length is stored elsewhere, and may survive without the bytes.
                        let end = at + piece.len();
                        let grows =
                            files[*file].len() < end && !matches!(surviving, Surviving::Nothing);
                        if grows && rng.below(4) == 0 {
                            files[*file].resize(end, 0);
                        }
                    }
                    self.torn += u64::from(kept > 0 && lost > 0);
                }
                Operation::Sync { .. } | Operation::SyncNames { .. } => {}
            }
        }
        names.into_iter().map(|(name, file)| (name.to_owned(), files[file].clone())).collect()
    }
}

/// Parts of a write that each survive or not, with their offsets.
fn pieces(at: usize, bytes: &[u8], surviving: Surviving) -> Vec<(usize, &[u8])> {
    if !matches!(surviving, Surviving::Sectors(_)) {
        return vec![(at, bytes)];
    }
    let (mut pieces, mut at, mut rest) = (Vec::new(), at, bytes);
    while !rest.is_empty() {
        let (piece, remaining) = rest.split_at(rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
        pieces.push((at, piece));
        (at, rest) = (at + piece.len(), remaining);
    }
    pieces
}

fn write_at(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}
