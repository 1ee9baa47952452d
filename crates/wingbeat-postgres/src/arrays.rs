//! The parameters of the call that commits.

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::{RowWrite, Write};
use wingbeat_core::{Key, Timestamp, Unit};

use crate::lanes::Lanes;
use crate::segment::{remembered, undated};

/// Keys with a number: versions, steps, or events.
#[derive(Default)]
pub(crate) struct Keyed<'a> {
    pub(crate) group: Vec<i32>,
    pub(crate) tbl: Vec<&'static str>,
    pub(crate) id: Vec<&'a str>,
    /// NULL for a version that nobody read.
    pub(crate) number: Vec<Option<i64>>,
}

impl<'a> Keyed<'a> {
    pub(crate) fn push(&mut self, group: i32, key: &'a Key, number: Option<u64>) {
        self.group.push(group);
        self.tbl.push(key.table.as_str());
        self.id.push(&key.id);
        self.number.push(number.map(signed));
    }

    /// The four arrays, in order.
    fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.group, &self.tbl, &self.id, &self.number]
    }
}

/// Records that are written, with the version that was read of each.
#[derive(Default)]
pub(crate) struct Written<'a> {
    pub(crate) keys: Keyed<'a>,
    pub(crate) steps: Vec<i64>,
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

    /// What was pushed last removes the record. Its row stays so long.
    fn last_is_gone(&mut self, tombstone: Timestamp) {
        if let (Some(due), Some(expires)) = (self.due.last_mut(), self.expires.last_mut()) {
            (*due, *expires) = (None, Some(tombstone.as_micros()));
        }
    }

    /// The eight arrays, in order.
    fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        let rest: [&(dyn ToSql + Sync); 4] = [&self.steps, &self.body, &self.due, &self.expires];
        self.keys.parameters().into_iter().chain(rest)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The parameters of `commit_v2`, in its order; one letter there is one block here.
#[derive(Default)]
pub(crate) struct Arrays<'a> {
    lanes: Lanes,
    pub(crate) u_group: Vec<i32>,
    pub(crate) u_id: Vec<Uuid>,
    u_scope: Vec<String>,
    u_unit: Vec<Option<Uuid>>,
    u_at: Vec<Option<i64>>,
    p_group: Vec<i32>,
    p_id: Vec<Uuid>,
    p_scope: Vec<String>,
    /// Only read.
    pub(crate) read: Keyed<'a>,
    /// Written where they are.
    pub(crate) changed: Written<'a>,
    /// Written where they are not, or nobody looked.
    pub(crate) put: Written<'a>,
    /// Removed where nobody looked, or as if they had never been.
    pub(crate) removed: Keyed<'a>,
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
    c_group: Vec<i32>,
    c_name: Vec<&'static str>,
    c_add: Vec<i64>,
}

/// Bytes on their way to a `bytea`.
type Bytea<'a> = &'a [u8];

impl<'a> Arrays<'a> {
    /// What the unit leaves in the inbox. In the order of ids and scopes, since each waits for others that leave the same.
    pub(crate) fn settled(&mut self, units: impl Iterator<Item = (&'a Unit, i32)>) {
        let mut all: Vec<_> = units
            .map(|(unit, group)| (remembered(unit), unit, group))
            .collect();
        all.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        for ((id, scope), unit, group) in all {
            self.u_group.push(group);
            self.u_id.push(id);
            self.u_unit.push((!scope.is_empty()).then_some(unit.id.0));
            self.u_at.push(undated(id, unit.at));
            self.u_scope.push(scope);
        }
    }

    /// What the unit leaves that does not depend on others.
    pub(crate) fn unit(&mut self, unit: &'a Unit, group: i32) {
        if let Some(parked) = unit.settles.as_ref().filter(|settled| !settled.done) {
            self.p_group.push(group);
            self.p_id.push(parked.message.0);
            self.p_scope.push(crate::segment::scope(parked));
        }
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
        }
        for (name, add) in &unit.counts {
            self.c_group.push(group);
            self.c_name.push(name.as_str());
            self.c_add.push(*add);
        }
    }

    /// A version that the group relies on.
    pub(crate) fn read(&mut self, group: i32, key: &'a Key, version: u64) {
        if version == 0 {
            self.lanes.guard(key);
        }
        self.read.push(group, key, Some(version));
    }

    /// The last event that the group goes on from.
    pub(crate) fn history(&mut self, group: i32, key: &'a Key, last: u64) {
        self.lanes.guard(key);
        self.first_event.push(group, key, Some(last));
    }

    /// The last of `steps` writes of the group; `version` is what it read before the first.
    pub(crate) fn write(
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
                self.lanes.guard(&write.key);
                self.put.push(group, write, version, steps);
            }
            (None, None) => {
                if version.is_some() {
                    self.read(group, &write.key, 0);
                }
                self.lanes.guard(&write.key);
                self.removed.push(group, &write.key, Some(steps));
            }
        }
        if write.body.is_none() && found.is_some() {
            self.changed.last_is_gone(tombstone);
        }
    }

    pub(crate) fn row(&mut self, group: i32, write: &'a RowWrite) {
        let columns: Vec<(&str, &str)> = write
            .row
            .iter()
            .flat_map(|row| &row.columns)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.lanes.guard_row(write.view.as_str(), &write.key);
        self.v_group.push(group);
        self.v_view.push(write.view.as_str());
        self.v_key.push(&write.key);
        self.v_columns
            .push(serde_json::to_string(&columns).expect("strings always encode"));
        self.v_body
            .push(body(write.row.as_ref().map(|row| &row.body)));
    }

    /// The lanes, which are taken from it.
    pub(crate) fn lanes(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.lanes).sorted()
    }

    /// All arrays, in order.
    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.u_group, &self.u_id, &self.u_scope];
        all.extend([&self.u_unit as &(dyn ToSql + Sync), &self.u_at]);
        all.extend([
            &self.p_group as &(dyn ToSql + Sync),
            &self.p_id,
            &self.p_scope,
        ]);
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
