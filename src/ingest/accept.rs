//! Acceptance of a webhook: verify, read, store.

use super::admission::body::Body;
use super::admission::delivery::Admission;
use super::admission::turn::Turn;
use super::counting;
use super::outcome::{EntryResult, all_ignored, entry_result, to_store_entries};
use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::dialect::{self, DecodeError, Source, query_without_credentials};
use crate::memory_budget::Share;
use crate::message::Timestamp;
use crate::metrics::SourceMetrics;
use crate::payload::RawPayload;
use crate::store::{Delivery, Entry};
use crate::verify::{Headers, Request, Verified};

/// Webhook as it was received.
pub struct Posted<'a> {
    /// Method.
    pub method: &'a str,
    /// Raw query, if present.
    pub query: Option<&'a str>,
    /// Content type, if given.
    pub content_type: Option<&'a str>,
    /// Headers.
    pub headers: &'a dyn Headers,
    /// Body.
    pub body: Body,
    /// Result of a verification by the URL alone, if it took place before the body was read.
    pub verified: Option<Verified>,
}

impl Ingest {
    /// Accepts a webhook: verifies it over its raw bytes, reads it, stores its entries, and returns once they
    /// are durable.
    pub async fn accept(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<Vec<EntryResult>, Rejection> {
        let metrics = self.metrics.source(&source.name);
        let result = self.process(source, posted, now, metrics.as_deref()).await;
        if let Some(metrics) = metrics {
            match &result {
                Ok(results) => metrics.accepted(results.iter().map(EntryResult::outcome), now),
                Err(rejection) => metrics.rejected(rejection.reason()),
            }
        }
        result
    }

    async fn process(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
        metrics: Option<&SourceMetrics>,
    ) -> Result<Vec<EntryResult>, Rejection> {
        let turn = Turn::wait(posted.body.content.len()).await;
        let delivery = self.verify_delivery(source, posted, now);
        drop(turn);
        let VerifiedDelivery { content, read, verified, mut admission } = delivery?;
        let Verified { too_old, secret, signed_at, .. } = verified;
        if let Some(metrics) = metrics {
            metrics.verified(secret, signed_at, now);
        }
        if too_old {
            return self.acknowledge_repeat(read).await;
        }
        let delivery = |entries| Delivery {
            source: source.name.clone(),
            received_at: now,
            content: Some(content),
            url_covered: source.covers_url(),
            entries,
            replay_of: None,
        };
        match read {
            Ok(read) => {
                let entries = to_store_entries(read);
                admission.charge(&self.entries, entries.len())?;
                if let Some(ignored) = all_ignored(&entries) {
                    return Ok(ignored);
                }
                let times: Vec<_> = entries.iter().map(counting::stated_at).collect();
                let stored = self.store(delivery(entries), Some(admission)).await?;
                if let Some(metrics) = metrics {
                    let new = stored.iter().zip(times).filter(|(one, _)| counting::is_new(one));
                    new.filter_map(|(_, time)| time)
                        .for_each(|time| metrics.observe_age(time, now));
                }
                Ok(stored.into_iter().filter_map(entry_result).collect())
            }
            Err(DecodeError(reason)) => {
                let entry = Entry::Unreadable { index: 0, reason: reason.clone() };
                self.store(delivery(vec![entry]), Some(admission)).await?;
                Err(Rejection::NotEncoded(reason))
            }
        }
    }

    /// Steps that need no waiting: admission, verification and reading.
    fn verify_delivery(
        &self,
        source: &Source,
        posted: Posted<'_>,
        now: Timestamp,
    ) -> Result<VerifiedDelivery, Rejection> {
        let slot = self.slot()?;
        if !self.entries.have_room(posted.body.content.len()) {
            return Err(Rejection::Overloaded);
        }
        let Posted { method, query, content_type, headers, mut body, verified } = posted;
        let request = Request { method, query, content_type, headers, body: &body.content };
        let verified = match verified {
            Some(verified) => verified,
            None => source.verify(&request, now).map_err(Rejection::Unverified)?,
        };
        if !source.take_token() {
            return Err(Rejection::Rate);
        }
        body.bytes.move_to(Share::Bodies)?;
        let content = RawPayload {
            method: method.to_owned(),
            query: query_without_credentials(query.unwrap_or_default()),
            content_type: content_type.map(str::to_owned),
            body: body.content,
        };
        let admission = Admission::new(slot, body.bytes);
        Ok(VerifiedDelivery { read: source.read(&content), content, verified, admission })
    }
}

/// Verified webhook, and the entries read from it.
struct VerifiedDelivery {
    content: RawPayload,
    read: Result<Vec<dialect::Entry>, DecodeError>,
    verified: Verified,
    admission: Admission,
}
