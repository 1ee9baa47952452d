//! The allotments of the cache, in memory. A restart loses them.

use std::future::ready;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::cache::{Allotments, Claim, Count, Decision, Log, Mark, Terms};
use wingbeat_core::{Result, RuntimeExt as _};

use crate::EmbeddedCache;
use crate::memory::lock;

impl Allotments for EmbeddedCache {
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>> {
        let (generation, now) = (self.runtime.id().to_string(), self.runtime.now());
        lock(&self.allotments).allot(key, generation, terms, count, ttl, now);
        Box::pin(ready(Ok(())))
    }

    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>> {
        let decided = lock(&self.allotments).claim(key, claim, self.runtime.now());
        Box::pin(ready(Ok(decided)))
    }

    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>> {
        let log = lock(&self.allotments).claims(key, limit, self.runtime.now());
        Box::pin(ready(Ok(log)))
    }

    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>> {
        let settled = lock(&self.allotments).settle(key, &mark, count, self.runtime.now());
        Box::pin(ready(Ok(settled)))
    }

    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        lock(&self.allotments).end(key);
        Box::pin(ready(Ok(())))
    }
}
