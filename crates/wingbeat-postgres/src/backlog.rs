//! Counts the messages and due records that wait in a schema, by the database's clock.

use std::time::Duration;

use tokio_postgres::Row;
use wingbeat_core::store::{Backlog, COUNTED_MAX, DueBacklog, Waiting};
use wingbeat_core::{Name, Result};

use crate::clock::NOW;
use crate::reads::Reads;

fn count(row: &Row, at: usize) -> u64 {
    row.get::<_, i64>(at).unsigned_abs()
}

/// Converts an age in microseconds. A negative age becomes zero: clocks differ a little.
fn age(micros: Option<i64>) -> Duration {
    Duration::from_micros(micros.unwrap_or(0).max(0).unsigned_abs())
}

/// Counts up to [`COUNTED_MAX`] messages and records. Both counts scan an index and stop there.
pub(crate) async fn count_all(reads: &Reads<'_>) -> Result<Backlog> {
    let most = i64::try_from(COUNTED_MAX).unwrap_or(i64::MAX);
    // The first 48 bits of an id are the time of its creation in milliseconds.
    let outbox = format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {{schema}}.outbox LIMIT $1) AS counted),
            (SELECT {NOW}
                - ('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint * 1000
             FROM {{schema}}.outbox ORDER BY place LIMIT 1)"
    );
    let due = format!(
        "SELECT tbl, count(*), count(*) FILTER (WHERE due_at <= {NOW}), {NOW} - min(due_at) FROM (
            SELECT tbl, due_at FROM {{schema}}.record
            WHERE due_at IS NOT NULL ORDER BY due_at LIMIT $1) AS counted
         GROUP BY tbl ORDER BY tbl"
    );
    let outbox = &reads.query(&outbox, &[&most]).await?[0];
    let due = reads.query(&due, &[&most]).await?;
    Ok(Backlog {
        outbox: Waiting {
            count: count(outbox, 0),
            age: age(outbox.get(1)),
        },
        due: due.iter().map(table).collect(),
    })
}

fn table(row: &Row) -> DueBacklog {
    DueBacklog {
        table: Name::intern(row.get(0)),
        pending: count(row, 1),
        overdue: Waiting {
            count: count(row, 2),
            age: age(row.get(3)),
        },
    }
}
