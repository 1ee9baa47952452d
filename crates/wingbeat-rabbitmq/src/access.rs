//! The connections of an operator's command, and the requests that all commands need.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};
use tokio::sync::OnceCell;
use wingbeat_core::{Error, Result};

use crate::connection::{
    BrokerConnection, NOT_FOUND, RESOURCE_LOCKED, close, reply_code, unavailable,
};
use crate::topology::{Names, PASSIVE, open};

/// The suffix of the queue to which a migration sets the messages of a queue aside.
const MIGRATING: &str = ".migrating";
/// The suffix of the exchange that records that a migration has set everything aside.
pub(crate) const ASIDE: &str = ".aside";

/// Returns the queue to which a migration sets the messages of `queue` aside.
pub(crate) fn migrating(queue: &str) -> String {
    format!("{queue}{MIGRATING}")
}

/// The numbers of messages and consumers of a queue. Both are 0 also while the leader of the queue
/// does not reply: before anything is deleted, see [`held`](crate::held).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) consumers: u64,
}

/// The connections of one command of an operator.
pub(crate) struct Access {
    /// The connection for everything except publishing. The broker never blocks it.
    pub(crate) consuming: Connection,
    /// Opened when the command publishes.
    publishing: OnceCell<Connection>,
    opener: Arc<BrokerConnection>,
    pub(crate) names: Names,
    /// The time limit for confirms.
    pub(crate) timeout: Duration,
}

impl Access {
    pub(crate) async fn open(
        opener: Arc<BrokerConnection>,
        names: Names,
        timeout: Duration,
    ) -> Result<Self> {
        Ok(Self {
            consuming: opener.connect().await?,
            publishing: OnceCell::new(),
            opener,
            names,
            timeout,
        })
    }

    /// Returns the connection for publishing.
    pub(crate) async fn publishing(&self) -> Result<&Connection> {
        self.publishing
            .get_or_try_init(|| self.opener.connect())
            .await
    }

    pub(crate) async fn close(self) {
        close(self.consuming).await;
        if let Some(publishing) = self.publishing.into_inner() {
            close(publishing).await;
        }
    }

    /// Looks up a queue. Returns `None` if it does not exist.
    pub(crate) async fn counts(&self, queue: &str) -> Result<Option<Counts>> {
        let channel = open(&self.consuming).await?;
        let found = channel.queue_declare(queue.into(), PASSIVE, FieldTable::default());
        match found.await {
            Ok(found) => {
                let _ = channel.close(200, "found".into()).await;
                Ok(Some(Counts {
                    waiting: u64::from(found.message_count()),
                    consumers: u64::from(found.consumer_count()),
                }))
            }
            Err(why) if reply_code(&why) == Some(NOT_FOUND) => Ok(None),
            // An exclusive queue of another connection: no queue of ours.
            Err(why) if reply_code(&why) == Some(RESOURCE_LOCKED) => Ok(Some(Counts {
                waiting: 0,
                consumers: 1,
            })),
            Err(why) => Err(unavailable(&why)),
        }
    }

    /// Returns whether an exchange exists.
    pub(crate) async fn exists(&self, exchange: &str) -> Result<bool> {
        let channel = open(&self.consuming).await?;
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let (kind, arguments) = (ExchangeKind::Fanout, FieldTable::default());
        let found = channel.exchange_declare(exchange.into(), kind, passive, arguments);
        match found.await {
            Ok(()) => {
                let _ = channel.close(200, "found".into()).await;
                Ok(true)
            }
            Err(why) if reply_code(&why) == Some(NOT_FOUND) => Ok(false),
            Err(why) => Err(unavailable(&why)),
        }
    }
}

/// Removes a binding.
pub(crate) async fn unbind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<()> {
    let arguments = FieldTable::default();
    let unbound = channel.queue_unbind(queue.into(), exchange.into(), key.into(), arguments);
    unbound.await.map_err(|e| unavailable(&e))
}

/// Deletes an exchange, if it exists.
pub(crate) async fn delete_exchange(channel: &Channel, exchange: &str) -> Result<()> {
    let deleted = channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
    deleted.await.map_err(|e| unavailable(&e))
}

/// Returns the error of a queue that other processes use.
pub(crate) fn in_use(queue: &str, consumers: u64) -> Error {
    let text = format!(
        "the queue `{queue}` has {consumers} consumers: pause the subscription, or stop the \
         processes of its service"
    );
    Error::reject("topology_in_use", text)
}
