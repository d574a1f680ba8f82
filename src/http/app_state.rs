//! State shared by all handlers, and the count of requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{self, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::web::Data;
use tokio::sync::{Mutex, Semaphore};

use super::concurrency_limit::ConcurrencyLimit;
use crate::access::api_key::{ApiKey, ApiKeys};
use crate::access::auth_limiter::Attempts;
use crate::access::trusted_proxies::TrustedProxies;
use crate::clock::Clock;
use crate::dialect::Sources;
use crate::http::api::events::Live;
use crate::http::body::pending_bodies::WaitingBodies;
use crate::ingest::{Ingest, ShutdownSignal};
use crate::memory_budget::MemoryBudget;
use crate::metrics::Metrics;
use crate::store::Store;

/// Service behind the routes, shared by all handlers.
pub struct Service {
    /// Ingest, which accepts webhooks and registrations.
    pub ingest: Arc<Ingest>,
    /// Sources in effect.
    pub sources: Arc<Sources>,
    /// Metrics of deliveries and requests.
    pub metrics: Arc<Metrics>,
    /// Memory that requests may hold.
    pub budget: MemoryBudget,
    /// Shutdown signal.
    pub shutdown: Arc<ShutdownSignal>,
    /// Store, which answers queries.
    pub store: Arc<dyn Store>,
    /// API keys of the callers.
    pub keys: ApiKeys,
    /// Failed authentication attempts by client, for rate-limiting.
    pub attempts: Attempts,
    /// Unfinished request bodies of verified senders.
    pub(crate) verified_bodies: WaitingBodies,
    /// Unfinished request bodies of unverified senders.
    pub(crate) unverified_bodies: WaitingBodies,
    /// Trusted proxies, whose `X-Forwarded-For` names the client.
    pub proxies: TrustedProxies,
    /// Clock of the service.
    pub clock: Clock,
    /// Number of requests in flight that must be answered before shutdown.
    pub in_flight: AtomicUsize,
    /// Lock that lets one `/metrics` request at a time query the store.
    pub metrics_query: Mutex<()>,
    /// Event stream clients, and the feed that serves them.
    pub(crate) live: Arc<Live>,
    /// Limit of concurrent long polls.
    pub(crate) long_polls: ConcurrencyLimit,
    /// Limit of pages read and rendered at a time.
    pub(crate) render_slots: Semaphore,
    /// Limit of concurrent CSV exports.
    pub(crate) exports: ConcurrencyLimit,
}

/// Maximum number of concurrent long polls.
const MAX_LONG_POLLS: usize = 4_000;
/// Maximum number of concurrent CSV exports.
const MAX_EXPORTS: usize = 16;
/// Number of pages read and rendered at a time.
const MAX_CONCURRENT_RENDERS: usize = 2;
/// Default limit of event stream clients.
const DEFAULT_MAX_EVENT_STREAMS: usize = 2_000;

impl Service {
    /// Creates the service state with no requests in flight.
    pub fn new(
        ingest: Arc<Ingest>,
        store: Arc<dyn Store>,
        keys: Vec<ApiKey>,
        proxies: TrustedProxies,
        clock: Clock,
    ) -> Self {
        let shutdown = Arc::clone(&ingest.shutdown);
        let live = Live::new(&store, &shutdown, DEFAULT_MAX_EVENT_STREAMS);
        Self {
            sources: Arc::clone(&ingest.sources),
            metrics: Arc::clone(&ingest.metrics),
            budget: ingest.budget.clone(),
            shutdown,
            ingest,
            store,
            keys: ApiKeys::new(keys),
            attempts: Attempts::default(),
            verified_bodies: WaitingBodies::default(),
            unverified_bodies: WaitingBodies::default(),
            proxies,
            clock,
            in_flight: AtomicUsize::new(0),
            metrics_query: Mutex::new(()),
            live,
            long_polls: ConcurrencyLimit::new(MAX_LONG_POLLS),
            render_slots: Semaphore::new(MAX_CONCURRENT_RENDERS),
            exports: ConcurrencyLimit::new(MAX_EXPORTS),
        }
    }

    /// Sets the limit of event stream clients.
    #[must_use]
    pub fn with_max_event_streams(self, limit: usize) -> Self {
        let live = Live::new(&self.store, &self.shutdown, limit);
        Self { live, ..self }
    }
}

/// Counts a request while it is in flight, unless it arrived after shutdown began.
pub(crate) fn count_request<S, B>(
    service: Data<Service>,
    request: ServiceRequest,
    next: &S,
) -> impl Future<Output = Result<ServiceResponse<B>, Error>> + use<S, B>
where
    S: dev::Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let answer = next.call(request);
    async move {
        let _guard = (!service.shutdown.is_triggered()).then(|| InFlight::new(&service.in_flight));
        let mut response = answer.await?;
        if service.shutdown.is_triggered() {
            // The connection is closed: a further request on it would not be answered.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(response)
    }
}

/// Guard that counts one request in flight; dropped when the request is answered or its client hangs up.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
