//! Queries on the rows of views.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};
use wingbeat_core::Name;
use wingbeat_core::store::{Page, Position, Query, Select};
use wingbeat_core::unit::Row;

use crate::columns;
use crate::names::{Names, Space};

/// Reads the rows of one view.
pub(crate) struct View<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) names: &'a Names,
    pub(crate) view: u32,
}

impl View<'_> {
    /// Reads a row by its key.
    pub(crate) fn row(&self, key: &str) -> rusqlite::Result<Option<Row>> {
        self.connection
            .prepare_cached(
                "SELECT columns, body, packed FROM view_row WHERE view = ?1 AND key = ?2",
            )?
            .query_row(params![self.view, key], |row| self.read(row, 0))
            .optional()
    }

    fn read(&self, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Row> {
        let (columns, body) = stored(self.names, row, at)?;
        let named = |(number, value)| Some((self.names.name(number)?, value));
        Ok(Row {
            columns: columns.into_iter().filter_map(named).collect(),
            body,
        })
    }

    /// Reads one page of a query.
    pub(crate) fn rows(&self, query: &Query) -> rusqlite::Result<Page> {
        let mut found = match &query.select {
            Select::All => self.by_key(query, |_| true)?,
            Select::Contains { column, part } => {
                let matches = |(name, value): &(Name, String)| {
                    name == column && value.contains(part.as_str())
                };
                self.by_key(query, |row| row.columns.iter().any(matches))?
            }
            Select::Prefix {
                column,
                prefix,
                descending,
            } => {
                let range = (prefix.as_bytes(), after_prefix(prefix.as_bytes()));
                self.by_value(query, *column, range, *descending)?
            }
            Select::Range {
                column,
                from,
                until,
                descending,
            } => {
                let range = (from.as_bytes(), until.clone().map(String::into_bytes));
                self.by_value(query, *column, range, *descending)?
            }
        };
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|(at, _)| at.clone());
        let rows = found.into_iter().map(|(at, row)| (at.key, row)).collect();
        Ok(Page { rows, next })
    }

    /// Reads the rows that `keep` selects, by key. Returns one row more than the limit if there are
    /// more rows.
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
            "SELECT key, columns, body, packed FROM view_row
             WHERE view = ?1 AND (key > ?2 OR ?3) ORDER BY key",
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

    /// Reads the rows whose value is in a half-open range, by value. Returns one row more than the
    /// limit if there are more rows.
    fn by_value(
        &self,
        query: &Query,
        column: Name,
        (low, high): (&[u8], Option<Vec<u8>>),
        descending: bool,
    ) -> rusqlite::Result<Vec<(Position, Row)>> {
        let Some(column) = self.names.find(Space::Column, self.view, column.as_str()) else {
            return Ok(Vec::new());
        };
        let sql = match (descending, query.after.is_some()) {
            (false, _) => {
                "SELECT i.value, i.key, r.columns, r.body, r.packed FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (i.value, i.key) > (?5, ?6)
                 ORDER BY i.value, i.key LIMIT ?7"
            }
            (true, true) => {
                "SELECT i.value, i.key, r.columns, r.body, r.packed FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (i.value, i.key) < (?5, ?6)
                 ORDER BY i.value DESC, i.key DESC LIMIT ?7"
            }
            (true, false) => {
                "SELECT i.value, i.key, r.columns, r.body, r.packed FROM view_index i
                 JOIN view_row r ON r.view = ?1 AND r.key = i.key
                 WHERE i.col = ?2 AND i.value >= ?3 AND (?4 IS NULL OR i.value < ?4)
                   AND (?5 IS NULL OR ?6 IS NULL OR 1)
                 ORDER BY i.value DESC, i.key DESC LIMIT ?7"
            }
        };
        // Sorts before every row: no row has an empty key.
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

/// Reads the columns and the body of a row from the columns columns, body, packed. Of a compressed
/// row, the columns precede the body.
pub(crate) fn stored(
    names: &Names,
    row: &SqlRow<'_>,
    at: usize,
) -> rusqlite::Result<(Vec<(u32, String)>, Bytes)> {
    let (body, is_packed) = names.dictionaries.bytes(row, at + 1)?;
    if !is_packed {
        let columns: Vec<u8> = row.get(at)?;
        return Ok((columns::decode(&columns), body.into()));
    }
    let (columns, length) = columns::decode_first(&body);
    Ok((columns, Bytes::from(body).slice(length..)))
}

/// Returns the first bytes that sort after everything that begins with `prefix`; `None` if nothing
/// does.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut bytes = prefix[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_bound_after_a_prefix_increments_its_last_byte() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!((after_prefix(b"\xff"), after_prefix(b"")), (None, None));
    }
}
