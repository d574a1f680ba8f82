//! Reader of regular files only: a FIFO or a device could block the reader for ever.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Absolute path of a file, whatever the working directory is.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_directory| path.to_owned())
}

/// Reads the text of a regular file of at most `max_bytes` bytes.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<String, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message);
    // Without this flag, opening a FIFO would wait for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("it is not a regular file but a directory, FIFO or device".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        return Err(wrong(format!("it is longer than {max_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|_not_utf8| {
        Error::new(ErrorKind::InvalidData, "it is not UTF-8; save it with that encoding")
    })
}
