//! Units compiled into the arrays of one call.
//!
//! Units that build on one another (one reads or overwrites what an earlier one wrote) form a *group*, which is
//! committed or refused as a whole; of a chain of writes only the last content is sent, and one version to check.
//! What cannot be told without asking the store (a unit that contradicts an earlier one of the batch, or comes
//! twice in it) starts a new segment, to be committed after this one.

use uuid::Uuid;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::unit::{RowWrite, Settled, Write};
use wingbeat_core::{HashMap, HashSet, Key, Name, Timestamp, Unit};

use crate::arrays::Arrays;

/// How far the time in an id may be from the unit's before the row is dated by itself.
const SAME_TIME: std::time::Duration = std::time::Duration::from_secs(3600);

/// Statements of a segment. They keep their locks until its end, and are all run again if one of them fails.
const STATEMENTS_MAX: usize = 32;

/// Several units of one service, to be committed by one call.
#[derive(Default)]
pub(crate) struct Segment<'a> {
    /// The units in order, with the number of their group: the place of its first unit.
    pub(crate) units: Vec<&'a Unit>,
    /// How many they have.
    statements: usize,
    parent: Vec<usize>,
    seen: HashSet<(Uuid, String)>,
    keys: HashMap<&'a Key, Touched<'a>>,
    reads: Vec<(usize, &'a Key, u64)>,
    histories: HashMap<&'a Key, (usize, u64)>,
    first_events: Vec<(usize, &'a Key, u64)>,
    rows: HashMap<(Name, &'a str), (usize, &'a RowWrite)>,
}

/// What units of a segment wrote to a key.
struct Touched<'a> {
    by: usize,
    /// The version as a reader of the segment would find it, if that is known.
    version: Option<u64>,
    last: &'a Write,
    steps: u64,
}

/// Which inbox row a unit leaves.
pub(crate) fn scope(settled: &Settled) -> String {
    format!("{} {}", settled.queue, settled.source)
}

/// The inbox row of a unit: by its delivery, or by itself if it settles none for good.
pub(crate) fn remembered(unit: &Unit) -> (Uuid, String) {
    match unit.settles.as_ref().filter(|settled| settled.done) {
        Some(settled) => (settled.message.0, scope(settled)),
        None => (unit.id.0, String::new()),
    }
}

/// When the row is from, where the id does not tell: it is foreign, or was made at another time.
pub(crate) fn undated(id: Uuid, at: Timestamp) -> Option<i64> {
    let (early, late) = (
        uuid_v7(at - SAME_TIME, 0),
        uuid_v7(at + SAME_TIME, u64::MAX),
    );
    let tells = id.get_version_num() == 7 && id > early && id < late;
    (!tells).then_some(at.as_micros())
}

impl<'a> Segment<'a> {
    /// Adds a unit, unless it has to wait for what becomes of this segment.
    pub(crate) fn add(&mut self, unit: &'a Unit) -> bool {
        let ids = [(unit.id.0, String::new()), remembered(unit)];
        let delivery = unit.settles.as_ref().map(|it| (it.message.0, scope(it)));
        if ids.iter().chain(&delivery).any(|id| self.seen.contains(id)) || !self.fits(unit) {
            return false;
        }
        self.seen.extend(ids);
        let me = self.units.len();
        self.units.push(unit);
        self.statements += unit.statements.len();
        self.parent.push(me);
        for read in &unit.reads {
            match self.keys.get(&read.key) {
                Some(touched) => join(&mut self.parent, touched.by, me),
                None => self.reads.push((me, &read.key, read.version)),
            }
        }
        for append in &unit.appends {
            match self.histories.get_mut(&append.key) {
                Some((by, last)) => {
                    *last = append.sequence;
                    join(&mut self.parent, *by, me);
                }
                None => {
                    self.histories.insert(&append.key, (me, append.sequence));
                    self.first_events
                        .push((me, &append.key, append.sequence.saturating_sub(1)));
                }
            }
        }
        for write in &unit.writes {
            self.write(me, unit, write);
        }
        for row in &unit.rows {
            let before = self.rows.insert((row.view, row.key.as_str()), (me, row));
            if let Some((by, _)) = before {
                join(&mut self.parent, by, me);
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
            join(&mut self.parent, touched.by, me);
        }
        let by = me;
        let last = write;
        self.keys.insert(
            &write.key,
            Touched {
                by,
                version,
                last,
                steps,
            },
        );
    }

    /// Whether what the unit relies on agrees with what the segment says so far. One that brings its own
    /// transaction is alone, and so is one with more statements than a segment may have.
    fn fits(&self, unit: &Unit) -> bool {
        let statements = self.statements + unit.statements.len();
        if !self.units.is_empty() && statements > STATEMENTS_MAX {
            return false;
        }
        let accompanied = |unit: &Unit| unit.companion.is_some();
        if !self.units.is_empty() && (accompanied(unit) || accompanied(self.units[0])) {
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

    /// A segment of one unit.
    pub(crate) fn of(unit: &'a Unit) -> Self {
        let mut segment = Self::default();
        segment.add(unit);
        segment
    }

    pub(crate) fn has_statements(&self) -> bool {
        self.statements > 0
    }

    /// The places of the units that are not in these groups, and of those that are.
    pub(crate) fn parted(&self, groups: &[i32]) -> (Vec<usize>, Vec<usize>) {
        let of = self.groups();
        (0..of.len()).partition(|unit| !groups.contains(&number(of[*unit])))
    }

    /// The group of each unit.
    pub(crate) fn groups(&self) -> Vec<usize> {
        (0..self.units.len())
            .map(|unit| root(&self.parent, unit))
            .collect()
    }

    /// The arrays of the call. What is removed leaves its row until `tombstone`.
    pub(crate) fn arrays(&self, tombstone: Timestamp) -> Arrays<'a> {
        let groups: Vec<i32> = self.groups().into_iter().map(number).collect();
        let mut arrays = Arrays::default();
        let units = || self.units.iter().copied().zip(groups.iter().copied());
        arrays.settled(units());
        for (unit, group) in units() {
            arrays.unit(unit, group);
        }
        // What a group has read and written is checked where it is written.
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

fn root(parent: &[usize], mut unit: usize) -> usize {
    while parent[unit] != unit {
        unit = parent[unit];
    }
    unit
}

/// Makes one group of two. The earlier unit leads, and paths are cut short, so that a chain stays flat.
fn join(parent: &mut [usize], one: usize, other: usize) {
    let (one_root, other_root) = (root(parent, one), root(parent, other));
    let lead = one_root.min(other_root);
    for unit in [one, other, one_root, other_root] {
        parent[unit] = lead;
    }
}

/// A group's number: batches are far smaller than `i32::MAX`.
fn number(group: usize) -> i32 {
    i32::try_from(group).unwrap_or(i32::MAX)
}

/// Whether PostgreSQL can keep the texts of the unit: it has no place for a zero character.
pub(crate) fn is_storable(unit: &Unit) -> bool {
    let plain = |text: &str| !text.contains('\0');
    unit.settles
        .as_ref()
        .is_none_or(|settled| plain(&settled.source))
        && unit.reads.iter().all(|read| plain(&read.key.id))
        && unit.writes.iter().all(|write| plain(&write.key.id))
        && unit.appends.iter().all(|append| plain(&append.key.id))
        && unit.messages.iter().all(|message| plain(&message.kind))
        && unit.statements.iter().all(|it| plain(&it.text))
        && unit.rows.iter().all(|write| {
            plain(&write.key)
                && write
                    .row
                    .iter()
                    .flat_map(|row| &row.columns)
                    .all(|(_, value)| plain(value))
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wingbeat_core::CorrelationId;
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
        let _: CorrelationId = id.into();
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
    fn a_chain_is_one_group_with_one_read_and_one_write() {
        let units = [
            unit(1, &[("a", 4)], &["a"]),
            unit(2, &[("b", 0)], &["b"]),
            unit(3, &[("a", 5)], &["a"]),
        ];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true; 3]);
        assert_eq!(segment.groups(), [0, 1, 0]);
        let arrays = segment.arrays(Timestamp::default());
        assert!(
            arrays.read.id.is_empty(),
            "what is written is checked there"
        );
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
    fn what_contradicts_or_comes_twice_waits() {
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
    fn a_segment_is_closed_before_it_has_too_many_statements() {
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
    fn what_was_written_blindly_has_no_version_to_rely_on() {
        let units = [unit(1, &[], &["a"]), unit(2, &[("a", 1)], &[])];
        let mut segment = Segment::default();
        assert_eq!(added(&mut segment, &units), [true, false]);
    }

    #[test]
    fn readers_of_one_version_are_apart() {
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
    fn removed_is_what_is_there_and_not_what_never_was() {
        let gone = |id, reads: &[(&str, u64)], key| {
            let mut unit = unit(id, reads, &[key]);
            unit.writes[0].body = None;
            unit
        };
        let units = [
            gone(1, &[("a", 2)], "a"),
            gone(2, &[("b", 0)], "b"),
            gone(3, &[], "c"),
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
    fn a_group_that_read_two_versions_is_told_so() {
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
