//! [`Store`] on SQLite.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded, Waiting};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    Bodies, CorrelationId, Key, MessageId, Name, Record, Result, Store, Timestamp, Topology, Unit,
};

use super::Embedded;
use crate::names::{Names, Space};
use crate::reads;
use crate::views::View;

impl Store for Embedded {
    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let (services, topology) = (services.to_vec(), topology.clone());
        Box::pin(async move { self.writer.declare(services, topology).await })
    }

    /// Passes the writer's thread and begins a transaction. A full disk is no error: reads go on,
    /// and [`writable`](Embedded::writable) reports it.
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.writer.ping())
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
            self.read(move |connection, names| {
                reads::scan(connection, names, table, after.as_deref(), limit)
            })
            .await
        })
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        self.history_page(service, key, after, usize::MAX)
    }

    fn history_page(
        &self,
        service: Name,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let found = match self.key(service, key) {
            Some(key) => {
                let names = &self.shared.names;
                self.read_inline(|connection| reads::history(connection, names, &key, after, limit))
            }
            None => Ok(Vec::new()),
        };
        Box::pin(std::future::ready(found))
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let names = &self.shared.names;
        let found = match names.find_under(service, Space::View, view) {
            Some(view) => self.read_inline(|connection| {
                let view = View {
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
                let view = View {
                    connection,
                    names,
                    view,
                };
                view.rows(&query)
            };
            self.read(read).await
        })
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        let service = self.shared.names.find_service(service);
        Box::pin(async move {
            let Some(service) = service else {
                return Ok(Vec::new());
            };
            self.read(move |connection, names| reads::journal(connection, names, service, story))
                .await
        })
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        let service = self.shared.names.find_service(service);
        Box::pin(async move {
            let Some(service) = service else {
                return Ok(Vec::new());
            };
            self.read(move |connection, names| reads::counters(connection, names, service))
                .await
        })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let message = message.0.as_bytes();
        let found = match self.shared.names.find_scope(queue, source) {
            Some(scope) => {
                self.read_inline(|connection| reads::is_settled(connection, scope, message))
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
        Box::pin(self.read(move |connection, names| {
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

    /// Files in the directory `bodies` beside the database.
    fn bodies(&self) -> Option<Arc<dyn Bodies>> {
        Some(self.bodies.clone())
    }
}
