use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    App, BoxFuture, Error, Name, Ports, Reads, Result, Running, Runtime, ServiceContext,
    SharedRuntime, Timestamp,
};

/// The services that run at one moment, for code that reads several of them: lists, timelines,
/// audits.
#[derive(Clone)]
pub struct RunningSystem {
    /// The ports that they share.
    pub ports: Ports,
    /// The running apps, replicas included.
    pub running: Vec<Arc<Running>>,
}

impl RunningSystem {
    /// Opens all services of an app for reading only, for a process that audits what others store.
    ///
    /// The services have no tasks: they handle nothing, publish nothing, and nothing comes due. The
    /// process needs the right to read their data and no other, and does not read large bodies.
    ///
    /// # Errors
    ///
    /// Those of the store and the broker.
    pub async fn reading(app: App, ports: &Ports) -> Result<Self> {
        let idle = Ports {
            runtime: Arc::new(Idle(Arc::clone(&ports.runtime))),
            ..ports.clone()
        };
        let running = app.large_bodies(None).start(idle).await?;
        Ok(Self {
            ports: ports.clone(),
            running: vec![Arc::new(running)],
        })
    }

    /// Returns the names of the services.
    #[must_use]
    pub fn services(&self) -> BTreeSet<Name> {
        self.running.iter().flat_map(|it| it.services()).collect()
    }

    /// Returns a service.
    ///
    /// # Errors
    ///
    /// `service_unavailable` if it does not run.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceContext>> {
        let mut found = self.running.iter().filter_map(|it| it.service(name));
        found.next().ok_or_else(|| away(name))
    }

    /// Returns read access to a service's own data.
    ///
    /// # Errors
    ///
    /// `service_unavailable` if it does not run.
    pub fn reads(&self, name: &str) -> Result<Reads> {
        let mut found = self.running.iter().filter_map(|it| it.reads(name));
        found.next().ok_or_else(|| away(name))
    }
}

fn away(name: &str) -> Error {
    Error::retry(
        "service_unavailable",
        format!("the service {name} is not available"),
    )
}

/// A runtime that drops every task.
struct Idle(SharedRuntime);

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
