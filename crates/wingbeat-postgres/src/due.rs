//! Claims due records, by the database's clock: the only clock that all replicas share.

use std::time::Duration;

use wingbeat_core::store::DueRecord;
use wingbeat_core::{Key, Name, Result, Timestamp};

use crate::clock::{NOW, micros};
use crate::reads::{Reads, record};

/// Claims due records of a service, soonest first.
pub(crate) async fn claim(
    reads: &Reads<'_>,
    service: Name,
    lease: Duration,
    limit: usize,
) -> Result<Vec<DueRecord>> {
    let sql = format!(
        "WITH due AS (
            SELECT tbl, id FROM {{schema}}.record
            WHERE due_at <= {NOW} AND (lease_until IS NULL OR lease_until <= {NOW})
            ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE {{schema}}.record r SET lease_until = {NOW} + $1 FROM due
         WHERE r.tbl = due.tbl AND r.id = due.id
         RETURNING r.tbl, r.id, r.version, r.body, r.due_at"
    );
    let lease = micros(lease);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = reads.query(&sql, &[&lease, &most]).await?;
    let mut claimed: Vec<DueRecord> = rows
        .iter()
        .map(|row| DueRecord {
            service,
            key: Key::new(Name::intern(row.get(0)), row.get::<_, String>(1)),
            record: record(row, 2),
        })
        .collect();
    claimed.sort_by(|a, b| (a.record.due_at, &a.key).cmp(&(b.record.due_at, &b.key)));
    Ok(claimed)
}

/// Returns when the next record is due that is not leased.
pub(crate) async fn next(reads: &Reads<'_>) -> Result<Option<Timestamp>> {
    let sql = format!(
        "SELECT due_at FROM {{schema}}.record
         WHERE due_at IS NOT NULL AND (lease_until IS NULL OR lease_until <= {NOW})
         ORDER BY due_at LIMIT 1"
    );
    let rows = reads.query(&sql, &[]).await?;
    Ok(rows.first().map(|row| Timestamp::from_micros(row.get(0))))
}
