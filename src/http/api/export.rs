//! `GET /api/messages.csv`: all messages that a search finds, written while they are read.
//!
//! A client may read as slowly as it likes. So the part that waits to be written is charged to the memory
//! budget, and the next part is read only when the client has taken this one.

use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use thiserror::Error;
use tokio::time::sleep;

use super::search_query::{self, FILTER_LIST, SearchQuery};
use crate::http::app_state::Service;
use crate::http::body::response_body::{self, next_piece};
use crate::http::concurrency_limit::Permit;
use crate::http::problem::Problem;
use crate::http::render::Csv;
use crate::memory_budget::Reservation;
use crate::store::{Found, StoreError};

/// Error text when the limit of exports is reached.
pub(crate) const TOO_MANY_EXPORTS: &str =
    "The limit of concurrent exports is reached. Try again later.";
/// Number of messages read at a time.
const READ_MESSAGES: u32 = 1_000;
/// Interval until a read is retried when the store is overloaded or the memory budget exhausted.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Parses the parameters of an export.
pub(crate) fn parse(query: &str) -> Result<(SearchQuery, Csv), Problem> {
    let mut csv = Csv::Guarded;
    let mut search = search_query::select(query, |name, value| {
        match name {
            "variant" => csv = variant(value)?,
            "count" | "cursor" => {
                return Err(Problem::BadRequest(
                    "A CSV export has all matching messages and no pages: omit `count` and \
                     `cursor`."
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Problem::BadRequest(format!(
                    "Unknown parameter `{name}`; the parameters are {FILTER_LIST}, `ids` and \
                     `variant`."
                )));
            }
        }
        Ok(())
    })?;
    search.count = READ_MESSAGES;
    Ok((search, csv))
}

fn variant(word: &str) -> Result<Csv, Problem> {
    match word {
        "spreadsheet" => Ok(Csv::Guarded),
        "plain" => Ok(Csv::Plain),
        _ => Err(Problem::BadRequest(
            "`variant` is `spreadsheet` (guarded cells, for spreadsheets) or `plain` (unchanged \
             texts, for programs)."
                .to_owned(),
        )),
    }
}

/// `GET /api/messages.csv`
pub(crate) async fn answer(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (search, csv) = parse(request.query_string())?;
    let permit = service.exports.take().ok_or(Problem::Unavailable(TOO_MANY_EXPORTS))?;
    // The first read comes before the response head, so that a failure has an error response.
    let first = search.find(service, csv.write()).await?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"messages.csv\""));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let mut export = Export {
        service: Data::clone(service),
        search,
        csv,
        text: Bytes::new(),
        charged: response_body::reserve(service, 0)?,
        has_more: true,
        _permit: permit,
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

/// Reason for ending an export early. The client's connection is closed before the response is complete.
#[derive(Debug, Error)]
enum CutOff {
    #[error("the service is stopping")]
    Closing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Export in progress.
struct Export {
    service: Data<Service>,
    search: SearchQuery,
    csv: Csv,
    /// Lines not written yet.
    text: Bytes,
    /// Memory reserved for these lines.
    charged: Reservation,
    has_more: bool,
    _permit: Permit,
}

/// Size of the lines found, in bytes.
fn size(found: &Found) -> usize {
    let listing = &found.listing;
    listing.messages.iter().map(|message| listing.text_of(message).len()).sum()
}

impl Export {
    /// Next piece of the response; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        while self.text.is_empty() && self.has_more {
            self.text = Bytes::new();
            self.charged.shrink(self.charged.bytes());
            let found = self.read().await?;
            self.take(Vec::new(), &found);
        }
        Ok((!self.text.is_empty()).then(|| next_piece(&mut self.text)))
    }

    /// Appends these lines to a text, which is written next.
    fn take(&mut self, mut text: Vec<u8>, found: &Found) {
        text.reserve_exact(size(found));
        for message in &found.listing.messages {
            text.extend_from_slice(found.listing.text_of(message));
        }
        self.text = text.into();
        self.search.after = found.next;
        self.has_more = found.next.is_some();
    }

    /// Reads the next lines, as soon as there is memory for them.
    async fn read(&mut self) -> Result<Found, CutOff> {
        loop {
            if self.service.shutdown.is_triggered() {
                return Err(CutOff::Closing);
            }
            match self.search.find(&self.service, self.csv.write()).await {
                Ok(found) if self.charged.grow(size(&found)).is_ok() => return Ok(found),
                Ok(_) | Err(StoreError::Overloaded) => sleep(RETRY_INTERVAL).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
