//! Doubles for tests of failures: a store that refuses chosen units, and the log as a test reads
//! it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::field::Field;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    CorrelationId, Key, MessageId, Name, Record, Result, Store, Timestamp, Topology, Unit,
};

/// Returns whether a scan of this table, after this id, finds nothing.
pub(crate) type Hides = dyn Fn(Name, Option<&str>) -> bool + Send + Sync;

/// A store that refuses the units for which `refuses` returns `true`, and lists no record of a
/// table, after an id, for which `hides` does.
pub(crate) struct Refusing {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) refuses: Arc<dyn Fn(&Unit) -> bool + Send + Sync>,
    pub(crate) hides: Arc<Hides>,
}

impl Store for Refusing {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.ping()
    }

    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.inner.prepare(services, topology)
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let refused: Vec<bool> = units.iter().map(|unit| (self.refuses)(unit)).collect();
            let accepted = units.iter().zip(&refused).filter(|(_, refused)| !**refused);
            let accepted = accepted.map(|(unit, _)| unit.clone()).collect();
            let outcomes = self.inner.commit(Arc::new(accepted)).await?;
            let mut outcomes = outcomes.into_iter();
            let outcome = |refused: bool| match refused {
                true => Some(Outcome::Refused),
                false => outcomes.next(),
            };
            Ok(refused.into_iter().filter_map(outcome).collect())
        })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        self.inner.load(service, key)
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        if (self.hides)(table, after.as_deref()) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.inner.scan(service, table, after, limit)
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        self.inner.history(service, key, after)
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        self.inner.row(service, view, key)
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.inner.rows(service, query)
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.inner.journal(service, story)
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        self.inner.counters(service)
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        self.inner.settled(queue, source, message)
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        self.inner.claim_due(services, now, lease, limit)
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.inner.next_due(services)
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        self.inner.backlog(service, now)
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        self.inner.retain(now)
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.inner.outbox()
    }
}

/// The log of this thread: one line per event, with its level and fields.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Starts to record. The log ends with the guard.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let recording = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(recording))
    }

    /// Counts the lines that contain all of these parts.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let lines = self.0.lock().expect("no test panics with it");
        let matches = |line: &&String| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(matches).count()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            let _ = write!(line, " {field}={value:?}"); // Writing to a string never fails.
        });
        self.0.lock().expect("no test panics with it").push(line);
    }
}
