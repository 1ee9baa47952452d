//! The allotments of a process.

use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::cache::{Allotments, Claim, Count, Decision, Log, Mark, Terms};
use wingbeat_core::{Cache, Error, Result};

use super::Proxy;

/// Forwards a call, as [`forward!`](super::forward) does.
macro_rules! forward {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        Box::pin(async move {
            $self.connection.while_alive().await;
            let Some(allotments) = $self.inner.allotments() else {
                return Err(Error::reject("allotments_unsupported", "the cache has none"));
            };
            let answer = allotments.$method($($argument),*).await;
            $self.connection.while_alive().await;
            answer
        })
    };
}

impl Allotments for Proxy<dyn Cache> {
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        forward!(self.allot(&key, terms, count, ttl))
    }

    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>> {
        let key = key.to_owned();
        forward!(self.claim(&key, claim))
    }

    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>> {
        let key = key.to_owned();
        forward!(self.claims(&key, limit))
    }

    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>> {
        let key = key.to_owned();
        forward!(self.settle(&key, mark, count))
    }

    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        forward!(self.end(&key))
    }
}
