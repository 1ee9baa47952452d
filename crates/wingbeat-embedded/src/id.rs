//! The stored form of record ids: UUIDs as 16 bytes, all other ids as text.

use std::fmt;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use uuid::Uuid;
use wingbeat_core::Key;

/// The length of a UUID in canonical form.
const UUID_LEN: usize = 36;

/// A record's id. Ordered like SQLite orders the stored form: all text before all blobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RecordId {
    Text(Box<str>),
    Uuid([u8; 16]),
}

/// The key of a record: its interned table, which belongs to one service, and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordKey {
    pub(crate) table: u32,
    pub(crate) id: RecordId,
}

impl RecordKey {
    pub(crate) fn new(table: u32, key: &Key) -> Self {
        Self {
            table,
            id: RecordId::parse(&key.id),
        }
    }
}

impl RecordId {
    /// Packs an id into 16 bytes if it is a UUID in canonical form. Other spellings of a UUID stay
    /// text, so that every id is returned as it was written.
    pub(crate) fn parse(id: &str) -> Self {
        let canonical =
            |uuid: &Uuid| uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == id;
        match Uuid::try_parse(id).ok().filter(canonical) {
            Some(uuid) if id.len() == UUID_LEN => Self::Uuid(uuid.into_bytes()),
            _ => Self::Text(id.into()),
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Uuid(bytes) => Uuid::from_bytes(*bytes).fmt(f),
        }
    }
}

impl ToSql for RecordId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Uuid(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl FromSql for RecordId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Text(_) => Ok(Self::Text(value.as_str()?.into())),
            ValueRef::Blob(bytes) => {
                bytes
                    .try_into()
                    .map(Self::Uuid)
                    .map_err(|_| FromSqlError::InvalidBlobSize {
                        expected_size: 16,
                        blob_size: bytes.len(),
                    })
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_uuids_are_packed() {
        let canonical = "0190a5b4-1234-7abc-8def-0123456789ab";
        assert!(matches!(RecordId::parse(canonical), RecordId::Uuid(_)));
        assert_eq!(RecordId::parse(canonical).to_string(), canonical);
        for other in [
            canonical.to_uppercase(),
            canonical.replace('-', ""),
            format!("{{{canonical}}}"),
            String::new(),
        ] {
            assert!(
                matches!(RecordId::parse(&other), RecordId::Text(_)),
                "{other}"
            );
            assert_eq!(RecordId::parse(&other).to_string(), other);
        }
    }
}
