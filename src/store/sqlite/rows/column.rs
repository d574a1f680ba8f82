//! Conversion between one column's value and the domain's types. A value that cannot be decoded is an error,
//! never a default.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::message::{Channel, Destination, Outcome, Status, Timestamp};

/// A value of a closed set, stored as the number that the schema gives it.
pub(crate) struct Coded<T>(pub(crate) T);

/// A name or id of 16 bytes, stored as a blob.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes16(pub(crate) [u8; 16]);

trait Code: Copy + PartialEq + Sized + 'static {
    const VALUES: &'static [Self];
}

impl Code for Status {
    const VALUES: &'static [Self] = &Self::ALL;
}

impl Code for Channel {
    const VALUES: &'static [Self] = &Self::ALL;
}

impl Code for Outcome {
    const VALUES: &'static [Self] = &Self::ALL;
}

impl<T: Code> ToSql for Coded<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let place = T::VALUES.iter().position(|value| *value == self.0);
        Ok(ToSqlOutput::from(place.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1)))
    }
}

impl<T: Code> FromSql for Coded<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        usize::try_from(number)
            .ok()
            .and_then(|place| T::VALUES.get(place).copied())
            .map(Self)
            .ok_or(FromSqlError::OutOfRange(number))
    }
}

impl FromSql for Bytes16 {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        bytes.try_into().map(Self).map_err(|_not_sixteen| FromSqlError::InvalidBlobSize {
            expected_size: 16,
            blob_size: bytes.len(),
        })
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.micros()))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        Self::from_micros(micros).ok_or(FromSqlError::OutOfRange(micros))
    }
}

impl ToSql for Destination {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // At most fifteen digits, so the value always fits.
        Ok(ToSqlOutput::from(i64::try_from(self.number()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Destination {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Self::from_digits(&number.to_string())
            .map_err(|_no_number| FromSqlError::OutOfRange(number))
    }
}

/// Reads a column that holds no negative number.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_below| rusqlite::Error::IntegralValueOutOfRange(column, number))
}
