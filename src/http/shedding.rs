//! Load shedding: when more webhooks arrive than can be accepted, some are rejected at once, so that the
//! accepted ones are answered soon.
//!
//! A bounded queue is not enough for that. A delivery waits first until its worker reads it, and a worker
//! that accepts all it can reads later and later. So each worker measures how late it is. Lateness alone
//! means nothing, since the machine may have other work, and bursts pass. But once the queue is full, or the
//! worker very late, there is an overload. Until the overload is over, only webhooks that need not wait are
//! accepted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::{Request, Response};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::{dev, rt};
use futures_util::future::Either;
use tokio::task::yield_now;

use super::app_state::Service;
use super::path::Area;
use crate::http::body::request_body;
use crate::ingest::Rejection;
use crate::metrics::RejectReason;

/// Lateness up to which a worker is on time.
const ON_TIME_LATENESS: Duration = Duration::from_millis(2);
/// Lateness above which a worker is overloaded.
const OVERLOAD_LATENESS: Duration = Duration::from_millis(100);
/// Time without shedding after which an overload is over.
const RECOVERY_TIME: Duration = Duration::from_secs(1);
/// Minimum interval between two measurements of lateness.
const MEASURE_INTERVAL: Duration = Duration::from_millis(1);

/// Lateness of a worker: how long new work waits until the worker reaches it.
pub(crate) struct Lateness {
    /// Start of the measurement in progress.
    measuring_since: Cell<Option<Instant>>,
    /// Result of the last measurement.
    last_result: Cell<Duration>,
    /// End of the last measurement.
    measured_at: Cell<Instant>,
    /// Time of the last shedding, if there is an overload.
    shed_at: Cell<Option<Instant>>,
}

impl Lateness {
    /// Lateness of an idle worker: zero, without overload.
    pub(crate) fn new() -> Self {
        Self {
            measuring_since: Cell::new(None),
            last_result: Cell::new(Duration::ZERO),
            measured_at: Cell::new(Instant::now()),
            shed_at: Cell::new(None),
        }
    }

    /// Starts an overload, or prolongs it.
    fn start_overload(&self, now: Instant) {
        if self.shed_at.replace(Some(now)).is_none() {
            tracing::warn!(
                "overloaded: webhooks arrive faster than they can be stored; some are rejected"
            );
        }
    }

    /// Whether a webhook that arrives now is shed if it would have to wait. Starts a measurement if one is
    /// due.
    fn should_shed(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        if self.measuring_since.get().is_none() && now - self.measured_at.get() >= MEASURE_INTERVAL
        {
            self.measuring_since.set(Some(now));
            rt::spawn(Rc::clone(self).measure());
        }
        let so_far = self.measuring_since.get().map_or(Duration::ZERO, |started| now - started);
        let is_shed =
            self.shed_at.get().is_some() && self.last_result.get().max(so_far) > ON_TIME_LATENESS;
        if is_shed {
            self.shed_at.set(Some(now));
        }
        is_shed
    }

    /// Measures how long the worker takes to run everything that is scheduled now, repeatedly until it is on
    /// time.
    async fn measure(self: Rc<Self>) {
        let mut started = Instant::now();
        loop {
            self.measuring_since.set(Some(started));
            // Resumes behind every task that is scheduled now or has become ready meanwhile.
            yield_now().await;
            let now = Instant::now();
            let lateness = now - started;
            self.last_result.set(lateness);
            self.measured_at.set(now);
            if lateness <= ON_TIME_LATENESS {
                break;
            }
            if lateness > OVERLOAD_LATENESS {
                self.start_overload(now);
            }
            started = now;
        }
        self.measuring_since.set(None);
        if self.shed_at.get().is_some_and(|shed_at| shed_at.elapsed() > RECOVERY_TIME) {
            self.shed_at.set(None);
        }
    }
}

/// Calls the application, unless the request is a webhook to be shed. A webhook is shed before any other work
/// is done for it, since there is no time for that work.
pub(crate) fn shed_or_call<S, B>(
    service: &Service,
    lateness: &Rc<Lateness>,
    area: Area,
    mut request: Request,
    app: &S,
) -> impl Future<Output = Result<Response<EitherBody<B>>, S::Error>> + use<S, B>
where
    S: dev::Service<Request, Response: Into<Response<B>>>,
    B: MessageBody,
{
    let slots = &service.ingest.slots;
    let is_webhook = area == Area::Webhooks && !service.shutdown.is_triggered();
    if is_webhook && slots.are_full() {
        lateness.start_overload(Instant::now());
    }
    if is_webhook && lateness.should_shed() && slots.keep_writer_busy() {
        service.metrics.rejected(None, RejectReason::Shed);
        let payload = request.take_payload();
        return Either::Left(async {
            let response = request_body::reject_unread(Rejection::Overloaded.into(), payload).await;
            Ok(Response::from(response).map_body(|_, body| EitherBody::right(body)))
        });
    }
    let answer = app.call(request);
    Either::Right(async { Ok(answer.await?.into().map_body(|_, body| EitherBody::left(body))) })
}
