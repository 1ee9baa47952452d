//! The contract tests of the store, each in schemas of its own on one server.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat::real::TokioRuntime;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Row, RowWrite};
use wingbeat_core::{Name, RuntimeExt as _, Unit};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::Postgres as Server;
use wingbeat_test::model::Model;

/// One server for all tests; its watchdog ends it with the process.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

struct OnServer {
    prefix: String,
    runtime: SharedRuntime,
    model: Arc<Model>,
}

impl OnServer {
    fn new() -> Self {
        let runtime: SharedRuntime = TokioRuntime::new();
        Self {
            prefix: format!("t{}_", runtime.id().simple()),
            model: Arc::new(Model::new(Arc::clone(&runtime))),
            runtime,
        }
    }
}

impl Fixture for OnServer {
    fn open(&self) -> BoxFuture<'_, Opened> {
        Box::pin(async {
            Opened {
                store: open(&self.prefix, &self.runtime).await,
                transport: Arc::clone(&self.model.transport) as Arc<_>,
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }

    /// A value that no index of PostgreSQL can hold.
    fn poison(&self, mut unit: Unit) -> Option<Unit> {
        let noise = (0..2000).map(|_| self.runtime.id().simple().to_string());
        unit.rows.push(RowWrite {
            view: Name::new("poisoned"),
            key: "k".into(),
            row: Some(Row {
                columns: vec![(Name::new("c"), noise.collect())],
                body: Bytes::new(),
            }),
        });
        Some(unit)
    }
}

/// The store in schemas of this prefix.
pub(crate) async fn open(prefix: &str, runtime: &SharedRuntime) -> Arc<Postgres> {
    let mut config = Config::new(server().url());
    config.schema_prefix = prefix.into();
    config.connections_max = 3;
    let store = Postgres::connect(&config, Arc::clone(runtime)).await;
    store.expect("the server takes connections")
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
    block_on(async move { test(Arc::new(OnServer::new())).await });
}

mod store {
    wingbeat_core::store_conformance!(super::run);
}
