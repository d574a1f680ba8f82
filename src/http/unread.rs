//! Connections whose chunked request body nobody read to its end are closed.
//!
//! The framework waits for the rest of such a body, for ever, if its payload is dropped before the
//! response is sent: a stranger could hold any number of connections. So the payload lives as long
//! as the response.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage};
use futures_util::Stream;

/// Keeps the payload of a chunked request until its response is sent.
pub(crate) fn close<S, B>(
    mut request: ServiceRequest,
    next: &S,
) -> impl Future<Output = Result<ServiceResponse<EitherBody<B, Held>>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let held = chunked.then(|| {
        let payload = Rc::new(RefCell::new(request.take_payload()));
        let shared = Shared(Rc::clone(&payload));
        request.set_payload(Payload::Stream { payload: Box::pin(shared) });
        payload
    });
    let answer = next.call(request);
    async move {
        let response = answer.await?;
        let Some(payload) = held else { return Ok(response.map_into_left_body()) };
        let response = response.map_into_boxed_body();
        Ok(response.map_body(|_head, body| EitherBody::right(Held { body, _payload: payload })))
    }
}

struct Shared(Rc<RefCell<Payload>>);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// A response's body, and the payload of its request.
pub(crate) struct Held {
    body: BoxBody,
    _payload: Rc<RefCell<Payload>>,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
