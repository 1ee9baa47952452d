//! The store in memory, with exactly the promises of its port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::store::{DueRecord, Outbox, Page, Position, Query, Recorded, Select};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    CorrelationId, Envelope, Error, Key, MessageId, Name, Record, Result, Store, Timestamp,
    Topology, Unit, UnitId,
};

use super::Weather;

type View = BTreeMap<String, Row>;

#[derive(Clone, Default)]
struct Data {
    records: BTreeMap<(Name, Key), Record>,
    histories: BTreeMap<(Name, Key), Vec<Recorded>>,
    views: BTreeMap<(Name, Name), View>,
    inbox: BTreeMap<(Name, String, MessageId), UnitId>,
    units: BTreeSet<UnitId>,
    journal: BTreeMap<(Name, CorrelationId), Vec<Bytes>>,
    counters: BTreeMap<(Name, Name), i64>,
    outbox: BTreeMap<MessageId, (Envelope, Name)>,
}

/// Leases are not data: they are gone after a restart of the store.
#[derive(Default)]
struct Leases {
    due: BTreeMap<(Name, Key), (u64, Timestamp)>,
    outbox: BTreeMap<MessageId, Timestamp>,
}

/// See the module.
pub struct ModelStore {
    weather: Weather,
    data: Arc<Mutex<Data>>,
    leases: Arc<Mutex<Leases>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelStore {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            data: Arc::default(),
            leases: Arc::default(),
        }
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&Data) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.weather.reach_store().await?;
            Ok(work(&lock(&self.data)))
        })
    }
}

impl Data {
    fn commit(&mut self, unit: &Unit) -> Outcome {
        if self.units.contains(&unit.id) {
            return Outcome::Committed;
        }
        if let Some(settled) = unit
            .settles
            .as_ref()
            .filter(|_| !cfg!(feature = "sabotage-no-inbox"))
        {
            let key = (settled.queue, settled.source.clone(), settled.message);
            match self.inbox.get(&key) {
                Some(by) if *by == unit.id => return Outcome::Committed,
                Some(_) => return Outcome::Duplicate,
                None => {}
            }
        }
        let version = |data: &Self, key: &Key| {
            data.records
                .get(&(unit.service, key.clone()))
                .map_or(0, |record| record.version)
        };
        if unit
            .reads
            .iter()
            .any(|read| version(self, &read.key) != read.version)
        {
            return Outcome::Stale;
        }
        let next = |key: &Key| {
            self.histories
                .get(&(unit.service, key.clone()))
                .map_or(0, Vec::len) as u64
                + 1
        };
        let mut expected: BTreeMap<Key, u64> = BTreeMap::new();
        for append in &unit.appends {
            let sequence = expected
                .entry(append.key.clone())
                .or_insert_with(|| next(&append.key));
            if append.sequence != *sequence {
                return Outcome::Stale;
            }
            *sequence += 1;
        }
        self.apply(unit);
        Outcome::Committed
    }

    fn apply(&mut self, unit: &Unit) {
        let service = unit.service;
        self.units.insert(unit.id);
        if let Some(settled) = unit.settles.as_ref().filter(|settled| settled.done) {
            self.inbox.insert(
                (settled.queue, settled.source.clone(), settled.message),
                unit.id,
            );
        }
        for write in &unit.writes {
            let key = (service, write.key.clone());
            let version = self.records.get(&key).map_or(0, |record| record.version) + 1;
            match &write.body {
                Some(body) => drop(self.records.insert(
                    key,
                    Record {
                        version,
                        body: body.clone(),
                        due_at: write.due_at,
                    },
                )),
                None => drop(self.records.remove(&key)),
            }
        }
        for append in &unit.appends {
            let recorded = Recorded {
                sequence: append.sequence,
                at: append.at,
                body: append.body.clone(),
            };
            self.histories
                .entry((service, append.key.clone()))
                .or_default()
                .push(recorded);
        }
        for write in &unit.rows {
            let view = self.views.entry((service, write.view)).or_default();
            match &write.row {
                Some(row) => drop(view.insert(write.key.clone(), row.clone())),
                None => drop(view.remove(&write.key)),
            }
        }
        for message in &unit.messages {
            self.outbox.insert(message.id, (message.clone(), service));
        }
        if let Some(journal) = &unit.journal {
            self.journal
                .entry((service, journal.correlation))
                .or_default()
                .push(journal.body.clone());
        }
        for (counter, by) in &unit.counts {
            *self.counters.entry((service, *counter)).or_default() += by;
        }
    }
}

impl Store for ModelStore {
    fn prepare(&self, _services: &[Name], _topology: &Topology) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            self.weather.reach_store().await?;
            let outcomes = {
                let mut data = lock(&self.data);
                units.iter().map(|unit| data.commit(unit)).collect()
            };
            self.weather.delay().await;
            if self.weather.strikes(|faults| faults.commit_unknown) {
                return Err(Error::retry(
                    "commit_unknown",
                    "the answer to a commit was lost",
                ));
            }
            Ok(outcomes)
        })
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
            let of_table = data
                .records
                .iter()
                .filter(|((of, key), _)| *of == service && key.table == table);
            let behind =
                of_table.filter(|((_, key), _)| after.as_ref().is_none_or(|after| key.id > *after));
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

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.read(move |data| {
            data.journal
                .get(&(service, story))
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
        let key = (queue, source.to_owned(), message);
        self.read(move |data| data.inbox.contains_key(&key))
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
            self.weather.reach_store().await?;
            let data = lock(&self.data);
            let mut leases = lock(&self.leases);
            let mut due: Vec<_> = data
                .records
                .iter()
                .filter(|((service, _), record)| {
                    services.contains(service) && record.due_at.is_some_and(|at| at <= now)
                })
                .filter(|(key, record)| {
                    leases
                        .due
                        .get(key)
                        .is_none_or(|(version, end)| *version != record.version || *end <= now)
                })
                .collect();
            due.sort_by_key(|(_, record)| record.due_at);
            due.truncate(limit);
            let claim = |(key, record): (&(Name, Key), &Record)| {
                leases
                    .due
                    .insert(key.clone(), (record.version, now + lease));
                DueRecord {
                    service: key.0,
                    key: key.1.clone(),
                    record: record.clone(),
                }
            };
            Ok(due.into_iter().map(claim).collect())
        })
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let services = services.to_vec();
        Box::pin(async move {
            let data = lock(&self.data);
            let leases = lock(&self.leases);
            let of_services = data
                .records
                .iter()
                .filter(|((service, _), _)| services.contains(service));
            let free = of_services.filter(|(key, record)| {
                leases
                    .due
                    .get(key)
                    .is_none_or(|(version, _)| *version != record.version)
            });
            Ok(free.filter_map(|(_, record)| record.due_at).min())
        })
    }

    fn retain(&self, _now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async { Ok(0) }) // A world does not live for thirty days.
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        let outbox = ModelOutbox {
            weather: self.weather.clone(),
            data: Arc::clone(&self.data),
            leases: Arc::clone(&self.leases),
        };
        Some(Arc::new(outbox))
    }
}

fn select(view: &View, query: &Query) -> Page {
    let value = |row: &Row, column: Name| {
        row.columns
            .iter()
            .find(|(name, _)| *name == column)
            .map(|(_, value)| value.clone())
    };
    let mut found: Vec<(Position, Row)> = view
        .iter()
        .filter_map(|(key, row)| {
            let value = match &query.select {
                Select::All => String::new(),
                Select::Prefix { column, prefix, .. } => {
                    value(row, *column).filter(|value| value.starts_with(prefix))?
                }
                Select::Contains { column, part } => {
                    value(row, *column).filter(|value| value.contains(part))?;
                    String::new()
                }
            };
            Some((
                Position {
                    value,
                    key: key.clone(),
                },
                row.clone(),
            ))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| (&a.value, &a.key).cmp(&(&b.value, &b.key)));
    let descending = matches!(
        query.select,
        Select::Prefix {
            descending: true,
            ..
        }
    );
    if descending {
        found.reverse();
    }
    if let Some(after) = &query.after {
        let behind = |position: &Position| {
            let order = (&position.value, &position.key).cmp(&(&after.value, &after.key));
            if descending {
                order.is_lt()
            } else {
                order.is_gt()
            }
        };
        found.retain(|(position, _)| behind(position));
    }
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = more
        .then(|| found.last().map(|(position, _)| position.clone()))
        .flatten();
    Page {
        rows: found
            .into_iter()
            .map(|(position, row)| (position.key, row))
            .collect(),
        next,
    }
}

struct ModelOutbox {
    weather: Weather,
    data: Arc<Mutex<Data>>,
    leases: Arc<Mutex<Leases>>,
}

impl Outbox for ModelOutbox {
    fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>> {
        let services = services.to_vec();
        Box::pin(async move {
            self.weather.reach_store().await?;
            let data = lock(&self.data);
            let mut leases = lock(&self.leases);
            let free = data.outbox.iter().filter(|(id, (_, service))| {
                services.contains(service) && leases.outbox.get(id).is_none_or(|end| *end <= now)
            });
            let claimed: Vec<Envelope> = free
                .take(limit)
                .map(|(_, (envelope, _))| envelope.clone())
                .collect();
            leases
                .outbox
                .extend(claimed.iter().map(|envelope| (envelope.id, now + lease)));
            Ok(claimed)
        })
    }

    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.weather.reach_store().await?;
            let mut data = lock(&self.data);
            ids.iter().for_each(|id| drop(data.outbox.remove(id)));
            Ok(())
        })
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let count = lock(&self.data)
            .outbox
            .values()
            .filter(|(envelope, _)| envelope.kind == kind)
            .count();
        Box::pin(async move { Ok(count as u64) })
    }
}
