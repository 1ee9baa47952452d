//! The cache: a bounded map in memory, and a file for values that must survive a restart
//! (sessions).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, params};
use wingbeat_core::cache::{AllotmentBook, Allotments, Durability};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, HashMap, Result, Timestamp};

use crate::fault::failed_in_use;
use crate::memory::{Memory, lock, with_prefix};
use crate::schema;
use crate::workers::Workers;

const FILE: &str = "cache.db";
/// The file loses its expired values once it has this many more than after the last time.
const EXPIRED_MAX: usize = 4096;
/// The cache removes ended counters once there are this many more than after the last sweep.
const SWEEP_INTERVAL: usize = 4096;

/// The count and the end of each counter.
#[derive(Default)]
struct Counters {
    counters: HashMap<String, (u64, Timestamp)>,
    /// Number of counters at which the next sweep begins.
    sweep_at: usize,
}

/// The values, in memory and in the file.
///
/// A change of a value in the file is one closure on the writer's thread, which changes the memory
/// too. So all such changes have one order, and no reader sees a state between them.
struct Values {
    memory: Memory,
    /// The keys in the file. Locked while memory follows a change of the file, and while a value
    /// of the file is copied to memory: a reader must not copy a value that was removed meanwhile.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: BTreeSet<String>,
    /// Number of keys at which the next removal of expired values begins.
    sweep_at: usize,
}

impl Values {
    /// Writes a value to the file and to memory. Runs on the writer's thread.
    fn keep(&self, connection: &Connection, key: &str, entry: &Entry) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO entry(key, value, expires_at) VALUES(?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET value = ?2, expires_at = ?3",
            )?
            .execute(params![key, &entry.value[..], entry.until.as_micros()])?;
        let mut kept = lock(&self.kept);
        kept.keys.insert(key.to_owned());
        self.memory
            .put(key, entry.value.clone(), entry.until, entry.now);
        if kept.keys.len() < kept.sweep_at.max(EXPIRED_MAX) {
            return Ok(());
        }
        let expired = connection
            .prepare_cached("DELETE FROM entry WHERE expires_at <= ?1 RETURNING key")?
            .query_map([entry.now.as_micros()], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        for key in &expired {
            kept.keys.remove(key);
        }
        kept.sweep_at = kept.keys.len() + EXPIRED_MAX;
        Ok(())
    }

    /// Deletes values from the file and from memory. Runs on the writer's thread.
    fn delete(&self, connection: &mut Connection, keys: &[String]) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for key in keys {
            transaction
                .prepare_cached("DELETE FROM entry WHERE key = ?1")?
                .execute([key])?;
        }
        transaction.commit()?;
        let mut kept = lock(&self.kept);
        for key in keys {
            kept.keys.remove(key);
            self.memory.remove(key);
        }
        Ok(())
    }

    /// Returns a value of the memory or of the file. Copies the latter to memory.
    fn get(
        &self,
        connection: &Connection,
        key: &str,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Bytes>> {
        if let Some(found) = self.memory.get(key, now) {
            return Ok(found);
        }
        let kept = lock(&self.kept);
        if !kept.keys.contains(key) {
            return Ok(None);
        }
        let found = connection
            .prepare_cached("SELECT value, expires_at FROM entry WHERE key = ?1")?
            .query_row([key], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let fresh = found
            .map(|(value, until)| (Bytes::from(value), Timestamp::from_micros(until)))
            .filter(|(_, until)| *until > now);
        if let Some((value, until)) = &fresh {
            self.memory.put(key, value.clone(), *until, now);
        }
        drop(kept);
        Ok(fresh.map(|(value, _)| value))
    }

    fn is_kept(&self, key: &str) -> bool {
        lock(&self.kept).keys.contains(key)
    }
}

/// A value that is written.
struct Entry {
    value: Bytes,
    until: Timestamp,
    now: Timestamp,
}

/// A cache for one process. It also writes values with [`Durability::Restart`] to the file
/// `cache.db`.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat_core::Cache;
/// use wingbeat_core::cache::Durability;
/// use wingbeat_embedded::EmbeddedCache;
///
/// # use std::path::Path;
/// # use wingbeat_core::runtime::SharedRuntime;
/// # async fn keep(data: &Path, runtime: SharedRuntime) -> wingbeat_core::Result<()> {
/// let cache = EmbeddedCache::open(data, runtime)?;
/// let day = Duration::from_secs(24 * 3600);
/// cache.put("session/17", "ann".into(), day, Durability::Restart).await?;
/// assert_eq!(cache.get("session/17").await?, Some("ann".into()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Methods of the port fail with `store_full` if the disk is full, `store_io` if it fails,
/// `store_busy` if another program has locked the file, `store_failed` for other errors of SQLite,
/// and `store_closed` while the cache is being dropped.
pub struct EmbeddedCache {
    values: Arc<Values>,
    counters: Mutex<Counters>,
    pub(crate) allotments: Mutex<AllotmentBook>,
    reader: Mutex<Connection>,
    file: Workers,
    pub(crate) runtime: SharedRuntime,
}

impl std::fmt::Debug for EmbeddedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedCache").finish_non_exhaustive()
    }
}

impl EmbeddedCache {
    /// Opens the cache in the data directory `path`, which must exist.
    ///
    /// # Errors
    ///
    /// `data_unreadable` if the file cannot be opened; the codes of [`EmbeddedCache`] if it cannot
    /// be read or written.
    pub fn open(path: &Path, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let file = path.join(FILE);
        let writer = schema::open_cache(&file)?;
        let now = runtime.now().as_micros();
        let delete_expired = || -> rusqlite::Result<BTreeSet<String>> {
            writer.execute("DELETE FROM entry WHERE expires_at <= ?1", [now])?;
            let mut statement = writer.prepare("SELECT key FROM entry")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let keys = delete_expired().map_err(|e| schema::unopened(&file, &e))?;
        let kept = Mutex::new(Kept { keys, sweep_at: 0 });
        Ok(Arc::new(Self {
            values: Arc::new(Values {
                memory: Memory::new(),
                kept,
            }),
            counters: Mutex::default(),
            allotments: Mutex::default(),
            reader: Mutex::new(schema::open_cache(&file)?),
            file: Workers::start("wb-cache", vec![writer])?,
            runtime,
        }))
    }

    /// Runs a change of values in the file on the writer's thread.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Values, &mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let values = Arc::clone(&self.values);
        self.file
            .run(move |connection| change(&values, connection))
            .await
    }

    /// Deletes keys from the file and from memory.
    async fn delete(&self, keys: Vec<String>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.change(move |values, connection| values.delete(connection, &keys))
            .await
    }

    fn entry(&self, value: Bytes, ttl: Duration) -> Entry {
        let now = self.runtime.now();
        Entry {
            value,
            until: now + ttl,
            now,
        }
    }
}

impl Cache for EmbeddedCache {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        let read = |connection: &mut Connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM entry LIMIT 1")?;
            statement.exists([]).map(drop)
        };
        Box::pin(self.file.run(read))
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let now = self.runtime.now();
        let found = match self.values.memory.get(key, now) {
            Some(value) => Ok(value),
            None if !self.values.is_kept(key) => Ok(None),
            None => {
                let found = self.values.get(&lock(&self.reader), key, now);
                found.map_err(|e| failed_in_use(&e))
            }
        };
        Box::pin(std::future::ready(found))
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        Box::pin(async move {
            let entry = self.entry(value, ttl);
            if keep == Durability::Restart {
                let write = move |values: &Values, connection: &mut Connection| {
                    values.keep(connection, &key, &entry)
                };
                return self.change(write).await;
            }
            if self.values.is_kept(&key) {
                self.delete(vec![key.clone()]).await?;
            }
            let Entry { value, until, now } = entry;
            self.values.memory.put(&key, value, until, now);
            Ok(())
        })
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
        Box::pin(async move {
            let entry = self.entry(value, ttl);
            if keep == Durability::Volatile && !self.values.is_kept(&key) {
                let Entry { value, until, now } = entry;
                let memory = &self.values.memory;
                return Ok(memory.replace(&key, expected.as_ref(), value, until, now));
            }
            let write = move |values: &Values, connection: &mut Connection| {
                if values.get(connection, &key, entry.now)? != expected {
                    return Ok(false);
                }
                if keep == Durability::Restart {
                    values.keep(connection, &key, &entry)?;
                } else {
                    values.delete(connection, std::slice::from_ref(&key))?;
                    let Entry { value, until, now } = entry;
                    values.memory.put(&key, value, until, now);
                }
                Ok(true)
            };
            self.change(write).await
        })
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        Box::pin(async move {
            if self.values.is_kept(&key) {
                return self.delete(vec![key]).await;
            }
            self.values.memory.remove(&key);
            Ok(())
        })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.values.memory.remove_prefix(prefix);
        let keys = with_prefix(&lock(&self.values.kept).keys, prefix);
        Box::pin(self.delete(keys))
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let now = self.runtime.now();
        let mut counters = lock(&self.counters);
        if counters.counters.len() >= counters.sweep_at {
            counters.counters.retain(|_, (_, until)| *until > now);
            counters.sweep_at = counters.counters.len() + SWEEP_INTERVAL;
        }
        let counter = counters
            .counters
            .entry(key.to_owned())
            .or_insert((0, now + window));
        if counter.1 <= now {
            *counter = (0, now + window);
        }
        counter.0 += 1;
        let count = counter.0;
        drop(counters);
        Box::pin(std::future::ready(Ok(count)))
    }

    fn allotments(&self) -> Option<&dyn Allotments> {
        Some(self)
    }
}
