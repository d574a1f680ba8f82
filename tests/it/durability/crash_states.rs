//! Crash states: every state that a power cut may leave has what was acknowledged, and each delivery whole.
//!
//! A store runs for a while and logs its operations on files. The files are then rebuilt as a cut at some moment
//! may have left them, and opened.

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

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::power_cut::{SimulatedDisk, Surviving};
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::logged_run::{
    DATABASE, Event, Failure, StoreRun, folder, open, place, run_store,
};
use crate::support::store::notifications::at;

/// How many states of one life are tried.
const STATES_OF_A_LIFE: u64 = 1_000;
/// How many threads read states.
const THREADS: usize = 2;
/// One of so many states is also read by the store itself.
const WHOLE: u64 = 40;

#[test]
fn acknowledged_deliveries_are_in_every_crash_state() {
    let mut chance = Chance::of("crash states");
    let since = Instant::now();
    let states = times(300, 8_500, 80_000);
    let seed: Vec<u8> = (0..32).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let (mut tried, mut acknowledged, mut torn) = (0, 0, 0);
    while tried < states {
        let count = STATES_OF_A_LIFE.min(states - tried);
        let life = run_store(&mut chance, &mut runner);
        torn += try_states(&life, count, &mut chance);
        life.assert_eventful();
        acknowledged += u64::try_from(life.acknowledged.len()).unwrap();
        tried += count;
    }
    assert!(torn > states, "hardly a write was torn: {torn}");
    let figures = [("crash states", states), ("acknowledged", acknowledged), ("lost", 0)];
    report("P2, P3", &chance, &figures, since);
}

/// Cuts the power so many times, and reads what is left; returns how many writes were torn.
fn try_states(life: &StoreRun, count: u64, chance: &mut Chance) -> u64 {
    let mut moments: Vec<usize> =
        (0..count).map(|_| place(chance, life.operations.len() + 1)).collect();
    moments.sort_unstable();
    let mut disk = SimulatedDisk::new(&life.operations);
    let (hand_over, states) = sync_channel(2 * THREADS);
    let states = Arc::new(Mutex::new(states));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let states = Arc::clone(&states);
            scope.spawn(move || read_states(life, &states));
        }
        // The threads' are the only ones left, so that it is noticed here when they fail.
        drop(states);
        for (number, moment) in (0..).zip(moments) {
            disk.go_on(moment);
            let left = Surviving::by(chance);
            let files = disk.cut(left, chance);
            let whole = number % WHOLE == 0;
            if hand_over.send(State { moment, left, files, whole }).is_err() {
                break;
            }
        }
        drop(hand_over);
    });
    disk.torn
}

/// What a power cut left.
struct State {
    /// How many operations were done.
    moment: usize,
    left: Surviving,
    files: BTreeMap<String, Vec<u8>>,
    /// Whether the store reads it, too.
    whole: bool,
}

/// Reads states until there are no more.
fn read_states(life: &StoreRun, states: &Mutex<Receiver<State>>) {
    loop {
        let next = states.lock().unwrap().recv();
        let Ok(state) = next else { return };
        let folder = folder();
        for (name, bytes) in &state.files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        if let Err(failure) = read_state(life, &state, &folder.path().join(DATABASE)) {
            panic!(
                "{failure}, after {} of {} operations, {:?} of those not synced left: {}",
                state.moment,
                life.operations.len(),
                state.left,
                folder.keep().display()
            );
        }
    }
}

/// A notification in the log.
struct Row {
    seq: i64,
    event: Event,
    received_at: Timestamp,
    arrived_at: Timestamp,
    /// Whether it is a registration that was there already.
    again: bool,
}

/// What was found of each message.
type Histories = BTreeMap<[u8; 16], Vec<Row>>;

fn read_state(life: &StoreRun, state: &State, path: &Path) -> Result<(), Failure> {
    if let Some(damage) = wal_damage(path, None)? {
        return Err(format!("a torn tail is taken for damage: {damage:?}").into());
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
    let mut held = vec![0; life.said.len()];
    let mut histories = Histories::new();
    if db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'message'")?.exists([])? {
        histories = read_histories(&db, life)?;
        compare_records(&db, life, &histories)?;
        for row in histories.values().flatten() {
            held[row.event] = 1;
        }
        let mut select = db.prepare("SELECT id, times FROM quarantine")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            held[life.event(row.get_ref(0)?.as_blob()?)?] = row.get(1)?;
        }
    }
    drop(db);
    compare_deliveries(life, state, &held)?;
    if state.whole { read_by_the_store(life, path, &histories) } else { Ok(()) }
}

fn read_histories(db: &Connection, life: &StoreRun) -> Result<Histories, Failure> {
    const SELECT: &str = "SELECT message, identity, received_at, \
        coalesce(ordered_at, received_at), seq, kind = 3, previous FROM notification ORDER BY seq";
    let time = |micros| Timestamp::from_micros(micros).ok_or("no time");
    let mut histories = Histories::new();
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let message: [u8; 16] = row.get(0)?;
        let event = life.event(&[&message, row.get_ref(1)?.as_blob()?].concat())?;
        let said = Row {
            seq: row.get(4)?,
            event,
            received_at: time(row.get(2)?)?,
            arrived_at: time(row.get(3)?)?,
            again: row.get(5)?,
        };
        let history = histories.entry(message).or_default();
        if history.last().map(|before| before.seq) != row.get(6)? {
            return Err("a notification that does not lead to the one before it".into());
        }
        history.push(said);
    }
    Ok(histories)
}

/// What follows from a history.
fn fold(life: &StoreRun, history: &[Row]) -> Option<Record> {
    let mut record = None;
    for row in history {
        let said = life.said[row.event].as_ref().unwrap();
        record = Record::judge(record.as_ref(), said, row.arrived_at, row.again).record;
    }
    record
}

/// Each record follows from its message's notifications up to one of them, and what it lacks comes
/// after the place up to which all are said to be folded.
fn compare_records(db: &Connection, life: &StoreRun, histories: &Histories) -> Result<(), Failure> {
    const SELECT: &str = "SELECT id, notifications, status, status_arrived_at, began_accepted, \
        began_stated, began_arrived, channel, destination, reference_key, provider_code, texts, \
        segments, last FROM message";
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    let mut followed = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let message: [u8; 16] = row.get(0)?;
        let history = histories.get(&message).ok_or("a message without a history")?;
        let last: i64 = row.get(13)?;
        let length = history.iter().position(|row| row.seq == last).ok_or("no last one")? + 1;
        let history = &history[..length];
        followed.insert(message, last);
        let count: u32 = row.get(1)?;
        let shown = history.iter().filter(|row| !row.again).count();
        if shown != usize::try_from(count)? {
            return Err(format!("{count} notifications, {shown} in history").into());
        }
        let found: Vec<Value> = (2..13).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        let expected = fold(life, history).as_ref().map_or(vec![Value::Null; 11], columns);
        if found != expected {
            return Err(format!("a record {found:?} and not {expected:?}").into());
        }
    }
    let folded: i64 = db.query_row("SELECT folded FROM progress", [], |row| row.get(0))?;
    for (message, history) in histories {
        let last = followed.get(message).copied().unwrap_or(0);
        if history.iter().any(|row| row.seq <= folded && row.seq > last) {
            return Err(format!("no record of something before {folded}").into());
        }
    }
    Ok(())
}

/// A record as the table `message` has it.
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
        time(record.began.accepted),
        time(record.began.stated),
        time(Some(record.began.arrived)),
        code(Channel::ALL.iter().position(|channel| *channel == record.channel())),
        Value::from(destination.map(|number| i64::try_from(number).unwrap())),
        text(reference.and_then(Reference::key)),
        text(Some(&provider.code)),
        Value::from(packed),
        Value::from(record.segments.as_ref().map(|claim| claim.value)),
    ]
}

/// What was acknowledged before the cut is held, and every delivery is held whole or not at all.
fn compare_deliveries(life: &StoreRun, state: &State, held: &[u32]) -> Result<(), Failure> {
    let mut asked = vec![0; held.len()];
    for (_, number) in life.acknowledged.iter().filter(|(length, _)| *length <= state.moment) {
        for event in &life.deliveries[*number] {
            // A notification is kept once; an entry in quarantine counts how often it came.
            let once = life.said[*event].is_some();
            asked[*event] = if once { 1 } else { asked[*event] + 1 };
            if held[*event] < asked[*event] {
                return Err(format!("delivery {number} was acknowledged and is lost").into());
            }
        }
    }
    if held.iter().zip(&life.times).any(|(held, times)| held > times) {
        return Err("more than was delivered".into());
    }
    for delivery in &life.deliveries {
        // Its own are those that no other delivery brought.
        let mut own = delivery.iter().filter(|event| life.times[**event] == 1);
        if own.any(|event| held[*event] == 1) && delivery.iter().any(|event| held[*event] == 0) {
            return Err("half a delivery".into());
        }
    }
    Ok(())
}

/// The store opens it, shows the same, and goes on.
fn read_by_the_store(life: &StoreRun, path: &Path, histories: &Histories) -> Result<(), Failure> {
    let (store, closing) = open(path)?;
    System::new().block_on(async {
        for (message, history) in histories {
            let shown = store
                .history(MessageId::from_bytes(*message), Part::First { bytes: usize::MAX })
                .await?;
            let shown = shown.ok_or("the store does not show a message")?;
            let times = shown.in_full.iter().map(|said| said.received_at);
            let first = history.iter().filter(|row| !row.again);
            if shown.record != fold(life, history) || !times.eq(first.map(|row| row.received_at)) {
                return Err(format!("the store shows {shown:?}").into());
            }
        }
        let said = life.said.iter().flatten().next().unwrap();
        store.ingest(delivery(at(1_000_000), vec![entry(0, said.clone())])).await?;
        Ok::<_, Failure>(())
    })?;
    drop(store);
    if closing.close() { Ok(()) } else { Err("the store failed".into()) }
}
