//! Bodies of answers that may be large: charged to the memory budget, and written in pieces.

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::stream;

use super::problem::Problem;
use super::state::Service;
use crate::budget::{Exhausted, MemoryBudget, Reservation, Share};

/// The most bytes that are handed to a connection at a time.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// Answers of up to so many bytes are not charged.
const UNCHARGED_BYTES: usize = 16 << 10;

impl From<Exhausted> for Problem {
    fn from(_exhausted: Exhausted) -> Self {
        Self::Unavailable("Too many large answers are under way. Try again.")
    }
}

/// Reserves memory for an answer.
pub(crate) fn reserve(service: &Service, bytes: usize) -> Result<Reservation, Problem> {
    Ok(service.ingest.budget.reserve(Share::Answers, bytes)?)
}

/// The answer with this text. A large one holds its memory of the budget until it is written.
pub(crate) fn answer(
    service: &Service,
    response: &mut HttpResponseBuilder,
    text: Vec<u8>,
) -> Result<HttpResponse, Problem> {
    Ok(charged(&service.ingest.budget, response, text)?)
}

/// The answer to what is done and cannot be refused any more: with this text, or with a short one if there is no
/// memory for it.
pub(crate) fn answer_or(
    service: &Service,
    response: &mut HttpResponseBuilder,
    text: Vec<u8>,
    short: &'static str,
) -> HttpResponse {
    match charged(&service.ingest.budget, response, text) {
        Ok(response) => response,
        Err(Exhausted) => response.body(short),
    }
}

fn charged(
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

/// Takes the next piece of a text.
pub(crate) fn next_piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE_BYTES))
}
