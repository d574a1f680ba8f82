//! Load generator: one thread that sends requests rendered beforehand and times the answers.
//!
//! A closed stream keeps each of its connections busy with one request at a time, which measures a server's
//! capacity. An open stream follows a fixed schedule, independent of the answers: the latency of a request
//! counts from the time at which it was due, even if it had to wait for a free connection. So a stall is
//! counted for every request that it delayed. Several streams can run side by side.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::connection::{Connection, InFlight, Progress};
use crate::figures::float;
use crate::requests::Requests;
use crate::tally::{Tally, Window, WindowEvent};

/// Maximum wait for answers after the end of the window.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of requests lost with their connection at which a run fails.
const MAX_LOST: u64 = 1000;
/// Maximum number of epoll events in one call.
const MAX_EVENTS: usize = 256;
/// Number of scheduled requests in flight above which the generator pauses before it reads answers.
const PAUSE_ABOVE_IN_FLIGHT: usize = 200;
/// Length of the pause, which is short beside the latency in that situation. Without it each answer would
/// wake the generator, at the expense of the server's CPU.
const PAUSE: Duration = Duration::from_micros(200);

/// Times at which requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// On each connection as soon as the previous request is answered.
    Closed,
    /// At fixed intervals, with this number of requests per second.
    Open(f64),
}

/// Duration of a run.
#[derive(Clone, Copy)]
pub(crate) enum Span {
    /// Until every request is answered.
    All,
    /// For a fixed time after a warm-up.
    Window {
        /// Time before the window, which is not counted.
        warm_up: Duration,
        /// Length of the window.
        length: Duration,
    },
}

/// Callback for each answer, with the index of the request, the HTTP status and the body.
pub(crate) type OnAnswer<'a> = &'a mut dyn FnMut(usize, u16, &[u8]) -> Result<()>;

/// Requests that are sent at one pace.
pub(crate) struct Stream<'a> {
    /// Requests in their order.
    pub(crate) requests: &'a Requests,
    /// Whether the first request follows the last one.
    pub(crate) repeat: bool,
    /// Number of connections. On a schedule it is an upper bound.
    pub(crate) connections: usize,
    /// Times at which the requests are sent.
    pub(crate) pace: Pace,
    /// Called with each answer.
    pub(crate) on_answer: OnAnswer<'a>,
}

/// Stream in progress.
struct Lane<'a> {
    stream: Stream<'a>,
    sent: usize,
    idle_connections: Vec<usize>,
    open_connections: usize,
    in_flight: usize,
    tally: Tally,
}

impl Lane<'_> {
    /// Time at which the next request is due.
    fn due(&self, now: Duration) -> Duration {
        match self.stream.pace {
            Pace::Closed => now,
            Pace::Open(per_second) => Duration::from_secs_f64(float(self.sent) / per_second),
        }
    }

    /// Next request, if it is due now and before the end of the window.
    fn next_request(&mut self, now: Duration, end: Option<Duration>) -> Result<Option<InFlight>> {
        let due = self.due(now);
        if due > now || end.is_some_and(|end| due >= end) {
            return Ok(None);
        }
        let count = self.stream.requests.len();
        let index = if self.stream.repeat { self.sent % count } else { self.sent };
        if index >= count {
            ensure!(end.is_none(), "all {count} requests were sent before the end of the window");
            return Ok(None);
        }
        self.sent += 1;
        Ok(Some(InFlight { index, due }))
    }

    /// Whether more than [`PAUSE_ABOVE_IN_FLIGHT`] scheduled requests are in flight.
    fn has_many_in_flight(&self) -> bool {
        matches!(self.stream.pace, Pace::Open(_)) && self.in_flight > PAUSE_ABOVE_IN_FLIGHT
    }

    /// Whether a connection is idle or can be opened.
    fn has_room(&self) -> bool {
        !self.idle_connections.is_empty() || self.open_connections < self.stream.connections
    }
}

/// Run of some streams.
struct Run<'a> {
    address: SocketAddr,
    epoll: OwnedFd,
    since: Instant,
    window: Window,
    lanes: Vec<Lane<'a>>,
    connections: Vec<Connection>,
}

/// Sends the requests of the streams, and returns a tally of each stream's answers. Calls `on_window_event`
/// when the window begins and when it ends.
pub(crate) fn run(
    address: SocketAddr,
    streams: Vec<Stream<'_>>,
    span: Span,
    on_window_event: &mut dyn FnMut(WindowEvent) -> Result<()>,
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
    run.execute(on_window_event)?;
    Ok(run.lanes.into_iter().map(|lane| lane.tally).collect())
}

fn lane(stream: Stream<'_>) -> Result<Lane<'_>> {
    let tally = Tally::new()?;
    Ok(Lane {
        stream,
        sent: 0,
        idle_connections: Vec::new(),
        open_connections: 0,
        in_flight: 0,
        tally,
    })
}

impl Run<'_> {
    fn execute(
        &mut self,
        on_window_event: &mut dyn FnMut(WindowEvent) -> Result<()>,
    ) -> Result<()> {
        let mut has_begun = false;
        let mut has_ended = false;
        let mut events = Vec::with_capacity(MAX_EVENTS);
        loop {
            let now = self.since.elapsed();
            if !has_begun && now >= self.window.begin {
                has_begun = true;
                on_window_event(WindowEvent::Begin)?;
            }
            if !has_ended && self.window.end.is_some_and(|end| now >= end) {
                has_ended = true;
                on_window_event(WindowEvent::End)?;
            }
            for lane in 0..self.lanes.len() {
                self.send_due(lane)?;
            }
            let may_stop = has_ended || self.window.end.is_none();
            if may_stop && self.lanes.iter().all(|lane| lane.in_flight == 0) {
                break;
            }
            let is_late = self.window.end.is_some_and(|end| now > end + ANSWER_TIMEOUT);
            ensure!(!is_late, "some requests were not answered within {ANSWER_TIMEOUT:?}");
            if self.lanes.iter().any(Lane::has_many_in_flight) {
                thread::sleep(PAUSE);
            }
            let timeout = self.timeout(has_begun, has_ended);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.handle_event(usize::try_from(event.data.u64())?)?;
            }
        }
        if self.window.end.is_none() {
            on_window_event(WindowEvent::End)?;
        }
        Ok(())
    }

    /// Sends requests of a stream that are due, as long as it has a connection for them.
    fn send_due(&mut self, index: usize) -> Result<()> {
        loop {
            let now = self.since.elapsed();
            let lane = self.lanes.get_mut(index).context("no such stream")?;
            if !lane.has_room() {
                return Ok(());
            }
            let Some(request) = lane.next_request(now, self.window.end)? else { return Ok(()) };
            let connection = if let Some(connection) = lane.idle_connections.pop() {
                connection
            } else {
                lane.open_connections += 1;
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

    fn send(&mut self, index: usize, request: InFlight) -> Result<()> {
        let connection = self.connections.get_mut(index).context("no such connection")?;
        let lane = self.lanes.get_mut(connection.lane).context("no such stream")?;
        lane.in_flight += 1;
        connection.begin(request);
        let bytes = lane.stream.requests.get(request.index).context("no such request")?;
        // If the server has closed the connection, an event reports it.
        connection.write(bytes)
    }

    /// Writes to and reads from a connection that is ready.
    fn handle_event(&mut self, index: usize) -> Result<()> {
        let connection = self.connections.get_mut(index).context("no such connection")?;
        let lane = self.lanes.get_mut(connection.lane).context("no such stream")?;
        if let Some(request) = connection.in_flight() {
            let bytes = lane.stream.requests.get(request.index).context("no such request")?;
            connection.write(bytes)?;
        }
        match connection.read()? {
            Progress::Pending => return Ok(()),
            Progress::Closed => {
                let is_request_lost = connection.in_flight().is_some();
                *connection = Connection::open(self.address, connection.lane)?;
                connection.watch(&self.epoll, index)?;
                if !is_request_lost {
                    return Ok(());
                }
                lane.in_flight -= 1;
                lane.tally.lost += 1;
                ensure!(
                    lane.tally.lost < MAX_LOST,
                    "{MAX_LOST} connections were closed before the answer"
                );
            }
            Progress::Answered { request, status, is_closing } => {
                let now = self.since.elapsed();
                (lane.stream.on_answer)(request.index, status, connection.body())?;
                lane.in_flight -= 1;
                lane.tally.count(request, status, now, self.window)?;
                if is_closing {
                    *connection = Connection::open(self.address, connection.lane)?;
                    connection.watch(&self.epoll, index)?;
                }
            }
        }
        let now = self.since.elapsed();
        match lane.next_request(now, self.window.end)? {
            Some(request) => self.send(index, request)?,
            None => lane.idle_connections.push(index),
        }
        Ok(())
    }

    /// Time until the next request is due or the window begins, ends or times out; `None` if only a socket
    /// event can continue the run.
    fn timeout(&self, has_begun: bool, has_ended: bool) -> Option<Timespec> {
        let now = self.since.elapsed();
        let begin = (!has_begun).then_some(self.window.begin);
        let end = if has_ended {
            self.window.end.map(|end| end + ANSWER_TIMEOUT)
        } else {
            self.window.end
        };
        let due = self.lanes.iter().filter(|lane| lane.has_room()).filter_map(|lane| {
            let due = lane.due(now);
            let is_open = matches!(lane.stream.pace, Pace::Open(_));
            (is_open && self.window.end.is_none_or(|end| due < end)).then_some(due)
        });
        let next = begin.into_iter().chain(end).chain(due).min()?;
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

    /// Starts a server of one connection, which answers `count` requests and stalls before one of them. It
    /// ends after its client has closed the connection, because the load would reopen one that the server
    /// closes.
    fn start_server(count: usize, stall_before: usize, stall: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            for number in 0..count {
                socket.read_exact(&mut request).unwrap();
                if number == stall_before {
                    thread::sleep(stall);
                }
                socket.write_all(ANSWER).unwrap();
            }
            assert_eq!(socket.read(&mut request).unwrap(), 0);
        });
        address
    }

    fn render_requests(count: usize) -> Requests {
        let mut requests = Requests::default();
        for _ in 0..count {
            requests.push(|bytes| bytes.extend_from_slice(REQUEST));
        }
        requests
    }

    /// Sends the requests on one connection. Returns the tally and the number of answers.
    fn run_one(
        address: SocketAddr,
        requests: &Requests,
        pace: Pace,
        span: Span,
    ) -> Result<(Tally, usize)> {
        let mut answers = 0;
        let mut on_answer = |_, status, _: &[u8]| {
            assert_eq!(status, 200);
            answers += 1;
            Ok(())
        };
        let stream =
            Stream { requests, repeat: false, connections: 1, pace, on_answer: &mut on_answer };
        let tally = run(address, vec![stream], span, &mut |_| Ok(()))?.pop().unwrap();
        Ok((tally, answers))
    }

    #[test]
    fn a_stall_is_counted_for_every_request_that_it_delayed() {
        let (length, stall) = (Duration::from_millis(500), Duration::from_millis(250));
        let span = Span::Window { warm_up: Duration::ZERO, length };
        let requests = render_requests(500);
        let address = start_server(500, 100, stall);
        let (tally, answers) = run_one(address, &requests, Pace::Open(1_000.0), span).unwrap();
        assert_eq!((answers, tally.latency.len()), (500, 500));
        // A request is due each millisecond, so about 200 waited at least 50 ms for the end of the stall.
        let delayed = tally.latency.count_between(50_000_000, u64::MAX);
        assert!(delayed >= 150, "{delayed}");
    }

    #[test]
    fn a_closed_stream_ends_when_all_is_answered() {
        let requests = render_requests(50);
        let address = start_server(50, 0, Duration::ZERO);
        let (tally, answers) = run_one(address, &requests, Pace::Closed, Span::All).unwrap();
        assert_eq!((answers, tally.accepted, tally.latency.len()), (50, 50, 50));
    }

    #[test]
    fn running_out_of_requests_within_the_window_is_an_error() {
        let requests = render_requests(5);
        let address = start_server(5, 0, Duration::ZERO);
        let span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(5) };
        assert!(run_one(address, &requests, Pace::Closed, span).is_err());
    }
}
