//! Adapters in which faults are planted.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wingbeat::bytes::Bytes;
use wingbeat::cache::Durability;
use wingbeat::overload::Probe;
use wingbeat::ports::{
    Cache, Consumer, Envelope, Key, MessageId, Outbox, Record, Store, Topology, Transport, Unit,
};
use wingbeat::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat::transport::{Deviation, Refused};
use wingbeat::{
    BoxFuture, CorrelationId, Error, Name, Ports, Result, Runtime, SharedRuntime, Timestamp,
};
use wingbeat_core::unit::{Outcome, Row};

/// The planted faults.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) store_down: AtomicBool,
    pub(crate) broker_down: AtomicBool,
    pub(crate) cache_down: AtomicBool,
    /// The clock is ahead by so many seconds.
    pub(crate) clock_ahead: AtomicI64,
    /// The free space of the disk in bytes; 0 stands for a disk without a reading.
    pub(crate) disk_free: AtomicU64,
    pub(crate) memory_percent: AtomicU64,
    pub(crate) backlog: Mutex<Option<Backlog>>,
    pub(crate) deviations: Mutex<Vec<Deviation>>,
}

impl Faults {
    fn check(fault: &AtomicBool, code: &'static str) -> Result<()> {
        match fault.load(Ordering::SeqCst) {
            true => Err(Error::retry(code, "planted: no connection")),
            false => Ok(()),
        }
    }

    /// Plants itself in front of these ports.
    pub(crate) fn around(self: &Arc<Self>, ports: &Ports) -> Ports {
        Ports {
            runtime: Arc::new(Faulty(ports.runtime.clone(), Arc::clone(self))),
            store: Arc::new(Faulty(ports.store.clone(), Arc::clone(self))),
            transport: Arc::new(Faulty(ports.transport.clone(), Arc::clone(self))),
            cache: Arc::new(Faulty(ports.cache.clone(), Arc::clone(self))),
            http: ports.http.clone(),
        }
    }
}

impl Probe for Faults {
    fn memory_percent(&self) -> Option<u64> {
        Some(self.memory_percent.load(Ordering::SeqCst))
    }

    fn disk_free(&self) -> Option<u64> {
        Some(self.disk_free.load(Ordering::SeqCst)).filter(|free| *free > 0)
    }
}

struct Faulty<T>(T, Arc<Faults>);

impl Runtime for Faulty<SharedRuntime> {
    fn now(&self) -> Timestamp {
        let ahead = self.1.clock_ahead.load(Ordering::SeqCst);
        Timestamp::from_micros(self.0.now().as_micros() + ahead * 1_000_000)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.0.fill_secret(bytes);
    }
}

impl Transport for Faulty<Arc<dyn Transport>> {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.0.declare(topology)
    }

    fn deviations(&self, topology: &Topology) -> BoxFuture<'_, Result<Vec<Deviation>>> {
        let planted = self
            .1
            .deviations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let planted = planted.clone();
        let found = self.0.deviations(topology);
        Box::pin(async move { Ok([found.await?, planted].concat()) })
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            Faults::check(&self.1.broker_down, "broker_unavailable")?;
            self.0.ping().await
        })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        self.0.publish(messages)
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        self.0.consume(queue, prefetch)
    }

    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        self.0.replies(queue, prefetch)
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        self.0.depth(queue)
    }

    fn consumers(&self, queue: Name) -> BoxFuture<'_, Result<Option<u64>>> {
        self.0.consumers(queue)
    }
}

impl Cache for Faulty<Arc<dyn Cache>> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            Faults::check(&self.1.cache_down, "cache_unavailable")?;
            self.0.ping().await
        })
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.0.get(key)
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        self.0.put(key, value, ttl, keep)
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        self.0.replace(key, expected, value, ttl, keep)
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        self.0.remove(key)
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.0.remove_prefix(prefix)
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        self.0.hit(key, window)
    }
}

impl Store for Faulty<Arc<dyn Store>> {
    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.0.prepare(services, topology)
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            Faults::check(&self.1.store_down, "store_unavailable")?;
            self.0.ping().await
        })
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        self.0.commit(units)
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        self.0.load(service, key)
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        self.0.scan(service, table, after, limit)
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        self.0.history(service, key, after)
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        self.0.row(service, view, key)
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.0.rows(service, query)
    }

    fn journal(
        &self,
        service: Name,
        correlation: CorrelationId,
    ) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.0.journal(service, correlation)
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        Box::pin(async move {
            Faults::check(&self.1.store_down, "store_unavailable")?;
            self.0.counters(service).await
        })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        self.0.settled(queue, source, message)
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        self.0.claim_due(services, now, lease, limit)
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.0.next_due(services)
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        let planted = self
            .1
            .backlog
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let planted = planted.clone();
        Box::pin(async move {
            Faults::check(&self.1.store_down, "store_unavailable")?;
            match planted {
                Some(planted) => Ok(planted),
                None => self.0.backlog(service, now).await,
            }
        })
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        self.0.retain(now)
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.0.outbox()
    }
}
