//! The port for values that expire: cached reads, sessions, rate limits. [`Allotments`] is
//! the port for units that many callers claim at once.
//!
//! A [`Cache`] may lose any value at any time. Each reader has a fallback: the store, or a refusal
//! such as HTTP 503.
//!
//! # Contract
//!
//! - **Expiry.** A value is never returned after its time to live. Durations below one millisecond
//!   may be rounded up to one.
//! - **Keys.** Keys and prefixes are compared byte for byte; no character is a wildcard. Values may
//!   be empty, and at least 256 KiB long.
//! - **Visibility.** A call that starts after another has returned sees its effect.
//! - **Concurrency.** All methods may be called at the same time.
//! - **Cancellation.** The caller may drop any returned future; its effect may or may not take
//!   place.
//! - **Errors.** Every method fails with `cache_unavailable`, class [`Retry`](crate::Class::Retry),
//!   while the server is unavailable, within a time limit of the adapter. No method waits for the
//!   server to come back.
//!
//! The macro `cache_conformance!` (feature `conformance`) tests this contract;
//! `docs/writing-an-adapter.md` builds a cache that passes it.

mod allotments;
mod book;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Result;

pub use allotments::{Allotments, Claim, Count, Decision, Entry, Log, Mark, Terms};
pub use book::AllotmentBook;

/// The durability of a cached value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The value may be lost when the process restarts: it can be computed again.
    Volatile,
    /// The value survives a restart of the process, such as a session does.
    Restart,
}

/// Values that expire, and counters; see the [module](self) for the contract of all methods.
pub trait Cache: Send + Sync + 'static {
    /// Checks that the cache can be used. It costs one round trip and changes nothing. Readiness
    /// probes call it about once a second. It reconnects if necessary.
    ///
    /// # Errors
    ///
    /// `cache_unavailable`, here and in all other methods.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;

    /// Returns the value, or `None` if it is absent or expired.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// Sets a value that expires `ttl` from now. It replaces the value, the expiry and the
    /// durability that the key had before.
    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>>;

    /// Sets a value like [`put`](Self::put), if the key has the value `expected` now; `None` stands
    /// for an absent or expired value. Returns whether it did. Comparison and change are one step:
    /// of several concurrent calls with the same `expected`, one succeeds.
    ///
    /// Whoever computes a value from one that was read stores it with this method, never with
    /// `put`, which would undo a removal in between.
    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<bool>>;

    /// Removes a value. Removing an absent value has no effect.
    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>>;

    /// Removes all values whose keys start with `prefix`.
    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>>;

    /// Adds one to a counter and returns the new count, starting from 1. The counter ends `window`
    /// after its first hit, however many follow. Concurrent hits are all counted. The keys of
    /// counters and of values must differ. Counters are volatile.
    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>>;

    /// Returns the cache's allotments; `None` if it has none, which is the default.
    fn allotments(&self) -> Option<&dyn Allotments> {
        None
    }
}
