//! The services of other processes, for reading their data only.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::run::{RunningSystem, System};
use wingbeat::{BoxFuture, Ports, Result, Runtime, Timestamp, TokioRuntime};

/// Returns a view of all services, none of which runs here.
///
/// # Errors
///
/// Those of the store and the broker.
pub async fn audit_view(
    runtime: &Arc<TokioRuntime>,
    ports: &Ports,
    system: &System,
) -> Result<RunningSystem> {
    let idle = Ports {
        runtime: Arc::new(Idle(Arc::clone(runtime))),
        ..ports.clone()
    };
    // It neither handles nor publishes, and its role may not use large bodies.
    let running = system().large_bodies(None).start(idle).await?;
    Ok(RunningSystem {
        ports: ports.clone(),
        running: vec![Arc::new(running)],
    })
}

/// A runtime that drops every task.
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
