//! Clients of the event stream, which read as fast as the server sends.

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

/// Maximum number of bytes in one read from a stream.
const READ_BYTES: usize = 256 << 10;
/// Bytes kept of the end of each stream: more than an event has.
const TAIL_BYTES: usize = 8 << 10;
/// Maximum number of epoll events in one call.
const MAX_EVENTS: usize = 256;
/// Interval at which the reading thread checks the stop flag.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// State of one client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamState {
    /// Id of the last event read, 0 before the first.
    pub(crate) last_id: u64,
    /// Whether the server has ended the stream.
    pub(crate) has_ended: bool,
}

/// Connected clients, read by a thread of their own.
pub(crate) struct Listeners {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Result<Vec<StreamState>>>,
}

struct Client {
    socket: TcpStream,
    tail: Vec<u8>,
    has_ended: bool,
}

impl Listeners {
    /// Connects a client with each of these queries (`?…` or empty).
    pub(crate) fn connect(address: SocketAddr, queries: &[String]) -> Result<Self> {
        let clients = queries.iter().map(|query| Client::connect(address, query));
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let reader_stop = Arc::clone(&stop);
        Ok(Self { stop, reader: thread::spawn(move || read_all(clients, &reader_stop)) })
    }

    /// Stops reading and returns the state of each client's stream.
    pub(crate) fn stop(self) -> Result<Vec<StreamState>> {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.join().map_err(|_panic| anyhow!("the listeners' thread panicked"))?
    }
}

impl Client {
    fn connect(address: SocketAddr, query: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        let head =
            format!("GET /api/events{query} HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {KEY}\r\n\r\n");
        socket.write_all(head.as_bytes())?;
        // With the status line the subscription is in effect, before the first webhook is sent.
        let mut status_line = [0; 12];
        socket.read_exact(&mut status_line)?;
        anyhow::ensure!(status_line.ends_with(b"200"), "{}", String::from_utf8_lossy(&status_line));
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tail: Vec::new(), has_ended: false })
    }

    /// Reads until the socket would block or the stream has ended.
    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => {
                    self.has_ended = true;
                    return Ok(());
                }
                Ok(length) => self.keep_tail(buffer.get(..length).context("no such length")?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.has_ended = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(
            bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or(bytes),
        );
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    fn state(&self) -> StreamState {
        let text = String::from_utf8_lossy(&self.tail);
        let mut ids = text.rsplit('\n').skip(1).filter_map(|line| line.strip_prefix("id: "));
        let last_id = ids.find_map(|id| id.trim().parse().ok()).unwrap_or_default();
        StreamState { last_id, has_ended: self.has_ended }
    }
}

fn read_all(mut clients: Vec<Client>, stop: &AtomicBool) -> Result<Vec<StreamState>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, client) in clients.iter().enumerate() {
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        // Edge-triggered: a stream that has ended would be ready for ever.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &client.socket, data, flags)?;
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(MAX_EVENTS);
    let timeout = Timespec::try_from(STOP_POLL_INTERVAL)?;
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            clients.get_mut(index).context("no such client")?.read(&mut buffer)?;
        }
    }
    Ok(clients.iter().map(Client::state).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_last_whole_id_is_heard_whatever_came_before() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut client = Client { socket, tail: Vec::new(), has_ended: false };
        assert_eq!(client.state(), StreamState { last_id: 0, has_ended: false });
        client.keep_tail("x".repeat(2 * TAIL_BYTES).as_bytes());
        client.keep_tail(
            b"\nevent: change\nid: 41\ndata: {}\n\nevent: change\nid: 42\ndata: {}\n\nid: 4",
        );
        assert_eq!(client.state().last_id, 42);
    }
}
