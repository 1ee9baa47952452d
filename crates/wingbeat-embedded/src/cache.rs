//! The cache: in memory, bounded, with a file behind what must survive a restart (sessions).

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
/// Ended counters are swept out when there are this many more than after the last sweep.
const COUNTERS_MORE: usize = 4096;

#[derive(Default)]
struct Counters {
    counters: HashMap<String, (u64, Timestamp)>,
    sweep_at: usize,
}

/// A cache for one process, whose [`Durability::Restart`] entries lie in `cache.db` too.
pub struct EmbeddedCache {
    memory: Memory,
    /// Keys that are in the file.
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
    /// `data_unreadable` when its file cannot be read or written.
    pub fn open(path: &Path, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let file = path.join(FILE);
        let writer = schema::open_cache(&file)?;
        let now = runtime.now().as_micros();
        let sweep = || -> rusqlite::Result<BTreeSet<String>> {
            writer.execute("DELETE FROM entry WHERE expires_at <= ?1", [now])?;
            let mut statement = writer.prepare("SELECT key FROM entry")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let kept = Mutex::new(sweep().map_err(|e| failed(&e))?);
        Ok(Arc::new(Self {
            memory: Memory::new(),
            kept,
            counters: Mutex::default(),
            reader: Mutex::new(schema::open_cache(&file)?),
            file: Workers::start("wb-cache", vec![writer])?,
            runtime,
        }))
    }

    /// What the file has under `key`, put into memory again.
    fn fetch(&self, key: &str, now: Timestamp) -> Result<Option<Bytes>> {
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

    async fn forget(&self, gone: Vec<String>) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for key in gone {
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
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let now = self.runtime.now();
        let found = match self.memory.get(key, now) {
            Some(value) => Ok(value),
            None => self.fetch(key, now),
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
                    self.forget(vec![key.clone()]).await?;
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
            self.forget(kept.then_some(key).into_iter().collect()).await
        })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.memory.remove_prefix(prefix);
        let mut kept = lock(&self.kept);
        let gone = with_prefix(&kept, prefix);
        for key in &gone {
            kept.remove(key);
        }
        drop(kept);
        Box::pin(self.forget(gone))
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let now = self.runtime.now();
        let mut counters = lock(&self.counters);
        if counters.counters.len() >= counters.sweep_at {
            counters.counters.retain(|_, (_, until)| *until > now);
            counters.sweep_at = counters.counters.len() + COUNTERS_MORE;
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
