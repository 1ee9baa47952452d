//! The model's store. It keeps the guarantees of the port `Store` and no others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    Bodies, CorrelationId, Envelope, Error, Key, MessageId, Name, Record, Result, Store, Timestamp,
    Topology, Unit,
};

use super::bodies::ModelBodies;
use super::data::{Data, Owned};
use super::outbox::{self, ModelOutbox};
use super::view::select;
use super::{Committed, Injector, lock};
use crate::schedule::SCHEDULES;

/// The leases of due records: the claimed version and the end. A restart loses them.
type Leases = BTreeMap<Owned, (u64, Timestamp)>;

/// A store in memory.
pub struct ModelStore {
    injector: Injector,
    data: Arc<Mutex<Data>>,
    leases: Mutex<Leases>,
    outbox_leases: Arc<Mutex<outbox::Leases>>,
    bodies: Arc<ModelBodies>,
}

impl ModelStore {
    pub(crate) fn new(injector: Injector) -> Self {
        Self {
            bodies: Arc::new(ModelBodies::new(injector.clone())),
            injector,
            data: Arc::default(),
            leases: Mutex::default(),
            outbox_leases: Arc::default(),
        }
    }

    /// Simulates a restart of the store: all leases are lost.
    pub fn restart(&self) {
        lock(&self.leases).clear();
        lock(&self.outbox_leases).clear();
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&Data) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.injector.reach_store().await?;
            Ok(work(&lock(&self.data)))
        })
    }

    /// Commits units. With a lease, claims the messages that they add to the outbox.
    async fn commit_units(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Option<Duration>,
    ) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
        self.injector.reach_store().await?;
        let unknown = self
            .injector
            .occurs("commit_unknown", |faults| faults.commit_unknown);
        let count = if unknown {
            // The connection is lost after some of the units, or after none or all.
            self.injector.random() as usize % (units.len() + 1)
        } else {
            units.len()
        };
        let now = self.injector.runtime().now();
        let last = lock(&self.data).last_position();
        let outcomes = lock(&self.data).commit(&units[..count], now);
        let claimed = match lease {
            Some(lease) => self.claim(&units[..count], last, now + lease),
            None => Vec::new(),
        };
        self.injector.delay().await;
        if unknown {
            let text = "the reply to a commit was lost";
            return Err(Error::retry("commit_unknown", text));
        }
        Ok((outcomes, claimed))
    }

    /// Claims the messages that these units added to the outbox after the position `last`.
    fn claim(&self, units: &[Unit], last: u64, until: Timestamp) -> Vec<Envelope> {
        let (data, mut leases) = (lock(&self.data), lock(&self.outbox_leases));
        let messages = units.iter().flat_map(|unit| &unit.messages);
        let new = messages.filter(|message| match data.positions.get(&message.id) {
            Some(position) if *position > last => leases.insert(*position, until).is_none(),
            _ => false,
        });
        new.cloned().collect()
    }

    /// Returns the current records of a table, for invariants.
    #[must_use]
    pub fn records(&self, service: Name, table: Name) -> Vec<(String, Record)> {
        let data = lock(&self.data);
        let first = (service, Key::new(table, String::new()));
        let rest = data.records.range(first..);
        let own = rest.take_while(|((of, key), _)| *of == service && key.table == table);
        own.map(|((_, key), record)| (key.id.clone(), record.clone()))
            .collect()
    }

    /// Returns all committed units, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Committed> {
        lock(&self.data).log.clone()
    }

    /// Returns the number of times that each timer was set, by queue and wire type.
    pub(crate) fn timers(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.data).timers.clone()
    }

    /// Returns the pending work: messages in the outbox, and records due before `until`.
    pub(crate) fn unsettled(&self, until: Timestamp) -> Vec<String> {
        let data = lock(&self.data);
        let unsent = data.outbox.values();
        let unsent = unsent.map(|(_, message)| format!("{} is not published", message.kind));
        let due = data.due.iter().take_while(|(at, _)| *at < until);
        // A schedule has a next run for ever: it leaves no work undone.
        let due = due.filter(|(_, (_, key))| key.table != SCHEDULES);
        let due = due.map(|(at, (service, key))| {
            format!("{service}: {} {} is due at {at}", key.table, key.id)
        });
        unsent.chain(due).collect()
    }

    fn claim_records(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Vec<DueRecord> {
        let data = lock(&self.data);
        let mut leases = lock(&self.leases);
        let due = data.due.iter().take_while(|(at, _)| *at <= now);
        let free = due.filter(|(_, key)| {
            services.contains(&key.0) && is_unclaimed(&leases, key, &data.records[key], now)
        });
        let claimed: Vec<Owned> = free.take(limit).map(|(_, key)| key.clone()).collect();
        let claim = |key: Owned| {
            let record = data.records[&key].clone();
            leases.insert(key.clone(), (record.version, now + lease));
            let (service, key) = key;
            DueRecord {
                service,
                key,
                record,
            }
        };
        claimed.into_iter().map(claim).collect()
    }
}

/// Returns whether no process has claimed this version of the record.
fn is_unclaimed(leases: &Leases, key: &Owned, record: &Record, now: Timestamp) -> bool {
    let lease = leases.get(key);
    lease.is_none_or(|(version, end)| *version != record.version || *end <= now)
}

impl Store for ModelStore {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.read(|_| ())
    }

    fn prepare(&self, _services: &[Name], _topology: &Topology) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move { Ok(self.commit_units(units, None).await?.0) })
    }

    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(self.commit_units(units, Some(lease)))
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = (service, key.clone());
        self.read(move |data| data.records.get(&key).cloned())
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        self.read(move |data| {
            let first = (service, Key::new(table, after.clone().unwrap_or_default()));
            let rest = data.records.range(first..);
            let of_table = rest.take_while(|((of, key), _)| *of == service && key.table == table);
            let behind = of_table.filter(|((_, key), _)| after.as_ref() != Some(&key.id));
            behind
                .take(limit)
                .map(|((_, key), record)| (key.id.clone(), record.clone()))
                .collect()
        })
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = (service, key.clone());
        self.read(move |data| {
            let history = data.histories.get(&key).into_iter().flatten();
            history
                .filter(|recorded| recorded.sequence > after)
                .cloned()
                .collect()
        })
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        self.read(move |data| {
            data.views
                .get(&(service, view))
                .and_then(|rows| rows.get(&key))
                .cloned()
        })
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.read(move |data| {
            data.views
                .get(&(service, query.view))
                .map(|view| select(view, &query))
                .unwrap_or_default()
        })
    }

    fn journal(
        &self,
        service: Name,
        correlation: CorrelationId,
    ) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.read(move |data| {
            data.journal
                .get(&(service, correlation))
                .cloned()
                .unwrap_or_default()
        })
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        self.read(move |data| {
            let own = data.counters.iter().filter(|((of, _), _)| *of == service);
            own.map(|((_, name), value)| (*name, *value)).collect()
        })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let source = source.to_owned();
        self.read(move |data| data.settled(queue, &source, message))
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let services = services.to_vec();
        Box::pin(async move {
            self.injector.reach_store().await?;
            Ok(self.claim_records(&services, now, lease, limit))
        })
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let services = services.to_vec();
        Box::pin(async move {
            self.injector.reach_store().await?;
            let now = self.injector.runtime().now();
            let data = lock(&self.data);
            let leases = lock(&self.leases);
            let mut free = data.due.iter().filter(|(_, key)| {
                services.contains(&key.0) && is_unclaimed(&leases, key, &data.records[key], now)
            });
            Ok(free.next().map(|(at, _)| *at))
        })
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        self.read(move |data| data.backlog(service, now))
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            self.injector.reach_store().await?;
            Ok(lock(&self.data).retain(now))
        })
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        let outbox = ModelOutbox {
            injector: self.injector.clone(),
            data: Arc::clone(&self.data),
            leases: Arc::clone(&self.outbox_leases),
        };
        Some(Arc::new(outbox))
    }

    fn bodies(&self) -> Option<Arc<dyn Bodies>> {
        Some(self.bodies.clone())
    }
}
