//! `GET /metrics`: counters, and gauges of the current state, for Prometheus.

use std::sync::atomic::AtomicU64;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::metrics_format::Format;
use super::metrics_text;
use crate::http::app_state::Service;
use crate::message::Timestamp;
use crate::metrics::PREFIX;
use crate::store::Stats;

/// Gauge of a value that is never negative.
type Size = Gauge<u64, AtomicU64>;

/// `GET /metrics`, in the format that the client prefers. It needs no key, because no metric names a message.
pub(crate) async fn show(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let accept = request.headers().get_all(header::ACCEPT);
    let format = Format::negotiate(accept.filter_map(|value| value.to_str().ok()));
    // One request at a time, because strangers can request metrics too.
    let _query_guard = service.metrics_query.lock().await;
    let stats = match service.store.stats().await {
        Ok(stats) => Some(stats),
        Err(error) => {
            tracing::warn!(%error, "the metrics of the store are missing");
            None
        }
    };
    let mut output = String::new();
    // Writing to a String does not fail.
    service
        .metrics
        .write(&mut output)
        .and_then(|()| text::encode_registry(&mut output, &state_gauges(&service, stats)))
        .and_then(|()| text::encode_eof(&mut output))
        .unwrap_or_default();
    if format == Format::Text {
        output = metrics_text::from_open_metrics(&output);
    }
    HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((header::VARY, header::ACCEPT.as_str()))
        .body(output)
}

/// Gauges of the service's current state.
fn state_gauges(service: &Service, stats: Option<Stats>) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let mut size = |name: &str, help: &str, value: u64| {
        let gauge = Size::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let number = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    size(
        "deliveries_in_flight",
        "Deliveries that wait for their commit",
        number(service.ingest.slots.in_flight()),
    );
    size(
        "deliveries_in_flight_limit",
        "Limit of deliveries in flight: store.max_in_flight",
        number(service.ingest.slots.limit()),
    );
    let answers = u64::from(stats.is_some());
    size("store_up", "Whether the store answered; if not, its metrics are missing", answers);
    let Some(stats) = stats else { return registry };
    let Stats { database_bytes, wal_bytes, quarantined, .. } = stats;
    let Stats { quarantined_bytes, prune_waiting, without_destination, oldest_unfinished, .. } =
        stats;
    size("quarantine_entries", "Quarantined entries", quarantined);
    size(
        "quarantine_bytes",
        "Size of the quarantined entries; the limit is quarantine.max_bytes",
        quarantined_bytes,
    );
    size(
        "prune_waiting",
        "Messages and quarantined entries that are older than the retention, and wait until a prune is \
         confirmed",
        prune_waiting,
    );
    size(
        "messages_without_destination",
        "Messages without a known destination, so that no query by phone number finds them",
        without_destination,
    );
    let files = Family::<FileLabels, Size>::default();
    files.get_or_create(&FileLabels { file: "database" }).set(database_bytes);
    files.get_or_create(&FileLabels { file: "wal" }).set(wal_bytes);
    registry.register_with_unit(
        "store_size",
        "The length of the database and of its write-ahead log",
        Unit::Bytes,
        files,
    );
    let oldest = Gauge::<f64, AtomicU64>::default();
    oldest.set(oldest_unfinished.map_or(0.0, Timestamp::unix_seconds));
    registry.register_with_unit(
        "oldest_unfinished_timestamp",
        "Time at which the oldest message that is accepted or sent, and has no final status, was accepted; 0 \
         if there is none",
        Unit::Seconds,
        oldest,
    );
    registry
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: &'static str,
}
