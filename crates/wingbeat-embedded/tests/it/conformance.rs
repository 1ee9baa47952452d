//! The contract tests of the ports, on files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::store::sql::TABLES;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Unit, conformance};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

pub(crate) struct OnDisk {
    pub(crate) directory: TempDir,
    runtime: SharedRuntime,
}

impl OnDisk {
    pub(crate) fn new(runtime: SharedRuntime) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            runtime,
        }
    }
}

impl Fixture for OnDisk {
    fn open(&self) -> BoxFuture<'_, Opened> {
        let mut config = Config::new(self.directory.path());
        // Small windows, so that the tests read pages from disk.
        (config.window, config.window_bytes) = (100, 64 << 10);
        config.tables = TABLES.into();
        Box::pin(async move {
            let embedded = Embedded::open(&config).expect("the data can be opened");
            Opened {
                store: embedded.clone(),
                transport: embedded,
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }

    fn poison(&self, mut unit: Unit) -> Option<Unit> {
        unit.writes[0].body = Some(Bytes::from(vec![0; 17 << 20]));
        Some(unit)
    }

    fn number<'a>(&'a self, query: &'a str) -> BoxFuture<'a, i64> {
        let found = number(self.directory.path(), query);
        Box::pin(std::future::ready(found))
    }
}

impl conformance::cache::Fixture for OnDisk {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        let cache = EmbeddedCache::open(self.directory.path(), Arc::clone(&self.runtime));
        let cache: Arc<dyn Cache> = cache.expect("the cache can be opened");
        Box::pin(std::future::ready(cache))
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.runtime)
    }
}

/// Returns the number that a query finds in the file, on a read-only connection.
pub(crate) fn number(directory: &Path, query: &str) -> i64 {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let file = Connection::open_with_flags(Config::new(directory).file(), read_only);
    let file = file.expect("the file can be read");
    file.query_row(query, [], |row| row.get(0))
        .expect("a number")
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
    block_on(async move { test(Arc::new(OnDisk::new(TokioRuntime::new()))).await });
}

fn run_cache(test: conformance::cache::Test) {
    block_on(async move { test(Arc::new(OnDisk::new(TokioRuntime::new()))).await });
}

mod store {
    wingbeat_core::store_conformance!(super::run);
}
mod sql {
    wingbeat_core::sql_conformance!(super::run);
}
mod transport {
    wingbeat_core::transport_conformance!(super::run);
}
mod cached {
    wingbeat_core::cache_conformance!(super::run_cache);
}

mod allotments {
    wingbeat_core::allotment_conformance!(super::run_cache);
}
