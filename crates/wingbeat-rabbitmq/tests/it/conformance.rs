//! The conformance suite of the transport. Each test has its own exchanges and queues on one
//! broker.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::RuntimeExt as _;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::RabbitMq as Server;

/// Returns the broker that all tests share. Its watchdog ends it with the process.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

struct OnServer {
    namespace: String,
    runtime: SharedRuntime,
    model: Arc<Model>,
}

impl OnServer {
    fn new() -> Self {
        let runtime: SharedRuntime = TokioRuntime::new();
        Self {
            namespace: format!("{}.", runtime.id().simple()),
            model: Arc::new(Model::new(Arc::clone(&runtime))),
            runtime,
        }
    }
}

impl Fixture for OnServer {
    fn open(&self) -> BoxFuture<'_, Opened> {
        Box::pin(async {
            Opened {
                store: Arc::clone(&self.model.store) as Arc<_>,
                transport: open(server(), &self.namespace, &self.runtime).await,
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }
}

/// Opens the transport in a namespace.
pub(crate) async fn open(
    server: &Server,
    namespace: &str,
    runtime: &SharedRuntime,
) -> Arc<RabbitMq> {
    let mut config = Config::new(server.url());
    config.namespace = namespace.into();
    open_with(&config, runtime).await
}

/// Opens the transport with a configuration.
pub(crate) async fn open_with(config: &Config, runtime: &SharedRuntime) -> Arc<RabbitMq> {
    let transport = RabbitMq::connect(config, Arc::clone(runtime)).await;
    transport.expect("the broker accepts connections")
}

/// Runs a test on its own tokio runtime.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    #[cfg(feature = "sabotage")]
    crate::controls::disable();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    tokio.expect("a runtime").block_on(test);
}

fn run(test: Test) {
    block_on(async move { test(Arc::new(OnServer::new())).await });
}

mod transport {
    wingbeat_core::transport_conformance!(super::run);
}
