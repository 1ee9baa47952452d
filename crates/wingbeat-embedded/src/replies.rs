//! Reply queues: in memory only, since they end with the process that asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use wingbeat_core::transport::Settler;
use wingbeat_core::{Consumer, Delivery, Dialog, Envelope, Error, HashMap, Result, Tag};

/// The tags of replies begin here: rows of queues have lower numbers.
const TAGS: u64 = 1 << 63;

/// An open reply queue.
#[derive(Debug)]
struct Open {
    number: u64,
    sender: mpsc::Sender<Envelope>,
}

/// The reply queues of this process by name.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    queues: Mutex<HashMap<String, Open>>,
    next: AtomicU64,
}

impl Replies {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a queue for at most `capacity` replies that wait.
    pub(crate) fn open(self: &Arc<Self>, queue: &str, capacity: usize) -> ReplyConsumer {
        let (sender, replies) = mpsc::channel(capacity.max(1));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Open { number, sender };
        self.lock().insert(queue.to_owned(), open);
        ReplyConsumer {
            queues: Arc::clone(self),
            queue: queue.to_owned(),
            number,
            replies,
        }
    }

    /// Returns whether the queue of a reply is open.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.lock().contains_key(queue)
    }

    /// Passes a committed reply to its queue. Drops it if there is none, or no room: nobody waits
    /// for it any more.
    pub(crate) fn add(&self, reply: Envelope) {
        let queues = self.lock();
        let queue = reply.dialog.as_ref().map_or("", Dialog::queue);
        let sent = queues.get(queue).map(|open| open.sender.try_send(reply));
        if !matches!(sent, Some(Ok(()))) {
            metrics::counter!("wingbeat_replies_dropped_total").increment(1);
        }
    }
}

/// The consumer of a reply queue. Dropping it deletes the queue.
pub(crate) struct ReplyConsumer {
    queues: Arc<Replies>,
    queue: String,
    number: u64,
    replies: mpsc::Receiver<Envelope>,
}

impl Consumer for ReplyConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let lost = || Error::retry("consumer_lost", "the reply queue was opened again");
            let first = self.replies.recv().await.ok_or_else(lost)?;
            let mut all = vec![self.delivery(first)];
            while let Ok(reply) = self.replies.try_recv() {
                all.push(self.delivery(reply));
            }
            Ok(all)
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Settled)
    }
}

impl ReplyConsumer {
    fn delivery(&self, reply: Envelope) -> Delivery {
        Delivery {
            tag: Tag(TAGS | self.queues.next.fetch_add(1, Ordering::Relaxed)),
            redelivered: false,
            envelope: Ok(reply),
            dead_lettered: None,
        }
    }
}

impl Drop for ReplyConsumer {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        if queues
            .get(&self.queue)
            .is_some_and(|open| open.number == self.number)
        {
            queues.remove(&self.queue);
        }
    }
}

/// A reply is settled when it is received: nothing keeps it.
struct Settled;

impl Settler for Settled {
    fn acknowledge(&self, _tags: &[Tag]) {}

    fn requeue(&self, _tags: &[Tag]) {}
}
