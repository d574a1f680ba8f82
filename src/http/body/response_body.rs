//! Large response bodies: charged to the memory budget, and written in pieces.

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::stream;

use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::memory_budget::{Exhausted, MemoryBudget, Reservation, Share};

/// Maximum number of bytes handed to a connection at a time.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// Size in bytes up to which a response is not charged.
const UNCHARGED_BYTES: usize = 16 << 10;

impl From<Exhausted> for Problem {
    fn from(_exhausted: Exhausted) -> Self {
        Self::Unavailable("Too many large responses are in progress. Try again.")
    }
}

/// Reserves memory for a response. Fails with 503 if the budget is exhausted.
pub(crate) fn reserve(service: &Service, bytes: usize) -> Result<Reservation, Problem> {
    Ok(service.budget.reserve(Share::Answers, bytes)?)
}

/// Response with this text. A large one holds its memory of the budget until it is written.
pub(crate) fn answer(
    service: &Service,
    response: &mut HttpResponseBuilder,
    text: Vec<u8>,
) -> Result<HttpResponse, Problem> {
    Ok(charged_response(&service.budget, response, text)?)
}

/// Response after a committed write, which can no longer be rejected: with this text, or with the short one
/// if the budget is exhausted.
pub(crate) fn answer_or(
    service: &Service,
    response: &mut HttpResponseBuilder,
    text: Vec<u8>,
    short_text: &'static str,
) -> HttpResponse {
    match charged_response(&service.budget, response, text) {
        Ok(response) => response,
        Err(Exhausted) => response.body(short_text),
    }
}

fn charged_response(
    budget: &MemoryBudget,
    response: &mut HttpResponseBuilder,
    text: Vec<u8>,
) -> Result<HttpResponse, Exhausted> {
    if text.len() <= UNCHARGED_BYTES {
        return Ok(response.body(text));
    }
    let charged = budget.reserve(Share::Answers, text.len())?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let pieces = stream::unfold((Bytes::from(text), charged), async |(mut rest, charged)| {
        if rest.is_empty() {
            return None;
        }
        let piece = next_piece(&mut rest);
        Some((Ok::<_, Infallible>(piece), (rest, charged)))
    });
    Ok(response.body(SizedStream::new(length, Box::pin(pieces))))
}

/// Splits off the next piece of a text.
pub(crate) fn next_piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE_BYTES))
}
