//! The admin socket: where it is, how it is bound and reached, and how one command is read from it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::OwnedReadHalf;

use super::Command;

/// How many commands may wait to be accepted.
const WAITING: i32 = 16;
/// The longest path that the kernel takes for a socket's address.
const LONGEST_ADDRESS: usize = 100;
/// The longest command: the ids of a replay are what is longest.
const LONGEST_LINE: u64 = 4 << 20;

/// Reads one line, or says why it is no command.
pub(super) async fn read_command(
    stream: &mut OwnedReadHalf,
) -> std::io::Result<Result<Command, String>> {
    let mut line = Vec::new();
    let mut stream = BufReader::new(stream).take(LONGEST_LINE);
    stream.read_until(b'\n', &mut line).await?;
    if stream.limit() == 0 {
        return Ok(Err(format!("the admin command is longer than {LONGEST_LINE} bytes")));
    }
    Ok(serde_json::from_slice(&line).map_err(|error| format!("no admin command: {error}")))
}

/// Waits until the other end is closed.
pub(super) async fn gone(stream: &mut OwnedReadHalf) {
    while matches!(stream.read(&mut [0]).await, Ok(1..)) {}
}

/// The path of the admin socket of this database.
pub fn socket(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// The address of a socket at this path. The kernel takes only short ones; what is longer is named
/// through its directory, which must stay open as long as the address is used.
fn address(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= LONGEST_ADDRESS {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok((path.to_owned(), None));
    };
    let directory = File::open(directory)?;
    let address = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((address, Some(directory)))
}

/// Binds the admin socket of this database, for its owner alone. Only the holder of the database's
/// lock may do so: whatever socket is there is a dead process's.
pub fn bind(database: &Path) -> std::io::Result<UnixListener> {
    let (address, _directory) = address(&socket(database))?;
    match std::fs::remove_file(&address) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&address)?)?;
    // Before it listens, so that nobody else can connect in between.
    std::fs::set_permissions(&address, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(WAITING)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Connects to the admin socket of this database.
pub fn connect(database: &Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    let (address, _directory) = address(&socket(database))?;
    std::os::unix::net::UnixStream::connect(address)
}
