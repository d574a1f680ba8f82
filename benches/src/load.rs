//! The load generator: one thread that sends requests rendered beforehand and times the answers.
//!
//! A closed stream keeps each of its connections busy with one request at a time, which finds a
//! server's capacity. An open stream follows a fixed schedule whatever the server does: a request is
//! timed from when it was due, also if it had to wait for a free connection, so a stall is counted
//! for every request that it delayed. Several streams can run side by side.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::connection::{Connection, Progress, UnderWay};
use crate::figures::float;
use crate::tally::{Tally, Window};

/// How long answers are waited for after the last request was due.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many requests may be lost with their connection before a run is given up.
const TOO_MANY_LOST: u64 = 1000;
/// How many events are taken at a time.
const EVENTS: usize = 256;
/// When more requests of a schedule than this are under way,
const MANY: usize = 200;
/// answers are waited for at least so long, which is nothing beside how long they take then: each would
/// have to wake the generator otherwise, and the server is who pays for that.
const PAUSE: Duration = Duration::from_micros(200);

/// Requests, rendered one after the other.
#[derive(Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Room for so many requests of about this length.
    pub(crate) fn with_capacity(count: usize, length: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * length), ends: Vec::with_capacity(count) }
    }

    /// Adds one.
    pub(crate) fn push(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        render(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of one.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let start = match index.checked_sub(1) {
            Some(previous) => *self.ends.get(previous)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(index)?)
    }
}

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// On each connection, as soon as the one before is answered.
    Closed,
    /// At fixed times, so many a second.
    Open(f64),
}

/// How long a run lasts.
#[derive(Clone, Copy)]
pub(crate) enum Span {
    /// Until every request is answered.
    All,
    /// So long, after a warm-up that is not counted.
    Window {
        /// Not counted.
        warm_up: Duration,
        /// Counted.
        length: Duration,
    },
}

/// What is called with each answer: which request it was, the status and the body.
pub(crate) type Answered<'a> = &'a mut dyn FnMut(usize, u16, &[u8]) -> Result<()>;

/// Requests that are sent in one way.
pub(crate) struct Stream<'a> {
    /// Them, in order.
    pub(crate) requests: &'a Requests,
    /// Whether to begin again after the last one.
    pub(crate) again: bool,
    /// How many connections: exactly, or, on a schedule, at most.
    pub(crate) connections: usize,
    /// When they are sent.
    pub(crate) pace: Pace,
    /// Hears of every answer.
    pub(crate) answered: Answered<'a>,
}

/// A border of the window.
#[derive(Clone, Copy)]
pub(crate) enum Border {
    /// It begins.
    Begin,
    /// It ends.
    End,
}

/// A stream under way.
struct Lane<'a> {
    stream: Stream<'a>,
    taken: usize,
    idle: Vec<usize>,
    opened: usize,
    under_way: usize,
    tally: Tally,
}

impl Lane<'_> {
    /// When the next request is due.
    fn due(&self, now: Duration) -> Duration {
        match self.stream.pace {
            Pace::Closed => now,
            Pace::Open(per_second) => Duration::from_secs_f64(float(self.taken) / per_second),
        }
    }

    /// The next request, if it is due and before the end.
    fn take(&mut self, now: Duration, end: Option<Duration>) -> Result<Option<UnderWay>> {
        let due = self.due(now);
        if due > now || end.is_some_and(|end| due >= end) {
            return Ok(None);
        }
        let count = self.stream.requests.len();
        let index = if self.stream.again { self.taken % count } else { self.taken };
        if index >= count {
            ensure!(end.is_none(), "all {count} requests are sent and the window is not over");
            return Ok(None);
        }
        self.taken += 1;
        Ok(Some(UnderWay { index, due }))
    }

    /// Whether so many requests of a schedule are under way that a pause is nothing to them.
    fn has_many_under_way(&self) -> bool {
        matches!(self.stream.pace, Pace::Open(_)) && self.under_way > MANY
    }

    /// Whether a request could be sent now if it were due.
    fn has_room(&self) -> bool {
        !self.idle.is_empty() || self.opened < self.stream.connections
    }
}

/// A run.
struct Run<'a> {
    address: SocketAddr,
    epoll: OwnedFd,
    since: Instant,
    window: Window,
    lanes: Vec<Lane<'a>>,
    connections: Vec<Connection>,
}

/// Sends the streams' requests and says what came of each. `border` is called at once when the
/// window begins and ends.
pub(crate) fn run(
    address: SocketAddr,
    streams: Vec<Stream<'_>>,
    span: Span,
    border: &mut dyn FnMut(Border) -> Result<()>,
) -> Result<Vec<Tally>> {
    let window = match span {
        Span::All => Window { begin: Duration::ZERO, end: None },
        Span::Window { warm_up, length } => Window { begin: warm_up, end: Some(warm_up + length) },
    };
    let lanes = streams.into_iter().map(lane).collect::<Result<Vec<_>>>()?;
    let mut run = Run {
        address,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        since: Instant::now(),
        window,
        lanes,
        connections: Vec::new(),
    };
    run.go(border)?;
    Ok(run.lanes.into_iter().map(|lane| lane.tally).collect())
}

fn lane(stream: Stream<'_>) -> Result<Lane<'_>> {
    let tally = Tally::new()?;
    Ok(Lane { stream, taken: 0, idle: Vec::new(), opened: 0, under_way: 0, tally })
}

impl Run<'_> {
    fn go(&mut self, border: &mut dyn FnMut(Border) -> Result<()>) -> Result<()> {
        let mut begun = false;
        let mut ended = false;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = self.since.elapsed();
            if !begun && now >= self.window.begin {
                begun = true;
                border(Border::Begin)?;
            }
            if !ended && self.window.end.is_some_and(|end| now >= end) {
                ended = true;
                border(Border::End)?;
            }
            for lane in 0..self.lanes.len() {
                self.fill(lane)?;
            }
            let over = ended || self.window.end.is_none();
            if over && self.lanes.iter().all(|lane| lane.under_way == 0) {
                break;
            }
            let late = self.window.end.is_some_and(|end| now > end + PATIENCE);
            ensure!(!late, "some requests were not answered within {PATIENCE:?}");
            if self.lanes.iter().any(Lane::has_many_under_way) {
                thread::sleep(PAUSE);
            }
            let wake = self.wake(begun, ended);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), wake.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.proceed(usize::try_from(event.data.u64())?)?;
            }
        }
        if self.window.end.is_none() {
            border(Border::End)?;
        }
        Ok(())
    }

    /// Sends what is due and has a connection.
    fn fill(&mut self, index: usize) -> Result<()> {
        loop {
            let now = self.since.elapsed();
            let lane = self.lanes.get_mut(index).context("no such stream")?;
            if !lane.has_room() {
                return Ok(());
            }
            let Some(request) = lane.take(now, self.window.end)? else { return Ok(()) };
            let connection = if let Some(connection) = lane.idle.pop() {
                connection
            } else {
                lane.opened += 1;
                self.open(index)?
            };
            self.send(connection, request)?;
        }
    }

    fn open(&mut self, lane: usize) -> Result<usize> {
        let index = self.connections.len();
        let connection = Connection::open(self.address, lane)?;
        connection.watch(&self.epoll, index)?;
        self.connections.push(connection);
        Ok(index)
    }

    fn send(&mut self, index: usize, request: UnderWay) -> Result<()> {
        let connection = self.connections.get_mut(index).context("no such connection")?;
        let lane = self.lanes.get_mut(connection.lane).context("no such stream")?;
        lane.under_way += 1;
        connection.begin(request);
        let bytes = lane.stream.requests.get(request.index).context("no such request")?;
        // What was closed meanwhile is found by its event.
        connection.write(bytes)
    }

    /// Goes on with a connection that is ready for something.
    fn proceed(&mut self, index: usize) -> Result<()> {
        let connection = self.connections.get_mut(index).context("no such connection")?;
        let lane = self.lanes.get_mut(connection.lane).context("no such stream")?;
        if let Some(request) = connection.under_way() {
            let bytes = lane.stream.requests.get(request.index).context("no such request")?;
            connection.write(bytes)?;
        }
        match connection.read()? {
            Progress::Pending => return Ok(()),
            Progress::Closed => {
                let lost = connection.under_way().is_some();
                *connection = Connection::open(self.address, connection.lane)?;
                connection.watch(&self.epoll, index)?;
                if !lost {
                    return Ok(());
                }
                lane.under_way -= 1;
                lane.tally.lost += 1;
                ensure!(
                    lane.tally.lost < TOO_MANY_LOST,
                    "connections are closed without an answer"
                );
            }
            Progress::Answered { request, status, closing } => {
                let now = self.since.elapsed();
                (lane.stream.answered)(request.index, status, connection.body())?;
                lane.under_way -= 1;
                lane.tally.count(request, status, now, self.window)?;
                if closing {
                    *connection = Connection::open(self.address, connection.lane)?;
                    connection.watch(&self.epoll, index)?;
                }
            }
        }
        let now = self.since.elapsed();
        match lane.take(now, self.window.end)? {
            Some(request) => self.send(index, request)?,
            None => lane.idle.push(index),
        }
        Ok(())
    }

    /// How long nothing will have to be done by itself.
    fn wake(&self, begun: bool, ended: bool) -> Option<Timespec> {
        let now = self.since.elapsed();
        let first = (!begun).then_some(self.window.begin);
        let end = if ended { self.window.end.map(|end| end + PATIENCE) } else { self.window.end };
        let due = self.lanes.iter().filter(|lane| lane.has_room()).filter_map(|lane| {
            let due = lane.due(now);
            let open = matches!(lane.stream.pace, Pace::Open(_));
            (open && self.window.end.is_none_or(|end| due < end)).then_some(due)
        });
        let next = first.into_iter().chain(end).chain(due).min()?;
        Timespec::try_from(next.saturating_sub(now)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// A server of one connection, which answers `count` requests and rests before one of them. It
    /// leaves when its client has: a connection closed earlier would be opened again by the load.
    fn server(count: usize, rest_before: usize, rest: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            for number in 0..count {
                socket.read_exact(&mut request).unwrap();
                if number == rest_before {
                    thread::sleep(rest);
                }
                socket.write_all(ANSWER).unwrap();
            }
            assert_eq!(socket.read(&mut request).unwrap(), 0);
        });
        address
    }

    fn requests(count: usize) -> Requests {
        let mut requests = Requests::default();
        for _ in 0..count {
            requests.push(|bytes| bytes.extend_from_slice(REQUEST));
        }
        requests
    }

    fn sent(address: SocketAddr, requests: &Requests, pace: Pace, span: Span) -> (Tally, usize) {
        let mut answers = 0;
        let mut answered = |_, status, _: &[u8]| {
            assert_eq!(status, 200);
            answers += 1;
            Ok(())
        };
        let stream =
            Stream { requests, again: false, connections: 1, pace, answered: &mut answered };
        let tally = run(address, vec![stream], span, &mut |_| Ok(())).unwrap().pop().unwrap();
        (tally, answers)
    }

    #[test]
    fn a_stall_is_counted_for_every_request_that_it_delayed() {
        let (length, rest) = (Duration::from_millis(500), Duration::from_millis(250));
        let span = Span::Window { warm_up: Duration::ZERO, length };
        let requests = requests(500);
        let address = server(500, 100, rest);
        let (tally, answers) = sent(address, &requests, Pace::Open(1_000.0), span);
        assert_eq!((answers, tally.latency.len()), (500, 500));
        // About 250 requests were due while it rested: the median waited for half of that.
        let delayed = tally.latency.count_between(50_000_000, u64::MAX);
        assert!(delayed >= 150, "{delayed}");
    }

    #[test]
    fn a_closed_stream_ends_when_all_is_answered() {
        let requests = requests(50);
        let address = server(50, 0, Duration::ZERO);
        let (tally, answers) = sent(address, &requests, Pace::Closed, Span::All);
        assert_eq!((answers, tally.accepted, tally.latency.len()), (50, 50, 50));
    }

    #[test]
    fn running_out_of_requests_within_the_window_is_an_error() {
        let requests = requests(5);
        let address = server(5, 0, Duration::ZERO);
        let answered = &mut |_, _, _: &[u8]| Ok(());
        let stream = Stream {
            requests: &requests,
            again: false,
            connections: 1,
            pace: Pace::Closed,
            answered,
        };
        let span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(5) };
        assert!(run(address, vec![stream], span, &mut |_| Ok(())).is_err());
    }
}
