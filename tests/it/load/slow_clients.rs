//! Thousands of idle and slow clients do not delay a webhook.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

/// Timeout until all connections are closed: more than the promised 15 seconds, for busy machines. The report
/// shows the time.
const CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Client that sends nothing after its first bytes, or one byte now and then.
struct IdleClient {
    stream: TcpStream,
    is_slow: bool,
    since: Instant,
    closed_after: Option<Duration>,
}

impl IdleClient {
    /// Connects and sends these first bytes.
    fn new(port: u16, first_bytes: &str, is_slow: bool) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(first_bytes.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, is_slow, since: Instant::now(), closed_after: None }
    }

    /// Checks whether the server has closed the connection. A slow client sends one more byte.
    fn poll(&mut self) {
        let mut answer = [0; 4_096];
        let is_closed = match self.stream.read(&mut answer) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if is_closed {
            self.closed_after = Some(self.since.elapsed());
        } else if self.is_slow {
            // The next call finds a connection that was closed meanwhile.
            drop(self.stream.write(b"a"));
        }
    }
}

#[test]
fn thousands_of_idle_clients_do_not_delay_a_webhook() {
    let rng = SeededRng::for_test("crowd");
    let since = Instant::now();
    let (silent, idle) = (repetitions(200, 5_000, 5_000), repetitions(0, 5_000, 5_000));
    let slow = repetitions(50, 2_000, 2_000);
    let scale = (silent + idle + 2 * slow + 1_000).div_ceil(raise_open_file_limit());
    if scale > 1 {
        eprintln!("NOT TESTED in full: one in {scale} connections, as descriptors are limited");
    }
    let server = Server::start(GATEWAY);
    let head = format!("POST {} HTTP/1.1\r\nHost: t\r\n", webhook_path(""));
    let mut idle_clients = Vec::new();
    for (count, is_slow, first_bytes) in [
        (silent, false, String::new()),
        (idle, false, "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n".to_owned()),
        (slow, true, format!("{head}X-Long: ")),
        (slow, true, format!("{head}Content-Length: 1000\r\n\r\n")),
    ] {
        idle_clients.extend(
            (0..count / scale).map(|_| IdleClient::new(server.port, &first_bytes, is_slow)),
        );
    }
    let is_over = AtomicBool::new(false);
    let mut latencies = thread::scope(|scope| {
        let posting = scope.spawn(|| {
            let mut latencies = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let sent_at = Instant::now();
                let number = u64::try_from(latencies.len()).unwrap();
                let answer = server.post(&webhook(&id(number), "SENT", 1).to_string());
                assert_eq!(answer.status, 200, "{answer:?}");
                latencies.push(sent_at.elapsed());
                thread::sleep(Duration::from_millis(10));
            }
            latencies
        });
        let started = Instant::now();
        while idle_clients.iter().any(|client| client.closed_after.is_none())
            && started.elapsed() < CLOSE_TIMEOUT
        {
            idle_clients
                .iter_mut()
                .filter(|client| client.closed_after.is_none())
                .for_each(IdleClient::poll);
            thread::sleep(Duration::from_millis(500));
        }
        is_over.store(true, Ordering::Relaxed);
        posting.join().unwrap()
    });
    latencies.sort();
    let p99 = latencies[latencies.len() * 99 / 100];
    let last = |is_slow: bool| {
        let clients = idle_clients.iter().filter(|client| client.is_slow == is_slow);
        clients
            .map(|client| client.closed_after.expect("the server closes each connection"))
            .max()
            .unwrap()
    };
    let (last, last_slow) = (last(false), last(true));
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let figures = [
        ("idle and slow connections", u64::try_from(idle_clients.len()).unwrap()),
        ("webhooks meanwhile", u64::try_from(latencies.len()).unwrap()),
        ("ms at the 99th percentile", milliseconds(p99)),
        ("ms until the last slow one was closed", milliseconds(last_slow)),
        ("ms until the last idle one was closed", milliseconds(last)),
    ];
    report("P21", &rng, &figures, since);
}
