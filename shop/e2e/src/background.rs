//! A runtime that outlives single tests.
//!
//! Each test has a runtime of its own, and its tasks end with it. What several tests share, such as the proxies of a
//! shared fleet, runs here.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
});

/// Runs a future to its end in the background runtime, so that sockets and tasks which it makes stay there.
pub(crate) async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME.spawn(future).await.unwrap()
}
