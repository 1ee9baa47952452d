//! Compiles units into the arrays of one call.
//!
//! Units that build on one another (one reads or overwrites what an earlier one wrote) form a
//! *group*, which is committed or refused as a whole. Of a chain of writes, only the last content
//! and the first version are sent. A unit whose outcome depends on an earlier one (it contradicts
//! that unit, or has the same id or delivery) starts a new segment, which is committed after this
//! one.

use uuid::Uuid;
use wingbeat_core::unit::{RowWrite, Write};
use wingbeat_core::{HashMap, HashSet, Key, Name, Timestamp, Unit};

use super::arrays::Arrays;
use crate::inbox::{self, UNIT_SCOPE};

/// Maximum number of statements of a segment. They keep their locks until its end, and all of them
/// run again if one fails.
const STATEMENTS_MAX: usize = 32;

/// Units of one service that one call commits.
#[derive(Default)]
pub(super) struct Segment<'a> {
    /// The units in order.
    pub(super) units: Vec<&'a Unit>,
    /// Number of statements of all units.
    statements: usize,
    /// A union-find forest over the units: each tree is a group.
    parent: Vec<usize>,
    /// Ids and scopes of the units' inbox rows.
    seen: HashSet<(Uuid, String)>,
    keys: HashMap<&'a Key, Touched<'a>>,
    reads: Vec<(usize, &'a Key, u64)>,
    histories: HashMap<&'a Key, (usize, u64)>,
    first_events: Vec<(usize, &'a Key, u64)>,
    rows: HashMap<(Name, &'a str), (usize, &'a RowWrite)>,
}

/// The writes of one record by the units of a segment.
struct Touched<'a> {
    /// The last unit that wrote it.
    by: usize,
    /// The version that the next unit of the segment would read, if it is known.
    version: Option<u64>,
    last: &'a Write,
    /// Number of writes.
    steps: u64,
}

impl<'a> Segment<'a> {
    /// Adds a unit, unless its outcome depends on this segment's. Returns whether it was added.
    pub(super) fn add(&mut self, unit: &'a Unit) -> bool {
        let mut ids = inbox::keys(unit);
        ids.push((unit.id.0, UNIT_SCOPE.to_owned()));
        if ids.iter().any(|id| self.seen.contains(id)) || !self.fits(unit) {
            return false;
        }
        self.seen.extend(ids);
        let me = self.units.len();
        self.units.push(unit);
        self.statements += unit.statements.len();
        self.parent.push(me);
        for read in &unit.reads {
            match self.keys.get(&read.key) {
                Some(touched) => union(&mut self.parent, touched.by, me),
                None => self.reads.push((me, &read.key, read.version)),
            }
        }
        for append in &unit.appends {
            match self.histories.get_mut(&append.key) {
                Some((by, last)) => {
                    *last = append.sequence;
                    union(&mut self.parent, *by, me);
                }
                None => {
                    self.histories.insert(&append.key, (me, append.sequence));
                    let last = append.sequence.saturating_sub(1);
                    self.first_events.push((me, &append.key, last));
                }
            }
        }
        for write in &unit.writes {
            self.write(me, unit, write);
        }
        for row in &unit.rows {
            let before = self.rows.insert((row.view, row.key.as_str()), (me, row));
            if let Some((by, _)) = before {
                union(&mut self.parent, by, me);
            }
        }
        true
    }

    fn write(&mut self, me: usize, unit: &'a Unit, write: &'a Write) {
        let read = unit.reads.iter().find(|read| read.key == write.key);
        let before = self.keys.get(&write.key);
        let found = before.map_or(read.map(|read| read.version), |touched| touched.version);
        let version = match &write.body {
            Some(_) => found.map(|version| version + 1),
            None => Some(0),
        };
        let steps = before.map_or(0, |touched| touched.steps) + 1;
        if let Some(touched) = before {
            union(&mut self.parent, touched.by, me);
        }
        let touched = Touched {
            by: me,
            version,
            last: write,
            steps,
        };
        self.keys.insert(&write.key, touched);
    }

    /// Returns whether the unit's reads and events agree with the segment so far, and there is room
    /// for its statements. A unit with its own transaction, or with more statements than a segment
    /// may have, gets its own segment.
    fn fits(&self, unit: &Unit) -> bool {
        let statements = self.statements + unit.statements.len();
        if !self.units.is_empty() && statements > STATEMENTS_MAX {
            return false;
        }
        let has_transaction = |unit: &Unit| unit.transaction.is_some();
        if !self.units.is_empty() && (has_transaction(unit) || has_transaction(self.units[0])) {
            return false;
        }
        let mut events: HashMap<&Key, u64> = HashMap::default();
        let agrees = |key: &Key, version: u64| {
            self.keys
                .get(key)
                .is_none_or(|touched| touched.version == Some(version))
        };
        unit.reads
            .iter()
            .all(|read| agrees(&read.key, read.version))
            && unit.appends.iter().all(|append| {
                let known = self.histories.get(&append.key).map(|(_, last)| *last);
                let last = events.get(&append.key).copied().or(known);
                events.insert(&append.key, append.sequence);
                last.is_none_or(|last| append.sequence == last + 1)
            })
    }

    /// Creates a segment of one unit.
    pub(super) fn of(unit: &'a Unit) -> Self {
        let mut segment = Self::default();
        segment.add(unit);
        segment
    }

    /// Returns whether a unit has statements.
    pub(super) fn has_statements(&self) -> bool {
        self.statements > 0
    }

    /// Returns the positions of the units that are not in these groups, and of those that are.
    pub(super) fn partition(&self, groups: &[i32]) -> (Vec<usize>, Vec<usize>) {
        let of = self.groups();
        (0..of.len()).partition(|unit| !groups.contains(&number(of[*unit])))
    }

    /// Returns the group of each unit: the position of the group's first unit.
    pub(super) fn groups(&self) -> Vec<usize> {
        (0..self.units.len())
            .map(|unit| find(&self.parent, unit))
            .collect()
    }

    /// Returns the arrays of the call. Rows of removed records stay until `tombstone`.
    pub(super) fn arrays(&self, tombstone: Timestamp) -> Arrays<'a> {
        let groups: Vec<i32> = self.groups().into_iter().map(number).collect();
        let mut arrays = Arrays::default();
        let units = || self.units.iter().copied().zip(groups.iter().copied());
        arrays.inbox(units());
        for (unit, group) in units() {
            arrays.unit(unit, group);
        }
        // A record that its group also writes is checked by the write.
        let mut before: HashMap<&Key, u64> = HashMap::default();
        for (unit, key, version) in &self.reads {
            let group = groups[*unit];
            let written = self.keys.get(key);
            let own = written.is_some_and(|touched| groups[touched.by] == group);
            if !own || *before.entry(key).or_insert(*version) != *version {
                arrays.read(group, key, *version);
            }
        }
        for (unit, key, last) in &self.first_events {
            arrays.history(groups[*unit], key, *last);
        }
        let mut written: Vec<_> = self.keys.iter().collect();
        written.sort_unstable_by_key(|(key, _)| (key.table.as_str(), &key.id));
        for (key, touched) in written {
            let version = before.get(key).copied();
            let (group, steps) = (groups[touched.by], touched.steps);
            arrays.write(group, touched.last, version, steps, tombstone);
        }
        for (unit, row) in self.rows.values() {
            arrays.row(groups[*unit], row);
        }
        arrays
    }
}

/// Returns the first unit of a unit's group.
fn find(parent: &[usize], mut unit: usize) -> usize {
    while parent[unit] != unit {
        unit = parent[unit];
    }
    unit
}

/// Unites two groups. The earlier unit becomes the root, and paths are shortened, so that a chain
/// stays flat.
fn union(parent: &mut [usize], one: usize, other: usize) {
    let (one_root, other_root) = (find(parent, one), find(parent, other));
    let first = one_root.min(other_root);
    for unit in [one, other, one_root, other_root] {
        parent[unit] = first;
    }
}

/// Converts a group's number. Batches are far smaller than `i32::MAX`.
fn number(group: usize) -> i32 {
    i32::try_from(group).unwrap_or(i32::MAX)
}

/// Returns whether PostgreSQL can store the unit's texts: they must not contain a NUL character.
pub(super) fn is_storable(unit: &Unit) -> bool {
    let has_no_nul = |text: &str| !text.contains('\0');
    unit.settles
        .iter()
        .all(|settled| has_no_nul(&settled.source))
        && unit.reads.iter().all(|read| has_no_nul(&read.key.id))
        && unit.writes.iter().all(|write| has_no_nul(&write.key.id))
        && unit.appends.iter().all(|append| has_no_nul(&append.key.id))
        && unit
            .messages
            .iter()
            .all(|message| has_no_nul(&message.kind))
        && unit.statements.iter().all(|it| has_no_nul(&it.text))
        && unit.rows.iter().all(|write| {
            has_no_nul(&write.key)
                && write
                    .row
                    .iter()
                    .flat_map(|row| &row.columns)
                    .all(|(_, value)| has_no_nul(value))
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wingbeat_core::ids::uuid_v7;
    use wingbeat_core::unit::Read;

    use super::*;

    const TABLE: Name = Name::new("t");

    fn unit(id: u64, reads: &[(&str, u64)], writes: &[&str]) -> Unit {
        let id = uuid_v7(Timestamp::from_millis(1), id);
        let read = |(key, version): &(&str, u64)| Read {
            key: Key::new(TABLE, *key),
            version: *version,
        };
        let write = |key: &&str| Write {
            key: Key::new(TABLE, *key),
            body: Some(Bytes::from_static(b"x")),
            due_at: None,
            expires_at: None,
        };
        Unit {
            reads: reads.iter().map(read).collect(),
            writes: writes.iter().map(write).collect(),
            ..Unit::new(id.into(), TABLE, Timestamp::from_millis(1))
        }
    }

    fn added<'a>(segment: &mut Segment<'a>, units: &'a [Unit]) -> Vec<bool> {
        units.iter().map(|unit| segment.add(unit)).collect()
    }

    #[test]
    fn a_chain_is_one_group_with_one_version_and_one_write() {
        let units = [
            unit(1, &[("a", 4)], &["a"]),
            unit(2, &[("b", 0)], &["b"]),
            unit(3, &[("a", 5)], &["a"]),
        ];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true; 3]);
        assert_eq!(segment.groups(), [0, 1, 0]);
        let arrays = segment.arrays(Timestamp::default());
        assert!(arrays.read.id.is_empty(), "the write checks the version");
        assert_eq!(
            (&arrays.changed.keys.id[..], &arrays.changed.keys.number[..]),
            (&["a"][..], &[Some(4)][..])
        );
        assert_eq!(
            (&arrays.changed.keys.group[..], &arrays.changed.steps[..]),
            (&[0][..], &[2][..])
        );
        assert_eq!(
            (&arrays.put.keys.id[..], &arrays.put.keys.number[..]),
            (&["b"][..], &[Some(0)][..])
        );
    }

    #[test]
    fn a_contradicting_or_repeated_unit_needs_a_new_segment() {
        let units = [
            unit(1, &[("a", 0)], &["a"]),
            unit(2, &[("a", 0)], &["a"]),
            unit(1, &[], &["c"]),
            unit(3, &[("a", 1)], &[]),
        ];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true, false, false, true]);
    }

    #[test]
    fn a_segment_has_a_limited_number_of_statements() {
        let running = |id, statements| Unit {
            statements: vec![wingbeat_core::Statement::new("SELECT 1", ()); statements],
            ..unit(id, &[], &[])
        };
        let units = [running(1, 20), running(2, 12), running(3, 1)];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true, true, false]);
        assert!(Segment::default().add(&running(4, 100)));
    }

    #[test]
    fn a_unit_cannot_rely_on_the_version_of_a_blind_write() {
        let units = [unit(1, &[], &["a"]), unit(2, &[("a", 1)], &[])];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true, false]);
    }

    #[test]
    fn readers_of_the_same_version_are_separate_groups() {
        let units = [unit(1, &[("a", 2)], &["b"]), unit(2, &[("a", 2)], &["a"])];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true; 2]);
        assert_eq!(segment.groups(), [0, 1]);
        let arrays = segment.arrays(Timestamp::default());
        assert_eq!(
            (&arrays.read.id[..], &arrays.read.group[..]),
            (&["a"][..], &[0][..])
        );
        assert_eq!(arrays.changed.keys.group, [1]);
    }

    #[test]
    fn removals_of_read_absent_and_unread_records_use_different_arrays() {
        let removing = |id, reads: &[(&str, u64)], key| {
            let mut unit = unit(id, reads, &[key]);
            unit.writes[0].body = None;
            unit
        };
        let units = [
            removing(1, &[("a", 2)], "a"),
            removing(2, &[("b", 0)], "b"),
            removing(3, &[], "c"),
        ];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true; 3]);
        let arrays = segment.arrays(Timestamp::default());
        assert_eq!(arrays.changed.keys.id, ["a"]);
        assert_eq!(arrays.read.id, ["b"]);
        assert_eq!(arrays.removed.id, ["b", "c"]);
        assert!(arrays.put.keys.id.is_empty());
    }

    #[test]
    fn a_group_that_read_two_versions_checks_both() {
        let units = [
            unit(1, &[("a", 3), ("b", 0)], &["b"]),
            unit(2, &[("a", 2), ("b", 1)], &["a", "b"]),
        ];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true; 2]);
        let arrays = segment.arrays(Timestamp::default());
        assert_eq!(
            (arrays.read.id, arrays.read.number),
            (vec!["a"], vec![Some(2)])
        );
        assert_eq!(arrays.changed.keys.number, [Some(3)]);
    }
}
