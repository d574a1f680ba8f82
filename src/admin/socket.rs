//! Admin socket: its path, binding and connecting, and reading one command.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::OwnedReadHalf;

use super::protocol::Command;

/// Backlog: connections that may wait to be accepted.
const BACKLOG: i32 = 16;
/// Maximum length of a socket path that is passed to the kernel, in bytes.
const MAX_ADDRESS_BYTES: usize = 100;
/// Maximum length of a command, in bytes; a replay with many ids is the longest.
const MAX_COMMAND_BYTES: u64 = 4 << 20;

/// Reads one line and parses the command, or says why it is not a command.
pub(crate) async fn read_command(
    stream: &mut OwnedReadHalf,
) -> std::io::Result<Result<Command, String>> {
    let mut line = Vec::new();
    let mut stream = BufReader::new(stream).take(MAX_COMMAND_BYTES);
    stream.read_until(b'\n', &mut line).await?;
    if stream.limit() == 0 {
        return Ok(Err(format!("the admin command is longer than {MAX_COMMAND_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&line).map_err(|error| format!("invalid admin command: {error}")))
}

/// Waits until the peer closes its end.
pub(crate) async fn wait_until_closed(stream: &mut OwnedReadHalf) {
    while matches!(stream.read(&mut [0]).await, Ok(1..)) {}
}

/// Path of the admin socket of this database.
pub fn socket(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// Address of a socket at this path. The kernel takes only short paths; a longer one is named through its
/// directory, which must stay open as long as the address is used.
fn address(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok((path.to_owned(), None));
    };
    let directory = File::open(directory)?;
    let address = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((address, Some(directory)))
}

/// Binds the admin socket of this database, for its owner alone. Only the holder of the database's lock may
/// do so: an existing socket file belongs to a dead process.
pub fn bind(database: &Path) -> std::io::Result<UnixListener> {
    let (address, _directory) = address(&socket(database))?;
    match std::fs::remove_file(&address) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&address)?)?;
    // Permissions are set before the socket listens: no other user can connect in between.
    std::fs::set_permissions(&address, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Connects to the admin socket of this database.
pub fn connect(database: &Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    let (address, _directory) = address(&socket(database))?;
    std::os::unix::net::UnixStream::connect(address)
}
