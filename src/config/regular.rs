//! Reading regular files, and nothing else: a FIFO or a device could keep the reader waiting for ever.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The text of a regular file of at most so many bytes.
pub(super) fn read(path: &Path, longest: u64) -> Result<String, Error> {
    let wrong = |words: String| Error::new(ErrorKind::InvalidInput, words);
    // Opening a FIFO would otherwise wait for somebody to write to it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("it is no regular file, but a directory, FIFO or device".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > longest) {
        return Err(wrong(format!("it is longer than {longest} bytes")));
    }
    String::from_utf8(bytes).map_err(|_not_utf8| {
        Error::new(ErrorKind::InvalidData, "it is not UTF-8; save it with that encoding")
    })
}
