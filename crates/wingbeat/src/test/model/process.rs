//! The ports as one process sees them. Once the process was killed they never answer: clients that
//! still use its router must not reach its successor.

use std::sync::Arc;
use std::time::Duration;

use crate::Ports;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::cache::Durability;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat_core::transport::{Refused, Settler};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    Cache, Consumer, CorrelationId, Delivery, Envelope, Error, HttpClient, Key, MessageId, Name,
    Outbox, Record, Result, RuntimeExt as _, Store, Tag, Timestamp, Topology, Transport, Unit,
};

use super::{Model, OUTSIDE, Weather};
use crate::test::executor::Group;

/// The connection of a process to the model.
#[derive(Clone)]
struct Line {
    process: Arc<Group>,
    weather: Weather,
}

impl Line {
    /// Returns at once while the process lives, and never after it was killed.
    async fn pass(&self) {
        if !self.process.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the server's time: the clock of the process may be skewed.
    fn server_time(&self) -> Timestamp {
        self.weather.runtime().now()
    }
}

struct Near<T: ?Sized> {
    line: Line,
    far: Arc<T>,
}

pub(super) fn ports(model: &Model, process: &Arc<Group>, outside: Arc<dyn HttpClient>) -> Ports {
    let line = Line {
        process: Arc::clone(process),
        weather: model.weather.clone(),
    };
    Ports {
        runtime: process.clone(),
        store: Arc::new(Near::<dyn Store> {
            line: line.clone(),
            far: model.store.clone(),
        }),
        transport: Arc::new(Near::<dyn Transport> {
            line: line.clone(),
            far: model.transport.clone(),
        }),
        cache: Arc::new(Near::<dyn Cache> {
            line: line.clone(),
            far: model.cache.clone(),
        }),
        http: Arc::new(Near::<dyn HttpClient> { line, far: outside }),
    }
}

/// Calls the far side, if the process lives before and after the call.
macro_rules! ask {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        Box::pin(async move {
            $self.line.pass().await;
            let answer = $self.far.$method($($argument),*).await;
            $self.line.pass().await;
            answer
        })
    };
}

impl Store for Near<dyn Store> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        ask!(self.ping())
    }

    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let (services, topology) = (services.to_vec(), topology.clone());
        ask!(self.prepare(&services, &topology))
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        ask!(self.commit(units))
    }

    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        ask!(self.commit_claiming(units, lease))
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        ask!(self.load(service, &key))
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        ask!(self.scan(service, table, after, limit))
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        ask!(self.history(service, &key, after))
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        ask!(self.row(service, view, &key))
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        ask!(self.rows(service, query))
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        ask!(self.journal(service, story))
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        ask!(self.counters(service))
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let source = source.to_owned();
        ask!(self.settled(queue, &source, message))
    }

    fn claim_due(
        &self,
        services: &[Name],
        _now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let services = services.to_vec();
        ask!(self.claim_due(&services, self.line.server_time(), lease, limit))
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let services = services.to_vec();
        ask!(self.next_due(&services))
    }

    fn backlog(&self, service: Name, _now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        ask!(self.backlog(service, self.line.server_time()))
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        ask!(self.retain(now))
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        let outbox = Near::<dyn Outbox> {
            line: self.line.clone(),
            far: self.far.outbox()?,
        };
        Some(Arc::new(outbox))
    }
}

impl Outbox for Near<dyn Outbox> {
    fn claim(
        &self,
        services: &[Name],
        _now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>> {
        let services = services.to_vec();
        ask!(self.claim(&services, self.line.server_time(), lease, limit))
    }

    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>> {
        ask!(self.confirmed(ids))
    }

    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        _now: Timestamp,
    ) -> BoxFuture<'_, Result<()>> {
        ask!(self.release(pauses, self.line.server_time()))
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let kind = kind.to_owned();
        ask!(self.waiting(&kind))
    }
}

impl Transport for Near<dyn Transport> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        ask!(self.ping())
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        ask!(self.declare(&topology))
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        ask!(self.publish(messages))
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            self.line.pass().await;
            let far = self.far.consume(queue, prefetch).await?;
            let near = NearConsumer {
                line: self.line.clone(),
                far,
                rested: false,
            };
            Ok(Box::new(near) as Box<dyn Consumer>)
        })
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        ask!(self.depth(queue))
    }
}

struct NearConsumer {
    line: Line,
    far: Box<dyn Consumer>,
    /// Set once the pause before the next deliveries has begun.
    rested: bool,
}

impl Consumer for NearConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            self.line.pass().await;
            if !self.rested
                && let Some(pause) = self.line.weather.slowness()
            {
                // A pause that is dropped counts as made: a slow consumer must not be a stuck one.
                self.rested = true;
                self.line.weather.runtime().sleep(pause).await;
            }
            let deliveries = self.far.next().await;
            self.rested = false;
            self.line.pass().await;
            deliveries
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(NearSettler {
            line: self.line.clone(),
            far: self.far.settler(),
        })
    }
}

struct NearSettler {
    line: Line,
    far: Arc<dyn Settler>,
}

impl Settler for NearSettler {
    fn acknowledge(&self, tags: &[Tag]) {
        if self.line.process.is_alive() {
            self.far.acknowledge(tags);
        }
    }

    fn requeue(&self, tags: &[Tag]) {
        if self.line.process.is_alive() {
            self.far.requeue(tags);
        }
    }
}

impl Cache for Near<dyn Cache> {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        ask!(self.ping())
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let key = key.to_owned();
        ask!(self.get(&key))
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        ask!(self.put(&key, value, ttl, keep))
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        ask!(self.remove(&key))
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let prefix = prefix.to_owned();
        ask!(self.remove_prefix(&prefix))
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let key = key.to_owned();
        ask!(self.hit(&key, window))
    }
}

impl HttpClient for Near<dyn HttpClient> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            self.line.pass().await;
            let weather = &self.line.weather;
            weather.uses(OUTSIDE);
            weather.delay().await;
            if weather.strikes("outside_fails", |faults| faults.outside_fails) {
                return Err(Error::retry("refused", "the connection was refused"));
            }
            let hangs = weather.strikes("outside_hangs", |faults| faults.outside_hangs);
            let acts = !hangs || weather.random().is_multiple_of(2);
            let limit = request.timeout;
            let answer = match acts {
                true => {
                    weather
                        .runtime()
                        .timeout(limit, self.far.send(request))
                        .await
                }
                false => None,
            };
            self.line.pass().await;
            if hangs {
                weather.runtime().sleep(limit).await;
            }
            if hangs || answer.is_none() {
                return Err(Error::retry("timeout", "no answer in time"));
            }
            if weather.strikes("outside_reply_lost", |faults| faults.outside_reply_lost) {
                return Err(Error::retry("no_answer", "the reply was lost"));
            }
            answer.unwrap_or_else(|| Err(Error::retry("timeout", "no answer in time")))
        })
    }
}
