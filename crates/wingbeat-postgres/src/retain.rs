//! What has outlived its retention goes, a bounded amount at a time.
//!
//! - Records with an expiry are removed when it has passed; the rows of removed records an hour later.
//! - The inbox: 60 days, twice what anything can take to come again (a parked delivery, a retried dead
//!   letter), since the id of a message tells when it was made and not when it was settled.
//! - The journal (timelines): 90 days after the story began.
//!
//! The outbox is as long as what waits in it.

use std::time::Duration;

use wingbeat_core::ids::uuid_v7;
use wingbeat_core::{Result, Timestamp};

use crate::reads::Reads;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const INBOX: Duration = Duration::from_secs(60 * 24 * 3600);
const JOURNAL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Rows a statement deletes.
const AT_ONCE: i64 = 1000;

/// Deletes; how many rows went.
pub(crate) async fn retain(reads: &Reads<'_>, now: Timestamp) -> Result<u64> {
    let (settled, told) = (now - INBOX, now - JOURNAL);
    let mut gone = 0;
    let removed = "WITH old AS (SELECT tbl, id FROM {schema}.record
            WHERE expires_at <= $1 AND body IS NOT NULL ORDER BY expires_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED),
         removed AS (UPDATE {schema}.record r SET body = NULL, version = r.version + 1, due_at = NULL,
            lease_until = NULL, expires_at = $2 FROM old WHERE r.tbl = old.tbl AND r.id = old.id RETURNING 1)
         SELECT count(*) FROM removed";
    let until = (now + HOUR).as_micros();
    gone += count(reads, removed, &[&now.as_micros(), &until, &AT_ONCE]).await?;
    let forgotten = "WITH old AS (SELECT tbl, id FROM {schema}.record
            WHERE expires_at <= $1 AND body IS NULL ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
         gone AS (DELETE FROM {schema}.record r USING old WHERE r.tbl = old.tbl AND r.id = old.id RETURNING 1)
         SELECT count(*) FROM gone";
    gone += count(reads, forgotten, &[&now.as_micros(), &AT_ONCE]).await?;
    let inbox = "WITH old AS (SELECT id, scope FROM {schema}.inbox
            WHERE id < $1 AND (at IS NULL OR at < $2) ORDER BY id LIMIT $3),
         gone AS (DELETE FROM {schema}.inbox b USING old WHERE b.id = old.id AND b.scope = old.scope RETURNING 1)
         SELECT count(*) FROM gone";
    let oldest = uuid_v7(settled - DAY, 0);
    gone += count(reads, inbox, &[&oldest, &settled.as_micros(), &AT_ONCE]).await?;
    let dated = "WITH old AS (SELECT id, scope FROM {schema}.inbox WHERE at < $1 ORDER BY at LIMIT $2),
         gone AS (DELETE FROM {schema}.inbox b USING old WHERE b.id = old.id AND b.scope = old.scope RETURNING 1)
         SELECT count(*) FROM gone";
    gone += count(reads, dated, &[&settled.as_micros(), &AT_ONCE]).await?;
    let journal = "WITH old AS (SELECT story, place FROM {schema}.journal WHERE story < $1 ORDER BY story LIMIT $2),
         gone AS (DELETE FROM {schema}.journal j USING old WHERE j.story = old.story AND j.place = old.place RETURNING 1)
         SELECT count(*) FROM gone";
    gone += count(reads, journal, &[&uuid_v7(told, 0), &AT_ONCE]).await?;
    Ok(gone)
}

async fn count(
    reads: &Reads<'_>,
    sql: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64> {
    let rows = reads.query(sql, parameters).await?;
    Ok(rows[0].get::<_, i64>(0).unsigned_abs())
}
