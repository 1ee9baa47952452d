//! The conformance suite of the cache. Each test has its own namespace on one server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::cache::{Fixture, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, RuntimeExt as _};
use wingbeat_redis::{Config, Redis};
use wingbeat_servers::Redis as Server;

/// The time limit for calls in tests that are not about timeouts, for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the server that all tests share. Its watchdog ends it with the process.
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
            config.timeout = LIMIT;
            config.connect_timeout = LIMIT;
            let cache = Redis::connect(&config, Arc::clone(&self.runtime)).await;
            cache.expect("the server accepts connections") as Arc<dyn Cache>
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }
}

/// Runs a test on its own tokio runtime.
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

mod allotments {
    wingbeat_core::allotment_conformance!(super::run);
}
