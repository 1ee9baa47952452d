//! A queue that shows whether messages of some types are published.

use std::collections::BTreeSet;

use lapin::Channel;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use wingbeat_core::{Error, Result, sabotage};

use crate::access::Access;
use crate::connection::unavailable;
use crate::held::SETTLE;
use crate::topology::{bind, open};

/// A queue for at most one message, bound to all types of an ordered queue. It ends with the
/// connection.
pub(crate) struct Probe {
    channel: Channel,
    queue: String,
    /// The ordered queue.
    of: String,
}

impl Probe {
    /// Declares the queue, and waits until messages that were published before have arrived in the
    /// ordered queue.
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check).
    pub(crate) async fn open(
        access: &Access,
        of: &str,
        bindings: &BTreeSet<(String, String)>,
    ) -> Result<Self> {
        let channel = open(&access.consuming).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare("".into(), options, arguments).await;
        let declared = declared.map_err(|e| unavailable(&e))?;
        let probe = Self {
            queue: declared.name().to_string(),
            of: of.to_owned(),
            channel,
        };
        for (exchange, key) in bindings {
            bind(&probe.channel, &probe.queue, exchange, key).await?;
        }
        tokio::time::sleep(SETTLE).await;
        probe.check().await?;
        Ok(probe)
    }

    /// Checks that no message was published since the last call.
    ///
    /// # Errors
    ///
    /// `topology_in_use` if one was published.
    pub(crate) async fn check(&self) -> Result<()> {
        let options = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get(self.queue.as_str().into(), options);
        let Some(message) = got.await.map_err(|e| unavailable(&e))? else {
            return Ok(());
        };
        if sabotage::lacks(sabotage::MIGRATION_PROBE) {
            return Ok(());
        }
        let (of, key) = (&self.of, &message.delivery.routing_key);
        let text = format!(
            "a message `{key}` was published, and the order of messages that are published while \
             the ordered queue `{of}` is migrated would be lost: stop all processes that publish \
             to it until the migration has ended"
        );
        Err(Error::reject("topology_in_use", text))
    }

    /// Deletes the queue.
    pub(crate) async fn close(self) {
        let queue = self.queue.as_str().into();
        let _ = self
            .channel
            .queue_delete(queue, QueueDeleteOptions::default())
            .await;
        let _ = self.channel.close(200, "done".into()).await;
    }
}
