//! Frames that another process appends to the WAL of its SQLite database, counted from outside.
//!
//! The header of the `-shm` file holds the number of the last committed frame and the WAL's two salts. SQLite
//! adds one to the first salt whenever it restarts the WAL, so between two samples the number has either grown
//! or begun again. After a restart the frames behind the new ones are still those of the generation before, with
//! its salts in their headers, so its last frame is found in the file. So the count is exact as long as no
//! generation begins and ends between two samples; with [`SAMPLE_INTERVAL`] it would have to be shorter than a
//! few hundred frames. If one does, the count is not given.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

/// Interval at which the header is read.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);
/// Length of the header in the `-shm` file, of which there are two copies.
const INDEX_HEADER_BYTES: usize = 48;
/// Length of the header of the WAL.
const WAL_HEADER_BYTES: u64 = 32;
/// Length of the header of a frame, which comes before its page.
const FRAME_HEADER_BYTES: u64 = 24;
/// Salts of a generation of the WAL.
type Salts = [u8; 8];

/// Counting thread.
pub(crate) struct FrameCounter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Option<u64>>>,
}

/// Last committed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    salts: Salts,
    /// Number of the frame, from 1 on; 0 if there is none.
    frame: u64,
    page_bytes: u64,
}

/// Frames counted so far.
struct Count {
    last: Position,
    frames: u64,
    is_exact: bool,
}

impl FrameCounter {
    /// Starts to count the frames of this database; `None` if it has no WAL.
    pub(crate) fn start(database: &Path) -> Result<Option<Self>> {
        let open = |suffix: &str| File::open(format!("{}{suffix}", database.display()));
        let (shm, wal) = match (open("-shm"), open("-wal")) {
            (Ok(shm), Ok(wal)) => (shm, wal),
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || count(&shm, &wal, &is_stopped));
        Ok(Some(Self { stop, thread }))
    }

    /// Number of frames since the start; `None` if some may have been missed.
    pub(crate) fn stop(self) -> Result<Option<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow!("the thread that counts frames panicked"))?
    }
}

fn count(shm: &File, wal: &File, is_stopped: &AtomicBool) -> Result<Option<u64>> {
    let last = loop {
        if let Some(position) = position(shm)? {
            break position;
        }
    };
    let mut count = Count { last, frames: 0, is_exact: true };
    loop {
        // Read before the sample, so that the last sample is of the end.
        let is_last = is_stopped.load(Ordering::Relaxed);
        let sample = position(shm)?;
        if let Some(position) = sample {
            count.advance(position, wal)?;
        }
        if is_last && sample.is_some() {
            return Ok(count.is_exact.then_some(count.frames));
        }
        if !is_last {
            thread::sleep(SAMPLE_INTERVAL);
        }
    }
}

impl Count {
    fn advance(&mut self, position: Position, wal: &File) -> Result<()> {
        let last = self.last;
        if position.salts == last.salts {
            self.frames += position.frame.saturating_sub(last.frame);
        } else {
            // Frames up to this one are of the new generation, or were counted.
            let known = position.frame.max(last.frame);
            let end = last_frame_of(wal, &last, known)?;
            let is_next = generation(last.salts).wrapping_add(1) == generation(position.salts);
            self.is_exact &= is_next && (end > known || known == last.frame);
            self.frames += end.saturating_sub(last.frame) + position.frame;
        }
        self.last = position;
        Ok(())
    }
}

/// First salt, which counts the generations.
fn generation(salts: Salts) -> u32 {
    let [a, b, c, d, ..] = salts;
    u32::from_be_bytes([a, b, c, d])
}

/// Reads the header of the `-shm` file; `None` while SQLite changes it.
fn position(shm: &File) -> Result<Option<Position>> {
    let mut copies = [0; 2 * INDEX_HEADER_BYTES];
    shm.read_exact_at(&mut copies, 0)?;
    let (first, second) = copies.split_at(INDEX_HEADER_BYTES);
    if first != second {
        return Ok(None);
    }
    let bytes = |from: usize, to: usize| first.get(from..to).context("a short header");
    // SQLite's `WalIndexHdr`: the page size, the last frame and the salts. Numbers are in the machine's order,
    // and salts as in the WAL.
    let page_bytes = match u16::from_ne_bytes(bytes(14, 16)?.try_into()?) {
        1 => 65_536,
        page_bytes => u64::from(page_bytes),
    };
    let frame = u64::from(u32::from_ne_bytes(bytes(16, 20)?.try_into()?));
    Ok(Some(Position { salts: bytes(32, 40)?.try_into()?, frame, page_bytes }))
}

/// Last frame in the file of the generation of `position`, of which the frames up to `known` are not looked at.
fn last_frame_of(wal: &File, position: &Position, known: u64) -> Result<u64> {
    let frame_bytes = FRAME_HEADER_BYTES + position.page_bytes;
    let in_file = wal.metadata()?.len().saturating_sub(WAL_HEADER_BYTES) / frame_bytes;
    let (mut low, mut high) = (known, in_file.max(known));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let mut header = [0; 16];
        let offset = WAL_HEADER_BYTES + (middle - 1) * frame_bytes;
        let is_read = wal.read_exact_at(&mut header, offset).is_ok();
        if is_read && header.ends_with(&position.salts) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const PAGE_BYTES: u64 = 512;

    fn at(generation: u32, frame: u64) -> Position {
        let [a, b, c, d] = generation.to_be_bytes();
        Position { salts: [a, b, c, d, 7, 7, 7, 7], frame, page_bytes: PAGE_BYTES }
    }

    /// WAL whose frames are of these generations.
    fn wal(name: &str, generations: &[u32]) -> (PathBuf, File) {
        let mut bytes = vec![0; 32];
        for generation in generations {
            bytes.extend([0; 8]);
            bytes.extend(at(*generation, 0).salts);
            bytes.extend([0; 8 + 512]);
        }
        let path = std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        (path, file)
    }

    #[test]
    fn frames_of_a_generation_that_ended_between_two_samples_are_counted() {
        let (path, wal) = wal("restarted", &[8, 8, 7, 7, 7, 7, 6, 6]);
        let mut count = Count { last: at(7, 1), frames: 0, is_exact: true };
        count.advance(at(7, 4), &wal).unwrap();
        assert_eq!(count.frames, 3);
        count.advance(at(8, 2), &wal).unwrap();
        assert_eq!((count.frames, count.is_exact), (7, true));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_missed_generation_makes_the_count_inexact() {
        let (path, wal) = wal("missed", &[9, 9, 8, 8]);
        let mut count = Count { last: at(7, 3), frames: 0, is_exact: true };
        count.advance(at(9, 2), &wal).unwrap();
        assert!(!count.is_exact);
        // The new generation is longer than the one before was when it was last seen.
        let mut count = Count { last: at(8, 1), frames: 0, is_exact: true };
        count.advance(at(9, 4), &wal).unwrap();
        assert!(!count.is_exact);
        fs::remove_file(path).unwrap();
    }
}
