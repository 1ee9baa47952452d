//! Schemas: made and brought up to date under a lock, so that replicas may start together.
//!
//! A layout only ever grows while older programs may still run (expand); what they need is taken away by a later
//! layout that names the oldest one it can be read with (contract).

use deadpool_postgres::Object;
use wingbeat_core::{Error, Result};

use crate::due::NOW;
use crate::fault::away;

/// The layout this release writes.
const LAYOUT: i32 = 1;
/// The oldest program that can work on what this release writes.
const READABLE_FROM: i32 = 1;

/// The steps; the first one makes layout 1.
const STEPS: &[&str] = &[include_str!("sql/tables.sql")];
/// The function of this release; older ones stay for programs that still call them.
const COMMIT: &str = include_str!("sql/commit.sql");

/// Makes the schema, or brings it up to date.
pub(crate) async fn prepare(connection: &mut Object, schema: &str, lock: i32) -> Result<()> {
    let transaction = connection.transaction().await.map_err(|e| away(&e))?;
    // The database's lock on making schemas, then this schema's.
    let run = async |sql: String| transaction.batch_execute(&sql).await.map_err(|e| away(&e));
    run(format!("SELECT pg_advisory_xact_lock({lock}, -1)")).await?;
    run(format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS {schema}.layout(number int PRIMARY KEY, readable_from int NOT NULL,
             at timestamptz NOT NULL DEFAULT now())"
    ))
    .await?;
    let found = format!(
        "SELECT coalesce(max(number), 0), coalesce(max(readable_from), 0) FROM {schema}.layout"
    );
    let found = transaction
        .query_one(&found, &[])
        .await
        .map_err(|e| away(&e))?;
    let (number, readable_from): (i32, i32) = (found.get(0), found.get(1));
    if readable_from > LAYOUT {
        let text = format!(
            "the data of {schema} has layout {number}, readable from {readable_from} on; this release knows up to {LAYOUT}"
        );
        return Err(Error::reject("data_newer", text));
    }
    for (step, sql) in (1..)
        .zip(STEPS)
        .skip(usize::try_from(number).unwrap_or_default())
    {
        run(format!("SET LOCAL search_path TO {schema}; {sql}")).await?;
        run(format!(
            "INSERT INTO {schema}.layout VALUES ({step}, {READABLE_FROM})"
        ))
        .await?;
    }
    run(COMMIT.replace("{schema}", schema).replace("{now}", NOW)).await?;
    transaction.commit().await.map_err(|e| away(&e))
}
