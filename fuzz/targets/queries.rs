//! Methods, paths, queries, keys and registrations, asked of the whole service over a store in
//! memory, and its answers compared with the contract.
#![no_main]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::dev::Service as _;
use actix_web::http::{Method, StatusCode, Uri, header};
use actix_web::rt::System;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use statusmirror::access::api_key::{ApiKey, Scope};
use statusmirror::access::trusted_proxies::TrustedProxies;
use statusmirror::clock::Clock;
use statusmirror::dialect::{self, Settings, Source};
use statusmirror::http::app_state::Service;
use statusmirror::http::{all, app};
use statusmirror::ingest::Ingest;
use statusmirror::memory_budget::MemoryBudget;
use statusmirror::message::{MAX_REFERENCE_BYTES, MessageId, Timestamp};
use statusmirror::metrics::Metrics;
use statusmirror::store::Store;
use statusmirror::verify::{Scheme, Secret, Window};
use statusmirror_fuzz::memory::{FOREIGN, Memory, NUMBER, REFERENCE};
use statusmirror_fuzz::mutate::mutate;
use statusmirror_fuzz::proof::NOW;
use statusmirror_fuzz::request::Message;

/// May only read.
const READER: &[u8] = b"reader";
/// May only register.
const REGISTRAR: &[u8] = b"registrar";

/// What is asked, and answers.
type Ask = Box<dyn Fn(&Message) -> Option<Answer>>;

thread_local! {
    // Never dropped, because the runtime cannot be when its thread ends.
    static SERVICE: ManuallyDrop<Ask> = ManuallyDrop::new(service());
    static MEMORY: Memory = Memory::new();
}

/// An answer, as far as it is looked at.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    content_type: String,
    allow: Option<String>,
    link: Option<String>,
    body: String,
}

fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate(input, size, most, seed)
});

fuzz_target!(|input: &[u8]| {
    let mut message = Message::read(input);
    let Ok(address) = message.address().parse::<Uri>() else { return };
    // Without a fragment, and without the authority that a proxy is sent.
    message.path = address.path().to_owned();
    message.query = address.query().map(str::to_owned);
    let Some(answer) = ask(&message) else { return };
    check_shape(&answer);
    check_key(&message, &answer);
    if let Some(list) = List::asked_for(&message) {
        list.check(&message, &answer);
    }
});

fn ask(message: &Message) -> Option<Answer> {
    SERVICE.with(|service| service(message))
}

/// The service, which must not keep anything from one input to the next.
fn service() -> Ask {
    let source = |name: &str| {
        Source::new(Settings {
            name: name.to_owned(),
            dialect: dialect::by_name(name).expect("the dialect is there"),
            scheme: Scheme::UrlToken(vec![Secret::new("token")]),
            window: Window::default(),
            public_url: String::new(),
            provider: None,
            max_body_bytes: 1_000,
            max_rate: None,
        })
        .expect("a source")
    };
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let sources = ["gateway", "twilio"].map(source).into_iter().collect();
    let key = |key: &[u8], scope| {
        let text = str::from_utf8(key).expect("a text");
        ApiKey::new(text, text, vec![scope])
    };
    let now = Timestamp::from_micros(NOW * 1_000_000).expect("a time of our days");
    let metrics = Arc::new(Metrics::new(now));
    let budget = MemoryBudget::default();
    let service = Data::new(Service::new(
        Arc::new(Ingest::new(sources, Arc::clone(&store), 8, metrics, budget)),
        store,
        vec![key(READER, Scope::Read), key(REGISTRAR, Scope::Register)],
        TrustedProxies::default(),
        Clock::Fixed(now),
    ));
    let clients = Cell::new(0_u32);
    let system = System::new();
    let app = system.block_on(async {
        // Whoever waits waits for nothing here, so the time goes on to when that is over.
        tokio::time::pause();
        init_service(app(service, all)).await
    });
    Box::new(move |message| {
        // Each from elsewhere, because who fails often is not looked at any more.
        clients.set(clients.get().wrapping_add(1));
        let peer = SocketAddr::from((Ipv4Addr::from(clients.get()), 1));
        let request = request(message)?.peer_addr(peer).to_request();
        Some(system.block_on(async {
            let response = match app.call(request).await {
                Ok(response) => response.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response(),
            };
            let header = |name| {
                let value = response.headers().get(name)?;
                Some(value.to_str().expect("a header of printable ASCII").to_owned())
            };
            let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
            // Which never end.
            let is_events = content_type == "text/event-stream";
            Answer {
                status: response.status(),
                content_type,
                allow: header(header::ALLOW),
                link: header(header::LINK),
                body: if is_events {
                    String::new()
                } else {
                    let body = to_bytes(response.into_body()).await.expect("a body");
                    String::from_utf8(body.to_vec()).expect("a text")
                },
            }
        }))
    })
}

/// The message as a request, if HTTP has such ones.
fn request(message: &Message) -> Option<TestRequest> {
    let address = message.address();
    address.parse::<Uri>().ok()?;
    let method = Method::from_bytes(message.method.as_bytes()).ok()?;
    let mut request = TestRequest::default().method(method).uri(&address);
    for (name, value) in &message.headers {
        let name = header::HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = header::HeaderValue::from_bytes(value).ok()?;
        request = request.append_header((name, value));
    }
    Some(request.set_payload(message.body.clone()))
}

/// Nothing is the service's own fault, and what is the client's is said as RFC 9457 has it.
fn check_shape(answer: &Answer) {
    let status = answer.status.as_u16();
    assert!([200, 201, 400, 401, 403, 404, 405, 413, 415].contains(&status), "{answer:?}");
    assert_eq!(answer.allow.is_some(), status == 405, "{answer:?}");
    if answer.status.is_success() {
        return;
    }
    assert_eq!(answer.content_type, "application/problem+json", "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).expect("a problem");
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
}

/// Everything under `/api` is for who has a key with the scope for it, and for nobody else.
fn check_key(message: &Message, answer: &Answer) {
    let is_api = message
        .path
        .strip_prefix("/api")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_api {
        let needed = if message.method == "PUT" { REGISTRAR } else { READER };
        let presented =
            message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-Api-Key"));
        let may = presented.is_some_and(|(_, value)| value == needed);
        assert_eq!(answer.status == StatusCode::FORBIDDEN, !may, "{answer:?}");
    }
}

/// A list, as the contract reads a request for one.
struct List {
    /// Whether path and parameters are as they must be.
    is_valid: bool,
    /// Whether it is the list of all messages, or an empty one.
    is_theirs: bool,
    count: usize,
    before: Option<Timestamp>,
}

impl List {
    /// The list that a request by a reader asks for, if it is the first page of one.
    fn asked_for(message: &Message) -> Option<Self> {
        let is_reader = message.only("X-Api-Key") == Some(READER);
        if !is_reader || !["GET", "HEAD"].contains(&&*message.method) {
            return None;
        }
        // A percent-encoded character in a fixed part of a path is an error, and so is a doubled slash.
        let decode = |text| percent_decode_str(text).decode_utf8().ok();
        let parts: Vec<_> = message.path.splitn(5, '/').collect();
        let [root, api, resource, kind, tail] = *parts else { return None };
        let is_plain = ![api, resource, kind].iter().any(|part| part.contains('%'))
            && !tail.starts_with('/')
            && !tail.contains("//");
        let [api, resource, kind] = [api, resource, kind].map(decode);
        if !root.is_empty() || [&*api?, &*resource?] != ["api", "messagestatus"] {
            return None;
        }
        let (mut is_valid, is_theirs) = match (&*kind?, decode(tail).as_deref()) {
            ("phonenumber", Some(number)) => {
                let digits = number.strip_prefix(['+', ' ']).unwrap_or(number);
                let is_number = (7..=15).contains(&digits.len())
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && !digits.starts_with('0');
                (is_number, digits == NUMBER)
            }
            ("reference", Some(key)) => {
                ((1..=MAX_REFERENCE_BYTES).contains(&key.len()), key == REFERENCE)
            }
            ("provider", _) => {
                let (source, id) = tail.split_once('/')?;
                if decode(source)? != "twilio" {
                    return None;
                }
                let id = decode(id);
                (id.is_some(), id.is_some_and(|id| id == FOREIGN))
            }
            ("phonenumber" | "reference", None) => (false, false),
            _ => return None,
        };
        is_valid &= is_plain;
        let (mut count, mut before) = (50, None);
        for (name, value) in form_urlencoded::parse(message.query().as_bytes()) {
            match &*name {
                "count" => {
                    let number = value.bytes().try_fold(0_usize, |number, digit| {
                        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
                        Some((number * 10 + digit).min(100))
                    });
                    count = number.unwrap_or_default();
                    is_valid &= count > 0;
                }
                "sendDate" => {
                    // A `+` that was not escaped is the last space.
                    let escaped = value.trim_end().rsplit_once(' ');
                    let escaped = escaped.map(|(time, offset)| format!("{time}+{offset}"));
                    before = value.parse().ok().or_else(|| escaped?.parse().ok());
                    is_valid &= before.is_some();
                }
                "cursor" => return None,
                _ => {}
            }
        }
        Some(Self { is_valid, is_theirs, count, before })
    }

    /// This page is the beginning of the list, and the next one what follows it.
    fn check(&self, message: &Message, answer: &Answer) {
        assert_eq!(answer.status.as_u16(), if self.is_valid { 200 } else { 400 }, "{answer:?}");
        if !self.is_valid {
            return;
        }
        let expected: Vec<MessageId> = MEMORY.with(|memory| {
            let messages = memory.messages().iter().filter(|message| {
                self.before.is_none_or(|before| message.record.accepted_at() < before)
            });
            messages.filter(|_| self.is_theirs).map(|message| message.id).collect()
        });
        let (first, rest) = expected.split_at(self.count.min(expected.len()));
        assert_eq!(ids(answer), first);
        assert_eq!(answer.link.is_some(), !rest.is_empty(), "{answer:?}");
        if let Some(link) = &answer.link {
            let address =
                link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            let (path, query) = address.expect("a link").split_once('?').expect("a query");
            let next =
                Message { path: path.to_owned(), query: Some(query.to_owned()), ..message.clone() };
            let next = ask(&next).expect("an address that can be asked for");
            assert_eq!(ids(&next), &rest[..self.count.min(rest.len())]);
            assert_eq!(next.link.is_some(), rest.len() > self.count);
        }
    }
}

/// The ids in a list's answer.
fn ids(answer: &Answer) -> Vec<MessageId> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    let messages = body["messages"].as_array().expect("a list");
    let id = |entry: &Value| entry["message"]["id"].as_str().and_then(|id| id.parse().ok());
    messages.iter().map(|entry| id(entry).expect("an id")).collect()
}
