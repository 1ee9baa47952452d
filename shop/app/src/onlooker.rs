//! Services as the audit sees them from another process: their data, read only, and none of their work.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::app::Ports;
use wingbeat::real::TokioRuntime;
use wingbeat::{BoxFuture, Result, Runtime, Timestamp};

use crate::Sight;
use crate::host::Build;

/// All services, none of which runs here.
///
/// # Errors
///
/// The store's and the broker's.
pub async fn onlooker(
    runtime: &Arc<TokioRuntime>,
    ports: &Ports,
    services: Vec<(&'static str, Build)>,
) -> Result<Sight> {
    let idle = Ports {
        runtime: Arc::new(Idle(Arc::clone(runtime))),
        ..ports.clone()
    };
    let mut running = Vec::with_capacity(services.len());
    for (_, build) in services {
        running.push(Arc::new(build().start(idle.clone()).await?));
    }
    Ok(Sight {
        ports: ports.clone(),
        running,
    })
}

/// A runtime on which no task ever runs.
struct Idle(Arc<TokioRuntime>);

impl Runtime for Idle {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.0.fill_secret(bytes);
    }
}
