//! `GET /api/messages?format=csv`: all messages that a search finds, written as they are found.
//!
//! A client may take as long as it likes, so a part that waits to be written is charged to the memory budget, and
//! the next one is read when the client has taken this one.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use thiserror::Error;
use tokio::time::sleep;

use super::bodies::{self, next_piece};
use super::csv::Csv;
use super::places::Place;
use super::problem::Problem;
use super::search::Asked;
use super::state::Service;
use crate::budget::Reservation;
use crate::store::{Found, StoreError};

/// The most exports at a time.
pub(crate) const MAX_EXPORTS: usize = 16;
/// The reason for refusing one more.
pub(crate) const TOO_MANY: &str = "As many exports are under way as may be. Try again later.";
/// Messages that are read at a time.
const READ_MESSAGES: u32 = 1_000;
/// The time after which a read is tried again when the store has too much to do, or the budget no room.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The answer with all messages that are asked for.
pub(crate) async fn answer(
    service: &Data<Service>,
    mut asked: Asked,
    csv: Csv,
    method: &Method,
) -> Result<HttpResponse, Problem> {
    let place = service.exports.take().ok_or(Problem::Unavailable(TOO_MANY))?;
    asked.count = READ_MESSAGES;
    // So that what is refused is refused with words.
    let first = asked.found(service, csv.write()).await?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"messages.csv\""));
    if method == Method::HEAD {
        return Ok(response.finish());
    }
    let mut export = Export {
        service: Data::clone(service),
        asked,
        csv,
        text: Bytes::new(),
        charged: bodies::reserve(service, 0)?,
        has_more: true,
        _place: place,
    };
    let head = csv.head();
    export.charged.grow(size(&first) + head.len())?;
    export.take(head, &first);
    drop(first);
    let pieces = stream::try_unfold(export, async |mut export| {
        Ok::<_, CutOff>(export.next().await?.map(|piece| (piece, export)))
    });
    Ok(response.streaming(Box::pin(pieces)))
}

/// The reason for ending an export too early. The client gets a connection that breaks, and no end.
#[derive(Debug, Error)]
enum CutOff {
    #[error("the service is stopping")]
    Closing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An export that is written.
struct Export {
    service: Data<Service>,
    asked: Asked,
    csv: Csv,
    /// Lines that are not written yet.
    text: Bytes,
    /// The memory that they take.
    charged: Reservation,
    has_more: bool,
    _place: Place,
}

/// Bytes of the lines that were found.
fn size(found: &Found) -> usize {
    let listing = &found.listing;
    listing.messages.iter().map(|message| listing.text_of(message).len()).sum()
}

impl Export {
    /// The next piece; none behind the last one.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        while self.text.is_empty() && self.has_more {
            self.text = Bytes::new();
            self.charged.shrink(self.charged.bytes());
            let found = self.read().await?;
            self.take(Vec::new(), &found);
        }
        Ok((!self.text.is_empty()).then(|| next_piece(&mut self.text)))
    }

    /// Adds these lines to a text, which is written next.
    fn take(&mut self, mut text: Vec<u8>, found: &Found) {
        text.reserve_exact(size(found));
        for message in &found.listing.messages {
            text.extend_from_slice(found.listing.text_of(message));
        }
        self.text = text.into();
        self.asked.after = found.next;
        self.has_more = found.next.is_some();
    }

    /// Reads the next lines, once there is memory for them.
    async fn read(&mut self) -> Result<Found, CutOff> {
        loop {
            if self.service.ingest.closing.has_begun() {
                return Err(CutOff::Closing);
            }
            match self.asked.found(&self.service, self.csv.write()).await {
                Ok(found) if self.charged.grow(size(&found)).is_ok() => return Ok(found),
                Ok(_) | Err(StoreError::Overloaded) => sleep(RETRY_INTERVAL).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
