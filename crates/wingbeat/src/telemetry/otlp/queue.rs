//! The bounded queue of a signal, and the task that sends what waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::collector::Collector;
use super::{Signal, metric};

/// The capacity of a queue: about one second of a busy service. Further records are dropped.
const WAITING_MAX: usize = 8_192;
/// The size of all records in a queue. Spans have about 1 KiB, log records up to many.
const BYTES_MAX: usize = 16 << 20;
/// The records in one batch: about half a MiB of spans.
const BATCH_MAX: usize = 512;
/// The size at which a batch is sent with fewer records. Collectors accept 4 MiB and more.
const BATCH_BYTES: usize = 1 << 20;
/// The longest time for which records are collected before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// A record of a signal.
pub(super) trait Record: Send + Sized + 'static {
    const SIGNAL: Signal;
    /// The counter of records.
    const COUNTER: &'static str;

    /// Returns the size in bytes.
    fn size(&self) -> usize;

    /// Returns the request that sends a batch as records of a service.
    fn request(batch: Vec<Self>, service: &str) -> Vec<u8>;
}

/// The space that a queue has left.
#[derive(Default)]
struct Room {
    bytes: AtomicUsize,
    /// Set when a record was dropped.
    was_full: AtomicBool,
}

/// A record that waits, and its size.
struct Waiting<T> {
    record: Box<T>,
    size: usize,
}

/// The end of a queue for those who have records. They never wait.
pub(super) struct Queue<T> {
    sender: mpsc::Sender<Waiting<T>>,
    room: Arc<Room>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            room: Arc::clone(&self.room),
        }
    }
}

/// The other end.
pub(super) struct Queued<T> {
    receiver: mpsc::Receiver<Waiting<T>>,
    room: Arc<Room>,
}

pub(super) fn bounded<T>() -> (Queue<T>, Queued<T>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let room = Arc::<Room>::default();
    let queued = Queued {
        receiver,
        room: Arc::clone(&room),
    };
    (Queue { sender, room }, queued)
}

impl<T: Record> Queue<T> {
    /// Queues a record, or drops and counts it.
    pub(super) fn offer(&self, record: T) {
        let size = record.size();
        let before = self.room.bytes.fetch_add(size, Ordering::Relaxed);
        let waiting = Waiting {
            record: Box::new(record),
            size,
        };
        if before + size > BYTES_MAX || self.sender.try_send(waiting).is_err() {
            self.room.bytes.fetch_sub(size, Ordering::Relaxed);
            self.room.was_full.store(true, Ordering::Relaxed);
            metrics::counter!(T::COUNTER, metric::OUTCOME => "full").increment(1);
        }
    }
}

/// A batch in the making.
struct Batch<T> {
    records: Vec<T>,
    size: usize,
}

impl<T> Batch<T> {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            size: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.records.len() < BATCH_MAX && self.size < BATCH_BYTES
    }
}

impl<T> Queued<T> {
    fn put(&self, waiting: Waiting<T>, batch: &mut Batch<T>) {
        let Waiting { record, size } = waiting;
        self.room.bytes.fetch_sub(size, Ordering::Relaxed);
        batch.records.push(*record);
        batch.size += size;
    }

    /// Waits for a record, and then collects more for a while. Returns `false` if there will be
    /// none. If the future is dropped, the batch has what was collected.
    async fn gather(&mut self, batch: &mut Batch<T>) -> bool {
        let Some(first) = self.receiver.recv().await else {
            return false;
        };
        self.put(first, batch);
        let more = async {
            while batch.has_room() {
                let Some(next) = self.receiver.recv().await else {
                    return;
                };
                self.put(next, batch);
            }
        };
        let _ = tokio::time::timeout(GATHER, more).await; // What has come until then is enough.
        true
    }

    /// Adds at most so many records that wait already, and returns their number.
    fn take(&mut self, most: usize, batch: &mut Batch<T>) -> usize {
        let mut count = 0;
        while count < most && batch.has_room() {
            let Ok(next) = self.receiver.try_recv() else {
                break;
            };
            self.put(next, batch);
            count += 1;
        }
        count
    }
}

/// Sends the records of a queue.
pub(super) struct Sending<T> {
    pub(super) queued: Queued<T>,
    pub(super) collector: Collector,
    pub(super) service: String,
    /// Set once the log says that records are dropped.
    pub(super) told: bool,
}

impl<T: Record> Sending<T> {
    /// Sends batches until all ends of the queue for records are gone.
    pub(super) async fn run(mut self, mut flushes: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            let mut batch = Batch::new();
            let flush = tokio::select! {
                biased;
                Some(done) = flushes.recv() => done,
                more = self.queued.gather(&mut batch) => {
                    self.send(batch).await;
                    if more {
                        continue;
                    }
                    return;
                }
            };
            // Records that come during a flush are not part of it.
            let mut left = self.queued.receiver.len();
            loop {
                left -= self.queued.take(left, &mut batch);
                if batch.records.is_empty() {
                    break;
                }
                self.send(std::mem::replace(&mut batch, Batch::new())).await;
            }
            let _ = flush.send(()); // The caller may have timed out.
        }
    }

    async fn send(&mut self, batch: Batch<T>) {
        let count = batch.records.len();
        if count == 0 {
            return;
        }
        let body = T::request(batch.records, &self.service);
        let accepted = self.collector.take(body, count).await;
        let was_full = self.queued.room.was_full.swap(false, Ordering::Relaxed);
        if was_full && !self.told {
            let items = T::SIGNAL.items();
            tracing::warn!("the collector is too slow: more {items} wait than fit, dropping some");
        }
        // One line for each time in which records are dropped.
        self.told = was_full || (self.told && !accepted);
    }
}
