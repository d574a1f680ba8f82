//! Load shedding: when more webhooks arrive than can be taken, some are refused at once, so that those
//! that are taken are answered soon.
//!
//! A bounded queue is not enough for that. What has arrived waits first until its worker comes to it, and
//! a worker that takes all it can comes later and later. So each worker measures how late it is. That alone
//! means nothing, since the machine may have other work, and bursts pass. But once the queue is full, or the
//! worker very late, there is an overload, and until it is over only what need not wait is taken.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::{Request, Response};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::{dev, rt};
use futures_util::future::Either;
use tokio::task::yield_now;

use super::body;
use super::path::Area;
use super::state::Service;
use crate::ingest::Refusal;
use crate::metrics::Cause;

/// A worker that is not later than this is on time.
const ON_TIME: Duration = Duration::from_millis(2);
/// Later than this it is overloaded.
const LATE: Duration = Duration::from_millis(100);
/// After it had to shed nothing for so long, an overload is over.
const OVER: Duration = Duration::from_secs(1);
/// A worker looks at most so often how late it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// How late a worker is with what it has to do.
pub(super) struct Lateness {
    /// When the look began that is under way.
    looking: Cell<Option<Instant>>,
    /// What the last one found.
    found: Cell<Duration>,
    /// When it ended.
    looked: Cell<Instant>,
    /// When something had last to be shed, if there is an overload.
    shed: Cell<Option<Instant>>,
}

impl Lateness {
    /// That of a worker which has nothing to do yet.
    pub(super) fn new() -> Self {
        Self {
            looking: Cell::new(None),
            found: Cell::new(Duration::ZERO),
            looked: Cell::new(Instant::now()),
            shed: Cell::new(None),
        }
    }

    /// From now on things are shed.
    fn overloaded(&self, now: Instant) {
        if self.shed.replace(Some(now)).is_none() {
            tracing::warn!("more webhooks come than can be taken; some of them are refused");
        }
    }

    /// Whether what came now has to be shed, unless it need not wait.
    fn sheds(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        if self.looking.get().is_none() && now - self.looked.get() >= BETWEEN_LOOKS {
            self.looking.set(Some(now));
            rt::spawn(Rc::clone(self).look());
        }
        let so_far = self.looking.get().map_or(Duration::ZERO, |begun| now - begun);
        let sheds = self.shed.get().is_some() && self.found.get().max(so_far) > ON_TIME;
        if sheds {
            self.shed.set(Some(now));
        }
        sheds
    }

    /// Sees how long it takes until the worker has done all that it has to do now, again and again
    /// until it is on time.
    async fn look(self: Rc<Self>) {
        let mut begun = Instant::now();
        loop {
            self.looking.set(Some(begun));
            // Behind all that is there, and all that has arrived meanwhile.
            yield_now().await;
            let now = Instant::now();
            let late = now - begun;
            self.found.set(late);
            self.looked.set(now);
            if late <= ON_TIME {
                break;
            }
            if late > LATE {
                self.overloaded(now);
            }
            begun = now;
        }
        self.looking.set(None);
        if self.shed.get().is_some_and(|shed| shed.elapsed() > OVER) {
            self.shed.set(None);
        }
    }
}

/// Gives a request to the application, unless it is a webhook that has to be shed: before anything is
/// done for it, since that is what there is no time for.
pub(super) fn shed_or_call<S, B>(
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
    let ingest = &service.ingest;
    let is_webhook = area == Area::Webhooks && !ingest.closing.has_begun();
    if is_webhook && ingest.is_full() {
        lateness.overloaded(Instant::now());
    }
    if is_webhook && lateness.sheds() && ingest.is_busy() {
        ingest.metrics.refused(None, Cause::Shed);
        let payload = request.take_payload();
        return Either::Left(async {
            let response = body::refuse(Refusal::Overloaded.into(), payload).await;
            Ok(Response::from(response).map_body(|_, body| EitherBody::right(body)))
        });
    }
    let answer = app.call(request);
    Either::Right(async { Ok(answer.await?.into().map_body(|_, body| EitherBody::left(body))) })
}
