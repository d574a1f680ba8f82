//! Clients of the event stream: they read what they are given as fast as it comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::receiver::KEY;

/// Read at a time from one stream.
const READ: usize = 256 << 10;
/// Kept of the end of each stream: longer than an event.
const KEPT: usize = 8 << 10;
/// Events of epoll taken at a time.
const EVENTS: usize = 256;
/// How often the reader looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What one client has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The last event id.
    pub(crate) last: u64,
    /// Whether the server has ended the stream.
    pub(crate) ended: bool,
}

/// Clients that are connected.
pub(crate) struct Listeners {
    stop: Arc<AtomicBool>,
    reading: JoinHandle<Result<Vec<Heard>>>,
}

struct Client {
    socket: TcpStream,
    end: Vec<u8>,
    ended: bool,
}

impl Listeners {
    /// Connects a client with each of these queries (`?…` or nothing).
    pub(crate) fn connect(address: SocketAddr, queries: &[String]) -> Result<Self> {
        let clients = queries.iter().map(|query| Client::connect(address, query));
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Ok(Self { stop, reading: thread::spawn(move || read_all(clients, &stopped)) })
    }

    /// Stops reading; what each client has read.
    pub(crate) fn stop(self) -> Result<Vec<Heard>> {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.join().map_err(|_panic| anyhow!("the listeners' thread panicked"))?
    }
}

impl Client {
    fn connect(address: SocketAddr, query: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        let head =
            format!("GET /api/events{query} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\n\r\n");
        socket.write_all(head.as_bytes())?;
        // So that it listens before anything happens.
        let mut begin = [0; 12];
        socket.read_exact(&mut begin)?;
        anyhow::ensure!(begin.ends_with(b"200"), "{}", String::from_utf8_lossy(&begin));
        socket.set_nonblocking(true)?;
        Ok(Self { socket, end: Vec::new(), ended: false })
    }

    /// Reads what has come.
    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(length) => self.keep(buffer.get(..length).context("no such length")?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.ended = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn keep(&mut self, read: &[u8]) {
        self.end.extend_from_slice(read.get(read.len().saturating_sub(KEPT)..).unwrap_or(read));
        let surplus = self.end.len().saturating_sub(KEPT);
        self.end.drain(..surplus);
    }

    fn heard(&self) -> Heard {
        let text = String::from_utf8_lossy(&self.end);
        let mut ids = text.rsplit('\n').skip(1).filter_map(|line| line.strip_prefix("id: "));
        let last = ids.find_map(|id| id.trim().parse().ok()).unwrap_or_default();
        Heard { last, ended: self.ended }
    }
}

fn read_all(mut clients: Vec<Client>, stop: &AtomicBool) -> Result<Vec<Heard>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, client) in clients.iter().enumerate() {
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        // On an edge: a stream that has ended would be ready for ever.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &client.socket, data, flags)?;
    }
    let mut buffer = vec![0; READ];
    let mut events = Vec::with_capacity(EVENTS);
    let look = Timespec::try_from(LOOK)?;
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&look)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            clients.get_mut(index).context("no such client")?.read(&mut buffer)?;
        }
    }
    Ok(clients.iter().map(Client::heard).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_last_whole_id_is_heard_whatever_came_before() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut client = Client { socket, end: Vec::new(), ended: false };
        assert_eq!(client.heard(), Heard { last: 0, ended: false });
        client.keep("x".repeat(2 * KEPT).as_bytes());
        client
            .keep(b"\nevent: change\nid: 41\ndata: {}\n\nevent: change\nid: 42\ndata: {}\n\nid: 4");
        assert_eq!(client.heard().last, 42);
    }
}
