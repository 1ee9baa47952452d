//! The port for what is quick and may be lost: cached reads, sessions, rate limits.

#[cfg(feature = "conformance")]
pub mod conformance;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Result;

/// What to do with a value when the process restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// May be gone: it can be computed again.
    Volatile,
    /// Survives a restart of the process (a session).
    Restart,
}

/// Keys with values that expire.
pub trait Cache: Send + Sync + 'static {
    /// The value, unless it is absent or expired.
    ///
    /// # Errors
    ///
    /// Every method fails only when the cache is away; callers must have an answer without it.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>>;
    /// Sets the value for `ttl` from now.
    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>>;
    /// Forgets the key.
    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>>;
    /// Forgets every key that starts with `prefix`.
    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>>;
    /// Adds one to a counter and returns it; a counter starts at zero and ends `window` after its first hit.
    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>>;
}
