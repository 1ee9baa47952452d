//! The records that a unit writes, as its journal notes them: which record, and which version of
//! it.
//!
//! The journal notes the writes of units that have other entries, that append to a history, or that
//! move a saga. Its entries have the kind [`RECORD`]. Readers of timelines do not see them.
//!
//! An entry notes no content. The content of an aggregate at a version is folded from its history;
//! that of another record is known only until its next write.

use std::collections::BTreeMap;

use uuid::Uuid;
use wingbeat_core::unit::{Append, Read, Write};
use wingbeat_core::{CorrelationId, Key, Timestamp};

use super::entries::Entries;
use super::records::{Entry, RECORD};

/// The prefixes of tables that are not noted: the runtime's own records, and claims, whose ids are
/// the claimed values and can be personal.
const LEFT_OUT: [&str; 2] = ["wb.", "claim."];
/// The largest number of records that the journal notes for a unit. Units of batches write more.
const NOTED_MAX: usize = 64;
/// The largest number of effects of the same unit that a change names.
const EFFECTS_MAX: usize = 32;
/// Separates the parts of an entry's name: table, number, state and id.
const SEPARATOR: char = '|';
/// Stands for the id of the story in the id of a record: most records of a story have it in
/// theirs, and it takes one byte instead of 16 or 36. A record whose id contains this character is
/// not noted.
const STORY: char = '\u{1}';

/// A version of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The length of the history of an aggregate.
    Sequence(u64),
    /// The version of another record.
    Version(u64),
    /// The unit has not read the record, so its version is unknown.
    Unknown,
    /// The unit has removed the record.
    Removed,
}

/// A record that a unit has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The time of the attempt.
    pub(crate) made: Timestamp,
    /// The id of the message that caused it.
    pub(crate) causation_id: Option<Uuid>,
    /// The ids of the messages, timers and calls of the same unit.
    pub(crate) effects: Vec<Uuid>,
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) at: At,
    /// The state to which a saga has moved.
    pub(crate) state: Option<String>,
}

/// What a unit does to records.
pub(super) struct Written<'a> {
    pub(super) reads: &'a [Read],
    pub(super) writes: &'a [Write],
    pub(super) appends: &'a [Append],
    /// The states to which sagas move.
    pub(super) moves: &'a [(Key, &'static str)],
}

impl Written<'_> {
    /// Notes the records in the journal, if the unit is a step of its story.
    pub(super) fn note(&self, story: CorrelationId, entries: &mut Entries) {
        if entries.is_empty() && self.appends.is_empty() && self.moves.is_empty() {
            return;
        }
        let users = self.writes.iter().filter(|it| is_noted(&it.key));
        let story = story.0.to_string();
        for write in users.take(NOTED_MAX) {
            let Key { table, id } = &write.key;
            let state = self.moves.iter().find(|(key, _)| *key == write.key);
            let state = state.map_or("", |(_, state)| state);
            let number = written(self.at(write));
            let id = id.replace(&story, STORY.encode_utf8(&mut [0; 4]));
            // Most other ids are UUIDs, which need less than half the room as bytes.
            let (bytes, text) = match id.parse::<Uuid>() {
                Ok(uuid) if uuid.to_string() == id && !uuid.is_nil() => (uuid, ""),
                _ => (Uuid::nil(), id.as_str()),
            };
            let name = [table.as_str(), &number, state, text].join("|");
            entries.push(RECORD, &name, bytes);
        }
    }

    fn at(&self, write: &Write) -> At {
        if write.body.is_none() {
            return At::Removed;
        }
        let appended = self.appends.iter().filter(|it| it.key == write.key);
        if let Some(sequence) = appended.map(|it| it.sequence).max() {
            return At::Sequence(sequence);
        }
        let read = self.reads.iter().find(|it| it.key == write.key);
        read.map_or(At::Unknown, |read| At::Version(read.version + 1))
    }
}

fn is_noted(key: &Key) -> bool {
    let table = key.table.as_str();
    let is_left_out = LEFT_OUT.iter().any(|prefix| table.starts_with(prefix));
    !is_left_out && !table.contains(SEPARATOR) && !key.id.contains(STORY)
}

fn written(at: At) -> String {
    match at {
        At::Sequence(sequence) => format!("h{sequence}"),
        At::Version(version) => version.to_string(),
        At::Unknown => String::new(),
        At::Removed => "-".to_owned(),
    }
}

fn read(number: &str) -> Option<At> {
    Some(match number {
        "" => At::Unknown,
        "-" => At::Removed,
        _ => match number.strip_prefix('h') {
            Some(sequence) => At::Sequence(sequence.parse().ok()?),
            None => At::Version(number.parse().ok()?),
        },
    })
}

/// Returns whether an entry notes a written record.
pub(crate) fn is_change(entry: &Entry) -> bool {
    entry.kind == RECORD
}

/// Returns the records that the entries of one unit of a story note. Entries that a later release
/// has written in another form are left out.
pub(crate) fn changes(story: CorrelationId, entries: &[Entry]) -> Vec<Change> {
    let effects = entries.iter().filter(|it| !is_change(it));
    let effects: Vec<Uuid> = effects.map(|it| it.id).take(EFFECTS_MAX).collect();
    let noted = entries.iter().filter(|it| is_change(it));
    noted.filter_map(|it| change(story, it, &effects)).collect()
}

fn change(story: CorrelationId, entry: &Entry, effects: &[Uuid]) -> Option<Change> {
    let mut parts = entry.name.splitn(4, SEPARATOR);
    let (table, number) = (parts.next()?, parts.next()?);
    let (state, id) = (parts.next()?, parts.next()?);
    let id = if entry.id.is_nil() {
        id.replace(STORY, &story.0.to_string())
    } else {
        entry.id.to_string()
    };
    Some(Change {
        made: entry.at,
        causation_id: entry.causation_id,
        effects: effects.to_vec(),
        table: table.to_owned(),
        id,
        at: read(number)?,
        state: (!state.is_empty()).then(|| state.to_owned()),
    })
}

/// Groups changes by record, in the order of the first change of each.
pub(crate) fn by_record(changes: &[Change]) -> Vec<((&str, &str), Vec<usize>)> {
    let mut places = BTreeMap::new();
    let mut records: Vec<((&str, &str), Vec<usize>)> = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        let key = (change.table.as_str(), change.id.as_str());
        let place = *places.entry(key).or_insert_with(|| {
            records.push((key, Vec::new()));
            records.len() - 1
        });
        records[place].1.push(number);
    }
    records
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wingbeat_core::Name;

    use super::super::entries::decode_entries;
    use super::*;

    const ID: &str = "0190b5d4-8a7e-7c3e-9d2f-6b1f0a4c5e3d";
    const STORY_ID: CorrelationId =
        CorrelationId(Uuid::from_u128(0x0190_b5d4_8a7e_7c3e_9d2f_6b1f_0a4c_5e3e));

    fn key(table: &'static str, id: &str) -> Key {
        Key::new(Name::new(table), id)
    }

    fn put(table: &'static str, id: &str) -> Write {
        Write {
            key: key(table, id),
            body: Some(Bytes::from_static(b"{}")),
            due_at: None,
            expires_at: None,
        }
    }

    fn noted(written: &Written<'_>, effect: Option<Uuid>) -> Option<Vec<Change>> {
        let mut entries = Entries::new(Timestamp::from_micros(7), None);
        if let Some(id) = effect {
            entries.push("event", "a.b.v1", id);
        }
        written.note(STORY_ID, &mut entries);
        let body = entries.into_body()?;
        let decoded = decode_entries(&body, Timestamp::default()).expect("it decodes");
        Some(changes(STORY_ID, &decoded))
    }

    #[test]
    fn a_step_notes_the_versions_of_its_records() {
        let mut gone = put("shelf", "a|b");
        gone.body = None;
        let writes = [
            put("order", ID),
            put("stock", "WB|1"),
            put("blind", "x"),
            put("wb.timer", "t"),
            put("claim.email", "ada@hotel.example"),
            gone,
        ];
        let append = |sequence| Append {
            key: key("order", ID),
            sequence,
            at: Timestamp::default(),
            body: Bytes::new(),
        };
        let read = Read {
            key: key("stock", "WB|1"),
            version: 4,
        };
        let written = Written {
            reads: &[read],
            writes: &writes,
            appends: &[append(2), append(3)],
            moves: &[],
        };
        let effect = Uuid::from_u128(9);
        let found = noted(&written, Some(effect)).expect("it is a step");
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.table.as_str(), it.id.as_str(), it.at))
            .collect();
        assert_eq!(
            told,
            [
                ("order", ID, At::Sequence(3)),
                ("stock", "WB|1", At::Version(5)),
                ("blind", "x", At::Unknown),
                ("shelf", "a|b", At::Removed),
            ]
        );
        assert!(found.iter().all(|it| it.effects == [effect]));
    }

    /// The id of the story takes no room in those of its records.
    #[test]
    fn ids_with_the_id_of_the_story_are_short() {
        let story = STORY_ID.0.to_string();
        let mail = format!("order_paid/{story}");
        let marked = "a\u{1}";
        let writes = [put("order", &story), put("sent", &mail), put("x", marked)];
        let written = Written {
            reads: &[],
            writes: &writes,
            appends: &[],
            moves: &[],
        };
        let effect = Uuid::from_u128(9);
        let found = noted(&written, Some(effect)).expect("it is a step");
        let ids: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, [&story, &mail], "an id with the mark is not noted");
        let mut entries = Entries::new(Timestamp::default(), None);
        entries.push("event", "a.b.v1", effect);
        written.note(STORY_ID, &mut entries);
        let body = entries.into_body().expect("there are entries");
        let id = STORY_ID.0.as_bytes();
        assert!(!body.windows(id.len()).any(|it| it == id), "{body:?}");
        assert!(!body.windows(story.len()).any(|it| it == story.as_bytes()));
    }

    #[test]
    fn a_unit_without_effects_is_a_step_only_if_it_moves_a_saga() {
        let writes = [put("saga.checkout", ID)];
        let mut written = Written {
            reads: &[],
            writes: &writes,
            appends: &[],
            moves: &[],
        };
        assert_eq!(noted(&written, None), None);
        let moves = [(key("saga.checkout", ID), "paying")];
        written.moves = &moves;
        let found = noted(&written, None).expect("it is a step");
        assert_eq!(found[0].state.as_deref(), Some("paying"));
    }

    #[test]
    fn a_unit_notes_a_bounded_number_of_records() {
        let writes: Vec<Write> = (0..500).map(|it| put("stock", &it.to_string())).collect();
        let written = Written {
            reads: &[],
            writes: &writes,
            appends: &[],
            moves: &[],
        };
        let found = noted(&written, Some(Uuid::from_u128(1))).expect("it is a step");
        assert_eq!(found.len(), NOTED_MAX);
    }
}
