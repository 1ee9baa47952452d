//! [`Transport`] on SQLite.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::envelope::Unfit;
use wingbeat_core::transport::{Consumer, Deviation, DeviationKind, Prune, Pruned, Refused};
use wingbeat_core::{Envelope, Error, Name, Result, Topology, Transport};

use super::Embedded;
use crate::broker::UNROUTABLE;
use crate::consumer::QueueConsumer;
use crate::names::{NONE, Space};
use crate::queue::before_first;
use crate::reads;

/// The messages of an orphaned queue that are discarded at once.
const DISCARDED: usize = 512;

impl Embedded {
    /// Returns the queues that have messages and are not part of the topology: their numbers, names
    /// and messages. Without messages, such a queue is only a name.
    fn orphans(&self, topology: &Topology) -> Vec<(u32, Name, u64)> {
        let queues = self.shared.names.under(Space::Queue, NONE).into_iter();
        let queues = queues.map(|(number, name)| (number, name, self.shared.broker.depth(number)));
        let is_orphan = |(_, name, depth): &(u32, Name, u64)| {
            *depth > 0 && name.as_str() != UNROUTABLE && !topology.queues.contains_key(name)
        };
        queues.filter(is_orphan).collect()
    }

    /// Deletes all messages of a queue.
    async fn discard(&self, queue: u32) -> Result<()> {
        loop {
            let first = before_first(queue);
            let page =
                self.read(move |connection, _| reads::queue_page(connection, first, DISCARDED));
            let rows: Vec<u64> = page.await?.iter().map(|message| message.row).collect();
            if rows.is_empty() {
                return Ok(());
            }
            self.writer.delete(rows);
            self.writer.ping().await?;
        }
    }
}

impl Transport for Embedded {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        Box::pin(async move {
            self.writer.declare(Vec::new(), topology.clone()).await?;
            for (_, queue, waiting) in self.orphans(&topology) {
                tracing::warn!(
                    code = "topology_orphan",
                    %queue,
                    waiting,
                    "no subscription has this queue any more, and messages wait in it; `topology \
                     prune` deletes them"
                );
            }
            Ok(())
        })
    }

    fn deviations(&self, topology: &Topology) -> BoxFuture<'_, Result<Vec<Deviation>>> {
        let orphans = self.orphans(topology).into_iter();
        let found = orphans.map(|(_, queue, waiting)| Deviation {
            queue: queue.to_string(),
            kind: DeviationKind::Orphaned,
            waiting,
            consumers: 0,
        });
        Box::pin(std::future::ready(Ok(found.collect())))
    }

    /// The file belongs to one system, so the queues of removed services are orphaned as well.
    fn prune(&self, topology: &Topology, options: &Prune) -> BoxFuture<'_, Result<Vec<Pruned>>> {
        let (orphans, forced) = (self.orphans(topology), options.forced);
        Box::pin(async move {
            let mut pruned = Vec::new();
            for (number, queue, waiting) in orphans {
                let result = if forced {
                    self.discard(number).await?;
                    Ok(waiting)
                } else {
                    Err(format!("{waiting} messages wait in it"))
                };
                pruned.push(Pruned {
                    queue: queue.to_string(),
                    result,
                });
            }
            Ok(pruned)
        })
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

    fn forward(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let count = messages.len();
            let forwarded = self.writer.forward(queue, messages).await;
            forwarded
                .unwrap_or_else(|error| vec![Err(Refused::Unconfirmed(error.to_string())); count])
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

    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let consumer = self.shared.broker.replies.open(queue, prefetch);
        Box::pin(std::future::ready(Ok(Box::new(consumer) as _)))
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        let number = self.shared.names.find_queue(queue);
        let depth = number.map_or(0, |number| self.shared.broker.depth(number));
        Box::pin(std::future::ready(Ok(depth)))
    }

    fn consumers(&self, queue: Name) -> BoxFuture<'_, Result<Option<u64>>> {
        let number = self.shared.names.find_queue(queue);
        let consumers = number.map_or(0, |number| self.shared.broker.consumers(number));
        Box::pin(std::future::ready(Ok(Some(consumers))))
    }
}
