//! The stored form of journal entries. A journal has an entry for each effect of each unit, so a
//! compact form halves the room that a history takes.
//!
//! The entries of a unit share time and cause. The form is a version byte, the time in
//! microseconds, and the id of the cause (or 16 zeros); then for each entry its kind, its id, and
//! length and bytes of its name. Earlier releases wrote JSON, which begins with another byte.
//!
//! During a rolling upgrade, this release reads what a later one writes, and reports what it can:
//!
//! - A later release may add kinds. Time, id and name of their entries are known.
//! - A form with another version byte, at most 8, must begin with time and cause as well.
//! - A later release may store entries elsewhere and leave a list without entries here.

use std::ops::RangeInclusive;

use bytes::Bytes;
use uuid::Uuid;
use wingbeat_core::{Error, Result, Timestamp};

use super::records::{Entry, RECORD};
use crate::decode;

/// The first byte of this form. A JSON text never begins with it.
const VERSION: u8 = 1;
/// The first bytes of the forms of later releases. A JSON text never begins with them.
const LATER: RangeInclusive<u8> = 2..=8;
/// The kinds by number, beginning with 1.
const KINDS: [&str; 5] = ["event", "command", "timer", "call", RECORD];

/// The kind of entries that a later release wrote, and that this one cannot read.
const UNKNOWN: &str = "unknown";
/// The name of an entry whose name this release cannot read.
const OF_LATER: &str = "entries of a newer release";

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

    /// Returns whether there are no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
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

/// Decodes the entries of a unit. A unit that a later release wrote has one entry of the kind
/// [`UNKNOWN`] at least. `before` is the time of such an entry if it tells none.
///
/// # Errors
///
/// `undecodable` if the bytes are neither of this or a later form nor JSON.
pub(crate) fn decode_entries(body: &Bytes, before: Timestamp) -> Result<Vec<Entry>> {
    let entries = match body.split_first() {
        Some((&VERSION, rest)) => {
            let undecodable = || Error::reject("undecodable", "a journal entry is incomplete");
            read(rest).ok_or_else(undecodable)?
        }
        Some((version, rest)) if LATER.contains(version) => {
            let header = header(rest).map(|(header, _)| header);
            let name = format!("{OF_LATER} (form {version})");
            vec![unknown(header.unwrap_or((before, None)), name)]
        }
        _ => decode(body)?,
    };
    if entries.is_empty() {
        return Ok(vec![unknown((before, None), OF_LATER.to_owned())]);
    }
    Ok(entries)
}

/// The time and the cause of the entries of a unit.
type Header = (Timestamp, Option<Uuid>);

/// Returns the header, and the bytes after it.
fn header(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (cause, rest) = rest.split_first_chunk::<16>()?;
    let at = Timestamp::from_micros(i64::from_le_bytes(*at));
    let cause = Uuid::from_bytes(*cause);
    Some(((at, (!cause.is_nil()).then_some(cause)), rest))
}

/// The entry for those of a unit that this release cannot read.
fn unknown((at, causation_id): Header, name: String) -> Entry {
    Entry {
        at,
        kind: UNKNOWN.to_owned(),
        name,
        id: Uuid::nil(),
        causation_id,
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Entry>> {
    let ((at, causation_id), mut rest) = header(bytes)?;
    let mut entries = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let kind = KINDS.get(usize::from(kind.checked_sub(1)?));
        let kind = kind.unwrap_or(&UNKNOWN);
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

    /// The time of an entry that tells none.
    const BEFORE: Timestamp = Timestamp::from_micros(5);

    fn decoded(body: &Bytes) -> Result<Vec<Entry>> {
        decode_entries(body, BEFORE)
    }

    /// The header of stored bodies: the time 7 µs, and the cause 9.
    const HEADER: &str = "0700000000000000\
                          00000000000000000000000000000009";

    /// The bytes of a stored body, from its version to its entries.
    fn stored(version: &str, entries: &str) -> Bytes {
        let text = format!("{version}{HEADER}{entries}");
        let digits = text.as_bytes().chunks(2);
        let byte = |digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn entry(kind: &str, name: &str, id: u128) -> Entry {
        Entry {
            at: Timestamp::from_micros(7),
            kind: kind.into(),
            name: name.into(),
            id: Uuid::from_u128(id),
            causation_id: Some(Uuid::from_u128(9)),
        }
    }

    /// An event 3 with the name `a.b.v1`, as every release since the compact form stores it.
    const EVENT: &str = "01000000000000000000000000000000030600612e622e7631";

    #[test]
    fn the_stored_form_does_not_change() {
        let mut entries = Entries::new(Timestamp::from_micros(7), Some(Uuid::from_u128(9)));
        entries.push("event", "a.b.v1", Uuid::from_u128(3));
        assert_eq!(entries.into_body(), Some(stored("01", EVENT)));
        let found = decoded(&stored("01", EVENT)).unwrap();
        assert_eq!(found, [entry("event", "a.b.v1", 3)]);
    }

    #[test]
    fn an_entry_of_a_kind_of_a_later_release_keeps_time_name_and_id() {
        let later = EVENT.replacen("01", "09", 1);
        let found = decoded(&stored("01", &format!("{later}{EVENT}"))).unwrap();
        let expected = [entry("unknown", "a.b.v1", 3), entry("event", "a.b.v1", 3)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_form_of_a_later_release_is_an_entry_with_its_time_and_cause() {
        for version in 2..=8 {
            let found = decoded(&stored(&format!("0{version}"), "ff00ff")).unwrap();
            let name = format!("entries of a newer release (form {version})");
            assert_eq!(found, [entry("unknown", &name, 0)]);
        }
        let short = decoded(&stored("02", "").slice(..20)).unwrap();
        assert_eq!((short[0].at, short[0].causation_id), (BEFORE, None));
    }

    #[test]
    fn entries_that_a_later_release_stores_elsewhere_are_an_entry() {
        let found = decoded(&Bytes::from_static(b"[]")).unwrap();
        assert_eq!((found.len(), &*found[0].kind), (1, "unknown"));
        assert_eq!((found[0].at, &*found[0].name), (BEFORE, OF_LATER));
    }

    #[test]
    fn bytes_of_no_form_are_an_error() {
        for bytes in [&b""[..], b"\0", b"\x09", b"{", b"\xff\xff"] {
            let why = decoded(&Bytes::from_static(bytes)).unwrap_err();
            assert_eq!(why.code(), "undecodable", "{bytes:?}");
        }
    }

    #[test]
    fn decoding_inverts_encoding() {
        for causation in [None, Some(Uuid::from_u128(9))] {
            let entries = decoded(&body(causation)).unwrap();
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
        let entries = decoded(&earlier).unwrap();
        assert_eq!((entries.len(), entries[0].name.as_str()), (1, "a.b.v1"));
    }

    #[test]
    fn incomplete_entries_are_an_error() {
        let body = body(None);
        // Bytes end between entries at these lengths.
        let whole = (0..=KINDS.len()).map(|count| 25 + count * 41);
        let whole: Vec<usize> = whole.collect();
        for end in 1..body.len() {
            let decoded = decoded(&body.slice(..end));
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
