//! Creates and migrates schemas under a lock, so that replicas may start at the same time.
//!
//! A layout only adds things while older releases may still run (expand). A later layout removes
//! what they need, and names the oldest release that can still work with it (contract).

use deadpool_postgres::Object;
use wingbeat_core::{Error, Result};

use crate::clock::NOW;
use crate::fault::unavailable;

/// The layout that this release writes.
const LAYOUT: i32 = 2;
/// The oldest layout whose releases can work with what this release writes.
const READABLE_FROM: i32 = 1;

/// The migrations; the first one creates layout 1.
const STEPS: &[&str] = &[
    include_str!("sql/tables.sql"),
    include_str!("sql/journal_time.sql"),
];
/// The commit function of this release. Each release creates its own version and never drops
/// another: older and newer releases may work on the schema at the same time.
const COMMIT: &str = include_str!("sql/commit_v4.sql");

/// Creates the schema, or migrates it to this release's layout.
pub(crate) async fn create_schema(connection: &mut Object, schema: &str, lock: i32) -> Result<()> {
    let transaction = connection
        .transaction()
        .await
        .map_err(|e| unavailable(&e))?;
    let run = async |sql: String| {
        transaction
            .batch_execute(&sql)
            .await
            .map_err(|e| unavailable(&e))
    };
    // Only one process at a time creates or migrates this schema.
    run(format!("SELECT pg_advisory_xact_lock({lock}, -1)")).await?;
    run(format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS {schema}.layout(number int PRIMARY KEY,
             readable_from int NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    ))
    .await?;
    let found = format!(
        "SELECT coalesce(max(number), 0), coalesce(max(readable_from), 0) FROM {schema}.layout"
    );
    let found = transaction
        .query_one(&found, &[])
        .await
        .map_err(|e| unavailable(&e))?;
    let (number, readable_from): (i32, i32) = (found.get(0), found.get(1));
    if readable_from > LAYOUT {
        let text = format!(
            "schema {schema} has layout {number}, which needs a release with layout \
             {readable_from}; this release has layout {LAYOUT}: run a newer release"
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
    transaction.commit().await.map_err(|e| unavailable(&e))
}
