//! What has outlived its retention goes, a bounded amount at a time.
//!
//! - Records with an expiry: when it has passed.
//! - The inbox: 60 days, twice what anything can take to come again (a parked delivery, a retried dead
//!   letter), since the id of a message tells when it was made and not when it was settled.
//! - The journal (timelines): 90 days after the story began.

use std::time::Duration;

use rusqlite::params;
use wingbeat_core::Timestamp;
use wingbeat_core::ids::uuid_v7;

use super::batch::Batch;
use crate::id::{RecordId, RecordKey};

const DAY: Duration = Duration::from_secs(24 * 3600);
const INBOX: Duration = Duration::from_secs(60 * 24 * 3600);
const JOURNAL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Rows a call deletes of each kind, so that commits wait for it no longer than for a large batch.
const AT_ONCE: i64 = 1000;

/// Deletes; how many rows went.
pub(super) fn retain(batch: &mut Batch<'_>, now: Timestamp) -> rusqlite::Result<u64> {
    let mut gone = expired(batch, now)?;
    let connection = batch.connection;
    let (settled, told) = (now - INBOX, now - JOURNAL);
    gone += connection
        .prepare_cached(
            "DELETE FROM inbox WHERE (id, scope) IN (SELECT id, scope FROM inbox
             WHERE id < ?1 AND (at IS NULL OR at < ?2) LIMIT ?3)",
        )?
        .execute(params![
            uuid_v7(settled - DAY, 0).as_bytes(),
            settled.as_micros(),
            AT_ONCE
        ])?;
    gone += connection
        .prepare_cached(
            "DELETE FROM inbox WHERE (id, scope) IN (SELECT id, scope FROM inbox
             WHERE at IS NOT NULL AND at < ?1 LIMIT ?2)",
        )?
        .execute(params![settled.as_micros(), AT_ONCE])?;
    gone += connection
        .prepare_cached(
            "DELETE FROM journal WHERE (corr, svc, place) IN (SELECT corr, svc, place FROM journal
             WHERE corr < ?1 AND place < ?2 LIMIT ?3)",
        )?
        .execute(params![
            uuid_v7(told, 0).as_bytes(),
            told.as_micros(),
            AT_ONCE
        ])?;
    Ok(gone as u64)
}

fn expired(batch: &mut Batch<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let mut statement = batch.connection.prepare_cached(
        "SELECT tbl, id FROM record WHERE expires_at IS NOT NULL AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
    )?;
    let keys = statement.query_map(params![now.as_micros(), AT_ONCE], |row| {
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
