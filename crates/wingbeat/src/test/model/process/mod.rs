//! The ports of one process. Once the process is killed they never answer: clients that still use
//! its router must not reach its successor.

mod allotments;
mod bodies;

use std::sync::Arc;
use std::time::Duration;

use crate::Ports;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::cache::{Allotments, Durability};
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat_core::transport::{Refused, Settler};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    Bodies, Cache, Consumer, CorrelationId, Delivery, Envelope, Error, HttpClient, Key, MessageId,
    Name, Outbox, Record, Result, RuntimeExt as _, Store, Tag, Timestamp, Topology, Transport,
    Unit,
};

use super::{Injector, Model, OUTSIDE};
use crate::test::executor::Group;

/// The connection of a process to the model.
#[derive(Clone)]
struct Connection {
    process: Arc<Group>,
    injector: Injector,
}

impl Connection {
    /// Completes at once while the process lives, and never after it was killed.
    async fn while_alive(&self) {
        if !self.process.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    /// Like [`Self::while_alive`], after a commit, at which the process may be killed.
    async fn while_alive_after_commit<T>(&self, committed: &Result<T>) {
        if committed.is_ok() && self.process.commits() {
            std::future::pending::<()>().await;
        }
        self.while_alive().await;
    }

    /// Returns the time of the server. The clock of the process may be skewed.
    fn server_time(&self) -> Timestamp {
        self.injector.runtime().now()
    }
}

/// A port that forwards to the model while the process lives.
struct Proxy<T: ?Sized> {
    connection: Connection,
    inner: Arc<T>,
}

pub(super) fn ports(model: &Model, process: &Arc<Group>, outside: Arc<dyn HttpClient>) -> Ports {
    let connection = Connection {
        process: Arc::clone(process),
        injector: model.injector.clone(),
    };
    Ports {
        runtime: process.clone(),
        store: Arc::new(Proxy::<dyn Store> {
            connection: connection.clone(),
            inner: model.store.clone(),
        }),
        transport: Arc::new(Proxy::<dyn Transport> {
            connection: connection.clone(),
            inner: model.transport.clone(),
        }),
        cache: Arc::new(Proxy::<dyn Cache> {
            connection: connection.clone(),
            inner: model.cache.clone(),
        }),
        http: Arc::new(Proxy::<dyn HttpClient> {
            connection,
            inner: outside,
        }),
    }
}

/// Forwards a call. It completes only if the process lives before and after the call.
macro_rules! forward {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        Box::pin(async move {
            $self.connection.while_alive().await;
            let answer = $self.inner.$method($($argument),*).await;
            $self.connection.while_alive().await;
            answer
        })
    };
}

impl Store for Proxy<dyn Store> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        forward!(self.ping())
    }

    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let (services, topology) = (services.to_vec(), topology.clone());
        forward!(self.prepare(&services, &topology))
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            self.connection.while_alive().await;
            let outcomes = self.inner.commit(units).await;
            self.connection.while_alive_after_commit(&outcomes).await;
            outcomes
        })
    }

    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(async move {
            self.connection.while_alive().await;
            let outcomes = self.inner.commit_claiming(units, lease).await;
            self.connection.while_alive_after_commit(&outcomes).await;
            outcomes
        })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        forward!(self.load(service, &key))
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        forward!(self.scan(service, table, after, limit))
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        forward!(self.history(service, &key, after))
    }

    fn history_page(
        &self,
        service: Name,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        forward!(self.history_page(service, &key, after, limit))
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        forward!(self.row(service, view, &key))
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        forward!(self.rows(service, query))
    }

    fn journal(
        &self,
        service: Name,
        correlation: CorrelationId,
    ) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        forward!(self.journal(service, correlation))
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        forward!(self.counters(service))
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let source = source.to_owned();
        forward!(self.settled(queue, &source, message))
    }

    fn claim_due(
        &self,
        services: &[Name],
        _now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let services = services.to_vec();
        forward!(self.claim_due(&services, self.connection.server_time(), lease, limit))
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let services = services.to_vec();
        forward!(self.next_due(&services))
    }

    fn backlog(&self, service: Name, _now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        forward!(self.backlog(service, self.connection.server_time()))
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        forward!(self.retain(now))
    }

    fn bodies(&self) -> Option<Arc<dyn Bodies>> {
        let bodies = Proxy::<dyn Bodies> {
            connection: self.connection.clone(),
            inner: self.inner.bodies()?,
        };
        Some(Arc::new(bodies))
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        let outbox = Proxy::<dyn Outbox> {
            connection: self.connection.clone(),
            inner: self.inner.outbox()?,
        };
        Some(Arc::new(outbox))
    }
}

impl Outbox for Proxy<dyn Outbox> {
    fn claim(
        &self,
        services: &[Name],
        _now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>> {
        let services = services.to_vec();
        forward!(self.claim(&services, self.connection.server_time(), lease, limit))
    }

    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>> {
        forward!(self.confirmed(ids))
    }

    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        _now: Timestamp,
    ) -> BoxFuture<'_, Result<()>> {
        forward!(self.release(pauses, self.connection.server_time()))
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let kind = kind.to_owned();
        forward!(self.waiting(&kind))
    }
}

impl Transport for Proxy<dyn Transport> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        forward!(self.ping())
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        forward!(self.declare(&topology))
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        forward!(self.publish(messages))
    }

    fn forward(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        forward!(self.forward(queue, messages))
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            self.connection.while_alive().await;
            let inner = self.inner.consume(queue, prefetch).await?;
            Ok(Box::new(self.consumer(inner)) as Box<dyn Consumer>)
        })
    }

    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let queue = queue.to_owned();
        Box::pin(async move {
            self.connection.while_alive().await;
            let inner = self.inner.replies(&queue, prefetch).await?;
            Ok(Box::new(self.consumer(inner)) as Box<dyn Consumer>)
        })
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        forward!(self.depth(queue))
    }

    fn consumers(&self, queue: Name) -> BoxFuture<'_, Result<Option<u64>>> {
        forward!(self.consumers(queue))
    }
}

impl Proxy<dyn Transport> {
    fn consumer(&self, inner: Box<dyn Consumer>) -> ProxyConsumer {
        ProxyConsumer {
            connection: self.connection.clone(),
            inner,
            paused: false,
        }
    }
}

struct ProxyConsumer {
    connection: Connection,
    inner: Box<dyn Consumer>,
    /// Set once the pause of a slow consumer has begun, until the next deliveries.
    paused: bool,
}

impl Consumer for ProxyConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            self.connection.while_alive().await;
            if !self.paused
                && let Some(pause) = self.connection.injector.slow_consumer_pause()
            {
                // The dispatcher may drop this future during the pause. The next call must not
                // pause again: a slow consumer would become one that never receives.
                self.paused = true;
                self.connection.injector.runtime().sleep(pause).await;
            }
            let deliveries = self.inner.next().await;
            self.paused = false;
            self.connection.while_alive().await;
            deliveries
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(ProxySettler {
            connection: self.connection.clone(),
            inner: self.inner.settler(),
        })
    }
}

struct ProxySettler {
    connection: Connection,
    inner: Arc<dyn Settler>,
}

impl Settler for ProxySettler {
    fn acknowledge(&self, tags: &[Tag]) {
        if self.connection.process.is_alive() {
            self.inner.acknowledge(tags);
        }
    }

    fn requeue(&self, tags: &[Tag]) {
        if self.connection.process.is_alive() {
            self.inner.requeue(tags);
        }
    }
}

impl Cache for Proxy<dyn Cache> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        forward!(self.ping())
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let key = key.to_owned();
        forward!(self.get(&key))
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        forward!(self.put(&key, value, ttl, keep))
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        let key = key.to_owned();
        forward!(self.replace(&key, expected, value, ttl, keep))
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        forward!(self.remove(&key))
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let prefix = prefix.to_owned();
        forward!(self.remove_prefix(&prefix))
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let key = key.to_owned();
        forward!(self.hit(&key, window))
    }

    fn allotments(&self) -> Option<&dyn Allotments> {
        self.inner.allotments().is_some().then_some(self)
    }
}

impl HttpClient for Proxy<dyn HttpClient> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            self.connection.while_alive().await;
            let injector = &self.connection.injector;
            injector.record_use(OUTSIDE);
            injector.delay().await;
            if injector.occurs("outside_fails", |faults| faults.outside_fails) {
                return Err(Error::retry("refused", "the connection was refused"));
            }
            let hangs = injector.occurs("outside_hangs", |faults| faults.outside_hangs);
            let takes_effect = !hangs || injector.random().is_multiple_of(2);
            let limit = request.timeout;
            let answer = if takes_effect {
                let send = self.inner.send(request);
                injector.runtime().timeout(limit, send).await
            } else {
                None
            };
            self.connection.while_alive().await;
            if hangs {
                injector.runtime().sleep(limit).await;
            }
            if hangs || answer.is_none() {
                return Err(Error::retry("timeout", "no answer in time"));
            }
            if injector.occurs("outside_reply_lost", |faults| faults.outside_reply_lost) {
                return Err(Error::retry("no_answer", "the reply was lost"));
            }
            answer.unwrap_or_else(|| Err(Error::retry("timeout", "no answer in time")))
        })
    }
}
