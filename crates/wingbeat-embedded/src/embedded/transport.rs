//! [`Transport`] on SQLite.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::envelope::Unfit;
use wingbeat_core::transport::{Consumer, Refused};
use wingbeat_core::{Envelope, Error, Name, Result, Topology, Transport};

use super::Embedded;
use crate::consumer::QueueConsumer;

impl Transport for Embedded {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        Box::pin(async move { self.writer.declare(Vec::new(), topology).await })
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.writer.ping())
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let checked: Vec<_> = messages.iter().map(Envelope::check).collect();
            let mut messages = messages;
            let mut of_message = checked.iter();
            messages.retain(|_| of_message.next().is_some_and(Result::is_ok));
            let count = messages.len();
            let published = match self.writer.publish(messages).await {
                Ok(published) => published,
                Err(error) => vec![Err(Refused::Unconfirmed(error.to_string())); count],
            };
            let mut published = published.into_iter();
            let result = |checked: std::result::Result<(), Unfit>| match checked {
                Ok(()) => published.next().unwrap_or(Ok(())),
                Err(unfit) => Err(Refused::Impossible(unfit.to_string())),
            };
            checked.into_iter().map(result).collect()
        })
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let number = self.shared.names.find_queue(queue);
        let shared = number.and_then(|number| self.shared.broker.queue(number));
        let consumer = shared
            .map(|shared| {
                let broker = Arc::clone(&self.shared.broker);
                let (writer, readers) = (Arc::clone(&self.writer), Arc::clone(&self.readers));
                let consumer = QueueConsumer::new(broker, shared, writer, readers, prefetch);
                Box::new(consumer) as Box<dyn Consumer>
            })
            .ok_or_else(|| {
                Error::reject(
                    "queue_unknown",
                    format!("queue {queue} was not declared: declare it before consuming it"),
                )
            });
        Box::pin(std::future::ready(consumer))
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        let number = self.shared.names.find_queue(queue);
        let depth = number.map_or(0, |number| self.shared.broker.depth(number));
        Box::pin(std::future::ready(Ok(depth)))
    }
}
