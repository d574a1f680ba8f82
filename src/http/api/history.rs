//! `GET /api/messagestatus/{messageid}/history`: every notification of a message.
//!
//! A history has up to 1,000 notifications, so it is read, rendered and written in pieces. A short history,
//! the usual case, is one piece with a `Content-Length`.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, block};
use futures_util::stream;
use thiserror::Error;
use tokio::time::{Duration, sleep};

use crate::http::app_state::Service;
use crate::http::body::response_body::{self, next_piece};
use crate::http::problem::Problem;
use crate::http::render::message_json::{self, HISTORY_END, JSON};
use crate::memory_budget::Reservation;
use crate::message::MessageId;
use crate::store::{Part, StoreError, StoredNotification};

/// Bytes of text read at a time.
const READ_BYTES: usize = 16 << 10;
/// Memory charged for a history in progress, in bytes: the notifications read, their rendering, in which a
/// character may take six bytes, and the copy of a piece that is being written.
const CHARGED_BYTES: usize = 16 * READ_BYTES;
/// Interval until a read is retried when the store is overloaded.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Answers with the history of a message.
pub(crate) async fn show(service: &Data<Service>, id: MessageId) -> Result<HttpResponse, Problem> {
    let part = Part::First { bytes: READ_BYTES };
    let history = service.store.history(id, part).await?.ok_or(Problem::UnknownMessage)?;
    let mut text = message_json::history_head(id, history.record.as_ref());
    message_json::add_history(&mut text, &history.in_full, true);
    let rest = history.steps.iter().skip(history.in_full.len());
    let rest: Vec<_> = rest.map(|step| step.number).collect();
    let mut response = HttpResponse::Ok();
    response.content_type(JSON);
    if rest.is_empty() {
        text.extend_from_slice(HISTORY_END);
        return response_body::answer(service, &mut response, text);
    }
    let writer = HistoryWriter {
        service: Data::clone(service),
        text: text.into(),
        rest,
        ended: false,
        _charged: response_body::reserve(service, CHARGED_BYTES)?,
    };
    let pieces = stream::try_unfold(writer, async |mut writer| {
        Ok::<_, CutOff>(writer.next().await?.map(|piece| (piece, writer)))
    });
    Ok(response.streaming(Box::pin(pieces)))
}

/// History in progress.
struct HistoryWriter {
    service: Data<Service>,
    /// Text rendered and not written yet.
    text: Bytes,
    /// Numbers of the notifications not read yet.
    rest: Vec<i64>,
    ended: bool,
    _charged: Reservation,
}

/// Reason for ending a history early. The client's connection is closed before the response is complete.
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

impl HistoryWriter {
    /// Next piece of the response; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        if self.text.is_empty() && !self.rest.is_empty() {
            let notifications = self.read().await?;
            self.rest.drain(..notifications.len().min(self.rest.len()));
            // Rendered on another thread, so that the worker serves other requests.
            let render = move || {
                let mut text = Vec::new();
                message_json::add_history(&mut text, &notifications, false);
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

    async fn read(&self) -> Result<Vec<StoredNotification>, CutOff> {
        loop {
            if self.service.shutdown.is_triggered() {
                return Err(CutOff::Closing);
            }
            match self.service.store.notifications(self.rest.clone(), READ_BYTES).await {
                Err(StoreError::Overloaded) => sleep(RETRY_INTERVAL).await,
                read => return read?.ok_or(CutOff::Removed),
            }
        }
    }
}
