//! Caches that each break one promise.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::cache::{Cache, Durability};
use wingbeat_core::conformance::cache::{self as suite, Fixture};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result};

use crate::conformance::InModel;

/// The broken promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    NeverReady,
    NothingExpires,
    SessionsVolatile,
    PrefixIsAKey,
    WindowSlides,
    ReplacesAnything,
}

struct BrokenCache {
    inner: Arc<dyn Cache>,
    breach: Breach,
}

impl Cache for BrokenCache {
    forward_cache!(get, remove);

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        match self.breach {
            Breach::NeverReady => {
                Box::pin(async { Err(Error::retry("cache_unavailable", "never")) })
            }
            _ => self.inner.ping(),
        }
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        match self.breach {
            Breach::NothingExpires => self.inner.put(key, value, ttl * 1000, keep),
            Breach::SessionsVolatile => self.inner.put(key, value, ttl, Durability::Volatile),
            _ => self.inner.put(key, value, ttl, keep),
        }
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
        match self.breach {
            Breach::ReplacesAnything => Box::pin(async move {
                self.inner.put(&key, value, ttl, keep).await?;
                Ok(true)
            }),
            _ => self.inner.replace(&key, expected, value, ttl, keep),
        }
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        match self.breach {
            Breach::PrefixIsAKey => self.inner.remove(prefix),
            _ => self.inner.remove_prefix(prefix),
        }
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        match self.breach {
            Breach::WindowSlides => self.inner.hit(key, window * 2),
            _ => self.inner.hit(key, window),
        }
    }
}

struct Broken(InModel, Breach);

impl Fixture for Broken {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        Box::pin(async {
            let inner = Fixture::open(&self.0).await;
            Arc::new(BrokenCache {
                inner,
                breach: self.1,
            }) as Arc<dyn Cache>
        })
    }

    fn runtime(&self) -> SharedRuntime {
        self.0.simulation.runtime()
    }
}

fn run(breach: Breach, test: suite::Test) {
    let fixture = Broken(InModel::new(0), breach);
    let world = fixture.0.simulation.clone();
    world.run(test(Arc::new(fixture)));
}

#[test]
#[should_panic]
fn a_cache_without_expiry() {
    run(Breach::NothingExpires, |fixture| {
        Box::pin(suite::a_value_is_kept_until_it_expires(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_that_loses_sessions() {
    run(Breach::SessionsVolatile, |fixture| {
        Box::pin(suite::sessions_survive_a_restart(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_that_cannot_remove_a_prefix() {
    run(Breach::PrefixIsAKey, |fixture| {
        Box::pin(suite::only_keys_with_the_prefix_are_removed(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_whose_windows_do_not_end() {
    run(Breach::WindowSlides, |fixture| {
        Box::pin(suite::a_window_does_not_grow_with_its_hits(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_that_is_never_ready() {
    run(Breach::NeverReady, |fixture| {
        Box::pin(suite::a_ping_succeeds_and_changes_nothing(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_that_replaces_any_value() {
    run(Breach::ReplacesAnything, |fixture| {
        Box::pin(suite::a_removed_value_is_not_replaced(fixture))
    });
}

#[test]
#[should_panic]
fn a_cache_that_replaces_for_several_callers() {
    run(Breach::ReplacesAnything, |fixture| {
        Box::pin(suite::one_of_several_replacements_succeeds(fixture))
    });
}
