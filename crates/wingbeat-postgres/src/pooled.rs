//! Detects a pooler that gives a connection another session for each transaction, such as PgBouncer
//! with `pool_mode = transaction`.
//!
//! The store cannot work behind one: it sets parameters of its sessions, on which the plans of all
//! its statements depend, and prepares statements.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};
use wingbeat_core::{Error, Result};

use crate::connector::Connector;

const SESSION: &str = "SELECT pg_backend_pid()";
/// The time limit of the check. It is not the place to report that the server is slow.
const LIMIT: Duration = Duration::from_secs(3);

/// Checks that two connections have a session each, and keep it.
///
/// # Errors
///
/// `store_pooled` if they do not.
pub(crate) async fn check(
    first: &Client,
    connector: &Connector,
    server: &tokio_postgres::Config,
    address: &str,
) -> Result<()> {
    let is_pooled = async {
        let (second, task) = connector.open(server).await?;
        let is_pooled = share_sessions(first, &second).await;
        task.abort();
        is_pooled
    };
    match tokio::time::timeout(LIMIT, is_pooled).await {
        Ok(Ok(true)) => {
            let text = format!(
                "PostgreSQL at {address} is behind a pooler that changes the session with each \
                 transaction: connect to the server itself, or use `pool_mode = session`"
            );
            Err(Error::reject("store_pooled", text))
        }
        Ok(Ok(false)) => Ok(()),
        other => {
            tracing::debug!(?other, "the sessions of PostgreSQL were not compared");
            Ok(())
        }
    }
}

/// Returns whether a session belongs to both connections, or one of them changes its session. An
/// open transaction of the second one keeps its session from the first one.
async fn share_sessions(
    first: &Client,
    second: &Client,
) -> std::result::Result<bool, tokio_postgres::Error> {
    let (before, again) = (session(first).await?, session(first).await?);
    match second.batch_execute("BEGIN").await {
        // A pooler with `pool_mode = statement` accepts no transactions.
        Err(error) if error.as_db_error().is_some() => return Ok(true),
        begun => begun?,
    }
    let other = session(second).await?;
    if before != again || other == before {
        return Ok(true);
    }
    Ok(session(first).await? != before)
}

/// Returns the number of the session that runs a statement of this connection.
async fn session(client: &Client) -> std::result::Result<Option<String>, tokio_postgres::Error> {
    let reply = client.simple_query(SESSION).await?;
    Ok(reply.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
