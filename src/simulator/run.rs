//! Run of a plan against a server, and comparison of the results.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, Serializer};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::plan::{Kind, PlannedMessage, Post, plan};
use super::random::Random;

/// Time for which a request is retried, while the server asks for it or cannot be reached.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);
/// Time to wait for the server before the run; it may be starting or restarting.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Webhook that is accepted and states no message status.
const TEST_WEBHOOK: &str = r#"{"type":"TEST"}"#;
/// Id that no message has.
const UNKNOWN_MESSAGE_ID: &str = "00000000-0000-0000-0000-000000000000";
/// Maximum number of differences shown.
const MAX_SHOWN_DIFFERENCES: usize = 10;

/// Options of a simulation, and its server.
pub struct Options {
    /// URL of the server for queries, without a path.
    pub url: String,
    /// Callback URL for webhooks, with its credential.
    pub callback: String,
    /// API key for registrations and queries.
    pub api_key: String,
    /// Number of messages.
    pub messages: u32,
    /// Number of connections.
    pub connections: usize,
    /// Seed of the plan.
    pub seed: u64,
    /// Present time, in seconds since 1970.
    pub now: i64,
}

/// Result of a simulation.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Number of answers by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Number and durations of the posts.
    pub posts: Times,
    /// Number and durations of the queries.
    pub queries: Times,
    /// Differences between expected and actual results.
    pub differences: Vec<String>,
}

/// Durations of many requests.
#[derive(Debug, Default)]
pub struct Times {
    durations: Vec<Duration>,
    elapsed: Duration,
}

impl Times {
    fn percentile(&self, percent: usize) -> Duration {
        let index =
            (self.durations.len() * percent / 100).min(self.durations.len().saturating_sub(1));
        self.durations.get(index).copied().unwrap_or_default()
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |duration: Duration| Value::from(duration.as_secs_f64());
        serializer.collect_map([
            ("count", Value::from(self.durations.len())),
            ("seconds", seconds(self.elapsed)),
            ("p50Seconds", seconds(self.percentile(50))),
            ("p99Seconds", seconds(self.percentile(99))),
        ])
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = u32::try_from(self.durations.len()).unwrap_or(u32::MAX);
        let each = self.elapsed.checked_div(count).unwrap_or_default();
        write!(
            f,
            "{count} in {:.1?}, one every {each:.0?}; p50 {:.1?}, p99 {:.1?}",
            self.elapsed,
            self.percentile(50),
            self.percentile(99)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "outcome               count")?;
        for (outcome, count) in &self.outcomes {
            writeln!(f, "{outcome:<20} {count:>6}")?;
        }
        writeln!(f, "posts:   {}", self.posts)?;
        writeln!(f, "queries: {}", self.queries)?;
        for difference in self.differences.iter().take(MAX_SHOWN_DIFFERENCES) {
            writeln!(f, "DIFFERENCE {difference}")?;
        }
        match self.differences.len() {
            1 => writeln!(f, "1 difference"),
            differences => writeln!(f, "{differences} differences"),
        }
    }
}

/// Runs a simulation and reports its result; fails if no server answers.
pub fn run(options: &Options) -> Result<Report, String> {
    let client = Client {
        agent: Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(options.connections)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into(),
        options,
    };
    let unreachable = format!("no server answers at {}", options.url);
    send_with_retries(&unreachable, START_TIMEOUT, || {
        client.agent.get(format!("{}/livez", options.url)).call()
    })
    .map_err(|error| format!("{error}; start one with `serve`"))?;
    client.check_access()?;
    let (planned_messages, posts) = plan(options.messages, &mut Random(options.seed), options.now);
    let outcomes = Mutex::new(BTreeMap::new());
    let (posting, mut differences) = run_each("posting", options.connections, &posts, |post| {
        let (outcome, expected) = client.post(post)?;
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.entry(outcome.clone()).or_insert(0) += 1;
        if expected { Ok(()) } else { Err(format!("{}: answered {outcome}", post.id)) }
    });
    let (mut queries, found) =
        run_each("reading", options.connections, &planned_messages, |planned| {
            client.check_message(planned)
        });
    differences.extend(found);
    let lists = lists(&planned_messages);
    let (listing, found) =
        run_each("listing", options.connections, &lists, |list| client.check_list(list));
    differences.extend(found);
    queries.durations.extend(listing.durations);
    queries.durations.sort_unstable();
    queries.elapsed += listing.elapsed;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Report { outcomes, posts: posting, queries, differences })
}

/// Expected list: its path, and its messages in order.
struct List<'a> {
    path: String,
    planned_messages: Vec<&'a PlannedMessage>,
}

fn lists(planned_messages: &[PlannedMessage]) -> Vec<List<'_>> {
    let mut lists: BTreeMap<String, Vec<&PlannedMessage>> = BTreeMap::new();
    for planned in planned_messages {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        for path in [
            format!("phonenumber/{}", encoded(&planned.destination)),
            format!("reference/{}", encoded(&planned.key)),
        ] {
            lists.entry(path).or_default().push(planned);
        }
    }
    let in_order = |(path, mut planned_messages): (String, Vec<_>)| {
        planned_messages
            .sort_by_key(|planned: &&PlannedMessage| (-planned.accepted_at, planned.id.clone()));
        List { path, planned_messages }
    };
    lists.into_iter().map(in_order).collect()
}

/// Applies `action` to each item, several at a time; returns the durations and the errors.
fn run_each<T: Sync>(
    label: &str,
    threads: usize,
    items: &[T],
    action: impl Fn(&T) -> Result<(), String> + Sync,
) -> (Times, Vec<String>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Vec::new()));
    let started = Instant::now();
    let shows_progress = std::io::stderr().is_terminal();
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    if shows_progress && index.is_multiple_of(1_000) {
                        // A progress line may get lost.
                        drop(write!(std::io::stderr(), "\r{label} {index} of {} ", items.len()));
                    }
                    let request_started = Instant::now();
                    let result = action(item);
                    let duration = request_started.elapsed();
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.0.push(duration);
                    results.1.extend(result.err());
                }
            });
        }
    });
    if shows_progress {
        drop(write!(std::io::stderr(), "\r{:40}\r", ""));
    }
    let (mut durations, wrong) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    durations.sort_unstable();
    (Times { durations, elapsed: started.elapsed() }, wrong)
}

/// Answer of the server.
struct Answer {
    status: u16,
    /// Path of the next page.
    next: Option<String>,
    body: Value,
}

struct Client<'a> {
    agent: Agent,
    options: &'a Options,
}

impl Client<'_> {
    /// Posts as a gateway does, until the server accepts or rejects the request. Returns the outcome, and
    /// whether it is the expected one.
    fn post(&self, post: &Post) -> Result<(String, bool), String> {
        let Options { url, callback, api_key, .. } = self.options;
        let Answer { status, body, .. } =
            send_with_retries(&post.id, RETRY_TIMEOUT, || match post.kind {
                Kind::Registration => self
                    .agent
                    .put(format!("{url}/api/messages/{}", post.id))
                    .header("X-Api-Key", api_key)
                    .content_type("application/json")
                    .send(&post.body),
                Kind::Forged => self.webhook(&format!("{callback}0"), post),
                Kind::Webhook | Kind::Broken | Kind::Unknown => self.webhook(callback, post),
            })?;
        let outcome = body.pointer("/results/0/outcome").or_else(|| body.get("outcome"));
        let outcome = outcome
            .and_then(Value::as_str)
            .map_or_else(|| format!("rejected with {status}"), str::to_owned);
        let expected = match post.kind {
            Kind::Webhook => {
                status == 200
                    && ["applied", "duplicate", "superseded", "conflict"].contains(&&*outcome)
            }
            Kind::Forged => status == 401,
            Kind::Broken => status == 400,
            Kind::Unknown => status == 200 && outcome == "quarantined",
            Kind::Registration => [200, 201].contains(&status),
        };
        Ok((outcome, expected))
    }

    /// Checks that the server accepts the credential of the source and the API key. A server with another
    /// configuration would answer every request unexpectedly.
    fn check_access(&self) -> Result<(), String> {
        let Options { url, callback, api_key, .. } = self.options;
        let remedy = "the server has another configuration than this command; run the command with \
                      the server's configuration, in the server's working directory";
        let test = send_with_retries(callback, RETRY_TIMEOUT, || {
            self.agent.post(callback).content_type("application/json").send(TEST_WEBHOOK)
        })?;
        if test.status != 200 {
            return Err(format!(
                "{url} rejects webhooks with this secret (status {}): {remedy}",
                test.status
            ));
        }
        let unknown_message = format!("{url}/api/messages/{UNKNOWN_MESSAGE_ID}");
        let answers = [
            ("queries", self.get(&format!("/api/messagestatus/{UNKNOWN_MESSAGE_ID}"))?),
            (
                "registrations",
                // Without a destination, so that nothing is registered.
                send_with_retries(&unknown_message, RETRY_TIMEOUT, || {
                    let request = self.agent.put(&unknown_message).header("X-Api-Key", api_key);
                    request.content_type("application/json").send("{}")
                })?,
            ),
        ];
        for (requests, answer) in answers {
            if answer.status == 403 {
                return Err(format!(
                    "{url} rejects {requests} with this API key (status 403): {remedy}, and use a \
                     key with the scopes read and register"
                ));
            }
        }
        Ok(())
    }

    fn webhook(&self, address: &str, post: &Post) -> Result<Response<Body>, ureq::Error> {
        self.agent.post(address).content_type("application/json").send(&post.body)
    }

    fn get(&self, path: &str) -> Result<Answer, String> {
        let address = format!("{}{path}", self.options.url);
        let key = &self.options.api_key;
        send_with_retries(path, RETRY_TIMEOUT, || {
            self.agent.get(&address).header("X-Api-Key", key).call()
        })
    }

    fn check_message(&self, planned: &PlannedMessage) -> Result<(), String> {
        let answer = self.get(&format!("/api/messagestatus/{}", planned.id))?;
        compare(&planned.id, &answer.body, planned)
    }

    fn check_list(&self, list: &List<'_>) -> Result<(), String> {
        // Three a page, so that most lists have several pages.
        let mut next = Some(format!("/api/messagestatus/{}?count=3", list.path));
        let mut expected = list.planned_messages.iter();
        while let Some(path) = next {
            let Answer { body, next: following, .. } = self.get(&path)?;
            let messages = body.get("messages").and_then(Value::as_array);
            for message in messages.ok_or_else(|| format!("{path}: no messages in {body}"))? {
                let planned = expected.next();
                let planned =
                    planned.ok_or_else(|| format!("{path}: unexpected message {message}"))?;
                compare(&path, message, planned)?;
            }
            next = following;
        }
        match expected.next() {
            None => Ok(()),
            Some(planned) => Err(format!("{}: {} is missing", list.path, planned.id)),
        }
    }
}

/// Retries until the server answers anything but 503. A server that restarts meanwhile causes no difference.
fn send_with_retries(
    label: &str,
    timeout: Duration,
    send: impl Fn() -> Result<Response<Body>, ureq::Error>,
) -> Result<Answer, String> {
    let started = Instant::now();
    loop {
        match send().and_then(read) {
            Ok(Answer { status: 503, .. }) | Err(_) if started.elapsed() < timeout => {
                thread::sleep(RETRY_PAUSE);
            }
            answered => return answered.map_err(|error| format!("{label}: {error}")),
        }
    }
}

fn read(mut response: Response<Body>) -> Result<Answer, ureq::Error> {
    let link = response.headers().get("Link").and_then(|link| link.to_str().ok());
    let next = link
        .and_then(|link| link.strip_prefix('<')?.split_once('>'))
        .map(|(path, _)| path.to_owned());
    let text = response.body_mut().read_to_string()?;
    let body = serde_json::from_str(&text).unwrap_or_default();
    Ok(Answer { status: response.status().as_u16(), next, body })
}

/// Compares literally: members, their order and their values.
fn compare(place: &str, found: &Value, planned: &PlannedMessage) -> Result<(), String> {
    let found = found.get("message").map(Value::to_string).unwrap_or_default();
    if found == planned.expected {
        return Ok(());
    }
    Err(format!("{place}: found {found}, expected {}", planned.expected))
}
