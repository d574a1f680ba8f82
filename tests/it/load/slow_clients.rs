//! Thousands of idle and slow clients do not delay a webhook.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::*;

/// How long this waits until all are closed. 15 seconds are promised; the report shows the time, but a
/// busy machine must not decide.
const PATIENCE: Duration = Duration::from_mins(1);

/// One who says nothing more, or a byte now and then.
struct Idler {
    stream: TcpStream,
    slow: bool,
    since: Instant,
    closed_after: Option<Duration>,
}

impl Idler {
    /// Connects and says this.
    fn new(port: u16, said: &str, slow: bool) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, slow, since: Instant::now(), closed_after: None }
    }

    /// Looks whether it was closed, and says one more byte, if that is what it does.
    fn look(&mut self) {
        let mut answer = [0; 4_096];
        let closed = match self.stream.read(&mut answer) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if closed {
            self.closed_after = Some(self.since.elapsed());
        } else if self.slow {
            // That it was closed meanwhile is seen by the next look.
            drop(self.stream.write(b"a"));
        }
    }
}

#[test]
fn thousands_of_idle_clients_do_not_delay_a_webhook() {
    let chance = Chance::of("crowd");
    let since = Instant::now();
    let (silent, idle) = (times(200, 5_000, 5_000), times(0, 5_000, 5_000));
    let slow = times(50, 2_000, 2_000);
    let scale = (silent + idle + 2 * slow + 1_000).div_ceil(raised_limit());
    if scale > 1 {
        eprintln!("NOT TESTED in full: one in {scale} connections, as descriptors are limited");
    }
    let server = Server::start(GATEWAY);
    let head = format!("POST {} HTTP/1.1\r\nHost: t\r\n", webhook_path(""));
    let mut crowd = Vec::new();
    for (count, dribbles, said) in [
        (silent, false, String::new()),
        (idle, false, "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n".to_owned()),
        (slow, true, format!("{head}X-Long: ")),
        (slow, true, format!("{head}Content-Length: 1000\r\n\r\n")),
    ] {
        crowd.extend((0..count / scale).map(|_| Idler::new(server.port, &said, dribbles)));
    }
    let over = AtomicBool::new(false);
    let mut took = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let number = u64::try_from(took.len()).unwrap();
                let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
                assert_eq!(answer.status, 200, "{answer:?}");
                took.push(asked.elapsed());
                thread::sleep(Duration::from_millis(10));
            }
            took
        });
        let patience = Instant::now();
        while crowd.iter().any(|idler| idler.closed_after.is_none())
            && patience.elapsed() < PATIENCE
        {
            crowd.iter_mut().filter(|idler| idler.closed_after.is_none()).for_each(Idler::look);
            thread::sleep(Duration::from_millis(500));
        }
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    let last = |slow: bool| {
        let them = crowd.iter().filter(|idler| idler.slow == slow);
        them.map(|idler| idler.closed_after.expect("it was never closed")).max().unwrap()
    };
    let (last, last_slow) = (last(false), last(true));
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let figures = [
        ("idle and slow connections", u64::try_from(crowd.len()).unwrap()),
        ("webhooks meanwhile", u64::try_from(took.len()).unwrap()),
        ("ms for 99 of 100", milliseconds(p99)),
        ("ms until the last slow one was closed", milliseconds(last_slow)),
        ("ms until the last idle one was", milliseconds(last)),
    ];
    report("P21", &chance, &figures, since);
}
