//! What is known, as JSON: exactly the members of the gateway's own answers, in their order.

use serde::Serialize;

use crate::ingest::Done;
use crate::message::{self, Channel, MessageId, Record};
use crate::store::{History, Listing, Message, Said};

/// `{"message": …}`
#[derive(Serialize)]
pub(crate) struct Envelope<'a> {
    message: MessageView<'a>,
}

/// `{"messages": [{"message": …}, …]}`
#[derive(Serialize)]
pub(crate) struct List<'a> {
    messages: Vec<Envelope<'a>>,
}

/// `{"message": …|null, "history": […]}`
#[derive(Serialize)]
pub(crate) struct HistoryView<'a> {
    message: Option<MessageView<'a>>,
    history: Vec<SaidView<'a>>,
}

/// `{"outcome": …, "message": …}`
#[derive(Serialize)]
pub(crate) struct Registered<'a> {
    pub(crate) outcome: &'static str,
    pub(crate) message: Option<MessageView<'a>>,
}

/// `{"results": […]}`
#[derive(Serialize)]
pub(crate) struct Receipt {
    results: Vec<Result>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Result {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine_id: Option<String>,
}

/// A message, as the gateway shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageView<'a> {
    id: String,
    provider_acceptance_at: String,
    status_changed_at: String,
    reference: Reference<'a>,
    channel: &'static str,
    status: &'static str,
    provider: Provider<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sms: Option<Sms>,
}

#[derive(Serialize)]
struct Reference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

#[derive(Serialize)]
struct Provider<'a> {
    name: &'a str,
    id: &'a str,
    status: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Sms {
    segments: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SaidView<'a> {
    source: &'a str,
    status: &'static str,
    status_changed_at: Option<String>,
    received_at: String,
    outcome: &'static str,
    channel: &'static str,
    destination: Option<String>,
    reference: Reference<'a>,
    provider: Provider<'a>,
}

impl<'a> MessageView<'a> {
    pub(crate) fn new(id: MessageId, record: &'a Record) -> Self {
        let sms = record.segments.as_ref().filter(|_| record.channel() == Channel::Sms);
        Self {
            id: id.to_string(),
            provider_acceptance_at: record.accepted_at().to_string(),
            status_changed_at: record.status_changed_at().to_string(),
            reference: Reference::new(record.reference.as_ref().map(|claim| &claim.value)),
            channel: record.channel().name(),
            status: record.status.name(),
            provider: record.provider().into(),
            sms: sms.map(|claim| Sms { segments: claim.value }),
        }
    }
}

impl<'a> Reference<'a> {
    fn new(reference: Option<&'a message::Reference>) -> Self {
        Self {
            service: reference.and_then(message::Reference::service),
            action: reference.and_then(message::Reference::action),
            key: reference.and_then(message::Reference::key),
        }
    }
}

impl<'a> From<&'a message::Provider> for Provider<'a> {
    fn from(provider: &'a message::Provider) -> Self {
        let message::Provider { name, id, status, code, message } = provider;
        Self { name, id, status, code, message: message.as_deref() }
    }
}

impl<'a> From<&'a Message> for Envelope<'a> {
    fn from(message: &'a Message) -> Self {
        Self { message: MessageView::new(message.id, &message.record) }
    }
}

impl<'a> From<&'a Listing> for List<'a> {
    fn from(listing: &'a Listing) -> Self {
        Self { messages: listing.messages.iter().map(Envelope::from).collect() }
    }
}

impl<'a> HistoryView<'a> {
    pub(crate) fn new(id: MessageId, history: &'a History) -> Self {
        Self {
            message: history.record.as_ref().map(|record| MessageView::new(id, record)),
            history: history.said.iter().map(SaidView::from).collect(),
        }
    }
}

impl<'a> From<&'a Said> for SaidView<'a> {
    fn from(said: &'a Said) -> Self {
        Self {
            source: &said.source,
            status: said.status.name(),
            status_changed_at: said.stated_at.map(|time| time.to_string()),
            received_at: said.received_at.to_string(),
            outcome: said.outcome.name(),
            channel: said.channel.name(),
            destination: said.destination.map(|number| number.to_string()),
            reference: Reference::new(Some(&said.reference)),
            provider: (&said.provider).into(),
        }
    }
}

impl From<Vec<Done>> for Receipt {
    fn from(done: Vec<Done>) -> Self {
        Self { results: done.into_iter().map(Result::from).collect() }
    }
}

impl From<Done> for Result {
    fn from(done: Done) -> Self {
        let empty = Self {
            message_id: None,
            outcome: "ignored",
            status: None,
            reason: None,
            quarantine_id: None,
        };
        match done {
            Done::Judged { message, outcome, status } => Self {
                message_id: Some(message.to_string()),
                outcome: outcome.name(),
                status: status.map(message::Status::name),
                ..empty
            },
            Done::Quarantined { id, reason } => Self {
                outcome: "quarantined",
                reason: Some(reason),
                quarantine_id: Some(id.to_string()),
                ..empty
            },
            Done::Ignored { reason } => Self { reason: Some(reason), ..empty },
        }
    }
}
