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
    looking: Cell<Option<Instant>>,
    /// Result of the last measurement.
    found: Cell<Duration>,
    /// End of the last measurement.
    looked: Cell<Instant>,
    /// Time of the last shedding, if there is an overload.
    shed: Cell<Option<Instant>>,
}

impl Lateness {
    /// Lateness of an idle worker: zero, without overload.
    pub(crate) fn new() -> Self {
        Self {
            looking: Cell::new(None),
            found: Cell::new(Duration::ZERO),
            looked: Cell::new(Instant::now()),
            shed: Cell::new(None),
        }
    }

    /// Starts an overload, or prolongs it.
    fn overloaded(&self, now: Instant) {
        if self.shed.replace(Some(now)).is_none() {
            tracing::warn!(
                "overloaded: webhooks arrive faster than they can be stored; some are rejected"
            );
        }
    }

    /// Whether a webhook that arrives now is shed if it would have to wait. Starts a measurement if one is
    /// due.
    fn sheds(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        if self.looking.get().is_none() && now - self.looked.get() >= MEASURE_INTERVAL {
            self.looking.set(Some(now));
            rt::spawn(Rc::clone(self).measure());
        }
        let so_far = self.looking.get().map_or(Duration::ZERO, |begun| now - begun);
        let sheds = self.shed.get().is_some() && self.found.get().max(so_far) > ON_TIME_LATENESS;
        if sheds {
            self.shed.set(Some(now));
        }
        sheds
    }

    /// Measures how long the worker takes to run everything that is scheduled now, repeatedly until it is on
    /// time.
    async fn measure(self: Rc<Self>) {
        let mut begun = Instant::now();
        loop {
            self.looking.set(Some(begun));
            // Resumes behind every task that is scheduled now or has become ready meanwhile.
            yield_now().await;
            let now = Instant::now();
            let late = now - begun;
            self.found.set(late);
            self.looked.set(now);
            if late <= ON_TIME_LATENESS {
                break;
            }
            if late > OVERLOAD_LATENESS {
                self.overloaded(now);
            }
            begun = now;
        }
        self.looking.set(None);
        if self.shed.get().is_some_and(|shed| shed.elapsed() > RECOVERY_TIME) {
            self.shed.set(None);
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
    let is_webhook = area == Area::Webhooks && !service.shutdown.has_begun();
    if is_webhook && slots.are_full() {
        lateness.overloaded(Instant::now());
    }
    if is_webhook && lateness.sheds() && slots.keep_writer_busy() {
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
