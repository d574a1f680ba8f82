//! Encoding of the ranks of a record's claims, for the column `ranks`.

use rusqlite::Row;
use rusqlite::types::FromSqlError;

use crate::message::{Identity, Rank, Record, Tier};

/// Mark of a missing claim.
const NO_CLAIM: u8 = 0xff;
/// Mark of a claim with the same rank as the first.
const SAME_RANK: u8 = 0xfe;

/// Encodes the ranks of the claims to status, destination, reference and segments. Each takes one byte for
/// the tier, eight for the time and sixteen for the identity, or is one of the two marks above. Usually one
/// notification makes all four claims.
pub(crate) fn ranks(record: &Record) -> Vec<u8> {
    let first = record.status_claim.rank;
    let others = [
        record.destination.as_ref().map(|claim| claim.rank),
        record.reference.as_ref().map(|claim| claim.rank),
        record.segments.as_ref().map(|claim| claim.rank),
    ];
    let mut blob = Vec::with_capacity(100);
    write_rank(&mut blob, first);
    for rank in others {
        match rank {
            None => blob.push(NO_CLAIM),
            Some(rank) if rank == first => blob.push(SAME_RANK),
            Some(rank) => write_rank(&mut blob, rank),
        }
    }
    blob
}

fn write_rank(blob: &mut Vec<u8>, rank: Rank) {
    blob.push(match rank.tier {
        Tier::Registered => 0,
        Tier::Stated => 1,
        Tier::Unstated => 2,
    });
    blob.extend(rank.at.to_be_bytes());
    blob.extend(rank.identity.as_bytes());
}

/// Decoder of the column that [`ranks`] writes.
pub(crate) struct Ranks<'a> {
    rest: &'a [u8],
    first: Option<Rank>,
}

impl<'a> Ranks<'a> {
    pub(crate) fn of(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Self> {
        Ok(Self { rest: row.get_ref(column)?.as_blob()?, first: None })
    }

    pub(crate) fn status_rank(&mut self) -> rusqlite::Result<Rank> {
        Ok(self.next()?.ok_or(FromSqlError::InvalidType)?)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Rank>, FromSqlError> {
        let tier = match self.take::<1>()? {
            [NO_CLAIM] => return Ok(None),
            [SAME_RANK] => return Ok(self.first),
            [0] => Tier::Registered,
            [1] => Tier::Stated,
            [2] => Tier::Unstated,
            [other] => return Err(FromSqlError::OutOfRange(i64::from(other))),
        };
        let rank = Rank {
            tier,
            at: i64::from_be_bytes(self.take()?),
            identity: Identity::from_bytes(self.take()?),
        };
        self.first = self.first.or(Some(rank));
        Ok(Some(rank))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FromSqlError> {
        let too_short =
            FromSqlError::InvalidBlobSize { expected_size: N, blob_size: self.rest.len() };
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(too_short);
        };
        self.rest = rest;
        Ok(*taken)
    }
}
