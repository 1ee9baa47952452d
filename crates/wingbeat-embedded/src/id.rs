//! Record ids as they are stored: UUIDs as 16 bytes, everything else as text.

use std::fmt;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use uuid::Uuid;
use wingbeat_core::Key;

/// A record's id. Ordered as SQLite orders them: all text before all blobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RecordId {
    Text(Box<str>),
    Uuid([u8; 16]),
}

/// A record of any service: the interned table (which belongs to one service), and the id.
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
    /// Only the canonical form is packed, so that every id comes back as it was given.
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

const UUID_LEN: usize = 36;
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Where the UUIDs whose text sorts after `text` begin: a bound, and whether it belongs to them.
pub(crate) fn uuids_after(text: &str) -> ([u8; 16], bool) {
    let mut prefix = Vec::with_capacity(32);
    for (at, byte) in text.bytes().enumerate().take(UUID_LEN) {
        if DASHES.contains(&at) {
            match byte.cmp(&b'-') {
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Less => return (filled(&prefix, b'0'), true),
                std::cmp::Ordering::Greater => return (filled(&prefix, b'f'), false),
            }
        } else if b"0123456789abcdef".contains(&byte) {
            prefix.push(byte);
        } else if let Some(above) = b"0123456789abcdef".iter().find(|digit| **digit > byte) {
            prefix.push(*above);
            return (filled(&prefix, b'0'), true);
        } else {
            return (filled(&prefix, b'f'), false);
        }
    }
    (filled(&prefix, b'0'), text.len() < UUID_LEN)
}

fn filled(prefix: &[u8], with: u8) -> [u8; 16] {
    let nibble = |at: usize| match prefix.get(at).copied().unwrap_or(with) {
        digit @ b'0'..=b'9' => digit - b'0',
        letter => letter - b'a' + 10,
    };
    std::array::from_fn(|at| nibble(2 * at) << 4 | nibble(2 * at + 1))
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

    #[test]
    fn uuids_after_a_text_are_those_that_sort_after_it() {
        let uuids = [
            "00000000-0000-0000-0000-000000000000",
            "0190a5b4-1234-7abc-8def-0123456789ab",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ];
        let texts = [
            "",
            "0",
            "0190a5b4",
            "0190a5b4-",
            "0190a5b4+",
            "0190a5b4/",
            "0190a5b:",
            "g",
            "f",
            "~",
            "0190a5b4-1234-7abc-8def-0123456789ab-",
        ];
        for text in texts.into_iter().chain(uuids) {
            let (bound, inclusive) = uuids_after(text);
            for uuid in uuids {
                let bytes = Uuid::try_parse(uuid).expect("a uuid").into_bytes();
                let found = bytes > bound || (inclusive && bytes == bound);
                assert_eq!(found, uuid > text, "{uuid} after {text:?}");
            }
        }
    }
}
