//! The conformance suite of the cache port.

use std::sync::Arc;

use wingbeat_core::conformance::RealTime;
use wingbeat_core::conformance::cache::{Fixture, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Cache};

use crate::cache::{Server, TinyCache};

/// An empty server for one test, and a clock.
pub struct TinyFixture {
    server: Arc<Server>,
    runtime: SharedRuntime,
}

impl TinyFixture {
    pub fn new() -> Self {
        Self {
            server: Arc::default(),
            runtime: RealTime::shared(),
        }
    }
}

impl Fixture for TinyFixture {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        let cache = TinyCache::connect(Arc::clone(&self.server), self.runtime());
        Box::pin(async { Arc::new(cache) as Arc<dyn Cache> })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }
}

/// Runs a future on its own tokio runtime.
pub fn block_on(future: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Runtime::new().expect("tokio starts");
    tokio.block_on(future);
}

fn run(test: Test) {
    block_on(test(Arc::new(TinyFixture::new())));
}

wingbeat_core::cache_conformance!(run);
