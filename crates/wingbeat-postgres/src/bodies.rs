//! Large bodies of messages, in the schema `wingbeat_bodies`, which all services share: one
//! publishes a body, others read it.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use wingbeat_core::bodies::{BodyRef, UNAVAILABLE};
use wingbeat_core::{Bodies, Error, Name, Result};

use crate::database::{Database, Names};
use crate::fault::unavailable;
use crate::grants::Grants;
use crate::layout::{Failure, not_granted, refused};
use crate::reads::Reads;

const SCHEMA: Name = Name::new("wingbeat_bodies");
/// The primary key is the index for sweeps. Bodies are compressed by PostgreSQL.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS {schema}.body(
    day bigint NOT NULL, digest bytea NOT NULL, body bytea NOT NULL, PRIMARY KEY (day, digest))";

/// Large bodies on the connections of the store.
pub(crate) struct PostgresBodies {
    database: Arc<Database>,
    names: Names,
    /// A quarter of the connections: a body takes much longer than a commit, which always finds
    /// one.
    transfers: Semaphore,
}

impl PostgresBodies {
    pub(crate) fn new(database: Arc<Database>) -> Arc<Self> {
        let transfers = (database.pool.connections_max() / 4).max(1);
        Arc::new(Self {
            names: database.names(SCHEMA),
            transfers: Semaphore::new(transfers),
            database,
        })
    }

    fn reads(&self) -> Reads<'_> {
        Reads {
            pool: &self.database.pool,
            schema: self.names.quoted,
        }
    }

    /// Waits for other transfers to end.
    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let turn = self.transfers.acquire().await;
        turn.map_err(|_| Error::retry(UNAVAILABLE, "the store is being dropped"))
    }

    async fn create_or_check(&self) -> Result<()> {
        let mut connection = self.database.pool.get().await?;
        let schema = &self.names.plain;
        match is_granted(&connection, schema).await? {
            Some(true) => Ok(()),
            Some(false) => {
                let text =
                    format!("the role may not use the large bodies in the schema {schema:?}");
                Err(not_granted(&text))
            }
            None => match create(&mut connection, &self.names, &[]).await {
                Ok(()) => Ok(()),
                Err(Failure::Denied(why)) => {
                    let text = format!(
                        "there is no schema {schema:?} for large bodies, and the role may not \
                         create it ({why}): run `migrate` with a role that may"
                    );
                    Err(Error::reject("store_not_migrated", text))
                }
                Err(Failure::Other(error)) => Err(error),
            },
        }
    }
}

/// Returns the error of the port for an error of the store.
fn port(error: Error) -> Error {
    Error::retry(UNAVAILABLE, "the large bodies in PostgreSQL cannot be used").because(error)
}

impl Bodies for PostgresBodies {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.create_or_check())
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            let sql = "INSERT INTO {schema}.body VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            let (day, digest) = (i64::from(at.day), &at.digest[..]);
            let put = self.reads().query(sql, &[&day, &digest, &&body[..]]).await;
            put.map(drop).map_err(port)
        })
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            let sql = "SELECT substring(body FOR $3) FROM {schema}.body
                WHERE day = $1 AND digest = $2";
            let most = i32::try_from(at.size.saturating_add(1)).unwrap_or(i32::MAX);
            let (day, digest) = (i64::from(at.day), &at.digest[..]);
            let rows = self.reads().query(sql, &[&day, &digest, &most]).await;
            let rows = rows.map_err(port)?;
            let body = rows.first().map(|row| row.get::<_, &[u8]>(0));
            Ok(body.map(Bytes::copy_from_slice))
        })
    }

    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let sql = "DELETE FROM {schema}.body WHERE (day, digest) IN
                (SELECT day, digest FROM {schema}.body WHERE day < $1 ORDER BY day, digest LIMIT $2)
                RETURNING 1";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = self.reads().query(sql, &[&i64::from(day), &limit]).await;
            Ok(rows.map_err(port)?.len())
        })
    }
}

/// Creates the schema of bodies, and grants the roles of services what they need: they put, read
/// and delete bodies, and change none.
///
/// # Errors
///
/// `migrate_refused` if the role may not do that, or a role to grant to does not exist.
pub(crate) async fn migrate(database: &Database, services: &[Name], grants: &Grants) -> Result<()> {
    let names = database.names(SCHEMA);
    let schema = names.quoted;
    let roles = services.iter().flat_map(|it| grants.writers(*it));
    let grants = roles.map(|role| {
        format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, DELETE ON {schema}.body TO {role}"
        )
    });
    let grants: Vec<String> = grants.collect();
    let mut connection = database.pool.get().await?;
    let created = create(&mut connection, &names, &grants).await;
    created.map_err(|failure| refused(&names.plain, failure))
}

/// Returns whether the role has the privileges of a service; `None` if there is no table.
async fn is_granted(connection: &Object, schema: &str) -> Result<Option<bool>> {
    let sql = "SELECT has_schema_privilege(n.oid, 'USAGE')
            AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'DELETE')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = 'body'";
    let row = connection.query_opt(sql, &[&schema]).await;
    let row = row.map_err(|e| unavailable(&e))?;
    Ok(row.map(|row| row.get(0)))
}

/// Creates schema and table unless they exist, and runs statements that grant privileges.
async fn create(
    connection: &mut Object,
    names: &Names,
    grants: &[String],
) -> std::result::Result<(), Failure> {
    let (schema, lock) = (names.quoted, names.lock);
    let transaction = connection.transaction().await?;
    // Only one process at a time creates this schema.
    let take = format!("SELECT pg_advisory_xact_lock({lock}, -1)");
    transaction.batch_execute(&take).await?;
    let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    // `CREATE SCHEMA IF NOT EXISTS` needs a privilege even if the schema exists.
    let found = transaction.query_opt(sql, &[&names.plain]).await?;
    if found.is_none() {
        let sql = format!("CREATE SCHEMA {schema}");
        transaction.batch_execute(&sql).await?;
    }
    let table = TABLE.replace("{schema}", schema);
    transaction.batch_execute(&table).await?;
    for grant in grants {
        transaction.batch_execute(grant).await?;
    }
    transaction.commit().await?;
    Ok(())
}
