//! The data of a directory for a process that only reads, beside the one that has it open.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use wingbeat_core::cache::Durability;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded};
use wingbeat_core::transport::{Consumer, Refused};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    Cache, CorrelationId, Envelope, Error, Key, MessageId, Name, Record, Result, Store, Timestamp,
    Topology, Transport, Unit,
};

use crate::config::Config;
use crate::id::RecordKey;
use crate::names::{Names, Space};
use crate::views::View;
use crate::workers::Workers;
use crate::{reads, schema};

/// The data of a directory, for reading only. Another process may have the directory open and
/// change it meanwhile.
///
/// Each read sees the last commit, and is a transaction of its own, so it delays no checkpoint for
/// longer than a page takes. As a transport and as a cache it is empty.
///
/// ```
/// use wingbeat_core::{Name, Store as _};
/// use wingbeat_embedded::{Config, Embedded, Inspector};
///
/// # fn main() -> wingbeat_core::Result<()> {
/// # let directory = tempfile::tempdir().expect("a directory");
/// let config = Config::new(directory.path());
/// let _running = Embedded::open(&config)?;
/// let inspector = Inspector::open(&config)?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let page = inspector.scan(Name::new("orders"), Name::new("order"), None, 100).await?;
/// assert!(page.is_empty());
/// # Ok::<(), wingbeat_core::Error>(())
/// # })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Reads fail as those of [`Embedded`](crate::Embedded). Everything that would change something
/// fails with `store_read_only`.
pub struct Inspector {
    readers: Workers,
    known: Arc<Mutex<Arc<Known>>>,
}

/// The names and dictionaries of the file, with their numbers.
struct Known {
    names: Names,
    counts: (u64, u64),
}

impl Known {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            counts: Self::count(connection)?,
            names: Names::read(connection)?,
        })
    }

    /// Names and dictionaries are never removed.
    fn count(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
        let sql = "SELECT (SELECT coalesce(max(id), 0) FROM names),
                (SELECT coalesce(max(id), 0) FROM wb_dictionary)";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })
    }

    /// Returns what the file contains now.
    fn current(known: &Mutex<Arc<Self>>, connection: &Connection) -> rusqlite::Result<Arc<Self>> {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.counts != Self::count(connection)? {
            *known = Arc::new(Self::read(connection)?);
        }
        Ok(Arc::clone(&known))
    }
}

impl Inspector {
    /// Opens the data in `config.path`, whether or not another process has it open.
    ///
    /// # Errors
    ///
    /// `data_unreadable` if there is no store, if an older release wrote it, or if it cannot be
    /// read; `data_newer` if a later release wrote it.
    pub fn open(config: &Config) -> Result<Arc<Self>> {
        let file = config.file();
        let open = |_| open(&file);
        let connections = (0..config.readers.max(1)).map(open);
        let connections = connections.collect::<Result<Vec<_>>>()?;
        let unopened = |error| schema::unopened(&file, &error);
        let known = Known::read(&connections[0]).map_err(unopened)?;
        Ok(Arc::new(Self {
            readers: Workers::start("wb-inspector", connections)?,
            known: Arc::new(Mutex::new(Arc::new(known))),
        }))
    }

    /// Runs a read. Names, dictionaries and rows are from the same commit.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Names) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let known = Arc::clone(&self.known);
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let known = Known::current(&known, &snapshot)?;
                read(&snapshot, &known.names)
            })
            .await
    }
}

fn open(file: &Path) -> Result<Connection> {
    let unopened = |error| schema::unopened(file, &error);
    if !file.exists() {
        let text = format!("there is no store at {}", file.display());
        return Err(Error::reject("data_unreadable", text));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(unopened)?;
    // After a crash the log must stay: the next start checks that it is there.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(unopened)?;
    schema::prepare_to_inspect(&connection, file)?;
    Ok(connection)
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    Box::pin(async { Err(read_only()) })
}

fn read_only() -> Error {
    let text = "this process only reads the data directory";
    Error::reject("store_read_only", text)
}

impl Store for Inspector {
    fn prepare(&self, _: &[Name], _: &Topology) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.read(|_, _| Ok(())))
    }

    fn commit(&self, _: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        refused()
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        Box::pin(self.read(move |connection, names| {
            let table = names.find_table(service, key.table);
            let key = table.map(|table| RecordKey::new(table, &key));
            key.map_or(Ok(None), |key| reads::load(connection, names, &key))
        }))
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        Box::pin(self.read(move |connection, names| {
            let Some(table) = names.find_table(service, table) else {
                return Ok(Vec::new());
            };
            reads::scan(connection, names, table, after.as_deref(), limit)
        }))
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
        let key = key.clone();
        Box::pin(self.read(move |connection, names| {
            let Some(table) = names.find_table(service, key.table) else {
                return Ok(Vec::new());
            };
            let key = RecordKey::new(table, &key);
            reads::history(connection, names, &key, after, limit)
        }))
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        Box::pin(self.read(move |connection, names| {
            let Some(view) = names.find_under(service, Space::View, view) else {
                return Ok(None);
            };
            let view = View {
                connection,
                names,
                view,
            };
            view.row(&key)
        }))
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(self.read(move |connection, names| {
            let Some(view) = names.find_under(service, Space::View, query.view) else {
                return Ok(Page::default());
            };
            let view = View {
                connection,
                names,
                view,
            };
            view.rows(&query)
        }))
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(self.read(move |connection, names| {
            let Some(service) = names.find_service(service) else {
                return Ok(Vec::new());
            };
            reads::journal(connection, names, service, story)
        }))
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        Box::pin(self.read(move |connection, names| {
            let Some(service) = names.find_service(service) else {
                return Ok(Vec::new());
            };
            reads::counters(connection, names, service)
        }))
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let source = source.to_owned();
        Box::pin(self.read(move |connection, names| {
            let Some(scope) = names.find_scope(queue, &source) else {
                return Ok(false);
            };
            reads::is_settled(connection, scope, message.0.as_bytes())
        }))
    }

    fn claim_due(
        &self,
        _: &[Name],
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        refused()
    }

    fn next_due(&self, _: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        refused()
    }

    fn backlog(&self, _: Name, _: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        refused()
    }

    fn retain(&self, _: Timestamp) -> BoxFuture<'_, Result<u64>> {
        refused()
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        None
    }
}

impl Transport for Inspector {
    fn declare(&self, _: &Topology) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Store::ping(self)
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        let refused = |_| Err(Refused::Unconfirmed(read_only().to_string()));
        let results = messages.iter().map(refused).collect();
        Box::pin(std::future::ready(results))
    }

    fn consume(&self, _: Name, _: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        refused()
    }

    fn depth(&self, _: Name) -> BoxFuture<'_, Result<u64>> {
        refused()
    }
}

/// The cache of the running process is in its memory; this one is empty.
impl Cache for Inspector {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Store::ping(self)
    }

    fn get(&self, _: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn put(&self, _: &str, _: Bytes, _: Duration, _: Durability) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn replace(
        &self,
        _: &str,
        _: Option<Bytes>,
        _: Bytes,
        _: Duration,
        _: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        refused()
    }

    fn remove(&self, _: &str) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn remove_prefix(&self, _: &str) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn hit(&self, _: &str, _: Duration) -> BoxFuture<'_, Result<u64>> {
        refused()
    }
}
