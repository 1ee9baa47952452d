//! What is read from the file.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};
use wingbeat_core::store::{
    COUNTED_MAX, DueBacklog, Page, Position, Query, Recorded, Select, Waiting,
};
use wingbeat_core::unit::Row;
use wingbeat_core::{CorrelationId, Name, Record, Timestamp};

use crate::id::{RecordId, RecordKey};
use crate::names::{Names, Space};
use crate::writer::decode_columns;

fn bytes(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(at).map(Bytes::from)
}

fn record(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Record> {
    Ok(Record {
        version: row.get::<_, i64>(at)? as u64,
        body: bytes(row, at + 1)?,
        due_at: row
            .get::<_, Option<i64>>(at + 2)?
            .map(Timestamp::from_micros),
    })
}

pub(crate) fn load(connection: &Connection, key: &RecordKey) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached("SELECT version, body, due_at FROM record WHERE tbl = ?1 AND id = ?2")?
        .query_row(params![key.table, key.id], |row| record(row, 0))
        .optional()
}

pub(crate) fn scan(
    connection: &Connection,
    table: u32,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<(String, Record)>> {
    let read = |row: &SqlRow<'_>| {
        let id: RecordId = row.get(0)?;
        Ok((id.to_string(), record(row, 1)?))
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match after.map(RecordId::parse) {
        Some(after) => connection
            .prepare_cached(
                "SELECT id, version, body, due_at FROM record WHERE tbl = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![table, after, limit], read)?
            .collect(),
        None => connection
            .prepare_cached(
                "SELECT id, version, body, due_at FROM record WHERE tbl = ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![table, limit], read)?
            .collect(),
    }
}

pub(crate) fn history(
    connection: &Connection,
    key: &RecordKey,
    after: u64,
) -> rusqlite::Result<Vec<Recorded>> {
    connection
        .prepare_cached(
            "SELECT seq, at, body FROM history WHERE tbl = ?1 AND id = ?2 AND seq > ?3 ORDER BY seq",
        )?
        .query_map(params![key.table, key.id, after as i64], |row| {
            Ok(Recorded {
                sequence: row.get::<_, i64>(0)? as u64,
                at: Timestamp::from_micros(row.get(1)?),
                body: bytes(row, 2)?,
            })
        })?
        .collect()
}

/// Reads rows of one view.
pub(crate) struct View<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) names: &'a Names,
    pub(crate) view: u32,
}

impl View<'_> {
    pub(crate) fn row(&self, key: &str) -> rusqlite::Result<Option<Row>> {
        self.connection
            .prepare_cached("SELECT columns, body FROM view_row WHERE view = ?1 AND key = ?2")?
            .query_row(params![self.view, key], |row| self.read(row, 0))
            .optional()
    }

    fn read(&self, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Row> {
        let columns: Vec<u8> = row.get(at)?;
        let named = |(number, value)| Some((self.names.name(number)?, value));
        Ok(Row {
            columns: decode_columns(&columns)
                .into_iter()
                .filter_map(named)
                .collect(),
            body: bytes(row, at + 1)?,
        })
    }

    pub(crate) fn rows(&self, query: &Query) -> rusqlite::Result<Page> {
        let mut found = match &query.select {
            Select::All => self.by_key(query, |_| true)?,
            Select::Contains { column, part } => {
                let holds = |(name, value): &(Name, String)| {
                    name == column && value.contains(part.as_str())
                };
                self.by_key(query, |row| row.columns.iter().any(holds))?
            }
            Select::Prefix {
                column,
                prefix,
                descending,
            } => self.by_prefix(query, *column, prefix, *descending)?,
        };
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|(at, _)| at.clone());
        let rows = found.into_iter().map(|(at, row)| (at.key, row)).collect();
        Ok(Page { rows, next })
    }

    /// Rows by key that `keep` wants: one more than the limit, if there are.
    fn by_key(
        &self,
        query: &Query,
        keep: impl Fn(&Row) -> bool,
    ) -> rusqlite::Result<Vec<(Position, Row)>> {
        let (after, any) = match &query.after {
            Some(after) => (after.key.as_str(), false),
            None => ("", true),
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT key, columns, body FROM view_row WHERE view = ?1 AND (key > ?2 OR ?3) ORDER BY key",
        )?;
        let mut rows = statement.query(params![self.view, after, any])?;
        let mut found = Vec::new();
        while found.len() <= query.limit
            && let Some(row) = rows.next()?
        {
            let read = self.read(row, 1)?;
            if keep(&read) {
                let (value, key) = (String::new(), row.get(0)?);
                found.push((Position { value, key }, read));
            }
        }
        Ok(found)
    }

    fn by_prefix(
        &self,
        query: &Query,
        column: Name,
        prefix: &str,
        descending: bool,
    ) -> rusqlite::Result<Vec<(Position, Row)>> {
        let Some(column) = self.names.find(Space::Column, self.view, column.as_str()) else {
            return Ok(Vec::new());
        };
        let beyond = after_prefix(prefix.as_bytes());
        let (low, high) = (prefix.as_bytes().to_vec(), beyond);
        let sql = match (descending, query.after.is_some()) {
            (false, _) => {
                "SELECT i.value, i.key, r.columns, r.body FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (i.value, i.key) > (?5, ?6)
                 ORDER BY i.value, i.key LIMIT ?7"
            }
            (true, true) => {
                "SELECT i.value, i.key, r.columns, r.body FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (i.value, i.key) < (?5, ?6)
                 ORDER BY i.value DESC, i.key DESC LIMIT ?7"
            }
            (true, false) => {
                "SELECT i.value, i.key, r.columns, r.body FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (?5 IS NULL OR ?6 IS NULL OR 1)
                 ORDER BY i.value DESC, i.key DESC LIMIT ?7"
            }
        };
        // Before everything: the smallest value there is, which no row has together with an empty key.
        let start = Position {
            value: String::new(),
            key: String::new(),
        };
        let after = query.after.as_ref().unwrap_or(&start);
        let limit = i64::try_from(query.limit.saturating_add(1)).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(sql)?
            .query_map(
                params![
                    self.view,
                    column,
                    low,
                    high,
                    after.value.as_bytes(),
                    after.key,
                    limit
                ],
                |row| {
                    let value: Vec<u8> = row.get(0)?;
                    let value = String::from_utf8_lossy(&value).into_owned();
                    let key = row.get(1)?;
                    Ok((Position { value, key }, self.read(row, 2)?))
                },
            )?
            .collect()
    }
}

/// The first bytes that sort after all that start with `prefix`; `None` if there are none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut bytes = prefix[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

pub(crate) fn journal(
    connection: &Connection,
    service: u32,
    story: CorrelationId,
) -> rusqlite::Result<Vec<Bytes>> {
    connection
        .prepare_cached("SELECT body FROM journal WHERE corr = ?1 AND svc = ?2 ORDER BY place")?
        .query_map(params![story.0.as_bytes(), service], |row| bytes(row, 0))?
        .collect()
}

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

pub(crate) fn settled(
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

/// Due records of a table up to `until`, soonest first.
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

/// What has a due time in these tables, as far as it is counted.
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

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn a_prefix_ends_where_its_last_byte_grows() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!((after_prefix(b"\xff"), after_prefix(b"")), (None, None));
    }
}
