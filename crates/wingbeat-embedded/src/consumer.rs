//! Consumers: take messages from a queue and acknowledge them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::Connection;
use wingbeat_core::transport::{Consumer, Delivery, Settler, Tag};
use wingbeat_core::{Result, sabotage};

use crate::broker::{Broker, SharedQueue};
use crate::reads;
use crate::workers::Workers;
use crate::writer::Writer;

/// A consumer of one queue.
pub(crate) struct QueueConsumer {
    inner: Arc<Inner>,
    broker: Arc<Broker>,
    readers: Arc<Workers>,
    prefetch: usize,
}

/// The part of a consumer that acknowledges deliveries. Settlers keep it alive.
struct Inner {
    queue: Arc<SharedQueue>,
    writer: Arc<Writer>,
    consumer: u64,
}

impl QueueConsumer {
    pub(crate) fn new(
        broker: Arc<Broker>,
        queue: Arc<SharedQueue>,
        writer: Arc<Writer>,
        readers: Arc<Workers>,
        prefetch: usize,
    ) -> Self {
        let inner = Inner {
            queue,
            writer,
            consumer: broker.next_consumer(),
        };
        Self {
            inner: Arc::new(inner),
            broker,
            readers,
            prefetch,
        }
    }

    /// Reads a page from disk if few messages are ready. If the caller stops waiting, the page is
    /// still read.
    async fn read_page(&self) -> Result<()> {
        let queue = &self.inner.queue;
        let Some((after, last)) = queue.lock().start_page(self.prefetch / 2) else {
            return Ok(());
        };
        let guard = PageGuard {
            queue: Arc::clone(queue),
            read: false,
        };
        let broker = Arc::clone(&self.broker);
        let limit = broker.page_rows();
        let read = move |connection: &mut Connection| {
            let mut guard = guard;
            let page = reads::queue_page(connection, after, limit)?;
            let is_full = page.len() == limit;
            broker.add_page(&guard.queue, page, last, is_full);
            guard.read = true;
            Ok(())
        };
        self.readers.run(read).await
    }
}

/// Lets another consumer try if a page was not read.
struct PageGuard {
    queue: Arc<SharedQueue>,
    read: bool,
}

impl Drop for PageGuard {
    fn drop(&mut self) {
        if !self.read {
            self.queue.lock().fail_page();
            self.queue.changed.notify_waiters();
        }
    }
}

impl Consumer for QueueConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                // Enabled before the queue is checked, so that no notification is missed.
                let mut changed = std::pin::pin!(self.inner.queue.changed.notified());
                changed.as_mut().enable();
                self.read_page().await?;
                let taken = self.inner.take(self.prefetch);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                changed.await;
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.inner) as Arc<dyn Settler>
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        self.inner.queue.lock().remove_consumer(self.inner.consumer);
        self.inner.queue.changed.notify_waiters();
    }
}

impl Inner {
    fn take(&self, prefetch: usize) -> Vec<Delivery> {
        let taken = self.queue.lock().take(self.consumer, prefetch);
        if sabotage::lacks(sabotage::ACK_AFTER_COMMIT) && !taken.is_empty() {
            let rows = taken.iter().map(|delivery| delivery.tag.0);
            self.writer.delete(rows.collect());
        }
        taken
    }
}

impl Settler for Inner {
    fn acknowledge(&self, tags: &[Tag]) {
        let queue = self.queue.lock();
        // The commit of a unit has already removed the rows that the unit settled.
        let unacked: Vec<u64> = tags
            .iter()
            .map(|tag| tag.0)
            .filter(|row| queue.is_unacked(*row))
            .collect();
        drop(queue);
        if !unacked.is_empty() {
            self.writer.delete(unacked);
        }
    }

    fn requeue(&self, tags: &[Tag]) {
        let mut queue = self.queue.lock();
        for tag in tags {
            queue.requeue(tag.0);
        }
        drop(queue);
        self.queue.changed.notify_waiters();
    }
}
