//! Conversion between rows and the domain's types. A row that cannot be decoded is an error, never a default.

use std::borrow::Cow;

use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

use super::claim_ranks::{Ranks, ranks};
use super::column::{Bytes16, Coded};
use super::list_order::list_order;
use super::packed_text::{Packed, pack};
use crate::message::{
    AcceptanceTimes, Claim, Identity, Kind, MAX_REFERENCE_BYTES, MAX_TEXT_BYTES, MessageId,
    Notification, Provider, Rank, Record, Reference, Shown, StatedProvider, Statement, Status,
    Timestamp, cut,
};
use crate::store::sqlite::cache::entry::ForeignId;
use crate::store::{Place, StoredNotification};

/// The columns of `message` that [`record`] reads, in its order.
macro_rules! record_columns {
    () => {
        "status, status_arrived_at, began_accepted, began_stated, began_arrived, channel, \
         destination, reference_key, provider_code, texts, segments, ranks"
    };
}
pub(crate) use record_columns;

/// Number of columns in [`record_columns`].
pub(crate) const RECORD_COLUMNS: usize = 12;

/// The columns of `message` that [`shown`] reads, in its order.
macro_rules! shown_columns {
    () => {
        "message.id, status, status_arrived_at, accepted_at, channel, reference_key, provider_code, \
         texts, segments, ranks, destination"
    };
}
pub(crate) use shown_columns;

/// Number of columns in [`shown_columns`].
pub(crate) const SHOWN_COLUMNS: usize = 11;

/// The columns of `notification` that [`stored_notification`] reads, in its order.
macro_rules! notification_columns {
    () => {
        "source, received_at, outcome, status, stated_at, channel, destination, \
         reference_service, reference_action, reference_key, provider_name, provider_id, \
         provider_status, provider_code, provider_message"
    };
}
pub(crate) use notification_columns;

/// The columns of `notification` that [`logged`] reads, in its order.
macro_rules! logged_columns {
    () => {
        "seq, message, identity, kind, received_at, ordered_at, source, status, stated_at, \
         accepted_at, channel, destination, reference_service, reference_action, reference_key, \
         provider_name, provider_id, provider_status, provider_code, provider_message, segments"
    };
}
pub(crate) use logged_columns;

/// Kinds of notifications, as the schema numbers them.
pub(crate) const REPORT: i64 = 0;
pub(crate) const REPORT_BY_FOREIGN_ID: i64 = 1;
pub(crate) const REGISTRATION: i64 = 2;
pub(crate) const RENEWAL: i64 = 3;

/// Value of `changed_from` where there was no record before.
pub(crate) const NO_RECORD: i64 = -1;

/// Reads the record from the columns of [`record_columns`], which come first; none if the status is NULL.
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let Some(Coded(status)) = row.get::<_, Option<Coded<Status>>>(0)? else {
        return Ok(None);
    };
    let mut ranks = Ranks::of(row, 11)?;
    let status_claim = ranks.status_rank()?;
    let (of_destination, of_reference, of_segments) = (ranks.next()?, ranks.next()?, ranks.next()?);
    let Coded(channel) = row.get(5)?;
    let (reference, provider) = texts(row, 7)?;
    let reference = reference.map(|text| text.clone().into_owned());
    let provider = provider.map(|text| text.clone().into_owned());
    Ok(Some(Record {
        status,
        status_claim: Claim { rank: status_claim, value: (channel, provider) },
        status_arrived_at: row.get(1)?,
        acceptance: AcceptanceTimes {
            accepted: row.get(2)?,
            stated: row.get(3)?,
            arrived: row.get(4)?,
        },
        destination: claim(of_destination, row.get(6)?)?,
        reference: claim(of_reference, (!reference.is_empty()).then_some(reference))?,
        segments: claim(of_segments, row.get(10)?)?,
    }))
}

/// Reference and provider, borrowed from a row or cut.
type Texts<'a> = (Reference<Cow<'a, str>>, Provider<Cow<'a, str>>);

/// Reads the reference and the provider of a record from three columns: the reference key, the provider's
/// code and the other texts.
fn texts<'a>(row: &'a Row<'_>, first: usize) -> rusqlite::Result<Texts<'a>> {
    let key = row.get_ref(first)?.as_str_or_null()?;
    let code = row.get_ref(first + 1)?.as_str()?;
    let mut packed = Packed(row.get_ref(first + 2)?.as_str()?);
    let reference = short_reference(packed.next()?, packed.next()?, key)?;
    let mut next = || packed.next()?.ok_or(FromSqlError::InvalidType);
    let (name, id, status) = (next()?, next()?, next()?);
    let message = packed.next()?;
    Ok((reference, short_provider(&Provider { name, id, status, code, message })))
}

/// Reference from a row, cut because earlier versions stored longer texts.
fn short_reference<'a>(
    service: Option<&'a str>,
    action: Option<&'a str>,
    key: Option<&'a str>,
) -> rusqlite::Result<Reference<Cow<'a, str>>> {
    let short = |text: Option<&'a str>| text.map(|text| cut(text, MAX_REFERENCE_BYTES));
    Reference::new(short(service), short(action), key.map(Cow::Borrowed))
        .map_err(|source| FromSqlError::other(source).into())
}

/// Provider from a row, cut because earlier versions stored longer texts.
fn short_provider<'a>(provider: &Provider<&'a str>) -> Provider<Cow<'a, str>> {
    provider.map(|text| cut(text, MAX_TEXT_BYTES))
}

/// Packs the texts that [`texts`] unpacks.
fn pack_texts(record: &Record) -> String {
    let Provider { name, id, status, code: _, message } = record.provider();
    let reference = record.reference.as_ref().map(|claim| &claim.value);
    pack([
        reference.and_then(Reference::service),
        reference.and_then(Reference::action),
        Some(name),
        Some(id),
        Some(status),
        message.as_deref(),
    ])
}

fn claim<T>(rank: Option<Rank>, value: Option<T>) -> rusqlite::Result<Option<Claim<T>>> {
    match (rank, value) {
        (Some(rank), Some(value)) => Ok(Some(Claim { rank, value })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(rusqlite::Error::InvalidColumnType(11, "ranks".to_owned(), Type::Blob))
        }
    }
}

/// Displayed state of a message, read from a row.
pub(crate) struct ShownRow<'a> {
    /// All members except the texts.
    without_texts: Shown<'static>,
    texts: Texts<'a>,
}

impl ShownRow<'_> {
    /// View of the message.
    pub(crate) fn shown(&self) -> Shown<'_> {
        let (reference, provider) = &self.texts;
        Shown {
            reference: reference.map(|text| &**text),
            provider: provider.map(|text| &**text),
            ..self.without_texts
        }
    }
}

/// Reads a message's displayed state from the columns of [`shown_columns`], which come first; none if the
/// status is NULL.
pub(crate) fn shown<'a>(row: &'a Row<'_>) -> rusqlite::Result<Option<ShownRow<'a>>> {
    let Some(Coded(status)) = row.get(1)? else { return Ok(None) };
    let stated_at = Ranks::of(row, 9)?.status_rank()?.stated_at();
    let Coded(channel) = row.get(4)?;
    let without_texts = Shown {
        id: message_id(row, 0)?,
        status,
        status_changed_at: stated_at.map_or_else(|| row.get(2), Ok)?,
        accepted_at: row.get(3)?,
        channel,
        destination: row.get(10)?,
        reference: Reference::default(),
        provider: Provider::default(),
        segments: row.get(8)?,
    };
    Ok(Some(ShownRow { without_texts, texts: texts(row, 5)? }))
}

fn stored_reference(row: &Row<'_>, first: usize) -> rusqlite::Result<Reference> {
    let short = short_reference(
        row.get_ref(first)?.as_str_or_null()?,
        row.get_ref(first + 1)?.as_str_or_null()?,
        row.get_ref(first + 2)?.as_str_or_null()?,
    )?;
    Ok(short.map(|text| text.clone().into_owned()))
}

fn stored_provider(row: &Row<'_>, first: usize) -> rusqlite::Result<Provider> {
    let provider = Provider {
        name: row.get_ref(first)?.as_str()?,
        id: row.get_ref(first + 1)?.as_str()?,
        status: row.get_ref(first + 2)?.as_str()?,
        code: row.get_ref(first + 3)?.as_str()?,
        message: row.get_ref(first + 4)?.as_str_or_null()?,
    };
    Ok(short_provider(&provider).map(|text| text.clone().into_owned()))
}

/// Reads a notification as displayed, from the columns of [`notification_columns`], beginning at column `first`.
pub(crate) fn stored_notification(
    row: &Row<'_>,
    first: usize,
) -> rusqlite::Result<StoredNotification> {
    let Coded(outcome) = row.get(first + 2)?;
    let Coded(status) = row.get(first + 3)?;
    let Coded(channel) = row.get(first + 5)?;
    Ok(StoredNotification {
        source: row.get(first)?,
        received_at: row.get(first + 1)?,
        outcome,
        status,
        stated_at: row.get(first + 4)?,
        channel,
        destination: row.get(first + 6)?,
        reference: stored_reference(row, first + 7)?,
        provider: stored_provider(row, first + 10)?,
    })
}

/// Row of the notification log.
pub(crate) struct Logged {
    pub(crate) seq: i64,
    pub(crate) notification: Notification,
    /// Arrival time that counts for the order.
    pub(crate) arrived_at: Timestamp,
    /// Whether the row renews a registration that the notification log has already.
    pub(crate) is_renewal: bool,
    /// The provider's id for the message.
    pub(crate) foreign_id: Option<ForeignId>,
}

/// Reads a row of the notification log from the columns of [`logged_columns`], beginning at column `first`.
pub(crate) fn logged(row: &Row<'_>, first: usize) -> rusqlite::Result<Logged> {
    let Coded(status) = row.get(first + 7)?;
    let Coded(channel) = row.get(first + 10)?;
    let provider = stored_provider(row, first + 15)?;
    let (kind, is_renewal, by_foreign_id) = match row.get(first + 3)? {
        REPORT => (Kind::Report, false, false),
        REPORT_BY_FOREIGN_ID => (Kind::Report, false, true),
        REGISTRATION => (Kind::Registration, false, false),
        RENEWAL => (Kind::Registration, true, false),
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(first + 3, other)),
    };
    let source: String = row.get(first + 6)?;
    let foreign_id =
        if by_foreign_id { Some(ForeignId { source, id: row.get(first + 16)? }) } else { None };
    let received_at = row.get(first + 4)?;
    let statement = Statement {
        message: message_id(row, first + 1)?,
        kind,
        status,
        stated_at: row.get(first + 8)?,
        accepted_at: row.get(first + 9)?,
        channel,
        destination: row.get(first + 11)?,
        reference: stored_reference(row, first + 12)?,
        provider: StatedProvider::default(),
        segments: row.get(first + 20)?,
    };
    let Bytes16(identity) = row.get(first + 2)?;
    Ok(Logged {
        seq: row.get(first)?,
        notification: Notification::stored(statement, provider, Identity::from_bytes(identity)),
        arrived_at: row.get::<_, Option<Timestamp>>(first + 5)?.unwrap_or(received_at),
        is_renewal,
        foreign_id,
    })
}

/// Message id from a column.
pub(crate) fn message_id(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageId> {
    let Bytes16(bytes) = row.get(column)?;
    Ok(MessageId::from_bytes(bytes))
}

/// Binds those columns of [`record_columns`] that no index reads, from parameter `first` on: all except the
/// three that say when the message began, the destination and the reference key.
pub(crate) fn bind_status(
    statement: &mut rusqlite::Statement<'_>,
    first: usize,
    record: &Record,
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(first, Coded(record.status))?;
    statement.raw_bind_parameter(first + 1, record.status_arrived_at)?;
    statement.raw_bind_parameter(first + 2, Coded(record.channel()))?;
    statement.raw_bind_parameter(first + 3, &record.provider().code)?;
    statement.raw_bind_parameter(first + 4, pack_texts(record))?;
    statement.raw_bind_parameter(first + 5, record.segments.as_ref().map(|claim| claim.value))?;
    statement.raw_bind_parameter(first + 6, ranks(record))
}

/// Binds the columns that indexes read, from parameter `first` on.
pub(crate) fn bind_indexed(
    statement: &mut rusqlite::Statement<'_>,
    first: usize,
    id: MessageId,
    record: &Record,
) -> rusqlite::Result<()> {
    let reference = record.reference.as_ref().map(|claim| &claim.value);
    statement.raw_bind_parameter(first, record.acceptance.accepted)?;
    statement.raw_bind_parameter(first + 1, record.acceptance.stated)?;
    statement.raw_bind_parameter(first + 2, record.acceptance.arrived)?;
    statement
        .raw_bind_parameter(first + 3, record.destination.as_ref().map(|claim| claim.value))?;
    statement.raw_bind_parameter(first + 4, reference.and_then(Reference::key))?;
    let place = Place { accepted_at: record.accepted_at(), id };
    statement.raw_bind_parameter(first + 5, list_order(place))
}
