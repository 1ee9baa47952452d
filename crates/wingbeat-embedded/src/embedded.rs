//! The store and the transport over the parts.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded, Waiting};
use wingbeat_core::transport::{Consumer, Refused};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    CorrelationId, Envelope, Error, Key, MessageId, Name, Record, Result, Store, Timestamp,
    Topology, Transport, Unit,
};

use crate::broker::{self, Broker, QueueConsumer};
use crate::config::Config;
use crate::fault::failed;
use crate::guard::Guard;
use crate::id::RecordKey;
use crate::intake::{Answer, Intake};
use crate::names::{NONE, Names, Space};
use crate::recent::Recent;
use crate::stats::{Counters, Stats};
use crate::workers::Workers;
use crate::writer::{Shared, Writer};
use crate::{reads, schema};

/// SQLite as store and broker at once. What a unit reads, writes, settles and sends is one transaction.
pub struct Embedded {
    writer: Arc<Writer>,
    shared: Shared,
    /// For reads that cost microseconds: done where they are asked for.
    quick: Vec<Mutex<Connection>>,
    /// For reads of many rows.
    readers: Arc<Workers>,
    _lock: File,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the data in `config.path`; makes the directory and the file if they are absent.
    ///
    /// # Errors
    ///
    /// `data_in_use` when another process has it open, `data_unreadable` when it cannot be read or
    /// written, `data_newer` when a later release wrote it, `tables_invalid` when [`Config::tables`] fails.
    pub fn open(config: &Config) -> Result<Arc<Self>> {
        let lock = config.hold()?;
        let file = config.file();
        let connection = schema::open_writer(&file, config.page_cache_bytes)?;
        let guard = Guard::watch(&connection, config)?;
        let names = Arc::new(Names::read(&connection).map_err(|e| failed(&e))?);
        let broker = Broker::read(&connection, &names, config).map_err(|e| failed(&e))?;
        let shared = Shared {
            names,
            broker: Arc::new(broker),
            recent: Arc::new(Recent::new(config.recent_bytes)),
            leases: Arc::default(),
            intake: Arc::new(Intake::new(config.path.clone(), config.min_free_bytes)),
            counters: Arc::new(Counters::default()),
            guard,
        };
        let readers = config.readers.max(1);
        let open = |_| schema::open_reader(&file);
        let many = (0..readers).map(open).collect::<Result<Vec<_>>>()?;
        let quick = (0..readers).map(open).collect::<Result<Vec<_>>>()?;
        let writer = Writer::start(connection, shared.clone(), config.batch_max)?;
        Ok(Arc::new(Self {
            writer: Arc::new(writer),
            shared,
            quick: quick.into_iter().map(Mutex::new).collect(),
            readers: Arc::new(Workers::start("wb-reader", many)?),
            _lock: lock,
        }))
    }

    /// Whether new work may come in: there is space left, and the last write succeeded. Shut, it looks
    /// again every quarter of a second.
    #[must_use]
    pub fn writable(&self) -> bool {
        match self.shared.intake.look() {
            Answer::Open => true,
            Answer::Shut => false,
            Answer::Probe => {
                self.writer.probe();
                false
            }
        }
    }

    /// What the writer did since the store was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }

    fn quick<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let free = self.quick.iter().find_map(|one| one.try_lock().ok());
        let connection = match free {
            Some(connection) => connection,
            None => self.quick[0].lock().unwrap_or_else(PoisonError::into_inner),
        };
        read(&connection).map_err(|e| failed(&e))
    }

    fn service(&self, service: Name) -> Option<u32> {
        self.shared
            .names
            .find(Space::Service, NONE, service.as_str())
    }

    fn key(&self, service: Name, key: &Key) -> Option<RecordKey> {
        let table = self.shared.names.find_table(service, key.table)?;
        Some(RecordKey::new(table, key))
    }

    fn load_key(&self, key: &RecordKey) -> Result<Option<Record>> {
        match self.shared.recent.get(key) {
            Some(record) => Ok(record),
            None => self.quick(|connection| reads::load(connection, key)),
        }
    }

    /// Runs a read of many rows on one of the readers.
    async fn many<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Names) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let names = Arc::clone(&self.shared.names);
        self.readers
            .run(move |connection| read(connection, &names))
            .await
    }

    fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DueRecord>> {
        let (names, leases) = (&self.shared.names, &self.shared.leases);
        let most = limit + leases.count();
        let mut due = Vec::new();
        for table in names.tables(services) {
            due.extend(self.quick(|connection| reads::due(connection, table, now, most))?);
        }
        due.sort_by_key(|due| due.at);
        let mut claimed = Vec::new();
        for due in due {
            if claimed.len() == limit {
                break;
            }
            if !leases.take(&due.key, due.version, now, now + lease) {
                continue;
            }
            let record = self.load_key(&due.key)?;
            // Written in the meantime: the new version is not ours.
            let Some(record) = record.filter(|record| record.version == due.version) else {
                continue;
            };
            let table = names.name(due.key.table);
            let service = names.parent(due.key.table).and_then(|it| names.name(it));
            if let (Some(service), Some(table)) = (service, table) {
                let key = Key::new(table, due.key.id.to_string());
                claimed.push(DueRecord {
                    service,
                    key,
                    record,
                });
            }
        }
        Ok(claimed)
    }

    fn soonest(&self, services: &[Name]) -> Result<Option<Timestamp>> {
        let (names, leases) = (&self.shared.names, &self.shared.leases);
        let now = self.now();
        let most = 1 + leases.count();
        let mut soonest: Option<Timestamp> = None;
        for table in names.tables(services) {
            let due =
                self.quick(|connection| reads::due(connection, table, Timestamp::MAX, most))?;
            let free = due.iter().find(|it| leases.free(&it.key, it.version, now));
            if let Some(due) = free {
                soonest = Some(soonest.map_or(due.at, |at| at.min(due.at)));
            }
        }
        Ok(soonest)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.recent.now())
    }
}

impl Store for Embedded {
    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let (services, topology) = (services.to_vec(), topology.clone());
        Box::pin(async move { self.writer.declare(services, topology).await })
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            if units.is_empty() {
                return Ok(Vec::new());
            }
            self.writer.commit(units).await
        })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let record = self
            .key(service, key)
            .map_or(Ok(None), |key| self.load_key(&key));
        Box::pin(std::future::ready(record))
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        let table = self.shared.names.find_table(service, table);
        Box::pin(async move {
            let Some(table) = table else {
                return Ok(Vec::new());
            };
            self.many(move |connection, _| reads::scan(connection, table, after.as_deref(), limit))
                .await
        })
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let found = match self.key(service, key) {
            Some(key) => self.quick(|connection| reads::history(connection, &key, after)),
            None => Ok(Vec::new()),
        };
        Box::pin(std::future::ready(found))
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let names = &self.shared.names;
        let found = match names.find_under(service, Space::View, view) {
            Some(view) => self.quick(|connection| {
                let view = reads::View {
                    connection,
                    names,
                    view,
                };
                view.row(key)
            }),
            None => Ok(None),
        };
        Box::pin(std::future::ready(found))
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        let view = self
            .shared
            .names
            .find_under(service, Space::View, query.view);
        Box::pin(async move {
            let Some(view) = view else {
                return Ok(Page::default());
            };
            let read = move |connection: &Connection, names: &Names| {
                let view = reads::View {
                    connection,
                    names,
                    view,
                };
                view.rows(&query)
            };
            self.many(read).await
        })
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        let service = self.service(service);
        Box::pin(async move {
            let Some(service) = service else {
                return Ok(Vec::new());
            };
            self.many(move |connection, _| reads::journal(connection, service, story))
                .await
        })
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        let service = self.service(service);
        Box::pin(async move {
            let Some(service) = service else {
                return Ok(Vec::new());
            };
            self.many(move |connection, names| reads::counters(connection, names, service))
                .await
        })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let names = &self.shared.names;
        let scope =
            broker::number(names, queue).and_then(|queue| names.find(Space::Source, queue, source));
        let found = match scope {
            Some(scope) => {
                self.quick(|connection| reads::settled(connection, scope, message.0.as_bytes()))
            }
            None => Ok(false),
        };
        Box::pin(std::future::ready(found))
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let claimed = self.claim(services, now, lease, limit);
        Box::pin(std::future::ready(claimed))
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let soonest = self.soonest(services);
        Box::pin(std::future::ready(soonest))
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        let tables = self.shared.names.tables(&[service]);
        Box::pin(self.many(move |connection, names| {
            let due = reads::backlog(connection, names, &tables, now)?;
            let outbox = Waiting::default();
            Ok(Backlog { outbox, due })
        }))
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { self.writer.retain(now).await })
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        None
    }
}

impl Transport for Embedded {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        Box::pin(async move { self.writer.declare(Vec::new(), topology).await })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let count = messages.len();
            match self.writer.publish(messages).await {
                Ok(answers) => answers,
                Err(error) => vec![Err(Refused::Unconfirmed(error.to_string())); count],
            }
        })
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let number = broker::number(&self.shared.names, queue);
        let place = number.and_then(|number| self.shared.broker.place(number));
        let consumer = place
            .map(|place| {
                let broker = Arc::clone(&self.shared.broker);
                let (writer, readers) = (Arc::clone(&self.writer), Arc::clone(&self.readers));
                let consumer = QueueConsumer::new(broker, place, writer, readers, prefetch);
                Box::new(consumer) as Box<dyn Consumer>
            })
            .ok_or_else(|| {
                Error::reject("queue_unknown", format!("queue {queue} was not declared"))
            });
        Box::pin(std::future::ready(consumer))
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        let number = broker::number(&self.shared.names, queue);
        let depth = number.map_or(0, |number| self.shared.broker.depth(number));
        Box::pin(std::future::ready(Ok(depth)))
    }
}
