//! `GET /metrics`: what was counted, and how the service is doing now, for Prometheus.

mod accept;
mod plain;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use self::accept::Format;
use super::state::Service;
use crate::message::Timestamp;
use crate::metrics::PREFIX;
use crate::store::Vitals;

/// A number that is never below zero.
type Size = Gauge<u64, AtomicU64>;

/// Answers whoever asks, in the format that is wanted: nothing of it names a message.
pub(crate) async fn show(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let accept = request.headers().get_all(header::ACCEPT);
    let format = Format::wanted(accept.filter_map(|value| value.to_str().ok()));
    // One at a time, because strangers may ask too.
    let _turn = service.watching.lock().await;
    let vitals = match service.store.vitals().await {
        Ok(vitals) => Some(vitals),
        Err(error) => {
            tracing::warn!(%error, "metrics are shown without those of the store");
            None
        }
    };
    let now = service.clock.now();
    let mut shown = String::new();
    // Writing to a String does not fail.
    service
        .ingest
        .metrics
        .write(&mut shown, now)
        .and_then(|()| text::encode_registry(&mut shown, &present(&service, vitals, now)))
        .and_then(|()| text::encode_eof(&mut shown))
        .unwrap_or_default();
    if format == Format::Text {
        shown = plain::from_open_metrics(&shown);
    }
    HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((header::VARY, header::ACCEPT.as_str()))
        .body(shown)
}

/// How the service is doing now.
fn present(service: &Service, vitals: Option<Vitals>, now: Timestamp) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let mut size = |name: &str, help: &str, value: u64| {
        let gauge = Size::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let number = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    size("queue_depth", "Deliveries under way", number(service.ingest.under_way()));
    size("queue_capacity", "How many there may be: store.queue", number(service.ingest.capacity()));
    let answers = u64::from(vitals.is_some());
    size("store_up", "Whether the store answered; without it its metrics are missing", answers);
    let Some(vitals) = vitals else { return registry };
    let Vitals { database_bytes, wal_bytes, quarantined, .. } = vitals;
    let Vitals { quarantined_bytes, prune_waiting, without_number, oldest_unfinished, .. } = vitals;
    size("quarantine_entries", "Entries that could not be understood", quarantined);
    size(
        "quarantine_bytes",
        "Bytes of the entries that could not be understood: quarantine.max_bytes",
        quarantined_bytes,
    );
    size(
        "prune_waiting",
        "Messages and quarantined entries that are older than the retention, and wait until a prune is \
         confirmed",
        prune_waiting,
    );
    size(
        "records_without_number",
        "Messages whose recipient nothing told, so that no query by number finds them",
        without_number,
    );
    let files = Family::<OfFile, Size>::default();
    files.get_or_create(&OfFile { file: "database" }).set(database_bytes);
    files.get_or_create(&OfFile { file: "wal" }).set(wal_bytes);
    registry.register_with_unit(
        "store_size",
        "The length of the database and of its write-ahead log",
        Unit::Bytes,
        files,
    );
    let since = |time: Timestamp| {
        u64::try_from(now.micros().saturating_sub(time.micros()))
            .map_or(0.0, |micros| Duration::from_micros(micros).as_secs_f64())
    };
    let oldest = Gauge::<f64, AtomicU64>::default();
    oldest.set(oldest_unfinished.map_or(0.0, since));
    registry.register_with_unit(
        "oldest_unfinished_age",
        "Since the acceptance of the oldest message that is accepted or sent, and of which no end is \
         known; 0 if there is none",
        Unit::Seconds,
        oldest,
    );
    registry
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFile {
    file: &'static str,
}
