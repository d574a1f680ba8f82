//! `GET /api/messagestatus/{messageid}/history`: every notification of a message.
//!
//! A history has up to 1,000 notifications, so it is read, rendered and written in pieces. A short one, which is
//! the usual case, is one piece and has a length.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, block};
use futures_util::stream;
use thiserror::Error;
use tokio::time::{Duration, sleep};

use super::bodies::{self, next_piece};
use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view::{self, HISTORY_END, JSON};
use crate::budget::Reservation;
use crate::store::{Part, Said, StoreError};

/// Bytes of text that are read at a time.
const READ_BYTES: usize = 16 << 10;
/// Memory that a history in progress takes: what is read, what is rendered of it, in which a letter may take six
/// bytes, and the copy of a piece that is written.
const CHARGED_BYTES: usize = 16 * READ_BYTES;
/// The time after which a read is tried again when the store has too much to do.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The answer with the history of a message.
pub(crate) async fn show(service: &Data<Service>, id: &str) -> Result<HttpResponse, Problem> {
    let id = query::message_id(id)?;
    let part = Part::First { bytes: READ_BYTES };
    let history = service.store.history(id, part).await?.ok_or(Problem::UnknownMessage)?;
    let mut text = view::history_head(id, history.record.as_ref());
    view::add_history(&mut text, &history.said, true);
    let rest = history.steps.iter().skip(history.said.len());
    let rest: Vec<_> = rest.map(|step| step.number).collect();
    let mut response = HttpResponse::Ok();
    response.content_type(JSON);
    if rest.is_empty() {
        text.extend_from_slice(HISTORY_END);
        return bodies::answer(service, &mut response, text);
    }
    let writing = Writing {
        service: Data::clone(service),
        text: text.into(),
        rest,
        ended: false,
        _charged: bodies::reserve(service, CHARGED_BYTES)?,
    };
    let pieces = stream::try_unfold(writing, async |mut writing| {
        Ok::<_, CutOff>(writing.next().await?.map(|piece| (piece, writing)))
    });
    Ok(response.streaming(Box::pin(pieces)))
}

/// A history that is written.
struct Writing {
    service: Data<Service>,
    /// Rendered, and not written yet.
    text: Bytes,
    /// The numbers of the notifications that are not read yet.
    rest: Vec<i64>,
    ended: bool,
    _charged: Reservation,
}

/// The reason for ending a history too early. The client gets a connection that breaks, and no end.
#[derive(Debug, Error)]
enum CutOff {
    #[error("the service is stopping")]
    Closing,
    #[error("the message was removed")]
    Removed,
    #[error("it could not be rendered")]
    Rendering,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Writing {
    /// The next piece; none behind the last one.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        if self.text.is_empty() && !self.rest.is_empty() {
            let said = self.read().await?;
            self.rest.drain(..said.len().min(self.rest.len()));
            // On another thread, so that the worker goes on.
            let render = move || {
                let mut text = Vec::new();
                view::add_history(&mut text, &said, false);
                text
            };
            self.text = block(render).await.map_err(|_gone| CutOff::Rendering)?.into();
        }
        if self.text.is_empty() {
            let is_end = !std::mem::replace(&mut self.ended, true);
            return Ok(is_end.then(|| Bytes::from_static(HISTORY_END)));
        }
        Ok(Some(next_piece(&mut self.text)))
    }

    async fn read(&self) -> Result<Vec<Said>, CutOff> {
        loop {
            if self.service.ingest.closing.has_begun() {
                return Err(CutOff::Closing);
            }
            match self.service.store.notifications(self.rest.clone(), READ_BYTES).await {
                Err(StoreError::Overloaded) => sleep(RETRY_INTERVAL).await,
                said => return said?.ok_or(CutOff::Removed),
            }
        }
    }
}
