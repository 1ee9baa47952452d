//! The parameters of the call that commits.

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::RowWrite;
use wingbeat_core::{HashSet, Key, Timestamp, Unit};

use crate::segment::{Touched, remembered, undated};

/// Keys with a number: versions, or last events.
#[derive(Default)]
pub(crate) struct Keyed<'a> {
    pub(crate) group: Vec<i32>,
    pub(crate) tbl: Vec<&'static str>,
    pub(crate) id: Vec<&'a str>,
    pub(crate) number: Vec<i64>,
}

impl<'a> Keyed<'a> {
    pub(crate) fn push(&mut self, group: i32, key: &'a Key, number: u64) {
        self.group.push(group);
        self.tbl.push(key.table.as_str());
        self.id.push(&key.id);
        self.number.push(signed(number));
    }
}

impl Keyed<'_> {
    /// The four arrays, in order.
    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.group, &self.tbl, &self.id, &self.number]
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The parameters of `commit_v1`, in its order; one letter there is one block here.
#[derive(Default)]
pub(crate) struct Arrays<'a> {
    pub(crate) u_group: Vec<i32>,
    pub(crate) u_id: Vec<Uuid>,
    pub(crate) u_scope: Vec<String>,
    pub(crate) u_unit: Vec<Option<Uuid>>,
    pub(crate) u_at: Vec<Option<i64>>,
    pub(crate) p_group: Vec<i32>,
    pub(crate) p_id: Vec<Uuid>,
    pub(crate) p_scope: Vec<String>,
    pub(crate) touched: HashSet<&'a Key>,
    pub(crate) read: Keyed<'a>,
    pub(crate) written: Keyed<'a>,
    pub(crate) w_body: Vec<Option<Bytea<'a>>>,
    pub(crate) w_due: Vec<Option<i64>>,
    pub(crate) w_expires: Vec<Option<i64>>,
    pub(crate) first_event: Keyed<'a>,
    pub(crate) event: Keyed<'a>,
    pub(crate) a_at: Vec<i64>,
    pub(crate) a_body: Vec<Bytea<'a>>,
    pub(crate) v_group: Vec<i32>,
    pub(crate) v_view: Vec<&'static str>,
    pub(crate) v_key: Vec<&'a str>,
    pub(crate) v_columns: Vec<String>,
    pub(crate) v_body: Vec<Option<Bytea<'a>>>,
    pub(crate) o_group: Vec<i32>,
    pub(crate) o_id: Vec<Uuid>,
    pub(crate) o_kind: Vec<&'a str>,
    pub(crate) o_body: Vec<Vec<u8>>,
    pub(crate) j_group: Vec<i32>,
    pub(crate) j_story: Vec<Uuid>,
    pub(crate) j_body: Vec<Bytea<'a>>,
    pub(crate) c_group: Vec<i32>,
    pub(crate) c_name: Vec<&'static str>,
    pub(crate) c_add: Vec<i64>,
}

/// Bytes on their way to a `bytea`.
pub(crate) type Bytea<'a> = &'a [u8];

impl<'a> Arrays<'a> {
    pub(crate) fn touch(&mut self, key: &'a Key) {
        self.touched.insert(key);
    }

    /// Tables and ids of all keys touched, sorted: the order in which they are locked.
    pub(crate) fn keys(&self) -> [Vec<&'a str>; 2] {
        let mut keys: Vec<(&str, &str)> = self
            .touched
            .iter()
            .map(|key| (key.table.as_str(), key.id.as_str()))
            .collect();
        keys.sort_unstable();
        let (tables, ids) = keys.into_iter().unzip();
        [tables, ids]
    }

    pub(crate) fn unit(&mut self, unit: &'a Unit, group: i32) {
        let (id, scope) = remembered(unit);
        let unit_id = (!scope.is_empty()).then_some(unit.id.0);
        self.u_group.push(group);
        self.u_id.push(id);
        self.u_scope.push(scope);
        self.u_unit.push(unit_id);
        self.u_at.push(undated(id, unit.at));
        if let Some(parked) = unit.settles.as_ref().filter(|settled| !settled.done) {
            self.p_group.push(group);
            self.p_id.push(parked.message.0);
            self.p_scope.push(crate::segment::scope(parked));
        }
        for append in &unit.appends {
            self.event.push(group, &append.key, append.sequence);
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

    pub(crate) fn write(&mut self, group: i32, key: &'a Key, touched: &Touched<'a>) {
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        self.written.push(group, key, touched.steps);
        self.w_body.push(body(touched.last.body.as_ref()));
        self.w_due.push(micros(touched.last.due_at));
        self.w_expires.push(micros(touched.last.expires_at));
    }

    pub(crate) fn row(&mut self, group: i32, write: &'a RowWrite) {
        let columns: Vec<(&str, &str)> = write
            .row
            .iter()
            .flat_map(|row| &row.columns)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.v_group.push(group);
        self.v_view.push(write.view.as_str());
        self.v_key.push(&write.key);
        self.v_columns
            .push(serde_json::to_string(&columns).expect("strings always encode"));
        self.v_body
            .push(body(write.row.as_ref().map(|row| &row.body)));
    }
}

fn body(bytes: Option<&Bytes>) -> Option<Bytea<'_>> {
    bytes.map(|bytes| &bytes[..])
}
