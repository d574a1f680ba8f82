//! Bodies, content types and callback URLs, read by every dialect.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use statusmirror::dialect::{
    self, DecodeError, Dialect, Entry, Settings, Source, query_without_credentials,
};
use statusmirror::message::{
    Added, Destination, Kind, MAX_REFERENCE_BYTES, MessageId, Notification, StatedProvider,
    Timestamp,
};
use statusmirror::payload::RawPayload;
use statusmirror::verify::standard_webhooks::StandardWebhooks;
use statusmirror::verify::{Scheme, Secret, Window};
use statusmirror_fuzz::json::{reversed, spaced};
use statusmirror_fuzz::mutate::mutate;
use statusmirror_fuzz::request::Message;

/// The most bytes that may be said about why something is not understood.
const LONGEST_REASON: usize = 1_000;

/// Each dialect with a proof that covers the URL, and with one that does not.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let of = |dialect: &'static dyn Dialect| {
        let keys = StandardWebhooks::new(&[Secret::new("whsec_c2VjcmV0")]).expect("a key");
        [Scheme::None, Scheme::StandardWebhooks(keys)].map(|scheme| {
            Source::new(Settings {
                name: "it".to_owned(),
                dialect,
                scheme,
                window: Window::default(),
                public_url: String::new(),
                provider: None,
                max_body_bytes: 1 << 20,
                max_rate: None,
            })
            .expect("a source")
        })
    };
    dialect::ALL.iter().copied().flat_map(of).collect()
});

fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate(input, size, most, seed)
});

fuzz_target!(|input: &[u8]| {
    let message = Message::read(input);
    check_query(message.query());
    let content = RawPayload {
        query: query_without_credentials(message.query()),
        content_type: message.content_type().map(str::to_owned),
        method: message.method,
        body: message.body,
    };
    for source in SOURCES.iter() {
        check(source, &content);
    }
});

/// What proves is not kept, and everything else is.
fn check_query(query: &str) {
    let all = form_urlencoded::parse(query.as_bytes());
    let harmless = all.filter(|(name, _)| name != "token" && name != "signature");
    assert!(form_urlencoded::parse(query_without_credentials(query).as_bytes()).eq(harmless));
}

fn check(source: &Source, content: &RawPayload) {
    let read = source.read(content);
    assert_eq!(read, source.read(content), "read twice");
    match &read {
        Err(DecodeError(reason)) => check_reason(reason),
        Ok(entries) => {
            assert!(!entries.is_empty() && entries.len() <= content.body.len().max(1));
            entries.iter().for_each(|entry| check_entry(source, entry));
        }
    }
    let same = |changed: RawPayload| assert_same(&read, &source.read(&changed));
    if !source.covers_url() {
        same(RawPayload { query: String::new(), ..content.clone() });
    }
    let Ok(text) = str::from_utf8(&content.body) else { return };
    if source.dialect.name() == "gateway" {
        same(RawPayload { body: spaced(text).into_bytes(), ..content.clone() });
        same(RawPayload { body: reversed(text).into_bytes(), ..content.clone() });
    } else {
        let mut names = HashSet::new();
        // Of several values the first counts, so that their order matters.
        if form_urlencoded::parse(text.as_bytes()).all(|(name, _)| names.insert(name.into_owned()))
        {
            let form = text.split('&').rev().collect::<Vec<_>>().join("&");
            same(RawPayload { body: form.into_bytes(), ..content.clone() });
        }
    }
}

fn check_entry(source: &Source, entry: &Entry) {
    match entry {
        Entry::Ignored { reason } | Entry::Unreadable { reason } => check_reason(reason),
        Entry::Notification { notification, by_provider_id } => {
            assert_eq!(*by_provider_id, source.dialect.foreign_ids());
            check_notification(notification);
        }
    }
}

/// Everything that is said can be stored, shown and read again.
fn check_notification(notification: &Notification) {
    let said = notification.statement();
    assert_eq!(said.kind, Kind::Report);
    assert_eq!(said.message.to_string().parse::<MessageId>(), Ok(said.message));
    for time in [said.stated_at, said.accepted_at].into_iter().flatten() {
        assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        assert_eq!(Timestamp::from_micros(time.micros()), Some(time));
    }
    if let Some(number) = said.destination {
        let text = number.to_string();
        assert_eq!(text.parse::<Destination>(), Ok(number));
        assert!((8..=16).contains(&text.len()) && !text.starts_with("+0"));
    }
    for reference in [&said.reference, notification.reference()] {
        assert!(reference.key().is_none_or(|key| (1..=MAX_REFERENCE_BYTES).contains(&key.len())));
    }
    assert!(!notification.provider().name.is_empty());
    let StatedProvider { name, status, code, message, .. } = &said.provider;
    // A text that was cut has another identity than what is left of it.
    if ![name, status, code, message].iter().any(|text| text.ends_with('…')) {
        let alone = Notification::new(said.clone(), Added::default());
        assert_eq!(alone.identity(), notification.identity());
    }
}

/// A reason goes to the log's readers and to the sender.
fn check_reason(reason: &str) {
    assert!(!reason.is_empty() && reason.len() <= LONGEST_REASON, "{reason}");
    assert!(!reason.chars().any(char::is_control), "{reason:?}");
}

type Read = Result<Vec<Entry>, DecodeError>;

/// Both say the same, or are not understood alike; the words may tell of other places.
fn assert_same(one: &Read, other: &Read) {
    match (one, other) {
        (Err(_), Err(_)) => {}
        (Ok(one), Ok(other)) if one.len() == other.len() => {
            for pair in one.iter().zip(other) {
                if !matches!(pair, (Entry::Unreadable { .. }, Entry::Unreadable { .. })) {
                    assert_eq!(pair.0, pair.1);
                }
            }
        }
        _ => panic!("{one:?} is not {other:?}"),
    }
}
