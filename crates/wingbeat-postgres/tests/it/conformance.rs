//! The contract tests of the store. Each test uses its own schemas on one server.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::conformance::store::sql::TABLES;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Row, RowWrite};
use wingbeat_core::{Name, RuntimeExt as _, Unit};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::Postgres as Server;

/// Returns the server that all tests share. Its watchdog stops it with the process.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

pub(crate) struct OnServer {
    server: &'static Server,
    pub(crate) prefix: String,
    runtime: SharedRuntime,
    model: Arc<Model>,
}

impl OnServer {
    pub(crate) fn new(server: &'static Server, runtime: SharedRuntime) -> Self {
        Self {
            server,
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
                store: connect(&config_on(self.server, &self.prefix), &self.runtime).await,
                transport: Arc::clone(&self.model.transport) as Arc<_>,
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }

    /// Adds a value that is too large for an index of PostgreSQL.
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

    fn number<'a>(&'a self, query: &'a str) -> BoxFuture<'a, i64> {
        Box::pin(async move { number(&self.prefix, query) })
    }
}

/// Returns the number that a query on a service's own tables finds.
pub(crate) fn number(prefix: &str, query: &str) -> i64 {
    let found = server().sql(&format!("SET search_path TO {prefix}own; {query}"));
    found.trim().parse().expect("a number")
}

/// Creates a service's own tables in a separate schema.
pub(crate) fn make_tables(prefix: &str, tables: &str) {
    let schema = format!("{prefix}own");
    server().sql(&format!(
        "SET client_min_messages TO warning; CREATE SCHEMA IF NOT EXISTS {schema};
         SET search_path TO {schema}; {tables}"
    ));
}

/// Returns settings for schemas with this prefix. The search path contains the service's own
/// tables.
pub(crate) fn config(prefix: &str) -> Config {
    config_on(server(), prefix)
}

fn config_on(server: &Server, prefix: &str) -> Config {
    let search_path = format!("?options=-csearch_path%3D{prefix}own");
    let mut config = Config::new(server.url() + &search_path);
    config.schema_prefix = prefix.into();
    config.connections_max = 3;
    config
}

/// Opens the store in schemas with this prefix.
pub(crate) async fn open(prefix: &str, runtime: &SharedRuntime) -> Arc<Postgres> {
    connect(&config(prefix), runtime).await
}

pub(crate) async fn connect(config: &Config, runtime: &SharedRuntime) -> Arc<Postgres> {
    let store = Postgres::connect(config, Arc::clone(runtime)).await;
    store.expect("the server takes connections")
}

/// Runs a test on its own runtime.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    tokio.expect("a runtime").block_on(test);
}

fn run(test: Test) {
    block_on(async move { test(Arc::new(OnServer::new(server(), TokioRuntime::new()))).await });
}

fn run_sql(test: Test) {
    let fixture = OnServer::new(server(), TokioRuntime::new());
    make_tables(&fixture.prefix, TABLES);
    block_on(async move { test(Arc::new(fixture)).await });
}

mod store {
    wingbeat_core::store_conformance!(super::run);
}
mod sql {
    wingbeat_core::sql_conformance!(super::run_sql);
}
