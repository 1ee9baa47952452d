//! The cache: a bounded map in memory, and a file for values that must survive a restart
//! (sessions).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, params};
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, HashMap, Result, Timestamp};

use crate::fault::failed;
use crate::memory::{Memory, lock, with_prefix};
use crate::schema;
use crate::workers::Workers;

const FILE: &str = "cache.db";
/// The cache removes ended counters once there are this many more than after the last sweep.
const SWEEP_INTERVAL: usize = 4096;

/// The count and the end of each counter.
#[derive(Default)]
struct Counters {
    counters: HashMap<String, (u64, Timestamp)>,
    /// Number of counters at which the next sweep begins.
    sweep_at: usize,
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
    memory: Memory,
    /// The keys in the file.
    kept: Mutex<BTreeSet<String>>,
    counters: Mutex<Counters>,
    reader: Mutex<Connection>,
    file: Workers,
    runtime: SharedRuntime,
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
        let kept = Mutex::new(delete_expired().map_err(|e| failed(&e))?);
        Ok(Arc::new(Self {
            memory: Memory::new(),
            kept,
            counters: Mutex::default(),
            reader: Mutex::new(schema::open_cache(&file)?),
            file: Workers::start("wb-cache", vec![writer])?,
            runtime,
        }))
    }

    /// Reads a value from the file and caches it in memory.
    fn read_file(&self, key: &str, now: Timestamp) -> Result<Option<Bytes>> {
        if !lock(&self.kept).contains(key) {
            return Ok(None);
        }
        let found = lock(&self.reader)
            .prepare_cached("SELECT value, expires_at FROM entry WHERE key = ?1")
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
                };
                statement.query_row([key], read).optional()
            })
            .map_err(|e| failed(&e))?;
        let fresh = found
            .map(|(value, until)| (Bytes::from(value), Timestamp::from_micros(until)))
            .filter(|(_, until)| *until > now);
        if let Some((value, until)) = &fresh {
            self.memory.put(key, value.clone(), *until, now);
        }
        Ok(fresh.map(|(value, _)| value))
    }

    /// Deletes keys from the file.
    async fn delete_from_file(&self, keys: Vec<String>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for key in keys {
                transaction
                    .prepare_cached("DELETE FROM entry WHERE key = ?1")?
                    .execute([key])?;
            }
            transaction.commit()
        };
        self.file.run(work).await
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
        let found = match self.memory.get(key, now) {
            Some(value) => Ok(value),
            None => self.read_file(key, now),
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
            let now = self.runtime.now();
            let until = now + ttl;
            if keep == Durability::Volatile {
                if lock(&self.kept).remove(&key) {
                    self.delete_from_file(vec![key.clone()]).await?;
                }
                self.memory.put(&key, value, until, now);
                return Ok(());
            }
            let (row, body) = (key.clone(), value.clone());
            let work = move |connection: &mut Connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO entry(key, value, expires_at) VALUES(?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET value = ?2, expires_at = ?3",
                    )?
                    .execute(params![row, &body[..], until.as_micros()])
            };
            self.file.run(work).await?;
            lock(&self.kept).insert(key.clone());
            self.memory.put(&key, value, until, now);
            Ok(())
        })
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        Box::pin(async move {
            let kept = lock(&self.kept).remove(&key);
            self.memory.remove(&key);
            let keys = kept.then_some(key).into_iter().collect();
            self.delete_from_file(keys).await
        })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.memory.remove_prefix(prefix);
        let mut kept = lock(&self.kept);
        let keys = with_prefix(&kept, prefix);
        for key in &keys {
            kept.remove(key);
        }
        drop(kept);
        Box::pin(self.delete_from_file(keys))
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
}
