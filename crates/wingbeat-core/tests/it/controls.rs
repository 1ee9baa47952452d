//! Negative controls: the suite fails for a cache that breaks a promise.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::cache::Durability;
use wingbeat_core::conformance::cache::{Fixture, a_value_is_kept_until_it_expires};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Cache, Result};

use crate::conformance::{TinyFixture, block_on};

/// A cache whose values live a thousand times as long as they should.
struct NeverExpires(Arc<dyn Cache>);

impl Cache for NeverExpires {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.0.ping()
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.0.get(key)
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        self.0.put(key, value, ttl * 1000, keep)
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        self.0.replace(key, expected, value, ttl * 1000, keep)
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        self.0.remove(key)
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.0.remove_prefix(prefix)
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        self.0.hit(key, window)
    }
}

struct BrokenFixture(TinyFixture);

impl Fixture for BrokenFixture {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        Box::pin(async { Arc::new(NeverExpires(self.0.open().await)) as Arc<dyn Cache> })
    }

    fn runtime(&self) -> SharedRuntime {
        self.0.runtime()
    }
}

#[test]
#[should_panic(expected = "assertion")]
fn the_suite_catches_a_cache_whose_values_never_expire() {
    let fixture = Arc::new(BrokenFixture(TinyFixture::new()));
    block_on(a_value_is_kept_until_it_expires(fixture));
}
