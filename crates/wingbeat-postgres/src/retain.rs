//! Deletes data whose retention has ended, a bounded number of rows at a time.
//!
//! - Records with an expiry: once it has passed. Rows of removed records: an hour after the
//!   removal.
//! - The inbox: after 60 days. A message can be delivered again for at most half of that (a parked
//!   delivery, a retried dead letter), and its id contains the time of its creation, not of its
//!   settlement.
//! - The journal (timelines): 90 days after the story began, or after the entry if the correlation
//!   id does not contain that time.
//!
//! The outbox contains only messages that are not yet published.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::store::Walk;
use wingbeat_core::{Result, Timestamp};

use crate::reads::Reads;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TOMBSTONE_RETENTION: Duration = Duration::from_secs(3600);
const INBOX_RETENTION: Duration = Duration::from_secs(60 * 24 * 3600);
const JOURNAL_RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
/// Maximum number of rows that one statement deletes.
const ROWS_MAX: i64 = 1000;

const REMOVE_EXPIRED: &str = "
    WITH old AS (SELECT tbl, id FROM {schema}.record WHERE expires_at <= $1 AND body IS NOT NULL
            ORDER BY expires_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED),
        removed AS (UPDATE {schema}.record r SET body = NULL, version = r.version + 1,
            due_at = NULL, lease_until = NULL, expires_at = $2
            FROM old WHERE r.tbl = old.tbl AND r.id = old.id RETURNING 1)
    SELECT count(*) FROM removed";
const DELETE_TOMBSTONES: &str = "
    WITH old AS (SELECT tbl, id FROM {schema}.record WHERE expires_at <= $1 AND body IS NULL
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
        deleted AS (DELETE FROM {schema}.record r USING old
            WHERE r.tbl = old.tbl AND r.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted";
// Rows with a time of their own stay, and a replay may have left millions of them: a sweep reads
// one page of the table.
const DELETE_INBOX_BY_ID: &str = "
    WITH page AS (SELECT id, scope, at FROM {schema}.inbox
            WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3),
        deleted AS (DELETE FROM {schema}.inbox b USING page
            WHERE b.id = page.id AND b.scope = page.scope AND page.at IS NULL RETURNING 1)
    SELECT (SELECT count(*) FROM deleted), (SELECT count(*) FROM page),
        (SELECT id FROM page ORDER BY id DESC LIMIT 1)";
const DELETE_INBOX_BY_TIME: &str = "
    WITH old AS (SELECT id, scope FROM {schema}.inbox WHERE at < $1 ORDER BY at LIMIT $2),
        deleted AS (DELETE FROM {schema}.inbox b USING old
            WHERE b.id = old.id AND b.scope = old.scope RETURNING 1)
    SELECT count(*) FROM deleted";
const DELETE_JOURNAL_BY_TIME: &str = "
    WITH old AS (SELECT story, place FROM {schema}.journal WHERE at < $1 ORDER BY at LIMIT $2),
        deleted AS (DELETE FROM {schema}.journal j USING old
            WHERE j.story = old.story AND j.place = old.place RETURNING 1)
    SELECT count(*) FROM deleted";
const DELETE_JOURNAL_BY_ID: &str = "
    WITH page AS (SELECT story, place, at FROM {schema}.journal
            WHERE story >= $1 AND story < $2 ORDER BY story LIMIT $3),
        deleted AS (DELETE FROM {schema}.journal j USING page
            WHERE j.story = page.story AND j.place = page.place AND page.at IS NULL RETURNING 1)
    SELECT (SELECT count(*) FROM deleted), (SELECT count(*) FROM page),
        (SELECT story FROM page ORDER BY story DESC LIMIT 1)";

/// The places at which the sweep continues in the tables of a service.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walks {
    inbox: Walk,
    journal: Walk,
}

/// Deletes expired data. Returns the number of deleted rows.
pub(crate) async fn retain(reads: &Reads<'_>, now: Timestamp, walks: &mut Walks) -> Result<u64> {
    let tombstone_until = (now + TOMBSTONE_RETENTION).as_micros();
    let inbox_end = now - INBOX_RETENTION;
    let inbox_id_end = uuid_v7(inbox_end - DAY, 0);
    let journal_end = now - JOURNAL_RETENTION;
    let journal_id_end = uuid_v7(journal_end, 0);
    let (now, inbox_end) = (now.as_micros(), inbox_end.as_micros());
    let journal_end = journal_end.as_micros();
    let statements: [(&str, &[&(dyn ToSql + Sync)]); 4] = [
        (REMOVE_EXPIRED, &[&now, &tombstone_until, &ROWS_MAX]),
        (DELETE_TOMBSTONES, &[&now, &ROWS_MAX]),
        (DELETE_INBOX_BY_TIME, &[&inbox_end, &ROWS_MAX]),
        (DELETE_JOURNAL_BY_TIME, &[&journal_end, &ROWS_MAX]),
    ];
    let mut deleted = 0;
    for (sql, parameters) in statements {
        let rows = reads.query(sql, parameters).await?;
        deleted += rows[0].get::<_, i64>(0).unsigned_abs();
    }
    deleted += delete_by_id(reads, DELETE_INBOX_BY_ID, &mut walks.inbox, inbox_id_end).await?;
    deleted += delete_by_id(
        reads,
        DELETE_JOURNAL_BY_ID,
        &mut walks.journal,
        journal_id_end,
    )
    .await?;
    Ok(deleted)
}

/// Deletes rows whose ids contain a time before that of `end`, in one page of the table.
async fn delete_by_id(reads: &Reads<'_>, sql: &str, walk: &mut Walk, end: Uuid) -> Result<u64> {
    let rows = reads.query(sql, &[&walk.from(), &end, &ROWS_MAX]).await?;
    let read: i64 = rows[0].get(1);
    walk.advance(rows[0].get(2), read == ROWS_MAX);
    Ok(rows[0].get::<_, i64>(0).unsigned_abs())
}
