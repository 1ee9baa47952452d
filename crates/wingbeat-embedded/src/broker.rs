//! The broker's state in memory: the queues, their routes, and the size of their windows.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, params};
use tokio::sync::Notify;
use wingbeat_core::transport::{Delivery, Tag};
use wingbeat_core::{Envelope, HashMap, Kind, Topology};

use crate::config::Config;
use crate::names::{NONE, Names, Space};
use crate::queue::{Message, Queue, before_first, queue_of};
use crate::replies::Replies;

/// The queue of commands that no queue was bound to when they were sent.
pub(crate) const UNROUTABLE: &str = "wb.unroutable";
/// The row of a reply, which has none.
pub(crate) const NO_ROW: u64 = 0;
/// Number of messages that each queue may keep in memory even if all queues together are over their
/// limit.
const WINDOW_MIN: usize = 32;

/// A queue, and a notification for its waiting consumers.
#[derive(Debug)]
pub(crate) struct SharedQueue {
    queue: Mutex<Queue>,
    pub(crate) changed: Notify,
}

impl SharedQueue {
    fn new(queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(queue),
            changed: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All queues of the file.
#[derive(Debug)]
pub(crate) struct Broker {
    queues: RwLock<HashMap<u32, Arc<SharedQueue>>>,
    routes: RwLock<HashMap<&'static str, Vec<u32>>>,
    window: usize,
    window_bytes: usize,
    /// Size of the messages that all queues together have in memory.
    bytes: AtomicUsize,
    consumers: AtomicU64,
    pub(crate) replies: Arc<Replies>,
}

impl Broker {
    /// Creates the windows of the queues in the file.
    pub(crate) fn read(
        connection: &Connection,
        names: &Names,
        config: &Config,
    ) -> rusqlite::Result<Self> {
        let mut queues = HashMap::default();
        for (number, _) in names.under(Space::Queue, NONE) {
            let (first, end) = (before_first(number), before_first(number + 1));
            let (count, last) = connection.query_row(
                "SELECT count(*), max(id) FROM queue WHERE id > ?1 AND id < ?2",
                params![first as i64, end as i64],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
            )?;
            let last = last.map_or(first, |last| last as u64);
            let queue = Queue::recovered(count as u64, first, last);
            queues.insert(number, SharedQueue::new(queue));
        }
        Ok(Self {
            queues: RwLock::new(queues),
            routes: RwLock::default(),
            window: config.window,
            window_bytes: config.window_bytes,
            bytes: AtomicUsize::new(0),
            consumers: AtomicU64::new(0),
            replies: Arc::default(),
        })
    }

    /// Adds routes and queues. The next commit makes their names durable.
    pub(crate) fn declare(&self, names: &Names, topology: &Topology) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for (name, queue) in &topology.queues {
            let number = names.intern(Space::Queue, NONE, name.as_str());
            self.declare_queue(number).lock().set_ordered(queue.ordered);
            for binding in &queue.bindings {
                let queues = routes.entry(binding.message).or_default();
                if !queues.contains(&number) {
                    queues.push(number);
                }
            }
        }
        self.declare_queue(names.intern(Space::Queue, NONE, UNROUTABLE));
    }

    fn declare_queue(&self, number: u32) -> Arc<SharedQueue> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(number).or_insert_with(|| {
            let first = before_first(number);
            SharedQueue::new(Queue::recovered(0, first, first))
        });
        Arc::clone(queue)
    }

    /// Returns the queues that a message goes to; `None` for a command that no queue is bound to.
    pub(crate) fn route(&self, message: &Envelope) -> Option<Vec<u32>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        match routes.get(&*message.kind) {
            Some(queues) => Some(queues.clone()),
            None if message.role == Kind::Event => Some(Vec::new()),
            None => None,
        }
    }

    /// Returns a declared queue.
    pub(crate) fn queue(&self, number: u32) -> Option<Arc<SharedQueue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(&number).cloned()
    }

    /// Returns the last committed row of a queue.
    pub(crate) fn last(&self, number: u32) -> u64 {
        self.queue(number)
            .map_or(before_first(number), |queue| queue.lock().last())
    }

    /// Returns the number of rows of a queue, delivered or not.
    pub(crate) fn depth(&self, number: u32) -> u64 {
        self.queue(number).map_or(0, |queue| queue.lock().depth())
    }

    /// Returns the number of consumers of a queue.
    pub(crate) fn consumers(&self, number: u32) -> u64 {
        self.queue(number)
            .map_or(0, |queue| queue.lock().consumers() as u64)
    }

    /// Returns a number for a new consumer.
    pub(crate) fn next_consumer(&self) -> u64 {
        self.consumers.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds committed messages, in the order of their rows within each queue, and wakes consumers.
    pub(crate) fn add(&self, messages: Vec<(u64, Envelope, usize)>) {
        let mut changed: Vec<Arc<SharedQueue>> = Vec::new();
        for (row, envelope, bytes) in messages {
            if row == NO_ROW {
                self.replies.add(envelope);
                continue;
            }
            let Some(shared) = self.queue(queue_of(row)) else {
                continue;
            };
            let delivery = Delivery {
                tag: Tag(row),
                redelivered: false,
                envelope: Ok(envelope),
                dead_lettered: None,
            };
            let message = Message {
                row,
                delivery,
                bytes,
            };
            let mut queue = shared.lock();
            let (before, has_room) = (queue.bytes(), self.has_room(&queue));
            queue.push(message, has_room);
            self.bytes
                .fetch_add(queue.bytes() - before, Ordering::Relaxed);
            drop(queue);
            if !changed.iter().any(|other| Arc::ptr_eq(other, &shared)) {
                changed.push(shared);
            }
        }
        for queue in changed {
            queue.changed.notify_waiters();
        }
    }

    /// Removes rows that a commit deleted, and wakes consumers.
    pub(crate) fn remove(&self, rows: &[u64]) {
        for row in rows {
            let Some(shared) = self.queue(queue_of(*row)) else {
                continue;
            };
            let mut queue = shared.lock();
            let before = queue.bytes();
            queue.remove(*row);
            self.bytes
                .fetch_sub(before - queue.bytes(), Ordering::Relaxed);
            drop(queue);
            shared.changed.notify_waiters();
        }
    }

    /// Adds a page that was read from disk, and wakes consumers; see [`Queue::add_page`].
    pub(crate) fn add_page(
        &self,
        shared: &SharedQueue,
        page: Vec<Message>,
        last: u64,
        is_full: bool,
    ) {
        let mut queue = shared.lock();
        let before = queue.bytes();
        queue.add_page(page, last, is_full);
        self.bytes
            .fetch_add(queue.bytes() - before, Ordering::Relaxed);
        drop(queue);
        shared.changed.notify_waiters();
    }

    /// Returns how many rows a page should have.
    pub(crate) fn page_rows(&self) -> usize {
        if self.is_under_limit() {
            (self.window / 2).max(WINDOW_MIN)
        } else {
            WINDOW_MIN
        }
    }

    fn has_room(&self, queue: &Queue) -> bool {
        let ready = queue.ready();
        ready < WINDOW_MIN || (ready < self.window && self.is_under_limit())
    }

    fn is_under_limit(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.window_bytes
    }
}
