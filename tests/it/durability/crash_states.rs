//! Crash states: every state that a power cut may leave has all acknowledged deliveries, and each delivery
//! whole or not at all.
//!
//! A store runs for a while and logs its operations on files. The files are then rebuilt as a cut at some
//! moment may have left them, and opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use actix_web::rt::System;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use statusmirror::message::{Channel, MessageId, Record, Reference, Status, Timestamp};
use statusmirror::store::sqlite::wal_damage;
use statusmirror::store::{Part, Store};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::power_cut::{SimulatedDisk, Surviving};
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::logged_run::{
    DATABASE, Event, Failure, StoreRun, folder, open, random_index, run_store,
};
use crate::support::store::notifications::at;

/// Maximum number of crash states tried per run of a store.
const STATES_PER_RUN: u64 = 1_000;
/// Number of threads that read states.
const THREADS: usize = 2;
/// One of this many states is also read by the store itself.
const STORE_READ_STEP: u64 = 40;

#[test]
fn acknowledged_deliveries_are_in_every_crash_state() {
    let mut rng = SeededRng::for_test("crash states");
    let since = Instant::now();
    let states = repetitions(300, 8_500, 80_000);
    let seed: Vec<u8> = (0..32).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let (mut tried, mut acknowledged, mut torn) = (0, 0, 0);
    while tried < states {
        let count = STATES_PER_RUN.min(states - tried);
        let run = run_store(&mut rng, &mut runner);
        torn += try_states(&run, count, &mut rng);
        run.assert_covers_wal();
        acknowledged += u64::try_from(run.acknowledged.len()).unwrap();
        tried += count;
    }
    assert!(torn > states, "expected more torn writes than states: {torn}");
    let figures = [("crash states", states), ("acknowledged", acknowledged), ("lost", 0)];
    report("P2, P3", &rng, &figures, since);
}

/// Tries `count` power cuts at random moments of a run. Returns the number of torn writes.
fn try_states(run: &StoreRun, count: u64, rng: &mut SeededRng) -> u64 {
    let mut moments: Vec<usize> =
        (0..count).map(|_| random_index(rng, run.operations.len() + 1)).collect();
    moments.sort_unstable();
    let mut disk = SimulatedDisk::new(&run.operations);
    let (sender, states) = sync_channel(2 * THREADS);
    let states = Arc::new(Mutex::new(states));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let states = Arc::clone(&states);
            scope.spawn(move || read_states(run, &states));
        }
        // Only the threads hold the receiver, so that `send` fails once all of them have panicked.
        drop(states);
        for (number, moment) in (0..).zip(moments) {
            disk.replay_to(moment);
            let left = Surviving::random(rng);
            let files = disk.cut(left, rng);
            let is_read_by_store = number % STORE_READ_STEP == 0;
            if sender.send(State { moment, left, files, is_read_by_store }).is_err() {
                break;
            }
        }
        drop(sender);
    });
    disk.torn
}

/// Files that a power cut left.
struct State {
    /// Number of operations before the cut.
    moment: usize,
    left: Surviving,
    files: BTreeMap<String, Vec<u8>>,
    /// Whether the store reads the state, too.
    is_read_by_store: bool,
}

/// Reads states until the sender is dropped.
fn read_states(run: &StoreRun, states: &Mutex<Receiver<State>>) {
    loop {
        let next = states.lock().unwrap().recv();
        let Ok(state) = next else { return };
        let folder = folder();
        for (name, bytes) in &state.files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        if let Err(failure) = read_state(run, &state, &folder.path().join(DATABASE)) {
            panic!(
                "{failure}, after {} of {} operations, {:?} of those not synced left: {}",
                state.moment,
                run.operations.len(),
                state.left,
                folder.keep().display()
            );
        }
    }
}

/// Row of the notification log.
struct Row {
    seq: i64,
    event: Event,
    received_at: Timestamp,
    arrived_at: Timestamp,
    /// Whether the row repeats a registration.
    is_repetition: bool,
}

/// Rows of each message, in order.
type Histories = BTreeMap<[u8; 16], Vec<Row>>;

fn read_state(run: &StoreRun, state: &State, path: &Path) -> Result<(), Failure> {
    if let Some(damage) = wal_damage(path, None)? {
        return Err(format!("a torn tail is reported as damage: {damage:?}").into());
    }
    let db = Connection::open(path)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if integrity != "ok" {
        return Err(integrity.into());
    }
    if db.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err("a notification without its message".into());
    }
    let mut stored = vec![0; run.notifications.len()];
    let mut histories = Histories::new();
    if db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'message'")?.exists([])? {
        histories = read_histories(&db, run)?;
        compare_records(&db, run, &histories)?;
        for row in histories.values().flatten() {
            stored[row.event] = 1;
        }
        let mut select = db.prepare("SELECT id, times FROM quarantine")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            stored[run.event(row.get_ref(0)?.as_blob()?)?] = row.get(1)?;
        }
    }
    drop(db);
    compare_deliveries(run, state, &stored)?;
    if state.is_read_by_store { read_by_store(run, path, &histories) } else { Ok(()) }
}

fn read_histories(db: &Connection, run: &StoreRun) -> Result<Histories, Failure> {
    const SELECT: &str = "SELECT message, identity, received_at, \
        coalesce(ordered_at, received_at), seq, kind = 3, previous FROM notification ORDER BY seq";
    let time = |micros| Timestamp::from_micros(micros).ok_or("invalid time");
    let mut histories = Histories::new();
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let message: [u8; 16] = row.get(0)?;
        let event = run.event(&[&message, row.get_ref(1)?.as_blob()?].concat())?;
        let notification = Row {
            seq: row.get(4)?,
            event,
            received_at: time(row.get(2)?)?,
            arrived_at: time(row.get(3)?)?,
            is_repetition: row.get(5)?,
        };
        let history = histories.entry(message).or_default();
        if history.last().map(|before| before.seq) != row.get(6)? {
            return Err("a notification does not name its predecessor".into());
        }
        history.push(notification);
    }
    Ok(histories)
}

/// Record that follows from a history.
fn expected_record(run: &StoreRun, history: &[Row]) -> Option<Record> {
    let mut record = None;
    for row in history {
        let notification = run.notifications[row.event].as_ref().unwrap();
        record =
            Record::judge(record.as_ref(), notification, row.arrived_at, row.is_repetition).record;
    }
    record
}

/// Checks that each record follows from its message's notifications up to its last one, and that all
/// notifications up to `progress.folded` are written back to records.
fn compare_records(db: &Connection, run: &StoreRun, histories: &Histories) -> Result<(), Failure> {
    const SELECT: &str = "SELECT id, notifications, status, status_arrived_at, began_accepted, \
        began_stated, began_arrived, channel, destination, reference_key, provider_code, texts, \
        segments, last FROM message";
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    let mut last_of = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let message: [u8; 16] = row.get(0)?;
        let history = histories.get(&message).ok_or("a message without a history")?;
        let last: i64 = row.get(13)?;
        let length = history
            .iter()
            .position(|row| row.seq == last)
            .ok_or("a record names a notification that its history lacks")?
            + 1;
        let history = &history[..length];
        last_of.insert(message, last);
        let count: u32 = row.get(1)?;
        let shown = history.iter().filter(|row| !row.is_repetition).count();
        if shown != usize::try_from(count)? {
            return Err(format!("{count} notifications, {shown} in history").into());
        }
        let found: Vec<Value> = (2..13).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        let expected =
            expected_record(run, history).as_ref().map_or(vec![Value::Null; 11], columns);
        if found != expected {
            return Err(format!("record {found:?}, expected {expected:?}").into());
        }
    }
    let folded: i64 = db.query_row("SELECT folded FROM progress", [], |row| row.get(0))?;
    for (message, history) in histories {
        let last = last_of.get(message).copied().unwrap_or(0);
        if history.iter().any(|row| row.seq <= folded && row.seq > last) {
            return Err(format!("a notification up to {folded} is not written back").into());
        }
    }
    Ok(())
}

/// Columns of a record in the table `message`.
fn columns(record: &Record) -> Vec<Value> {
    let code = |place: Option<usize>| Value::from(i64::try_from(place.unwrap()).unwrap());
    let time = |time: Option<Timestamp>| Value::from(time.map(Timestamp::micros));
    let text = |text: Option<&str>| Value::from(text.map(str::to_owned));
    let destination = record.destination.as_ref().map(|claim| claim.value.number());
    let reference = record.reference.as_ref().map(|claim| &claim.value);
    let provider = record.provider();
    let texts = [
        reference.and_then(Reference::service),
        reference.and_then(Reference::action),
        Some(provider.name.as_str()),
        Some(provider.id.as_str()),
        Some(provider.status.as_str()),
        provider.message.as_deref(),
    ];
    let packed = texts
        .map(|text| text.map_or_else(|| "-".to_owned(), |text| format!("{}:{text}", text.len())));
    let packed = packed.concat();
    vec![
        code(Status::ALL.iter().position(|status| *status == record.status)),
        time(Some(record.status_arrived_at)),
        time(record.acceptance.accepted),
        time(record.acceptance.stated),
        time(Some(record.acceptance.arrived)),
        code(Channel::ALL.iter().position(|channel| *channel == record.channel())),
        Value::from(destination.map(|number| i64::try_from(number).unwrap())),
        text(reference.and_then(Reference::key)),
        text(Some(&provider.code)),
        Value::from(packed),
        Value::from(record.segments.as_ref().map(|claim| claim.value)),
    ]
}

/// Checks that everything acknowledged before the cut is stored, and that every delivery is stored whole
/// or not at all.
fn compare_deliveries(run: &StoreRun, state: &State, stored: &[u32]) -> Result<(), Failure> {
    let mut required = vec![0; stored.len()];
    for (_, number) in run.acknowledged.iter().filter(|(length, _)| *length <= state.moment) {
        for event in &run.deliveries[*number] {
            // A notification is stored once. A quarantined entry counts its repetitions.
            let is_notification = run.notifications[*event].is_some();
            required[*event] = if is_notification { 1 } else { required[*event] + 1 };
            if stored[*event] < required[*event] {
                return Err(format!("delivery {number} was acknowledged and is lost").into());
            }
        }
    }
    if stored.iter().zip(&run.delivery_counts).any(|(stored, delivered)| stored > delivered) {
        return Err("an event is stored more often than it was delivered".into());
    }
    for delivery in &run.deliveries {
        // Events that no other delivery has.
        let mut own = delivery.iter().filter(|event| run.delivery_counts[**event] == 1);
        if own.any(|event| stored[*event] == 1) && delivery.iter().any(|event| stored[*event] == 0)
        {
            return Err("a delivery is stored in part".into());
        }
    }
    Ok(())
}

/// Checks that the store opens the files, shows the same histories, and accepts another delivery.
fn read_by_store(run: &StoreRun, path: &Path, histories: &Histories) -> Result<(), Failure> {
    let (store, closing) = open(path)?;
    System::new().block_on(async {
        for (message, history) in histories {
            let shown = store
                .history(MessageId::from_bytes(*message), Part::First { bytes: usize::MAX })
                .await?;
            let shown = shown.ok_or("the store does not show a message")?;
            let times = shown.in_full.iter().map(|notification| notification.received_at);
            let first = history.iter().filter(|row| !row.is_repetition);
            if shown.record != expected_record(run, history)
                || !times.eq(first.map(|row| row.received_at))
            {
                return Err(format!("the store shows {shown:?}").into());
            }
        }
        let notification = run.notifications.iter().flatten().next().unwrap();
        store.ingest(delivery(at(1_000_000), vec![entry(0, notification.clone())])).await?;
        Ok::<_, Failure>(())
    })?;
    drop(store);
    if closing.close() { Ok(()) } else { Err("the store failed".into()) }
}
