//! What every handler needs, and the count of requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{self, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::web::Data;
use tokio::sync::{Mutex, Semaphore};

use super::attempts::Attempts;
use super::events::Live;
use super::key::{ApiKey, ApiKeys};
use super::places::Places;
use super::proxies::TrustedProxies;
use super::waiting_bodies::WaitingBodies;
use super::{export, waiting};
use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::store::Store;

/// The service behind the routes.
pub struct Service {
    /// The way in.
    pub ingest: Arc<Ingest>,
    /// The way out.
    pub store: Arc<dyn Store>,
    /// Who may ask.
    pub keys: ApiKeys,
    /// Who failed to say who it is.
    pub attempts: Attempts,
    /// Bodies that wait and whose sender is verified.
    pub(crate) verified_bodies: WaitingBodies,
    /// Bodies that wait and whose sender is not.
    pub(crate) unverified_bodies: WaitingBodies,
    /// Who says where a request comes from.
    pub proxies: TrustedProxies,
    /// What time it is.
    pub clock: Clock,
    /// How many requests are under way that the service must answer before it may stop.
    pub under_way: AtomicUsize,
    /// Whose turn it is to see how the service is doing.
    pub watching: Mutex<()>,
    /// Clients that listen to events.
    pub(crate) live: Arc<Live>,
    /// Places for requests that wait for a message.
    pub(crate) long_polls: Places,
    /// Turns of those that read and render a page.
    pub(crate) rendering: Semaphore,
    /// Places for exports as CSV.
    pub(crate) exports: Places,
}

/// Pages that are read and rendered at a time.
const RENDERED_TOGETHER: usize = 2;
/// The most clients that listen to events, if it is not set.
const EVENT_STREAMS: usize = 2_000;

impl Service {
    /// A service of which nothing is asked yet.
    pub fn new(
        ingest: Arc<Ingest>,
        store: Arc<dyn Store>,
        keys: Vec<ApiKey>,
        proxies: TrustedProxies,
        clock: Clock,
    ) -> Self {
        let live = Live::new(&store, &ingest, EVENT_STREAMS);
        Self {
            ingest,
            store,
            keys: ApiKeys::new(keys),
            attempts: Attempts::default(),
            verified_bodies: WaitingBodies::default(),
            unverified_bodies: WaitingBodies::default(),
            proxies,
            clock,
            under_way: AtomicUsize::new(0),
            watching: Mutex::new(()),
            live,
            long_polls: Places::new(waiting::MAX_LONG_POLLS),
            rendering: Semaphore::new(RENDERED_TOGETHER),
            exports: Places::new(export::MAX_EXPORTS),
        }
    }

    /// The same service with another limit of clients that listen to events.
    #[must_use]
    pub fn with_max_event_streams(self, limit: usize) -> Self {
        let live = Live::new(&self.store, &self.ingest, limit);
        Self { live, ..self }
    }
}

/// Counts a request for as long as it is under way, unless it came when the service was closing.
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
        let _under_way =
            (!service.ingest.closing.has_begun()).then(|| UnderWay::new(&service.under_way));
        let mut response = answer.await?;
        if service.ingest.closing.has_begun() {
            // So that no client sends another request, which nobody would answer.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(response)
    }
}

/// One request under way; a client that hangs up ends it too.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
