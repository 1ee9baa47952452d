//! The stored form of journal entries. A journal has an entry for each effect of each unit, so a
//! compact form halves the room that a history takes.
//!
//! The entries of a unit share time and cause. The form is a version byte, the time in
//! microseconds, and the id of the cause (or 16 zeros); then for each entry its kind, its id, and
//! length and bytes of its name. Earlier releases wrote JSON, which begins with another byte.

use bytes::Bytes;
use uuid::Uuid;
use wingbeat_core::{Error, Result, Timestamp};

use super::records::Entry;
use crate::decode;

/// The first byte of this form. A JSON text never begins with it.
const VERSION: u8 = 1;
/// The kinds by number, beginning with 1.
const KINDS: [&str; 4] = ["event", "command", "timer", "call"];

/// The entries of a unit while they are encoded.
pub(super) struct Entries {
    bytes: Vec<u8>,
    is_empty: bool,
}

impl Entries {
    /// Begins with the time and the cause of all entries.
    pub(super) fn new(at: Timestamp, causation: Option<Uuid>) -> Self {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&at.as_micros().to_le_bytes());
        bytes.extend_from_slice(causation.unwrap_or(Uuid::nil()).as_bytes());
        Self {
            bytes,
            is_empty: true,
        }
    }

    /// Adds an entry. `kind` is one of [`KINDS`].
    pub(super) fn push(&mut self, kind: &str, name: &str, id: Uuid) {
        let number = (1..).zip(KINDS).find(|(_, known)| *known == kind);
        let (number, _) = number.expect("it is one of the kinds");
        self.is_empty = false;
        self.bytes.push(number);
        self.bytes.extend_from_slice(id.as_bytes());
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes
            .extend_from_slice(&name.as_bytes()[..usize::from(length)]);
    }

    /// Returns the encoded entries; `None` if there are none.
    pub(super) fn into_body(self) -> Option<Bytes> {
        (!self.is_empty).then(|| self.bytes.into())
    }
}

/// Decodes the entries of a unit.
///
/// # Errors
///
/// `undecodable` if the bytes are neither of this form nor JSON.
pub(crate) fn decode_entries(body: &Bytes) -> Result<Vec<Entry>> {
    match body.split_first() {
        Some((&VERSION, rest)) => {
            let undecodable = || Error::reject("undecodable", "a journal entry is incomplete");
            read(rest).ok_or_else(undecodable)
        }
        _ => decode(body),
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (cause, mut rest) = rest.split_first_chunk::<16>()?;
    let at = Timestamp::from_micros(i64::from_le_bytes(*at));
    let cause = Uuid::from_bytes(*cause);
    let causation_id = (!cause.is_nil()).then_some(cause);
    let mut entries = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let kind = KINDS.get(usize::from(kind.checked_sub(1)?))?;
        let (id, after) = after.split_first_chunk::<16>()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
        entries.push(Entry {
            at,
            kind: (*kind).to_owned(),
            name: String::from_utf8_lossy(name).into_owned(),
            id: Uuid::from_bytes(*id),
            causation_id,
        });
        rest = after;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(causation: Option<Uuid>) -> Bytes {
        let mut entries = Entries::new(Timestamp::from_micros(7), causation);
        for (number, kind) in (1..).zip(KINDS) {
            entries.push(kind, "orders.order_placed.v1", Uuid::from_u128(number));
        }
        entries.into_body().unwrap()
    }

    #[test]
    fn decoding_inverts_encoding() {
        for causation in [None, Some(Uuid::from_u128(9))] {
            let entries = decode_entries(&body(causation)).unwrap();
            assert_eq!(entries.len(), KINDS.len());
            for (number, entry) in (1..).zip(&entries) {
                assert_eq!(entry.id, Uuid::from_u128(number));
                assert_eq!(entry.at, Timestamp::from_micros(7));
                assert_eq!(entry.name, "orders.order_placed.v1");
                assert_eq!(entry.causation_id, causation);
            }
            assert_eq!(entries[2].kind, "timer");
        }
    }

    #[test]
    fn entries_of_earlier_releases_are_decoded() {
        let earlier = Bytes::from_static(
            br#"[{"at":"2026-01-02T03:04:05.000006Z","kind":"event","name":"a.b.v1",
                "id":"00000000-0000-0000-0000-000000000001","causation_id":null}]"#,
        );
        let entries = decode_entries(&earlier).unwrap();
        assert_eq!((entries.len(), entries[0].name.as_str()), (1, "a.b.v1"));
    }

    #[test]
    fn incomplete_entries_are_an_error() {
        let body = body(None);
        // Bytes end between entries at these lengths.
        let whole = (0..=KINDS.len()).map(|count| 25 + count * 41);
        let whole: Vec<usize> = whole.collect();
        for end in 1..body.len() {
            let decoded = decode_entries(&body.slice(..end));
            assert_eq!(decoded.is_ok(), whole.contains(&end), "{end}");
        }
    }

    #[test]
    fn a_unit_without_effects_has_no_entries() {
        assert_eq!(
            Entries::new(Timestamp::from_micros(7), None).into_body(),
            None
        );
    }
}
