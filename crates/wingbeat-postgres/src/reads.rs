//! Queries on one schema.

use bytes::Bytes;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::store::{Page, Position, Query, Recorded, Select};
use wingbeat_core::unit::Row;
use wingbeat_core::{CorrelationId, HashSet, Key, MessageId, Name, Record, Result, Timestamp};

use crate::inbox;
use crate::pool::Pool;

/// The largest character. A prefix followed by it sorts after every text with that prefix.
const LAST: char = char::MAX;

/// Runs queries on one schema.
pub(crate) struct Reads<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) schema: &'a str,
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn bytes(row: &SqlRow, at: usize) -> Bytes {
    Bytes::copy_from_slice(row.get::<_, &[u8]>(at))
}

/// Reads a record from the columns version, body, due_at.
pub(crate) fn record(row: &SqlRow, at: usize) -> Record {
    Record {
        version: row.get::<_, i64>(at).unsigned_abs(),
        body: bytes(row, at + 1),
        due_at: row
            .get::<_, Option<i64>>(at + 2)
            .map(Timestamp::from_micros),
    }
}

fn view_row(row: &SqlRow, at: usize) -> Row {
    let columns: Vec<(Name, String)> = serde_json::from_str(row.get(at)).unwrap_or_default();
    Row {
        columns,
        body: bytes(row, at + 1),
    }
}

impl Reads<'_> {
    /// Runs statements in one transaction. Replaces `{schema}` in them.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        let sql = sql.replace("{schema}", self.schema);
        let run =
            async |connection: &deadpool_postgres::Object| connection.batch_execute(&sql).await;
        self.pool.run(run).await
    }

    /// Runs a query and returns its rows. Replaces `{schema}` in it.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<SqlRow>> {
        let sql = sql.replace("{schema}", self.schema);
        let ask = async |connection: &deadpool_postgres::Object| {
            let statement = connection.prepare_cached(&sql).await?;
            connection.query(&statement, parameters).await
        };
        self.pool.run(ask).await
    }

    /// Reads a record.
    pub(crate) async fn load(&self, key: &Key) -> Result<Option<Record>> {
        let sql = "SELECT version, body, due_at FROM {schema}.record
            WHERE tbl = $1 AND id = $2 AND body IS NOT NULL";
        let rows = self.query(sql, &[&key.table.as_str(), &key.id]).await?;
        Ok(rows.first().map(|row| record(row, 0)))
    }

    /// Reads records, in the order of their keys.
    pub(crate) async fn load_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        let sql = "SELECT k.place, c.version, c.body, c.due_at
            FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(tbl, id, place)
            JOIN {schema}.record c ON c.tbl = k.tbl AND c.id = k.id WHERE c.body IS NOT NULL";
        let tables: Vec<&str> = keys.iter().map(|key| key.table.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let rows = self.query(sql, &[&tables, &ids]).await?;
        let mut records = vec![None; keys.len()];
        for row in &rows {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            if let Some(slot) = records.get_mut(place) {
                *slot = Some(record(row, 1));
            }
        }
        Ok(records)
    }

    /// Reads the records of a table in the order of their ids.
    pub(crate) async fn scan(
        &self,
        table: Name,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, Record)>> {
        let sql = "SELECT id, version, body, due_at FROM {schema}.record
            WHERE tbl = $1 AND id > $2 AND body IS NOT NULL ORDER BY id LIMIT $3";
        let sql = match after {
            Some(_) => sql.to_owned(),
            None => sql.replace("id > $2", "id >= $2"),
        };
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&table.as_str(), &after.unwrap_or_default(), &limit(most)];
        let rows = self.query(&sql, &parameters).await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), record(row, 1)))
            .collect())
    }

    /// Reads the history of an aggregate from after an event.
    pub(crate) async fn history(
        &self,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>> {
        let sql = "SELECT seq, at, body FROM {schema}.history
            WHERE tbl = $1 AND id = $2 AND seq > $3 ORDER BY seq LIMIT $4";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .query(sql, &[&key.table.as_str(), &key.id, &after, &limit])
            .await?;
        let recorded = |row: &SqlRow| Recorded {
            sequence: row.get::<_, i64>(0).unsigned_abs(),
            at: Timestamp::from_micros(row.get(1)),
            body: bytes(row, 2),
        };
        Ok(rows.iter().map(recorded).collect())
    }

    /// Reads a row of a view by its key.
    pub(crate) async fn row(&self, view: Name, key: &str) -> Result<Option<Row>> {
        let sql = "SELECT columns::text, body FROM {schema}.view_row WHERE view = $1 AND key = $2";
        let rows = self.query(sql, &[&view.as_str(), &key]).await?;
        Ok(rows.first().map(|row| view_row(row, 0)))
    }

    /// Reads one page of a query on a view.
    pub(crate) async fn rows(&self, query: &Query) -> Result<Page> {
        let mut found = match &query.select {
            Select::All => self.by_key(query, "", "").await?,
            Select::Contains { column, part } => self.by_key(query, column.as_str(), part).await?,
            Select::Prefix {
                column,
                prefix,
                descending,
            } => {
                let last = format!("{prefix}{LAST}");
                self.by_value(query, *column, (prefix, "<=", &last), *descending)
                    .await?
            }
            Select::Range {
                column,
                from,
                until,
                descending,
            } => {
                // Every value is at least the empty one.
                let (compare, until) = until.as_deref().map_or((">=", ""), |until| ("<", until));
                self.by_value(query, *column, (from, compare, until), *descending)
                    .await?
            }
        };
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|(at, _)| at.clone());
        let rows = found.into_iter().map(|(at, row)| (at.key, row)).collect();
        Ok(Page { rows, next })
    }

    /// Reads the rows whose column contains `part` (all rows if `column` is empty), by key. Returns
    /// one row more than the limit if there are more rows.
    async fn by_key(
        &self,
        query: &Query,
        column: &str,
        part: &str,
    ) -> Result<Vec<(Position, Row)>> {
        let sql = "SELECT key, columns::text, body FROM {schema}.view_row
            WHERE view = $1 AND key >= $2 AND (key > $2 OR $3) AND ($4 = '' OR EXISTS (
                SELECT FROM jsonb_array_elements(columns) AS c(pair)
                WHERE c.pair ->> 0 = $4 AND strpos(c.pair ->> 1, $5) > 0))
            ORDER BY key LIMIT $6";
        let after = query.after.as_ref().map_or("", |after| after.key.as_str());
        let (any, most) = (query.after.is_none(), limit(query.limit.saturating_add(1)));
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&query.view.as_str(), &after, &any, &column, &part, &most];
        let rows = self.query(sql, &parameters).await?;
        let read = |row: &SqlRow| {
            let (value, key) = (String::new(), row.get(0));
            (Position { value, key }, view_row(row, 1))
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Reads the rows whose value is at least `low` and compares to `high` as `compare` says, by
    /// value. Returns one row more than the limit if there are more rows.
    async fn by_value(
        &self,
        query: &Query,
        column: Name,
        (low, compare, high): (&str, &str, &str),
        descending: bool,
    ) -> Result<Vec<(Position, Row)>> {
        let (beyond, order) = match (descending, query.after.is_some()) {
            (false, _) => ("(i.value, i.key) > ($5, $6)", ""),
            (true, true) => ("(i.value, i.key) < ($5, $6)", "DESC"),
            (true, false) => ("($5 = '' OR $6 = '')", "DESC"),
        };
        let sql = format!(
            "SELECT i.value, i.key, r.columns::text, r.body FROM {{schema}}.view_index i
             JOIN {{schema}}.view_row r ON r.view = i.view AND r.key = i.key
             WHERE i.view = $1 AND i.col = $2 AND i.value >= $3 AND i.value {compare} $4 AND {beyond}
             ORDER BY i.value {order}, i.key {order} LIMIT $7"
        );
        // Sorts before every row: no row has an empty key.
        let start = Position {
            value: String::new(),
            key: String::new(),
        };
        let after = query.after.as_ref().unwrap_or(&start);
        let most = limit(query.limit.saturating_add(1));
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &query.view.as_str(),
            &column.as_str(),
            &low,
            &high,
            &after.value,
            &after.key,
            &most,
        ];
        let rows = self.query(&sql, &parameters).await?;
        let read = |row: &SqlRow| {
            let (value, key) = (row.get(0), row.get(1));
            (Position { value, key }, view_row(row, 2))
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Reads the journal entries of a story in order.
    pub(crate) async fn journal(&self, story: CorrelationId) -> Result<Vec<Bytes>> {
        let sql =
            "SELECT coalesce(packed, body) FROM {schema}.journal WHERE story = $1 ORDER BY place";
        let rows = self.query(sql, &[&story.0]).await?;
        Ok(rows.iter().map(|row| bytes(row, 0)).collect())
    }

    /// Reads the counters.
    pub(crate) async fn counters(&self) -> Result<Vec<(Name, i64)>> {
        let sql =
            "SELECT name, sum(value)::bigint FROM {schema}.counter GROUP BY name ORDER BY name";
        let rows = self.query(sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| (Name::intern(row.get(0)), row.get(1)))
            .collect())
    }

    /// Returns whether the inbox contains a delivery.
    pub(crate) async fn is_settled(&self, scope: &str, message: MessageId) -> Result<bool> {
        let sql = "SELECT FROM {schema}.inbox WHERE id = $1 AND scope = $2";
        Ok(!self.query(sql, &[&message.0, &scope]).await?.is_empty())
    }

    /// Returns the ids and scopes of those of these deliveries that the inbox contains.
    pub(crate) async fn settled_among(
        &self,
        deliveries: &[(Uuid, String)],
    ) -> Result<HashSet<(Uuid, String)>> {
        let (ids, scopes): (Vec<_>, Vec<_>) = deliveries.iter().cloned().unzip();
        let found = self
            .query(&inbox::finding("{schema}"), &[&ids, &scopes])
            .await?;
        Ok(found.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}
