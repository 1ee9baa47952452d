//! Deletes data whose retention has ended, a bounded number of rows at a time.
//!
//! - Records with an expiry: once it has passed.
//! - The inbox: after 60 days. A message can be delivered again for at most half of that (a parked
//!   delivery, a retried dead letter), and its id contains the time of its creation, not of its
//!   settlement.
//! - The journal (timelines): 90 days after the story began, or after the entry if the correlation
//!   id does not contain that time.

use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;
use wingbeat_core::Timestamp;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::store::Walk;

use super::batch::Batch;
use crate::id::{RecordId, RecordKey};

const DAY: Duration = Duration::from_secs(24 * 3600);
const INBOX_RETENTION: Duration = Duration::from_secs(60 * 24 * 3600);
const JOURNAL_RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
/// Maximum number of rows that one call deletes of each kind, so that it delays commits no longer
/// than a large batch does.
const ROWS_MAX: i64 = 1000;

/// Deletes expired data. Returns the number of deleted rows.
pub(super) fn retain(batch: &mut Batch<'_>, now: Timestamp) -> rusqlite::Result<u64> {
    let mut deleted = delete_expired(batch, now)?;
    let connection = batch.connection;
    let (inbox_end, journal_end) = (now - INBOX_RETENTION, now - JOURNAL_RETENTION);
    let mut walks = batch.shared.walks();
    let [inbox, journal] = &mut *walks;
    deleted += delete_by_id(connection, &INBOX, inbox, uuid_v7(inbox_end - DAY, 0))?;
    deleted += delete_by_id(connection, &JOURNAL, journal, uuid_v7(journal_end, 0))?;
    deleted += connection
        .prepare_cached(
            "DELETE FROM inbox WHERE (id, scope) IN (SELECT id, scope FROM inbox
             WHERE at IS NOT NULL AND at < ?1 LIMIT ?2)",
        )?
        .execute(params![inbox_end.as_micros(), ROWS_MAX])?;
    deleted += connection
        .prepare_cached(
            "DELETE FROM journal WHERE (corr, svc, place) IN (SELECT corr, svc, place FROM journal
             WHERE at IS NOT NULL AND at < ?1 LIMIT ?2)",
        )?
        .execute(params![journal_end.as_micros(), ROWS_MAX])?;
    Ok(deleted as u64)
}

/// The statements that delete rows of a table by the times in their ids.
struct ById {
    /// Counts the rows of a page, and finds its last id.
    page: &'static str,
    /// Deletes the rows of a page that have no time of their own.
    delete: &'static str,
}

const INBOX: ById = ById {
    page: "SELECT max(id), count(*) FROM
        (SELECT id FROM inbox WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3)",
    delete: "DELETE FROM inbox WHERE id >= ?1 AND id <= ?2 AND at IS NULL",
};
const JOURNAL: ById = ById {
    page: "SELECT max(corr), count(*) FROM
        (SELECT corr FROM journal WHERE corr >= ?1 AND corr < ?2 ORDER BY corr LIMIT ?3)",
    delete: "DELETE FROM journal WHERE corr >= ?1 AND corr <= ?2 AND at IS NULL",
};

/// Deletes rows whose ids contain a time before that of `end`, in one page of the table. Rows with
/// a time of their own stay, and a replay may have left millions of them.
fn delete_by_id(
    connection: &Connection,
    statements: &ById,
    walk: &mut Walk,
    end: Uuid,
) -> rusqlite::Result<usize> {
    let from = walk.from();
    let mut page = connection.prepare_cached(statements.page)?;
    let read = params![from.as_bytes(), end.as_bytes(), ROWS_MAX];
    let (last, count) = page.query_row(read, |row| {
        let last: Option<[u8; 16]> = row.get(0)?;
        Ok((last.map(Uuid::from_bytes), row.get::<_, i64>(1)?))
    })?;
    walk.advance(last, count == ROWS_MAX);
    let Some(last) = last else { return Ok(0) };
    let mut delete = connection.prepare_cached(statements.delete)?;
    delete.execute(params![from.as_bytes(), last.as_bytes()])
}

/// Removes records whose expiry has passed. Returns the number of removed records.
fn delete_expired(batch: &mut Batch<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let mut statement = batch.connection.prepare_cached(
        "SELECT tbl, id FROM record WHERE expires_at IS NOT NULL AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
    )?;
    let keys = statement.query_map(params![now.as_micros(), ROWS_MAX], |row| {
        let (table, id) = (row.get(0)?, row.get::<_, RecordId>(1)?);
        Ok(RecordKey { table, id })
    })?;
    let keys: Vec<RecordKey> = keys.collect::<rusqlite::Result<_>>()?;
    let count = keys.len();
    for key in keys {
        batch.remove(key)?;
    }
    Ok(count)
}
