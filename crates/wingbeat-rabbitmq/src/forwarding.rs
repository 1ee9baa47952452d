//! Messages to one queue: the partitions of a subscription.

use std::sync::Arc;

use lapin::Connection;
use wingbeat_core::transport::Refused;
use wingbeat_core::{Envelope, HashSet, Name};

use crate::publisher::BatchSettings;
use crate::rabbitmq::{Again, RabbitMq};

impl RabbitMq {
    /// Returns the connection for publishing.
    ///
    /// # Errors
    ///
    /// The reason why nothing can be published now.
    pub(crate) async fn ready_to_publish(&self) -> Result<Arc<Connection>, Refused> {
        // The client writes nothing to a blocked connection and would buffer all messages in
        // memory.
        if self.publishing.is_blocked() {
            return Err(Refused::Unconfirmed("the broker blocks publishers".into()));
        }
        let connection = self.publishing_connection().await;
        connection.map_err(|why| Refused::Unconfirmed(why.to_string()))
    }

    /// Puts messages into one queue, through the exchanges to the partitions of its service.
    pub(crate) async fn put(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> Vec<Result<(), Refused>> {
        let connection = match self.ready_to_publish().await {
            Ok(connection) => connection,
            Err(why) => return vec![Err(why); messages.len()],
        };
        let settings = BatchSettings {
            names: &self.names,
            only: Some(queue),
            bound: &HashSet::default(),
            timeout: self.timeout,
            frame_max: connection.configuration().frame_max(),
        };
        let publisher = &self.publisher;
        let results = publisher.publish(&connection, &settings, &messages).await;
        if publisher.take_topology_missing()
            && let Err(why) = self.redeclare(Again::Missing).await
        {
            let code = why.code();
            tracing::warn!(code, "cannot declare the topology again: {why}");
        }
        results
    }
}
