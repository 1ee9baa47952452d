//! The broker: which queues a message goes to, and consumers that wait at them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, params};
use tokio::sync::Notify;
use uuid::Uuid;
use wingbeat_core::transport::{Broken, Consumer, Delivery, Fault, Settler, Tag, Undecodable};
use wingbeat_core::{Envelope, HashMap, Kind, Name, Result, Topology, sabotage};

use crate::config::Config;
use crate::names::{NONE, Names, Space};
use crate::queue::{Message, Queue, ROW_BITS, before_first, queue_of};
use crate::writer::Writer;

/// Where commands lie that no queue took, until one does.
pub(crate) const UNROUTABLE: &str = "wb.unroutable";
/// A queue keeps at least this many in memory, however little room there is.
const FLOOR: usize = 32;

/// A queue and those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All queues of the file.
#[derive(Debug)]
pub(crate) struct Broker {
    places: RwLock<HashMap<u32, Arc<Place>>>,
    routes: RwLock<HashMap<&'static str, Vec<u32>>>,
    window: usize,
    window_bytes: usize,
    bytes: AtomicUsize,
    consumers: AtomicU64,
}

impl Broker {
    /// The queues with what lies in them.
    pub(crate) fn read(
        connection: &Connection,
        names: &Names,
        config: &Config,
    ) -> rusqlite::Result<Self> {
        let mut places = HashMap::default();
        for (number, _) in names.under(Space::Queue, NONE) {
            let (first, end) = (before_first(number), before_first(number + 1));
            let found = connection.query_row(
                "SELECT count(*), max(id) FROM queue WHERE id > ?1 AND id < ?2",
                params![first as i64, end as i64],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
            )?;
            let (count, last) = (found.0 as u64, found.1.map_or(first, |last| last as u64));
            let queue = Mutex::new(Queue::found(count, first, last));
            let arrived = Notify::new();
            places.insert(number, Arc::new(Place { queue, arrived }));
        }
        Ok(Self {
            places: RwLock::new(places),
            routes: RwLock::default(),
            window: config.window,
            window_bytes: config.window_bytes,
            bytes: AtomicUsize::new(0),
            consumers: AtomicU64::new(0),
        })
    }

    /// Adds routes and queues. The names become durable with the next commit.
    pub(crate) fn declare(&self, names: &Names, topology: &Topology) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for (name, queue) in &topology.queues {
            let number = names.number(Space::Queue, NONE, name.as_str());
            self.add(number);
            if let Some(place) = self.place(number) {
                place.lock().set_ordered(queue.ordered);
            }
            for binding in &queue.bindings {
                let queues = routes.entry(binding.message).or_default();
                if !queues.contains(&number) {
                    queues.push(number);
                }
            }
        }
        self.add(names.number(Space::Queue, NONE, UNROUTABLE));
    }

    fn add(&self, number: u32) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        places.entry(number).or_insert_with(|| {
            let first = before_first(number);
            Arc::new(Place {
                queue: Mutex::new(Queue::found(0, first, first)),
                arrived: Notify::new(),
            })
        });
    }

    /// The queues that take a message; `None` for a command that none takes.
    pub(crate) fn route(&self, message: &Envelope) -> Option<Vec<u32>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        match routes.get(&*message.kind) {
            Some(queues) => Some(queues.clone()),
            None if message.role == Kind::Event => Some(Vec::new()),
            None => None,
        }
    }

    pub(crate) fn place(&self, number: u32) -> Option<Arc<Place>> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(&number).cloned()
    }

    /// The last row of a queue.
    pub(crate) fn last(&self, number: u32) -> u64 {
        self.place(number)
            .map_or(before_first(number), |place| place.lock().last())
    }

    pub(crate) fn depth(&self, number: u32) -> u64 {
        self.place(number).map_or(0, |place| place.lock().depth())
    }

    /// Rows that were committed, in order of their numbers within each queue.
    pub(crate) fn committed(&self, rows: Vec<(u64, Envelope, usize)>) {
        let mut woken: Vec<Arc<Place>> = Vec::new();
        for (row, envelope, bytes) in rows {
            let Some(place) = self.place(queue_of(Tag(row))) else {
                continue;
            };
            let delivery = Delivery {
                tag: Tag(row),
                redelivered: false,
                envelope: Ok(envelope),
                dead_lettered: None,
            };
            let mut queue = place.lock();
            let room = self.room(&queue);
            let message = Message {
                row,
                delivery,
                bytes,
            };
            if queue.committed(message, room) {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            drop(queue);
            if !woken.iter().any(|other| Arc::ptr_eq(other, &place)) {
                woken.push(place);
            }
        }
        for place in woken {
            place.arrived.notify_waiters();
        }
    }

    /// Rows that were deleted with a commit.
    pub(crate) fn settled(&self, rows: &[u64]) {
        for row in rows {
            let Some(place) = self.place(queue_of(Tag(*row))) else {
                continue;
            };
            let mut queue = place.lock();
            let before = queue.bytes();
            queue.settled(*row);
            self.bytes
                .fetch_sub(before - queue.bytes(), Ordering::Relaxed);
            drop(queue);
            place.arrived.notify_waiters();
        }
    }

    fn room(&self, queue: &Queue) -> bool {
        let waiting = queue.waiting();
        let small = self.bytes.load(Ordering::Relaxed) < self.window_bytes;
        waiting < FLOOR || (waiting < self.window && small)
    }

    fn paged(&self, place: &Place, page: Vec<Message>, up_to: u64, full: bool) {
        let mut queue = place.lock();
        let before = queue.bytes();
        queue.paged(page, up_to, full);
        self.bytes
            .fetch_add(queue.bytes() - before, Ordering::Relaxed);
        drop(queue);
        place.arrived.notify_waiters();
    }

    fn page_rows(&self) -> usize {
        let small = self.bytes.load(Ordering::Relaxed) < self.window_bytes;
        if small {
            (self.window / 2).max(FLOOR)
        } else {
            FLOOR
        }
    }
}

/// A message as it lies in the file; what cannot be read is delivered as undecodable.
fn read_row(row: u64, body: Vec<u8>) -> Message {
    let raw = Bytes::from(body);
    let bytes = raw.len();
    let undecodable = || Undecodable {
        id: Uuid::from_u128(u128::from(row)).into(),
        kind: String::new(),
        broken: Broken {
            fault: Fault::Undecodable,
            why: "the stored bytes are not a message".into(),
            headers: std::collections::BTreeMap::default(),
        },
        raw: raw.clone(),
    };
    let envelope = Envelope::decode(&raw).ok_or_else(undecodable);
    let delivery = Delivery {
        tag: Tag(row),
        // Nobody knows how far it came before the last end of the process.
        redelivered: true,
        envelope,
        dead_lettered: None,
    };
    Message {
        row,
        delivery,
        bytes,
    }
}

/// Reads rows of one queue after `from`, at most `limit`.
pub(crate) fn read_page(
    connection: &Connection,
    from: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Message>> {
    let end = ((from >> ROW_BITS) + 1) << ROW_BITS;
    let mut statement = connection.prepare_cached(
        "SELECT id, body FROM queue WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![from as i64, end as i64, limit as i64], |row| {
        Ok(read_row(row.get::<_, i64>(0)? as u64, row.get(1)?))
    })?;
    rows.collect()
}

/// One consumer of one queue.
pub(crate) struct QueueConsumer {
    hold: Arc<Hold>,
    prefetch: usize,
    readers: Arc<crate::workers::Workers>,
}

/// What a consumer and its settlers share.
struct Hold {
    broker: Arc<Broker>,
    place: Arc<Place>,
    writer: Arc<Writer>,
    consumer: u64,
}

impl QueueConsumer {
    pub(crate) fn new(
        broker: Arc<Broker>,
        place: Arc<Place>,
        writer: Arc<Writer>,
        readers: Arc<crate::workers::Workers>,
        prefetch: usize,
    ) -> Self {
        let consumer = broker.consumers.fetch_add(1, Ordering::Relaxed);
        let hold = Arc::new(Hold {
            broker,
            place,
            writer,
            consumer,
        });
        Self {
            hold,
            prefetch,
            readers,
        }
    }

    /// Has a page read if the window runs low. The reading goes on when the caller gives up waiting.
    async fn page(&self) -> Result<()> {
        let Hold { broker, place, .. } = &*self.hold;
        let Some((from, up_to)) = place.lock().wants_page(self.prefetch / 2) else {
            return Ok(());
        };
        let guard = PageGuard {
            place: Arc::clone(place),
            done: false,
        };
        let broker = Arc::clone(broker);
        let limit = broker.page_rows();
        let read = move |connection: &mut Connection| {
            let mut guard = guard;
            let page = read_page(connection, from, limit)?;
            let full = page.len() == limit;
            broker.paged(&guard.place, page, up_to, full);
            guard.done = true;
            Ok(())
        };
        self.readers.run(read).await
    }
}

/// Lets another try when a page was not read.
struct PageGuard {
    place: Arc<Place>,
    done: bool,
}

impl Drop for PageGuard {
    fn drop(&mut self) {
        if !self.done {
            self.place.lock().not_paged();
            self.place.arrived.notify_waiters();
        }
    }
}

impl Consumer for QueueConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let mut arrived = std::pin::pin!(self.hold.place.arrived.notified());
                arrived.as_mut().enable();
                self.page().await?;
                let taken = self
                    .hold
                    .place
                    .lock()
                    .take(self.hold.consumer, self.prefetch);
                if !taken.is_empty() {
                    if sabotage::lacks(sabotage::ACK_AFTER_COMMIT) {
                        let tags = taken.iter().map(|delivery| delivery.tag.0);
                        self.hold.writer.delete(tags.collect());
                    }
                    return Ok(taken);
                }
                arrived.await;
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.hold) as Arc<dyn Settler>
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        self.hold.place.lock().leave(self.hold.consumer);
        self.hold.place.arrived.notify_waiters();
    }
}

impl Settler for Hold {
    fn acknowledge(&self, tags: &[Tag]) {
        let queue = self.place.lock();
        let held: Vec<u64> = tags
            .iter()
            .map(|tag| tag.0)
            .filter(|row| queue.holds(*row))
            .collect();
        drop(queue);
        if !held.is_empty() {
            self.writer.delete(held);
        }
    }

    fn requeue(&self, tags: &[Tag]) {
        let mut queue = self.place.lock();
        for tag in tags {
            queue.give_back(tag.0);
        }
        drop(queue);
        self.place.arrived.notify_waiters();
    }
}

/// The number of a queue that was declared.
pub(crate) fn number(names: &Names, queue: Name) -> Option<u32> {
    names.find(Space::Queue, NONE, queue.as_str())
}
