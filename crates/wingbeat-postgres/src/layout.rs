//! Creates and migrates schemas under a lock, so that replicas may start at the same time.
//!
//! A layout only adds things while older releases may still run (expand). A later layout removes
//! what they need, and names the oldest release that can still work with it (contract).
//!
//! A schema that has this release's layout is left alone, so that a role without CREATE can use it.

use deadpool_postgres::{Object, Transaction};
use wingbeat_core::{Error, Result};

use crate::clock::NOW;
use crate::fault::{describe, is_denied, unavailable};
use crate::grants::{self, Access};

/// The layout that this release writes.
const LAYOUT: i32 = 3;
/// The oldest layout whose releases can work with what this release writes.
const READABLE_FROM: i32 = 1;

/// The migrations; the first one creates layout 1.
const STEPS: &[&str] = &[
    include_str!("sql/tables.sql"),
    include_str!("sql/journal_time.sql"),
    include_str!("sql/journal_packed.sql"),
];
/// The commit function of this release. Each release creates its own version and never drops
/// another: older and newer releases may work on the schema at the same time.
const COMMIT: &str = include_str!("sql/commit_v5.sql");
/// The name of the commit function of this release.
pub(crate) const COMMIT_NAME: &str = "commit_v5";
/// The marks around the body of the commit function.
const BODY: &str = "$function$";

/// A schema of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaName<'a> {
    /// The name as the catalog contains it.
    pub(crate) plain: &'a str,
    /// The name in SQL.
    pub(crate) quoted: &'a str,
    /// The advisory lock of its migrations.
    pub(crate) lock: i32,
}

/// Creates the schema, or migrates it to this release's layout, unless it has that already. Returns
/// what the role may do with it.
///
/// # Errors
///
/// `store_not_migrated` if the role may not create or migrate it; `store_not_granted` if the role
/// may not read it; `data_newer` if a later release wrote it.
pub(crate) async fn prepare(connection: &mut Object, schema: SchemaName<'_>) -> Result<Access> {
    let name = schema.plain;
    let found = find(connection, name).await?;
    if !found.may_look() {
        let text = format!("the role may not use the schema {name:?}");
        return Err(not_granted(&text));
    }
    if !is_current(connection, schema, &found).await? {
        let migrated = in_transaction(connection, schema, &[]).await;
        migrated.map_err(|failure| match failure {
            Failure::Denied(why) => {
                let text = format!(
                    "the schema {name:?} does not have layout {LAYOUT}, and the role may not \
                     migrate it ({why}): run `migrate` with a role that may"
                );
                Error::reject("store_not_migrated", text)
            }
            Failure::Other(error) => error,
        })?;
    }
    readable(connection, name).await
}

/// Checks that the schema has this release's layout or a newer one that this release can read, and
/// changes nothing. Returns what the role may do with it.
///
/// # Errors
///
/// `store_not_migrated` if it does not exist or has an older layout; `store_not_granted` if the
/// role may not read it; `data_newer` if a later release wrote it.
pub(crate) async fn inspect(connection: &Object, schema: SchemaName<'_>) -> Result<Access> {
    let name = schema.plain;
    let found = find(connection, name).await?;
    if !found.may_look() {
        let text = format!("the role may not use the schema {name:?}");
        return Err(not_granted(&text));
    }
    if found.layout.is_none() || layout(connection, schema).await? < LAYOUT {
        let text = format!("the schema {name:?} does not have layout {LAYOUT}");
        return Err(Error::reject("store_not_migrated", text));
    }
    readable(connection, name).await
}

async fn readable(connection: &Object, name: &str) -> Result<Access> {
    match grants::access(connection, name).await? {
        Access::None => {
            let text = format!("the role may not read all tables of the schema {name:?}");
            Err(not_granted(&text))
        }
        access => Ok(access),
    }
}

/// Creates or migrates the schema, and runs statements that grant privileges on it.
///
/// # Errors
///
/// `migrate_refused` if the role lacks a privilege or a role to grant to does not exist;
/// `data_newer` if a later release wrote the schema.
pub(crate) async fn migrate(
    connection: &mut Object,
    schema: SchemaName<'_>,
    grants: &[String],
) -> Result<()> {
    let migrated = in_transaction(connection, schema, grants).await;
    migrated.map_err(|failure| refused(schema.plain, failure))
}

/// Returns the error of a migration.
pub(crate) fn refused(schema: &str, failure: Failure) -> Error {
    match failure {
        Failure::Denied(why) => {
            let text = format!("cannot migrate the schema {schema:?}: {why}");
            Error::reject("migrate_refused", text)
        }
        Failure::Other(error) => error,
    }
}

/// Returns the error of a role that lacks privileges.
pub(crate) fn not_granted(what: &str) -> Error {
    let text = format!("{what}: run `migrate --grant-to ROLE` with the role that owns it");
    Error::reject("store_not_granted", text)
}

/// The catalog's entries about a schema.
struct Found {
    /// The role may use the schema; `None` if it does not exist.
    usage: Option<bool>,
    /// The role may read the number of its layout; `None` if it has none.
    layout: Option<bool>,
    /// The body of the commit function.
    commit: Option<String>,
}

impl Found {
    /// Returns whether the role may read the number of the layout, as far as there is one.
    fn may_look(&self) -> bool {
        self.usage != Some(false) && self.layout != Some(false)
    }
}

/// Reads the catalog, which every role may read.
async fn find(connection: &Object, schema: &str) -> Result<Found> {
    let sql = "SELECT has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
            (SELECT max(p.prosrc) FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = $2)
        FROM pg_namespace n
            LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'layout'
        WHERE n.nspname = $1";
    let row = connection.query_opt(sql, &[&schema, &COMMIT_NAME]).await;
    let row = row.map_err(|e| unavailable(&e))?;
    Ok(Found {
        usage: row.as_ref().map(|row| row.get(0)),
        layout: row.as_ref().and_then(|row| row.get(1)),
        commit: row.as_ref().and_then(|row| row.get(2)),
    })
}

/// Returns whether the schema has this release's layout and commit function.
async fn is_current(connection: &Object, schema: SchemaName<'_>, found: &Found) -> Result<bool> {
    if found.layout.is_none() {
        return Ok(false);
    }
    let number = layout(connection, schema).await?;
    let commit = commit(schema.quoted);
    let body = commit.split(BODY).nth(1);
    Ok(number >= LAYOUT && found.commit.as_deref() == body)
}

/// Returns the number of the layout.
async fn layout(
    connection: &impl deadpool_postgres::GenericClient,
    schema: SchemaName<'_>,
) -> Result<i32> {
    let sql = format!(
        "SELECT coalesce(max(number), 0), coalesce(max(readable_from), 0) FROM {}.layout",
        schema.quoted
    );
    let row = connection.query_one(&sql, &[]).await;
    let row = row.map_err(|e| unavailable(&e))?;
    let (number, readable_from): (i32, i32) = (row.get(0), row.get(1));
    if readable_from > LAYOUT {
        let text = format!(
            "schema {} has layout {number}, which needs a release with layout {readable_from}; \
             this release has layout {LAYOUT}: run a newer release",
            schema.quoted
        );
        return Err(Error::reject("data_newer", text));
    }
    Ok(number)
}

/// The reason why a migration failed.
pub(crate) enum Failure {
    /// The role may not do it.
    Denied(String),
    Other(Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_denied(&error) {
            Self::Denied(describe(&error))
        } else {
            Self::Other(unavailable(&error))
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

async fn in_transaction(
    connection: &mut Object,
    schema: SchemaName<'_>,
    grants: &[String],
) -> std::result::Result<(), Failure> {
    let transaction = connection.transaction().await?;
    // Only one process at a time creates or migrates this schema.
    let lock = format!("SELECT pg_advisory_xact_lock({}, -1)", schema.lock);
    transaction.batch_execute(&lock).await?;
    create(&transaction, schema).await?;
    for grant in grants {
        transaction.batch_execute(grant).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn create(
    transaction: &Transaction<'_>,
    schema: SchemaName<'_>,
) -> std::result::Result<(), Failure> {
    let name = schema.quoted;
    let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    // `CREATE SCHEMA IF NOT EXISTS` needs a privilege even if the schema exists.
    if transaction
        .query_opt(sql, &[&schema.plain])
        .await?
        .is_none()
    {
        let sql = format!("CREATE SCHEMA {name}");
        transaction.batch_execute(&sql).await?;
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {name}.layout(number int PRIMARY KEY,
             readable_from int NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    );
    transaction.batch_execute(&sql).await?;
    let number = layout(transaction, schema).await?;
    let done = usize::try_from(number).unwrap_or_default();
    for (step, sql) in (1..).zip(STEPS).skip(done) {
        let sql = format!(
            "SET LOCAL search_path TO {name}; {sql};
             INSERT INTO {name}.layout VALUES ({step}, {READABLE_FROM})"
        );
        transaction.batch_execute(&sql).await?;
    }
    transaction.batch_execute(&commit(name)).await?;
    Ok(())
}

/// Returns the statement that creates the commit function of a schema.
fn commit(schema: &str) -> String {
    COMMIT.replace("{schema}", schema).replace("{now}", NOW)
}
