//! `POST /webhooks/{source}`: verification, dialects, outcomes and responses.

mod batches;
mod bit_flips;
mod credentials;
mod outcomes;
mod parsing;
mod provider_vectors;
mod rate_limit;
mod responses;
mod text_limits;
mod twilio;
mod unverified_senders;
mod verification;
