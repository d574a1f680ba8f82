//! The latest events, rendered once for all listeners.
//!
//! One thread reads the log and appends batches; listeners take parts of them from any number on. A part is
//! a slice of the batch's text, not a copy of it. The ring is bounded in bytes: the oldest batches go, and
//! whoever needs one of them reads the log instead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Bytes;

use crate::store::{Changes, Filter, Told};

/// The most bytes that all batches take.
pub(super) const RING_BYTES: usize = 8 << 20;
/// A part that is given to a listener ends with the event that passes so many bytes.
const PART_BYTES: usize = 32 << 10;

/// The latest events.
pub(super) struct Ring(Mutex<Batches>);

struct Batches {
    /// In order and without gaps.
    all: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// Every change behind this number and up to `last` is in the batches.
    after: i64,
    last: i64,
}

/// Changes that were read from the log together.
pub(super) struct Batch {
    last: i64,
    text: Bytes,
    told: Vec<Told>,
}

/// Events for a listener.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These events; all changes up to `last` were looked at.
    Part { text: Bytes, last: i64 },
    /// There are none up to `last`, which is the latest change.
    Nothing { last: i64 },
    /// The ring does not reach back so far.
    Behind,
}

/// What the ring has behind a number.
pub(super) struct Behind {
    /// The batches with changes behind it.
    pub(super) batches: Vec<Arc<Batch>>,
    /// The ring reaches back to this number.
    pub(super) after: i64,
    /// The number of the latest change in the ring.
    pub(super) last: i64,
}

impl Ring {
    /// An empty ring behind this number.
    pub(super) fn new(after: i64) -> Self {
        Self(Mutex::new(Batches { all: VecDeque::new(), bytes: 0, after, last: after }))
    }

    /// The number of the latest change in it.
    pub(super) fn last(&self) -> i64 {
        self.batches().last
    }

    /// Adds what follows the latest change.
    pub(super) fn add(&self, changes: Changes) {
        let mut ring = self.batches();
        if changes.last <= ring.last {
            return;
        }
        let Changes { text, told, last, more: _ } = changes;
        let batch = Batch { last, text: Bytes::from(text), told };
        ring.last = last;
        if !batch.told.is_empty() {
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

    /// Begins again behind this number, without events.
    pub(super) fn restart(&self, after: i64) {
        let mut ring = self.batches();
        *ring = Batches { all: VecDeque::new(), bytes: 0, after, last: after };
    }

    /// The next events behind a number that pass.
    pub(super) fn next(&self, mut position: i64, filter: &Filter) -> Next {
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

    /// What it has behind this number.
    pub(super) fn behind(&self, position: i64) -> Behind {
        let ring = self.batches();
        let first = ring.all.partition_point(|batch| batch.last <= position);
        let batches = ring.all.iter().skip(first).map(Arc::clone).collect();
        Behind { batches, after: ring.after, last: ring.last }
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Whether a change behind this number passes.
    pub(super) fn has(&self, position: i64, filter: &Filter) -> bool {
        self.told_behind(position).iter().any(|told| filter.passes(&told.record))
    }

    fn told_behind(&self, position: i64) -> &[Told] {
        let first = self.told.partition_point(|told| told.number <= position);
        self.told.get(first..).unwrap_or_default()
    }

    /// The events behind this number that pass, up to the end of a part; and up to where they were looked at.
    fn part(&self, position: i64, filter: &Filter) -> (Bytes, i64) {
        let (mut pieces, mut bytes, mut last) = (Vec::<Range<usize>>::new(), 0, self.last);
        for told in self.told_behind(position) {
            if bytes >= PART_BYTES {
                break;
            }
            last = told.number;
            if !filter.passes(&told.record) {
                continue;
            }
            bytes += told.text.len();
            match pieces.last_mut().filter(|piece| piece.end == told.text.start) {
                Some(piece) => piece.end = told.text.end,
                None => pieces.push(told.text.clone()),
            }
        }
        if self.told.last().is_none_or(|told| told.number <= last) {
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

    /// Bytes that it takes: the text, and records with about as much text as was written of them.
    fn bytes(&self) -> usize {
        2 * self.text.len() + self.told.len() * size_of::<Told>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        Added, Channel, Kind, MessageId, Notification, Record, Reference, StatedProvider,
        Statement, Status, Timestamp,
    };

    /// Changes behind a number, each the event of its own number; every third one is of a record that is sent.
    fn changes(after: i64, many: i64, bytes: usize) -> Changes {
        let mut changes = Changes { last: after + many, ..Changes::default() };
        for number in after + 1..=after + many {
            let start = changes.text.len();
            changes.text.extend_from_slice(format!("{number}{}\n", " ".repeat(bytes)).as_bytes());
            let text = start..changes.text.len();
            changes.told.push(Told { number, record: record(number), text });
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

    /// What a listener behind this number is given until there is nothing more.
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
    fn a_listener_is_given_each_event_once_from_wherever_it_begins() {
        let ring = Ring::new(10);
        for (after, many, bytes) in [(10, 3, 1), (13, 40, 2_000), (53, 1, 100_000), (54, 7, 10)] {
            ring.add(changes(after, many, bytes));
        }
        // Changes that nobody is told of, and a repetition.
        ring.add(Changes { last: 70, ..Changes::default() });
        ring.add(changes(54, 7, 10));
        ring.add(changes(70, 2, 10));
        let sent = Filter { statuses: vec![Status::Sent], ..Filter::default() };
        let given: Vec<_> = (11..=61).chain(71..=72).collect();
        for from in 10..=75 {
            let behind = |filter: fn(i64) -> bool| {
                let given =
                    given.iter().copied().filter(move |number| *number > from && filter(*number));
                given.collect::<Vec<_>>()
            };
            assert_eq!(all(&ring, from, &Filter::default()).unwrap(), behind(|_| true), "{from}");
            assert_eq!(all(&ring, from, &sent).unwrap(), behind(|n| n % 3 == 0), "{from}");
        }
        assert_eq!(all(&ring, 9, &Filter::default()), Err(9));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_what_left_it_is_told() {
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
    fn parts_of_the_text_are_shared_and_not_copied() {
        let ring = Ring::new(0);
        ring.add(changes(0, 9, 100));
        let Behind { batches, .. } = ring.behind(0);
        let text = |filter: &Filter| match ring.next(3, filter) {
            Next::Part { text, .. } => text,
            other @ (Next::Nothing { .. } | Next::Behind) => panic!("{other:?}"),
        };
        let whole = &batches[0].text;
        let one = text(&Filter::default());
        assert!(whole.as_ptr_range().contains(&one.as_ptr()));
        assert!(batches[0].has(8, &Filter { statuses: vec![Status::Sent], ..Filter::default() }));
        assert!(!batches[0].has(9, &Filter::default()));
    }
}
