//! Detection of a damaged WAL, as opposed to one that ends with a transaction cut short by a crash.
//!
//! SQLite reads a WAL up to the first frame with a wrong checksum and drops the rest silently. After a crash
//! that is right: the frames behind belong to the last transaction, which was not acknowledged. But one
//! flipped bit in the middle drops every transaction behind it, although all of them were acknowledged.
//!
//! The two cases differ in the frames behind the break. A transaction begins only after the one before it was
//! synced. So if a later transaction lies behind the break, the broken one was once complete on the disk, and
//! was damaged since. A later transaction is recognised by three things: a commit frame at or behind the
//! break, frames behind it whose checksums follow from its checksum, and a commit frame at their end. All
//! have the salt of this WAL, which changes whenever the WAL is restarted. A checksum follows from the one
//! before it, so frames that an aborted transaction left behind never follow from the commit frame of the
//! transaction that was written over them.
//!
//! A frame behind the break can be checked although the chain from the header is broken: by the checksum
//! stored in the frame before it. Of the broken frame itself, the commit mark counts only if it lies in the
//! same sector as the salt, because a torn write leaves each sector old or new.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::store::sqlite::OpenError;
use crate::store::sqlite::paths::with_suffix;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Size of the unit that a disk writes as a whole, in bytes.
const SECTOR_BYTES: u64 = 512;
/// First word of a WAL whose checksums are sums of little-endian words; this value plus one means big-endian.
const MAGIC: u32 = 0x377f_0682;
/// Default page size, in bytes.
const PAGE_BYTES: usize = 4_096;
/// Number of first frames whose salts are tried for a WAL without a readable header.
const SALT_CANDIDATE_FRAMES: usize = 3;

/// Loss caused by damage of a WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalDamage {
    /// Salt of the WAL, which identifies it.
    pub salt: String,
    /// Number of commit frames at or behind the break.
    pub transactions: u64,
    /// Length of the sound part of the WAL, in bytes.
    pub(crate) sound_bytes: u64,
}

/// Looks for damage in the WAL of this database. Opens the database file unless its page size is given, so
/// the serving process must give it.
pub fn wal_damage(database: &Path, page_bytes: Option<usize>) -> io::Result<Option<WalDamage>> {
    let wal = with_suffix(database, "-wal");
    let length = match std::fs::metadata(&wal) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER_BYTES];
    let mut file = File::open(&wal)?;
    if length <= u64::try_from(HEADER_BYTES + FRAME_HEADER_BYTES).unwrap_or(u64::MAX) {
        return Ok(None);
    }
    file.read_exact(&mut header)?;
    let magic = word(&header, 0);
    let content = header.get(..24).unwrap_or_default();
    let stored = Checksum(word(&header, 24), word(&header, 28));
    let stated = usize::try_from(word(&header, 8)).ok().filter(|bytes| is_page_size(*bytes));
    let big_endian = magic == MAGIC + 1;
    if (magic == MAGIC || big_endian)
        && Checksum::default().of(content, big_endian) == stored
        && let Some(page_bytes) = stated
    {
        let format = WalFormat { salt: salt_of(&header, 16), page_bytes, big_endian };
        return format.scan(&wal, vec![Predecessor { sum: stored, follows_commit: false }], true);
    }
    // SQLite treats a WAL with a wrong header as empty.
    let known = match page_bytes {
        Some(bytes) => Some(bytes),
        None => File::open(database).ok().and_then(|mut file| page_bytes_of(&mut file)),
    };
    for page_bytes in [known, stated, Some(PAGE_BYTES)].into_iter().flatten() {
        for salt in first_salts(&wal, page_bytes)? {
            for big_endian in [false, true] {
                let computed = Checksum::default().of(content, big_endian);
                // The header was synced before the first frame was written.
                let predecessors =
                    [stored, computed].map(|sum| Predecessor { sum, follows_commit: true });
                let format = WalFormat { salt, page_bytes, big_endian };
                if let Some(damage) = format.scan(&wal, predecessors.to_vec(), false)? {
                    return Ok(Some(damage));
                }
            }
        }
    }
    Ok(None)
}

/// Rejects a start on a damaged WAL.
pub(crate) fn require_sound(database: &Path, page_bytes: Option<usize>) -> Result<(), OpenError> {
    let wal = with_suffix(database, "-wal");
    let damage = wal_damage(database, page_bytes.or(Some(PAGE_BYTES)));
    match damage.map_err(|source| OpenError::File { path: wal.clone(), source })? {
        Some(WalDamage { salt, transactions, .. }) => {
            Err(OpenError::WalDamaged { path: wal, salt, transactions })
        }
        None => Ok(()),
    }
}

/// Page size in a database's header, in bytes.
pub(crate) fn page_bytes_of(database: &mut impl Read) -> Option<usize> {
    let mut header = [0; 18];
    database.read_exact(&mut header).ok()?;
    let [.., high, low] = header;
    match u16::from_be_bytes([high, low]) {
        1 => Some(1 << 16),
        bytes => Some(usize::from(bytes)).filter(|bytes| is_page_size(*bytes)),
    }
}

fn is_page_size(bytes: usize) -> bool {
    bytes.is_power_of_two() && (512..=1 << 16).contains(&bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn salt_of(bytes: &[u8], at: usize) -> [u8; 8] {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default()
}

/// Salts of the first frames, without repetition.
fn first_salts(wal: &Path, page_bytes: usize) -> io::Result<Vec<[u8; 8]>> {
    let mut salts = Vec::new();
    let mut frames = Frames::new(wal, page_bytes)?;
    while salts.len() < SALT_CANDIDATE_FRAMES && frames.next()? {
        salts.push(salt_of(&frames.header, 8));
    }
    salts.sort_unstable();
    salts.dedup();
    Ok(salts)
}

/// SQLite's WAL checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Checksum {
    /// Checksum of these bytes, continued from this one.
    fn of(self, bytes: &[u8], big_endian: bool) -> Self {
        let Self(mut one, mut two) = self;
        let (pairs, _rest) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            let word = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            one = one.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(two);
            two = two.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(one);
        }
        Self(one, two)
    }
}

/// Possible predecessor of a frame.
#[derive(Debug, Clone, Copy)]
struct Predecessor {
    /// Checksum of the predecessor.
    sum: Checksum,
    /// Whether the predecessor is, or follows from, a commit frame at or behind the break.
    follows_commit: bool,
}

/// Parameters for reading the frames of a WAL.
#[derive(Debug, Clone, Copy)]
struct WalFormat {
    salt: [u8; 8],
    page_bytes: usize,
    big_endian: bool,
}

impl WalFormat {
    /// Reads all frames. `is_unbroken` says that there is no break before the first one.
    fn scan(
        self,
        wal: &Path,
        mut predecessors: Vec<Predecessor>,
        mut is_unbroken: bool,
    ) -> io::Result<Option<WalDamage>> {
        let mut frames = Frames::new(wal, self.page_bytes)?;
        let mut damaged = false;
        let mut transactions = 0;
        let mut sound_bytes = if is_unbroken { frames.at } else { 0 };
        while frames.next()? {
            let has_salt = salt_of(&frames.header, 8) == self.salt;
            let commits = word(&frames.header, 4) != 0;
            let stored = Checksum(word(&frames.header, 16), word(&frames.header, 20));
            // Frames of an earlier WAL follow from nothing.
            let sums = if has_salt || is_unbroken {
                self.checksums(&mut frames, &predecessors)?
            } else {
                Vec::new()
            };
            let follows = sums.iter().find(|found| has_salt && found.sum == stored).copied();
            if is_unbroken && follows.is_some() {
                predecessors = vec![Predecessor { sum: stored, follows_commit: false }];
                if commits {
                    sound_bytes = frames.at;
                }
                continue;
            }
            if commits && has_salt {
                transactions += 1;
                damaged |= !is_unbroken && follows.is_some_and(|found| found.follows_commit);
            }
            let commits_intact = commits && has_salt && frames.header_is_in_one_sector();
            let follows_commit = match follows {
                Some(found) => commits || found.follows_commit,
                None => commits_intact,
            };
            predecessors = vec![Predecessor { sum: stored, follows_commit }];
            if is_unbroken {
                // If only its checksum or its salt is wrong, the next frame shows it.
                predecessors.extend(
                    sums.iter()
                        .map(|found| Predecessor { sum: found.sum, follows_commit: commits }),
                );
                is_unbroken = false;
            }
        }
        let salt = format!("{:016x}", u64::from_be_bytes(self.salt));
        Ok(damaged.then_some(WalDamage { salt, transactions, sound_bytes }))
    }

    /// Checksums of this frame after each of the predecessors.
    fn checksums(
        self,
        frames: &mut Frames,
        predecessors: &[Predecessor],
    ) -> io::Result<Vec<Predecessor>> {
        let header = frames.header.first_chunk::<8>().copied().unwrap_or_default();
        let page = frames.page()?;
        let sum = |predecessor: &Predecessor| Predecessor {
            sum: predecessor.sum.of(&header, self.big_endian).of(page, self.big_endian),
            ..*predecessor
        };
        Ok(predecessors.iter().map(sum).collect())
    }
}

/// Frames of a WAL, one after the other.
struct Frames {
    file: BufReader<File>,
    length: u64,
    /// Offset of the next frame, in bytes.
    at: u64,
    header: [u8; FRAME_HEADER_BYTES],
    page: Vec<u8>,
    /// Whether the page of this frame has not been read yet.
    unread: bool,
}

impl Frames {
    fn new(wal: &Path, page_bytes: usize) -> io::Result<Self> {
        let file = File::open(wal)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header)?;
        let at = u64::try_from(HEADER_BYTES).unwrap_or(0);
        let page = vec![0; page_bytes];
        Ok(Self { file, length, at, header: [0; FRAME_HEADER_BYTES], page, unread: false })
    }

    /// Reads the header of the next frame. Returns whether there is a complete frame.
    fn next(&mut self) -> io::Result<bool> {
        if self.unread {
            let bytes = i64::try_from(self.page.len()).unwrap_or(0);
            self.file.seek_relative(bytes)?;
        }
        let bytes = u64::try_from(FRAME_HEADER_BYTES + self.page.len()).unwrap_or(u64::MAX);
        let end = self.at.saturating_add(bytes);
        if end > self.length {
            return Ok(false);
        }
        self.file.read_exact(&mut self.header)?;
        self.unread = true;
        self.at = end;
        Ok(true)
    }

    /// Page of this frame.
    fn page(&mut self) -> io::Result<&[u8]> {
        if self.unread {
            self.file.read_exact(&mut self.page)?;
            self.unread = false;
        }
        Ok(&self.page)
    }

    fn header_is_in_one_sector(&self) -> bool {
        let bytes = u64::try_from(FRAME_HEADER_BYTES + self.page.len()).unwrap_or(0);
        let begin = self.at.saturating_sub(bytes);
        let end = begin + u64::try_from(FRAME_HEADER_BYTES).unwrap_or(0);
        begin / SECTOR_BYTES == (end - 1) / SECTOR_BYTES
    }
}
