//! The contract tests of the cache, each in a name space of its own on one server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat_core::cache::conformance::{Fixture, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, RuntimeExt as _};
use wingbeat_redis::{Config, Redis};
use wingbeat_servers::Redis as Server;

/// Of tests that are not about what takes too long, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests; its watchdog ends it with the process.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

struct OnServer {
    namespace: String,
    runtime: SharedRuntime,
}

impl Fixture for OnServer {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        Box::pin(async {
            let mut config = Config::new(server().url());
            config.namespace.clone_from(&self.namespace);
            config.timeout = PATIENCE;
            config.connect_timeout = PATIENCE;
            let cache = Redis::connect(&config, Arc::clone(&self.runtime)).await;
            cache.expect("the server takes connections") as Arc<dyn Cache>
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }
}

/// Runs a test on a runtime of its own.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    tokio.expect("a runtime").block_on(test);
}

fn run(test: Test) {
    let runtime: SharedRuntime = TokioRuntime::new();
    let namespace = format!("{}:", runtime.id().simple());
    block_on(async move { test(Arc::new(OnServer { namespace, runtime })).await });
}

mod cached {
    wingbeat_core::cache_conformance!(super::run);
}
