//! Files that a power cut leaves after logged operations.
//!
//! Synced operations are on disk. Of the others nothing, everything or a part is. A disk promises no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::faults::amounts::Chance;
use crate::support::faults::logging_vfs::Operation;

/// What a disk writes at a time.
const SECTOR: usize = 512;

/// What is left of the operations that were not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Surviving {
    Nothing,
    Everything,
    /// Each, whole, with this chance in eight.
    Whole(u64),
    /// Each sector of each, with this chance in eight.
    Sectors(u64),
}

impl Surviving {
    /// One of them, by chance.
    pub(crate) fn by(chance: &mut Chance) -> Self {
        match chance.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::Whole(1 + chance.below(7)),
            _ => Self::Sectors(1 + chance.below(7)),
        }
    }

    fn keeps(self, chance: &mut Chance) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Whole(eighths) | Self::Sectors(eighths) => chance.below(8) < eighths,
        }
    }
}

/// A disk while a log is played.
#[derive(Default)]
pub(crate) struct SimulatedDisk<'a> {
    operations: &'a [Operation],
    played: usize,
    /// What is on it for certain.
    files: Vec<Vec<u8>>,
    names: BTreeMap<&'a str, usize>,
    /// The operations that were not synced.
    unsynced: Vec<usize>,
    /// How many writes were torn by cuts.
    pub(crate) torn: u64,
}

impl<'a> SimulatedDisk<'a> {
    /// An empty disk, before the first operation.
    pub(crate) fn new(operations: &'a [Operation]) -> Self {
        Self { operations, ..Self::default() }
    }

    /// Plays the log up to this place.
    pub(crate) fn go_on(&mut self, to: usize) {
        for number in self.played..to {
            match &self.operations[number] {
                Operation::Sync { file: synced, before } => self.settle(*before, |operation| {
                    matches!(
                        operation,
                        Operation::Write { file, .. } | Operation::Truncate { file, .. }
                            if file == synced
                    )
                }),
                Operation::SyncNames { before } => self.settle(*before, |operation| {
                    matches!(operation, Operation::Create { .. } | Operation::Delete { .. })
                }),
                Operation::Create { .. } => {
                    self.files.push(Vec::new());
                    self.unsynced.push(number);
                }
                Operation::Delete { .. } | Operation::Write { .. } | Operation::Truncate { .. } => {
                    self.unsynced.push(number);
                }
            }
        }
        self.played = to;
    }

    /// Does for good what was asked for before this place.
    fn settle(&mut self, before: usize, settles: impl Fn(&Operation) -> bool) {
        let operations = self.operations;
        let (settled, unsynced) = self
            .unsynced
            .iter()
            .partition(|number| **number < before && settles(&operations[**number]));
        self.unsynced = unsynced;
        let settled: Vec<usize> = settled;
        for number in settled {
            match &operations[number] {
                Operation::Create { name, file } => drop(self.names.insert(name, *file)),
                Operation::Delete { name } => drop(self.names.remove(name.as_str())),
                Operation::Write { file, at, bytes } => put(&mut self.files[*file], *at, bytes),
                Operation::Truncate { file, length } => self.files[*file].resize(*length, 0),
                Operation::Sync { .. } | Operation::SyncNames { .. } => {}
            }
        }
    }

    /// The files, by name, that a cut leaves now.
    pub(crate) fn cut(
        &mut self,
        left: Surviving,
        chance: &mut Chance,
    ) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        // What becomes of one name happens in order.
        let mut stuck = BTreeSet::new();
        for number in &self.unsynced {
            match &self.operations[*number] {
                Operation::Create { name, .. } | Operation::Delete { name }
                    if stuck.contains(name) || !left.keeps(chance) =>
                {
                    stuck.insert(name);
                }
                Operation::Create { name, file } => drop(names.insert(name, *file)),
                Operation::Delete { name } => drop(names.remove(name.as_str())),
                Operation::Truncate { file, length } => {
                    if left.keeps(chance) {
                        files[*file].resize(*length, 0);
                    }
                }
                Operation::Write { file, at, bytes } => {
                    let (mut kept, mut lost) = (0, 0);
                    for (at, piece) in pieces(*at, bytes, left) {
                        if left.keeps(chance) {
                            put(&mut files[*file], at, piece);
                            kept += 1;
                            continue;
                        }
                        lost += 1;
                        // The file's length is kept elsewhere, and may be there without the bytes.
                        let end = at + piece.len();
                        let grows = files[*file].len() < end && !matches!(left, Surviving::Nothing);
                        if grows && chance.below(4) == 0 {
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

/// What of a write gets to the disk or does not.
fn pieces(at: usize, bytes: &[u8], left: Surviving) -> Vec<(usize, &[u8])> {
    if !matches!(left, Surviving::Sectors(_)) {
        return vec![(at, bytes)];
    }
    let (mut pieces, mut at, mut rest) = (Vec::new(), at, bytes);
    while !rest.is_empty() {
        let (piece, further) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        pieces.push((at, piece));
        (at, rest) = (at + piece.len(), further);
    }
    pieces
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}
