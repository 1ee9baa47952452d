//! The requests of a process that wait for their replies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use wingbeat_core::{Envelope, HashMap, MessageId, Name};

/// The largest number of requests of one service that wait in one process. Each has a reply to
/// come, and the caller of a route behind it.
pub(super) const PENDING_MAX: usize = 1_024;

pub(super) struct Pending {
    service: Name,
    /// The reply queue.
    queue: String,
    waiting: Mutex<HashMap<MessageId, oneshot::Sender<Envelope>>>,
    /// Replies that came after their request was forgotten.
    late: AtomicU64,
    /// Notified when no request waits any more.
    emptied: Notify,
}

impl Pending {
    pub(super) fn new(service: Name, queue: String) -> Self {
        Self {
            service,
            queue,
            waiting: Mutex::default(),
            late: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, oneshot::Sender<Envelope>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Adds a request, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// The number of requests that wait, if there are too many.
    pub(super) fn add(
        self: &Arc<Self>,
        id: MessageId,
        request: &'static str,
    ) -> Result<Waiting, usize> {
        let mut waiting = self.lock();
        if waiting.len() >= PENDING_MAX {
            self.ended(request, "overloaded");
            return Err(waiting.len());
        }
        let (sender, reply) = oneshot::channel();
        waiting.insert(id, sender);
        self.measure(waiting.len());
        drop(waiting);
        Ok(Waiting {
            pending: Arc::clone(self),
            id,
            request,
            reply,
            outcome: "cancelled",
        })
    }

    /// Hands a reply to its request. Nobody waits for one that is late.
    pub(super) fn reply(&self, reply: Envelope) {
        let waiting = reply.causation.and_then(|id| self.lock().remove(&id));
        let taken = waiting.is_some_and(|waiting| waiting.send(reply).is_ok());
        if !taken {
            self.late.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("wingbeat_replies_late_total", "service" => self.service.as_str())
                .increment(1);
        }
    }

    /// Resolves when no request waits.
    pub(super) async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "the number is small")]
    fn measure(&self, waiting: usize) {
        metrics::gauge!("wingbeat_requests_pending", "service" => self.service.as_str())
            .set(waiting as f64);
    }

    fn ended(&self, request: &'static str, outcome: &'static str) {
        let labels = [
            ("service", self.service.as_str()),
            ("type", request),
            ("outcome", outcome),
        ];
        metrics::counter!("wingbeat_requests_total", &labels).increment(1);
    }
}

/// A request that waits for its reply. Dropping it forgets the request.
pub(super) struct Waiting {
    pending: Arc<Pending>,
    id: MessageId,
    request: &'static str,
    reply: oneshot::Receiver<Envelope>,
    outcome: &'static str,
}

impl Waiting {
    /// Resolves to the reply.
    pub(super) async fn reply(&mut self) -> Option<Envelope> {
        (&mut self.reply).await.ok()
    }

    /// Notes the outcome. Without one, the caller has dropped the future.
    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.pending.lock();
        waiting.remove(&self.id);
        let left = waiting.len();
        drop(waiting);
        self.pending.measure(left);
        self.pending.ended(self.request, self.outcome);
        if left == 0 {
            self.pending.emptied.notify_waiters();
        }
    }
}
