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
use crate::stream::Lane;
pub(crate) use crate::stream::{OnAnswer, Pace, Stream};
use crate::tally::{Tally, Window, WindowEvent};

/// Maximum wait for answers after the end of the window.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of requests lost with their connection at which a run fails.
const MAX_LOST: u64 = 1000;
/// Interval at which a run asks whether its lead-in is over.
const LEAD_IN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of epoll events in one call.
const MAX_EVENTS: usize = 256;
/// Length of the pause, which is short beside the latency in that situation. Without it each answer would
/// wake the generator, at the expense of the server's CPU.
const PAUSE: Duration = Duration::from_micros(200);

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

/// Run of some streams.
struct Run<'a> {
    address: SocketAddr,
    epoll: OwnedFd,
    since: Instant,
    window: Window,
    /// Length of a window that begins after a lead-in.
    length_after_lead_in: Duration,
    /// Time at which the run asks whether its lead-in is over.
    next_poll: Duration,
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
    let (begin, end) = match span {
        Span::All => (Duration::ZERO, None),
        Span::Window { warm_up, length } => (warm_up, Some(warm_up + length)),
    };
    let mut run = Run::new(address, streams, Window { begin: Some(begin), end })?;
    run.execute(&mut |event| on_window_event(event).map(|()| true))?;
    Ok(run.tallies())
}

/// Sends the requests of the streams as [`run`] does, in a window of this length after a lead-in. The lead-in
/// lasts until `on_window_event` returns `true` for [`WindowEvent::LeadIn`], which comes ten times a second.
pub(crate) fn run_after_lead_in(
    address: SocketAddr,
    streams: Vec<Stream<'_>>,
    length: Duration,
    on_window_event: &mut dyn FnMut(WindowEvent) -> Result<bool>,
) -> Result<Vec<Tally>> {
    let mut run = Run::new(address, streams, Window { begin: None, end: None })?;
    run.length_after_lead_in = length;
    run.execute(on_window_event)?;
    Ok(run.tallies())
}

impl<'a> Run<'a> {
    fn new(address: SocketAddr, streams: Vec<Stream<'a>>, window: Window) -> Result<Self> {
        Ok(Self {
            address,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            since: Instant::now(),
            window,
            length_after_lead_in: Duration::ZERO,
            next_poll: Duration::ZERO,
            lanes: streams.into_iter().map(Lane::new).collect::<Result<_>>()?,
            connections: Vec::new(),
        })
    }

    fn tallies(self) -> Vec<Tally> {
        self.lanes.into_iter().map(|lane| lane.tally).collect()
    }

    fn execute(
        &mut self,
        on_window_event: &mut dyn FnMut(WindowEvent) -> Result<bool>,
    ) -> Result<()> {
        let mut has_begun = false;
        let mut has_ended = false;
        let mut events = Vec::with_capacity(MAX_EVENTS);
        loop {
            let now = self.since.elapsed();
            if self.window.begin.is_none() && now >= self.next_poll {
                self.next_poll = now + LEAD_IN_POLL_INTERVAL;
                let accepted = self.lanes.iter().map(|lane| lane.tally.all_accepted()).sum();
                if on_window_event(WindowEvent::LeadIn { elapsed: now, accepted })? {
                    let end = Some(now + self.length_after_lead_in);
                    self.window = Window { begin: Some(now), end };
                }
            }
            if !has_begun && self.window.begin.is_some_and(|begin| now >= begin) {
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
            let may_stop = has_ended || self.window.ends_with_the_last_answer();
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
        if self.window.ends_with_the_last_answer() {
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
            let Some(request) = lane.next_request(now, self.window)? else { return Ok(()) };
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
        match lane.next_request(now, self.window)? {
            Some(request) => self.send(index, request)?,
            None => lane.idle_connections.push(index),
        }
        Ok(())
    }

    /// Time until the next request is due, the lead-in may be over, or the window begins, ends or times out;
    /// `None` if only a socket event can continue the run.
    fn timeout(&self, has_begun: bool, has_ended: bool) -> Option<Timespec> {
        let now = self.since.elapsed();
        let begin = (!has_begun).then(|| self.window.begin.unwrap_or(self.next_poll));
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
    use crate::requests::Requests;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Starts a server of one connection, which answers up to `count` requests and stalls before one of them.
    /// It ends after its client has closed the connection, because the load would reopen one that the server
    /// closes.
    fn start_server(count: usize, stall_before: usize, stall: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            for number in 0..count {
                if socket.read_exact(&mut request).is_err() {
                    return;
                }
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
    fn the_window_begins_when_the_lead_in_is_over() {
        let requests = render_requests(20_000);
        let address = start_server(20_000, 0, Duration::ZERO);
        let stream = Stream {
            requests: &requests,
            repeat: false,
            connections: 1,
            pace: Pace::Open(1_000.0),
            on_answer: &mut |_, _, _| Ok(()),
        };
        let (mut accepted_before, mut polls) = (0, 0);
        let length = Duration::from_millis(100);
        let tallies = run_after_lead_in(address, vec![stream], length, &mut |event| {
            if let WindowEvent::LeadIn { accepted, .. } = event {
                (accepted_before, polls) = (accepted, polls + 1);
            }
            Ok(polls == 3)
        });
        let tally = tallies.unwrap().pop().unwrap();
        assert_eq!((polls, tally.latency.len()), (3, 100));
        assert!(accepted_before > 0 && tally.all_accepted() >= accepted_before + 100);
    }

    #[test]
    fn running_out_of_requests_within_the_window_is_an_error() {
        let requests = render_requests(5);
        let address = start_server(5, 0, Duration::ZERO);
        let span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(5) };
        assert!(run_one(address, &requests, Pace::Closed, span).is_err());
    }
}
