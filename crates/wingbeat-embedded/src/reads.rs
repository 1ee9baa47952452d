//! Queries on the file.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};
use uuid::Uuid;
use wingbeat_core::store::{COUNTED_MAX, DueBacklog, Recorded, Waiting};
use wingbeat_core::transport::{Broken, Delivery, Fault, Tag, Undecodable};
use wingbeat_core::{CorrelationId, Envelope, Name, Record, Timestamp};

use crate::id::{RecordId, RecordKey};
use crate::names::Names;
use crate::queue::{Message, before_first, queue_of};

/// Reads a column of bytes.
pub(crate) fn bytes(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(at).map(Bytes::from)
}

/// Reads a record from the columns version, body, packed, due_at.
fn record(names: &Names, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Record> {
    Ok(Record {
        version: row.get::<_, i64>(at)? as u64,
        body: names.dictionaries.body(row, at + 1)?,
        due_at: row
            .get::<_, Option<i64>>(at + 3)?
            .map(Timestamp::from_micros),
    })
}

/// Reads a record.
pub(crate) fn load(
    connection: &Connection,
    names: &Names,
    key: &RecordKey,
) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(
            "SELECT version, body, packed, due_at FROM record WHERE tbl = ?1 AND id = ?2",
        )?
        .query_row(params![key.table, key.id], |row| record(names, row, 0))
        .optional()
}

/// Reads the records of a table in the order of their ids.
pub(crate) fn scan(
    connection: &Connection,
    names: &Names,
    table: u32,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<(String, Record)>> {
    let read = |row: &SqlRow<'_>| {
        let id: RecordId = row.get(0)?;
        Ok((id.to_string(), record(names, row, 1)?))
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match after.map(RecordId::parse) {
        Some(after) => connection
            .prepare_cached(
                "SELECT id, version, body, packed, due_at FROM record
                 WHERE tbl = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![table, after, limit], read)?
            .collect(),
        None => connection
            .prepare_cached(
                "SELECT id, version, body, packed, due_at FROM record
                 WHERE tbl = ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![table, limit], read)?
            .collect(),
    }
}

/// Reads at most `limit` events of the history of an aggregate, from after an event.
pub(crate) fn history(
    connection: &Connection,
    names: &Names,
    key: &RecordKey,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Recorded>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT seq, at, body, packed FROM history
             WHERE tbl = ?1 AND id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
        )?
        .query_map(params![key.table, key.id, after as i64, limit], |row| {
            Ok(Recorded {
                sequence: row.get::<_, i64>(0)? as u64,
                at: Timestamp::from_micros(row.get(1)?),
                body: names.dictionaries.body(row, 2)?,
            })
        })?
        .collect()
}

/// Reads the journal entries of a story in order.
pub(crate) fn journal(
    connection: &Connection,
    names: &Names,
    service: u32,
    story: CorrelationId,
) -> rusqlite::Result<Vec<Bytes>> {
    connection
        .prepare_cached(
            "SELECT body, packed FROM journal WHERE corr = ?1 AND svc = ?2 ORDER BY place",
        )?
        .query_map(params![story.0.as_bytes(), service], |row| {
            names.dictionaries.body(row, 0)
        })?
        .collect()
}

/// Reads the counters of a service.
pub(crate) fn counters(
    connection: &Connection,
    names: &Names,
    service: u32,
) -> rusqlite::Result<Vec<(Name, i64)>> {
    let mut statement =
        connection.prepare_cached("SELECT name, value FROM counters WHERE svc = ?1")?;
    let rows = statement.query_map([service], |row| {
        Ok((names.name(row.get(0)?), row.get::<_, i64>(1)?))
    })?;
    let named = rows.filter_map(|row| row.map(|(name, value)| Some((name?, value))).transpose());
    named.collect()
}

/// Returns whether the inbox contains a delivery.
pub(crate) fn is_settled(
    connection: &Connection,
    scope: u32,
    message: &[u8],
) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM inbox WHERE id = ?1 AND scope = ?2")?
        .query_row(params![message, scope], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// A due record without its body.
pub(crate) struct Due {
    pub(crate) key: RecordKey,
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
}

/// Reads the due records of a table up to `until`, soonest first.
pub(crate) fn due(
    connection: &Connection,
    table: u32,
    until: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Due>> {
    connection
        .prepare_cached(
            "SELECT id, version, due_at FROM record INDEXED BY record_due
             WHERE tbl = ?1 AND due_at IS NOT NULL AND due_at <= ?2 ORDER BY due_at LIMIT ?3",
        )?
        .query_map(
            params![
                table,
                until.as_micros(),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| {
                Ok(Due {
                    key: RecordKey {
                        table,
                        id: row.get(0)?,
                    },
                    version: row.get::<_, i64>(1)? as u64,
                    at: Timestamp::from_micros(row.get(2)?),
                })
            },
        )?
        .collect()
}

/// Counts the records with a due time in these tables, up to [`COUNTED_MAX`] per table.
pub(crate) fn backlog(
    connection: &Connection,
    names: &Names,
    tables: &[u32],
    now: Timestamp,
) -> rusqlite::Result<Vec<DueBacklog>> {
    let mut count = connection.prepare_cached(
        "SELECT count(*), count(CASE WHEN due_at <= ?2 THEN 1 END), min(due_at) FROM (
             SELECT due_at FROM record INDEXED BY record_due
             WHERE tbl = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT ?3)",
    )?;
    let most = i64::try_from(COUNTED_MAX).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for table in tables {
        let Some(name) = names.name(*table) else {
            continue;
        };
        let counted = count.query_row(params![table, now.as_micros(), most], |row| {
            let soonest: Option<i64> = row.get(2)?;
            let age = soonest.map(|at| now.since(Timestamp::from_micros(at)));
            Ok(DueBacklog {
                table: name,
                pending: row.get::<_, i64>(0)? as u64,
                overdue: Waiting {
                    count: row.get::<_, i64>(1)? as u64,
                    age: age.unwrap_or_default(),
                },
            })
        })?;
        found.extend((counted.pending > 0).then_some(counted));
    }
    Ok(found)
}

/// Reads rows of one queue from after a row, at most `limit`.
pub(crate) fn queue_page(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Message>> {
    let end = before_first(queue_of(after) + 1);
    let mut statement = connection.prepare_cached(
        "SELECT id, body FROM queue WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after as i64, end as i64, limit as i64], |row| {
        Ok(message(row.get::<_, i64>(0)? as u64, bytes(row, 1)?))
    })?;
    rows.collect()
}

/// Decodes a message. Bytes that are not a message are delivered as undecodable.
fn message(row: u64, raw: Bytes) -> Message {
    let bytes = raw.len();
    let undecodable = || Undecodable {
        id: Uuid::from_u128(u128::from(row)).into(),
        kind: String::new(),
        broken: Broken {
            fault: Fault::Undecodable,
            why: "the stored bytes are not a message".into(),
            headers: std::collections::BTreeMap::default(),
        },
        raw: raw.clone(),
    };
    let envelope = Envelope::decode(&raw).ok_or_else(undecodable);
    let delivery = Delivery {
        tag: Tag(row),
        // It may have been delivered before the process was restarted.
        redelivered: true,
        envelope,
        dead_lettered: None,
    };
    Message {
        row,
        delivery,
        bytes,
    }
}
