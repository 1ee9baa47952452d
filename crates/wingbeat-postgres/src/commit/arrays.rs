//! The array parameters of the commit function.

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::{RowWrite, Write};
use wingbeat_core::{Key, Timestamp, Unit};

use super::lanes::Lanes;
use crate::inbox::{self, UNIT_SCOPE};

/// Keys with a number each: a version, a count of writes, or an event.
#[derive(Default)]
pub(super) struct Keyed<'a> {
    pub(super) group: Vec<i32>,
    pub(super) tbl: Vec<&'static str>,
    pub(super) id: Vec<&'a str>,
    /// NULL for a version that no unit read.
    pub(super) number: Vec<Option<i64>>,
}

impl<'a> Keyed<'a> {
    fn push(&mut self, group: i32, key: &'a Key, number: Option<u64>) {
        self.group.push(group);
        self.tbl.push(key.table.as_str());
        self.id.push(&key.id);
        self.number.push(number.map(signed));
    }

    /// Returns the four arrays in order.
    fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.group, &self.tbl, &self.id, &self.number]
    }
}

/// Written records, each with the version that was read.
#[derive(Default)]
pub(super) struct Written<'a> {
    pub(super) keys: Keyed<'a>,
    /// Number of writes that are combined into one.
    pub(super) steps: Vec<i64>,
    body: Vec<Option<Bytea<'a>>>,
    due: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
}

impl<'a> Written<'a> {
    fn push(&mut self, group: i32, write: &'a Write, version: Option<u64>, steps: u64) {
        self.keys.push(group, &write.key, version);
        self.steps.push(signed(steps));
        self.body.push(body(write.body.as_ref()));
        self.due.push(write.due_at.map(Timestamp::as_micros));
        self.expires
            .push(write.expires_at.map(Timestamp::as_micros));
    }

    /// Turns the last write into a removal. Its row stays until `tombstone`.
    fn remove_last(&mut self, tombstone: Timestamp) {
        if let (Some(due), Some(expires)) = (self.due.last_mut(), self.expires.last_mut()) {
            (*due, *expires) = (None, Some(tombstone.as_micros()));
        }
    }

    /// Returns the eight arrays in order.
    fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        let rest: [&(dyn ToSql + Sync); 4] = [&self.steps, &self.body, &self.due, &self.expires];
        self.keys.parameters().into_iter().chain(rest)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The array parameters of `commit_v5`, in its order. The prefixes are those of its parameters.
#[derive(Default)]
pub(super) struct Arrays<'a> {
    lanes: Lanes,
    u_group: Vec<i32>,
    u_id: Vec<Uuid>,
    u_scope: Vec<String>,
    u_unit: Vec<Option<Uuid>>,
    u_at: Vec<Option<i64>>,
    /// Records that are only read.
    pub(super) read: Keyed<'a>,
    /// Writes of records that were read and exist.
    pub(super) changed: Written<'a>,
    /// Writes of records that were absent, or that no unit read.
    pub(super) put: Written<'a>,
    /// Removals of records that were absent, or that no unit read.
    pub(super) removed: Keyed<'a>,
    first_event: Keyed<'a>,
    event: Keyed<'a>,
    a_at: Vec<i64>,
    a_body: Vec<Bytea<'a>>,
    v_group: Vec<i32>,
    v_view: Vec<&'static str>,
    v_key: Vec<&'a str>,
    v_columns: Vec<String>,
    v_body: Vec<Option<Bytea<'a>>>,
    o_group: Vec<i32>,
    o_id: Vec<Uuid>,
    o_kind: Vec<&'a str>,
    o_body: Vec<Vec<u8>>,
    j_group: Vec<i32>,
    j_story: Vec<Uuid>,
    j_body: Vec<Bytea<'a>>,
    j_at: Vec<Option<i64>>,
    c_group: Vec<i32>,
    c_name: Vec<&'static str>,
    c_add: Vec<i64>,
}

/// The value of a `bytea` parameter.
type Bytea<'a> = &'a [u8];

impl<'a> Arrays<'a> {
    /// Adds the inbox rows of units, sorted by id and scope: inserting a row waits for other
    /// transactions that insert the same row, and all must wait in the same order.
    pub(super) fn inbox(&mut self, units: impl Iterator<Item = (&'a Unit, i32)>) {
        let mut all: Vec<_> = units
            .flat_map(|(unit, group)| {
                let keys = inbox::keys(unit).into_iter();
                keys.map(move |key| (key, unit, group))
            })
            .collect();
        all.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        for ((id, scope), unit, group) in all {
            self.u_group.push(group);
            self.u_id.push(id);
            self.u_unit.push((scope != UNIT_SCOPE).then_some(unit.id.0));
            self.u_at.push(inbox::time(id, unit.at));
            self.u_scope.push(scope);
        }
    }

    /// Adds what a unit writes that other units of the batch cannot build on.
    pub(super) fn unit(&mut self, unit: &'a Unit, group: i32) {
        for append in &unit.appends {
            self.event.push(group, &append.key, Some(append.sequence));
            self.a_at.push(append.at.as_micros());
            self.a_body.push(&append.body);
        }
        for message in &unit.messages {
            self.o_group.push(group);
            self.o_id.push(message.id.0);
            self.o_kind.push(&message.kind);
            self.o_body.push(message.encode());
        }
        if let Some(journal) = &unit.journal {
            self.j_group.push(group);
            self.j_story.push(journal.correlation.0);
            self.j_body.push(&journal.body);
            self.j_at.push(inbox::time(journal.correlation.0, unit.at));
        }
        for (name, add) in &unit.counts {
            self.c_group.push(group);
            self.c_name.push(name.as_str());
            self.c_add.push(*add);
        }
    }

    /// Adds a version that a group relies on.
    pub(super) fn read(&mut self, group: i32, key: &'a Key, version: u64) {
        if version == 0 {
            self.lanes.add(key);
        }
        self.read.push(group, key, Some(version));
    }

    /// Adds the last event of a history that a group continues.
    pub(super) fn history(&mut self, group: i32, key: &'a Key, last: u64) {
        self.lanes.add(key);
        self.first_event.push(group, key, Some(last));
    }

    /// Adds the last of `steps` writes of a record by a group. `version` is what the group read
    /// before the first write.
    pub(super) fn write(
        &mut self,
        group: i32,
        write: &'a Write,
        version: Option<u64>,
        steps: u64,
        tombstone: Timestamp,
    ) {
        let found = version.filter(|version| *version > 0);
        match (&write.body, found) {
            (_, Some(_)) => self.changed.push(group, write, version, steps),
            (Some(_), None) => {
                self.lanes.add(&write.key);
                self.put.push(group, write, version, steps);
            }
            (None, None) => {
                if version.is_some() {
                    self.read(group, &write.key, 0);
                }
                self.lanes.add(&write.key);
                self.removed.push(group, &write.key, Some(steps));
            }
        }
        if write.body.is_none() && found.is_some() {
            self.changed.remove_last(tombstone);
        }
    }

    /// Adds a write of a view's row.
    pub(super) fn row(&mut self, group: i32, write: &'a RowWrite) {
        let columns: Vec<(&str, &str)> = write
            .row
            .iter()
            .flat_map(|row| &row.columns)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.lanes.add_row(write.view.as_str(), &write.key);
        self.v_group.push(group);
        self.v_view.push(write.view.as_str());
        self.v_key.push(&write.key);
        self.v_columns
            .push(serde_json::to_string(&columns).expect("strings always encode"));
        self.v_body
            .push(body(write.row.as_ref().map(|row| &row.body)));
    }

    /// Takes the lanes, in order.
    pub(super) fn take_lanes(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.lanes).sorted()
    }

    /// Returns all arrays in order.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.u_group, &self.u_id, &self.u_scope];
        all.extend([&self.u_unit as &(dyn ToSql + Sync), &self.u_at]);
        all.extend(self.read.parameters());
        all.extend(self.changed.parameters());
        all.extend(self.put.parameters());
        all.extend(self.removed.parameters());
        all.extend(self.first_event.parameters());
        all.extend(self.event.parameters());
        all.extend([&self.a_at as &(dyn ToSql + Sync), &self.a_body]);
        all.extend([
            &self.v_group as &(dyn ToSql + Sync),
            &self.v_view,
            &self.v_key,
        ]);
        all.extend([&self.v_columns as &(dyn ToSql + Sync), &self.v_body]);
        all.extend([&self.o_group as &(dyn ToSql + Sync), &self.o_id]);
        all.extend([&self.o_kind as &(dyn ToSql + Sync), &self.o_body]);
        all.extend([
            &self.j_group as &(dyn ToSql + Sync),
            &self.j_story,
            &self.j_body,
            &self.j_at,
        ]);
        all.extend([
            &self.c_group as &(dyn ToSql + Sync),
            &self.c_name,
            &self.c_add,
        ]);
        all
    }
}

fn body(bytes: Option<&Bytes>) -> Option<Bytea<'_>> {
    bytes.map(|bytes| &bytes[..])
}
