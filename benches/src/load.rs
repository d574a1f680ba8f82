//! The load generator: one thread that sends requests rendered beforehand and times the answers.
//!
//! A closed stream keeps each of its connections busy with one request at a time, which finds a
//! server's capacity. An open stream follows a fixed schedule whatever the server does: a request is
//! timed from when it was due, also if it had to wait for a free connection, so a stall is counted
//! for every request that it delayed. Several streams can run side by side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::connection::{Connection, Progress, UnderWay};
use crate::figures::float;

/// How long answers are waited for after the last request was due.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many requests may be lost with their connection before a run is given up.
const TOO_MANY_LOST: u64 = 1000;
/// How many events are taken at a time.
const EVENTS: usize = 256;

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

/// What came of a stream. The counts are of answers that came within the window; the latencies, in
/// nanoseconds, of requests that were due within it, whenever they were answered.
pub(crate) struct Tally {
    /// Answers 2xx.
    pub(crate) accepted: u64,
    /// Answers 503.
    pub(crate) refused: u64,
    /// Any other answers, of the whole run.
    pub(crate) others: u64,
    /// Requests whose connection was closed before the answer, of the whole run.
    pub(crate) lost: u64,
    /// Requests that were still without an answer when patience was over.
    pub(crate) unanswered: u64,
    /// Latencies of those answered 2xx.
    pub(crate) latency: Histogram<u64>,
    /// Latencies of those answered 503.
    pub(crate) refusal: Histogram<u64>,
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

    /// Whether a request could be sent now if it were due.
    fn has_room(&self) -> bool {
        !self.idle.is_empty() || self.opened < self.stream.connections
    }
}

/// The window, in time since the run began.
#[derive(Clone, Copy)]
struct Window {
    begin: Duration,
    end: Option<Duration>,
}

impl Window {
    fn holds(self, time: Duration) -> bool {
        time >= self.begin && self.end.is_none_or(|end| time < end)
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
    let tally = Tally {
        accepted: 0,
        refused: 0,
        others: 0,
        lost: 0,
        unanswered: 0,
        latency: Histogram::new(3)?,
        refusal: Histogram::new(3)?,
    };
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
            if self.window.end.is_some_and(|end| now > end + PATIENCE) {
                self.give_up(now);
                break;
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
            let connection = match lane.idle.pop() {
                Some(connection) => connection,
                None => {
                    lane.opened += 1;
                    self.open(index)?
                }
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
        let begin = (!begun).then_some(self.window.begin);
        let end = if ended { self.window.end.map(|end| end + PATIENCE) } else { self.window.end };
        let due = self.lanes.iter().filter(|lane| lane.has_room()).filter_map(|lane| {
            let due = lane.due(now);
            let open = matches!(lane.stream.pace, Pace::Open(_));
            (open && self.window.end.is_none_or(|end| due < end)).then_some(due)
        });
        let next = begin.into_iter().chain(end).chain(due).min()?;
        Timespec::try_from(next.saturating_sub(now)).ok()
    }

    /// Counts what is not answered with the time that it has waited.
    fn give_up(&mut self, now: Duration) {
        for connection in &self.connections {
            let Some(lane) = self.lanes.get_mut(connection.lane) else { continue };
            if let Some(request) = connection.under_way() {
                lane.tally.unanswered += 1;
                if self.window.holds(request.due) {
                    lane.tally.latency.saturating_record(nanoseconds(now - request.due));
                }
            }
        }
        for lane in &mut self.lanes {
            while let Pace::Open(_) = lane.stream.pace {
                let Ok(Some(request)) = lane.take(now, self.window.end) else { break };
                lane.tally.unanswered += 1;
                lane.tally.latency.saturating_record(nanoseconds(now - request.due));
            }
        }
    }
}

impl Tally {
    fn count(
        &mut self,
        request: UnderWay,
        status: u16,
        now: Duration,
        window: Window,
    ) -> Result<()> {
        let (count, latency) = match status {
            200..300 => (&mut self.accepted, &mut self.latency),
            503 => (&mut self.refused, &mut self.refusal),
            _ => {
                self.others += 1;
                return Ok(());
            }
        };
        if window.holds(now) {
            *count += 1;
        }
        if window.holds(request.due) {
            latency.record(nanoseconds(now.saturating_sub(request.due)))?;
        }
        Ok(())
    }

    /// Fails if anything but 2xx and 503 came.
    pub(crate) fn sound(&self) -> Result<()> {
        if self.others > 0 || self.lost > 0 {
            bail!("{} answers neither 2xx nor 503, {} without any", self.others, self.lost);
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
