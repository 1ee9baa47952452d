//! The store and the transport on one SQLite file.

mod due;
mod store;
mod transport;

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use wingbeat_core::{Key, Name, Record, Result, Timestamp};

use crate::bodies::FileBodies;
use crate::broker::Broker;
use crate::config::{self, Config};
use crate::data_set::{DataSet, Loss};
use crate::fault::failed_in_use;
use crate::guard::Guard;
use crate::id::RecordKey;
use crate::intake::{Intake, State};
use crate::names::Names;
use crate::open_mark::OpenMark;
use crate::recent::Recent;
use crate::stats::{Counters, Stats};
use crate::workers::Workers;
use crate::writer::{Shared, Writer};
use crate::{reads, schema};

/// The directory of large bodies within the data directory.
const BODIES: &str = "bodies";

/// SQLite as store and message broker in one file.
///
/// A unit's reads, writes and messages and the delivery it settles are one transaction. All methods
/// of [`Store`](wingbeat_core::Store) and [`Transport`](wingbeat_core::Transport) may be called
/// from any thread. Dropping the last reference finishes queued writes and releases the directory.
///
/// ```
/// use wingbeat_embedded::{Config, Embedded};
///
/// # fn main() -> wingbeat_core::Result<()> {
/// # let directory = tempfile::tempdir().expect("a directory");
/// # let path = directory.path();
/// let embedded = Embedded::open(&Config::new(path))?;
/// assert!(embedded.writable());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Methods of the ports fail with `store_full` if the disk is full, `store_io` if it fails,
/// `store_busy` if another program has locked the file, `store_failed` for other errors of SQLite,
/// and `store_closed` while the store is being dropped. The caller may repeat the same call.
pub struct Embedded {
    writer: Arc<Writer>,
    shared: Shared,
    /// Connections for reads of microseconds, which run on the caller's thread.
    inline_readers: Vec<Mutex<Connection>>,
    /// Threads for reads of many rows.
    readers: Arc<Workers>,
    data_set: DataSet,
    bodies: Arc<FileBodies>,
    _lock: Vec<File>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the data in `config.path`. Creates the directory and the file if they are absent.
    ///
    /// # Errors
    ///
    /// - `data_in_use` if another process has the directory open;
    /// - `data_unreadable` if the directory or the file cannot be read or written;
    /// - `data_lost` if the store is new or was emptied, but the directory has data of it, or if
    ///   its write-ahead log was lost;
    /// - `data_mixed` if the store belongs to another data directory;
    /// - `data_newer` if a later release wrote the data;
    /// - `tables_invalid` if [`Config::tables`] fails.
    pub fn open(config: &Config) -> Result<Arc<Self>> {
        let lock = config.lock()?;
        let file = config.file();
        OpenMark::check(&config.path, config::FILE)?;
        let data_set = DataSet::of_store(&config.path, config::FILE)?;
        let mut connection = schema::open_writer(&file, config.page_cache_bytes)?;
        let guard = Guard::install(&mut connection, config)?;
        let unopened = |error| schema::unopened(&file, &error);
        let names = Arc::new(Names::read(&connection).map_err(unopened)?);
        let broker = Broker::read(&connection, &names, config).map_err(unopened)?;
        let shared = Shared {
            names,
            broker: Arc::new(broker),
            recent: Arc::new(Recent::new(config.recent_bytes)),
            removed: Arc::default(),
            leases: Arc::default(),
            intake: Arc::new(Intake::new(config.path.clone(), config.min_free_bytes)),
            counters: Arc::new(Counters::default()),
            guard,
            walks: Arc::default(),
        };
        let open = |_| schema::open_reader(&file);
        let readers = 0..config.readers.max(1);
        let on_threads = readers.clone().map(open).collect::<Result<Vec<_>>>()?;
        let inline = readers.map(open).collect::<Result<Vec<_>>>()?;
        let mark = OpenMark::set(&config.path);
        let writer = Writer::start(connection, shared.clone(), config.batch_max, mark)?;
        Ok(Arc::new(Self {
            writer: Arc::new(writer),
            shared,
            inline_readers: inline.into_iter().map(Mutex::new).collect(),
            readers: Arc::new(Workers::start("wb-reader", on_threads)?),
            data_set,
            bodies: FileBodies::new(config.path.join(BODIES)),
            _lock: lock,
        }))
    }

    /// Checks that a SQLite file of the data directory belongs to this store, before it is opened.
    /// A new file, or one of a release that did not know this check, belongs to it from now on.
    ///
    /// # Errors
    ///
    /// - `data_lost` if the file has disappeared or was emptied and its loss is
    ///   [fatal](Loss::Fatal);
    /// - `data_mixed` if it belongs to another data directory;
    /// - `data_unreadable` if it cannot be read or written.
    pub fn admit(&self, file: &str, loss: Loss) -> Result<()> {
        self.data_set.admit(file, loss)
    }

    /// Returns whether the store accepts new work: there is enough free disk space
    /// ([`Config::min_free_bytes`]), and the last write succeeded. After a failed write, this
    /// method tries a write at most every 250 ms until one succeeds.
    #[must_use]
    pub fn writable(&self) -> bool {
        match self.shared.intake.check() {
            State::Open => true,
            State::Closed => false,
            State::Probe => {
                self.writer.probe();
                false
            }
        }
    }

    /// Returns statistics of the writer since the store was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }

    /// Runs a read of microseconds on the caller's thread.
    fn read_inline<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut readers = self.inline_readers.iter();
        let free = readers.find_map(|reader| reader.try_lock().ok());
        let connection = free.unwrap_or_else(|| {
            self.inline_readers[0]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        read(&connection).map_err(|e| failed_in_use(&e))
    }

    /// Runs a read of many rows on a reader's thread.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Names) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let names = Arc::clone(&self.shared.names);
        self.readers
            .run(move |connection| read(connection, &names))
            .await
    }

    fn key(&self, service: Name, key: &Key) -> Option<RecordKey> {
        let table = self.shared.names.find_table(service, key.table)?;
        Some(RecordKey::new(table, key))
    }

    fn load_key(&self, key: &RecordKey) -> Result<Option<Record>> {
        match self.shared.recent.get(key) {
            Some(record) => Ok(record),
            None => self.read_inline(|connection| reads::load(connection, &self.shared.names, key)),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.recent.now())
    }
}
