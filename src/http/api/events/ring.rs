//! Ring of the latest events, rendered once for all listeners.
//!
//! One thread reads the notification log and appends batches; listeners take parts of them, from any number
//! on. A part is a slice of the batch's text, not a copy. The ring is bounded in bytes: the oldest batches
//! are dropped, and a listener that still needs one of them reads the notification log instead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Bytes;

use crate::store::{Changes, Filter, RenderedChange};

/// Maximum size of all batches, in bytes.
pub(crate) const RING_BYTES: usize = 8 << 20;
/// Size in bytes after which a part ends: with the event that reaches it.
const PART_BYTES: usize = 16 << 10;

/// Ring of the latest events.
pub(crate) struct Ring(Mutex<Batches>);

struct Batches {
    /// Batches in order and without gaps.
    all: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// The batches hold every change after this number and up to `last`.
    after: i64,
    last: i64,
}

/// Changes read from the notification log together.
pub(crate) struct Batch {
    last: i64,
    text: Bytes,
    rendered: Vec<RenderedChange>,
}

/// Next events for a listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Events for the listener; all changes up to `last` were checked.
    Part { text: Bytes, last: i64 },
    /// No events up to `last`, the latest change.
    Nothing { last: i64 },
    /// The listener is behind the ring, which no longer has its next change.
    Behind,
}

/// Contents of the ring after a number.
pub(crate) struct BatchesAfter {
    /// Batches with changes after that number.
    pub(crate) batches: Vec<Arc<Batch>>,
    /// Number after which the ring holds every change.
    pub(crate) after: i64,
    /// Number of the latest change in the ring.
    pub(crate) last: i64,
}

impl Ring {
    /// Creates an empty ring after this number.
    pub(crate) fn new(after: i64) -> Self {
        Self(Mutex::new(Batches { all: VecDeque::new(), bytes: 0, after, last: after }))
    }

    /// Number of the latest change.
    pub(crate) fn last(&self) -> i64 {
        self.batches().last
    }

    /// Appends the changes that follow the latest one.
    pub(crate) fn add(&self, changes: Changes) {
        let mut ring = self.batches();
        if changes.last <= ring.last {
            return;
        }
        let Changes { text, rendered, last, more: _ } = changes;
        let batch = Batch { last, text: Bytes::from(text), rendered };
        ring.last = last;
        if !batch.rendered.is_empty() {
            ring.bytes += batch.bytes();
            ring.all.push_back(Arc::new(batch));
        }
        while ring.bytes > RING_BYTES
            && let Some(oldest) = ring.all.pop_front()
        {
            ring.bytes -= oldest.bytes();
            ring.after = oldest.last;
        }
    }

    /// Restarts the ring empty after this number.
    pub(crate) fn restart(&self, after: i64) {
        let mut ring = self.batches();
        *ring = Batches { all: VecDeque::new(), bytes: 0, after, last: after };
    }

    /// Next events after a number that pass the filter.
    pub(crate) fn next(&self, mut position: i64, filter: &Filter) -> Next {
        loop {
            let batch = {
                let ring = self.batches();
                if position < ring.after {
                    return Next::Behind;
                }
                let first = ring.all.partition_point(|batch| batch.last <= position);
                match ring.all.get(first) {
                    Some(batch) => Arc::clone(batch),
                    None => return Next::Nothing { last: ring.last.max(position) },
                }
            };
            let (text, last) = batch.part(position, filter);
            if !text.is_empty() {
                return Next::Part { text, last };
            }
            position = last;
        }
    }

    /// Contents of the ring after this number.
    pub(crate) fn after(&self, position: i64) -> BatchesAfter {
        let ring = self.batches();
        let first = ring.all.partition_point(|batch| batch.last <= position);
        let batches = ring.all.iter().skip(first).map(Arc::clone).collect();
        BatchesAfter { batches, after: ring.after, last: ring.last }
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Whether a change after this number passes the filter.
    pub(crate) fn has_match(&self, position: i64, filter: &Filter) -> bool {
        self.rendered_after(position).iter().any(|change| filter.passes(&change.record))
    }

    fn rendered_after(&self, position: i64) -> &[RenderedChange] {
        let first = self.rendered.partition_point(|change| change.number <= position);
        self.rendered.get(first..).unwrap_or_default()
    }

    /// Events after this number that pass the filter, up to the end of a part; and the number of the last
    /// change checked.
    fn part(&self, position: i64, filter: &Filter) -> (Bytes, i64) {
        let (mut pieces, mut bytes, mut last) = (Vec::<Range<usize>>::new(), 0, self.last);
        for change in self.rendered_after(position) {
            if bytes >= PART_BYTES {
                break;
            }
            last = change.number;
            if !filter.passes(&change.record) {
                continue;
            }
            bytes += change.text.len();
            match pieces.last_mut().filter(|piece| piece.end == change.text.start) {
                Some(piece) => piece.end = change.text.end,
                None => pieces.push(change.text.clone()),
            }
        }
        if self.rendered.last().is_none_or(|change| change.number <= last) {
            last = self.last;
        }
        let text = match pieces.as_slice() {
            [one] => self.text.slice(one.clone()),
            several => {
                let mut text = Vec::with_capacity(bytes);
                for piece in several {
                    text.extend_from_slice(self.text.get(piece.clone()).unwrap_or_default());
                }
                text.into()
            }
        };
        (text, last)
    }

    /// Size in bytes: the text, and the records, whose own text is about as long.
    fn bytes(&self) -> usize {
        2 * self.text.len() + self.rendered.len() * size_of::<RenderedChange>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        Added, Channel, Kind, MessageId, Notification, Record, Reference, StatedProvider,
        Statement, Status, Timestamp,
    };

    /// Changes after a number, each the event of its own number; every third one has a record with status
    /// Sent.
    fn changes(after: i64, count: i64, bytes: usize) -> Changes {
        let mut changes = Changes { last: after + count, ..Changes::default() };
        for number in after + 1..=after + count {
            let start = changes.text.len();
            changes.text.extend_from_slice(format!("{number}{}\n", " ".repeat(bytes)).as_bytes());
            let text = start..changes.text.len();
            changes.rendered.push(RenderedChange { number, record: record(number), text });
        }
        changes
    }

    fn record(number: i64) -> Arc<Record> {
        let status = if number % 3 == 0 { Status::Sent } else { Status::Delivered };
        let statement = Statement {
            message: MessageId::from_bytes([1; 16]),
            kind: Kind::Report,
            status,
            stated_at: None,
            accepted_at: None,
            channel: Channel::Sms,
            destination: None,
            reference: Reference::default(),
            provider: StatedProvider::default(),
            segments: None,
        };
        let arrival = Timestamp::from_micros(0).unwrap();
        let notification = Notification::new(statement, Added::default());
        Arc::new(Record::of(&notification, arrival).unwrap())
    }

    /// Numbers of all events that a listener gets from this number on.
    fn all(ring: &Ring, mut position: i64, filter: &Filter) -> Result<Vec<i64>, i64> {
        let mut numbers = Vec::new();
        loop {
            match ring.next(position, filter) {
                Next::Part { text, last } => {
                    let text = String::from_utf8(text.to_vec()).unwrap();
                    numbers.extend(text.lines().map(|line| line.trim().parse::<i64>().unwrap()));
                    assert!(last > position);
                    position = last;
                }
                Next::Nothing { last } => {
                    assert_eq!(last, ring.last().max(position));
                    return Ok(numbers);
                }
                Next::Behind => return Err(position),
            }
        }
    }

    #[test]
    fn listeners_get_each_event_once_from_any_start() {
        let ring = Ring::new(10);
        for (after, count, bytes) in [(10, 3, 1), (13, 40, 2_000), (53, 1, 100_000), (54, 7, 10)] {
            ring.add(changes(after, count, bytes));
        }
        // Changes without events, and a repetition.
        ring.add(Changes { last: 70, ..Changes::default() });
        ring.add(changes(54, 7, 10));
        ring.add(changes(70, 2, 10));
        let sent = Filter { statuses: vec![Status::Sent], ..Filter::default() };
        let expected_numbers: Vec<_> = (11..=61).chain(71..=72).collect();
        for from in 10..=75 {
            let expected_after = |filter: fn(i64) -> bool| {
                let expected_numbers = expected_numbers
                    .iter()
                    .copied()
                    .filter(move |number| *number > from && filter(*number));
                expected_numbers.collect::<Vec<_>>()
            };
            assert_eq!(
                all(&ring, from, &Filter::default()).unwrap(),
                expected_after(|_| true),
                "{from}"
            );
            assert_eq!(all(&ring, from, &sent).unwrap(), expected_after(|n| n % 3 == 0), "{from}");
        }
        assert_eq!(all(&ring, 9, &Filter::default()), Err(9));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_reports_dropped_events() {
        let ring = Ring::new(0);
        for round in 0..200 {
            ring.add(changes(round * 4, 4, 20_000));
            assert!(ring.batches().bytes <= RING_BYTES);
        }
        let after = ring.batches().after;
        assert!((400..800).contains(&after), "{after}");
        assert_eq!(all(&ring, after - 1, &Filter::default()), Err(after - 1));
        assert_eq!(
            all(&ring, after, &Filter::default()).unwrap().len(),
            800 - usize::try_from(after).unwrap()
        );
        ring.restart(801);
        assert_eq!(all(&ring, 800, &Filter::default()), Err(800));
        assert_eq!(all(&ring, 801, &Filter::default()), Ok(Vec::new()));
    }

    #[test]
    fn parts_share_the_text_without_a_copy() {
        let ring = Ring::new(0);
        ring.add(changes(0, 9, 100));
        let BatchesAfter { batches, .. } = ring.after(0);
        let text = |filter: &Filter| match ring.next(3, filter) {
            Next::Part { text, .. } => text,
            other @ (Next::Nothing { .. } | Next::Behind) => panic!("{other:?}"),
        };
        let whole = &batches[0].text;
        let one = text(&Filter::default());
        assert!(whole.as_ptr_range().contains(&one.as_ptr()));
        assert!(
            batches[0].has_match(8, &Filter { statuses: vec![Status::Sent], ..Filter::default() })
        );
        assert!(!batches[0].has_match(9, &Filter::default()));
    }
}
