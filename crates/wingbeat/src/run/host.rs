//! The services of a process. Each has its own tasks, so one can be killed and restarted while the
//! others go on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::Request;
use tower::ServiceExt as _;

use super::system::RunningSystem;
use crate::describe;
use crate::overload::Overload;
use crate::runtime::TaskGroup;
use crate::runtime::sweep;
use crate::{App, Name, Ports, Reads, Result, Running, Runtime as _, ServiceContext, TokioRuntime};
use wingbeat_core::Topology;

/// Builds the app of the whole system. Called again whenever a service restarts.
pub type System = Arc<dyn Fn() -> App + Send + Sync>;

/// The services of a process.
pub struct Host {
    runtime: Arc<TokioRuntime>,
    system: System,
    ports: Ports,
    cells: BTreeMap<&'static str, Cell>,
    topology: Topology,
    overload: Option<Overload>,
    routes: RwLock<Router>,
    /// Tasks of the process itself.
    tasks: Arc<TaskGroup>,
}

/// One service.
struct Cell {
    name: &'static str,
    /// Serializes restarts of the service.
    turn: tokio::sync::Mutex<()>,
    live: RwLock<Option<Live>>,
}

#[derive(Clone)]
struct Live {
    tasks: Arc<TaskGroup>,
    running: Arc<Running>,
}

impl Host {
    /// Starts the services that are `wanted`, after declaring every queue of the system, so that
    /// messages are kept for services that run elsewhere or have never run. Also deletes
    /// expired data once a minute.
    ///
    /// # Errors
    ///
    /// `wiring`; those of the store and the transport.
    pub async fn start(
        runtime: Arc<TokioRuntime>,
        ports: Ports,
        system: System,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Arc<Self>> {
        let app = system();
        app.check()?;
        app.warn();
        let topology = app.topology();
        let overload = app.overload().cloned();
        let bodies = app.bodies_on(&ports);
        let names: Vec<Name> = app.names().filter(|name| wanted(name.as_str())).collect();
        ports.store.prepare(&names, &topology).await?;
        ports.store.check_writable(&names)?;
        if let (Some(bodies), false) = (&bodies, names.is_empty()) {
            bodies.store.prepare().await?;
        }
        ports.transport.declare(&topology).await?;
        ports.transport.check_queues(&names)?;
        let cell = |name: &Name| {
            let cell = Cell {
                name: name.as_str(),
                turn: tokio::sync::Mutex::default(),
                live: RwLock::default(),
            };
            (name.as_str(), cell)
        };
        let tasks = TaskGroup::new(Arc::clone(&runtime));
        let host = Arc::new(Self {
            runtime,
            system,
            ports,
            cells: names.iter().map(cell).collect(),
            topology,
            overload,
            routes: RwLock::default(),
            tasks,
        });
        for cell in host.cells.values() {
            host.launch(cell).await?;
        }
        host.join_routes();
        if !host.cells.is_empty() {
            let (store, runtime) = (host.ports.store.clone(), host.ports.runtime.clone());
            host.tasks.spawn(Box::pin(sweep(store, bodies, runtime)));
        }
        if let Some(overload) = host.overload.clone() {
            let Ports {
                store,
                transport,
                runtime,
                ..
            } = host.ports.clone();
            let watching = overload.watch(store, transport, runtime);
            host.tasks.spawn(Box::pin(watching));
        }
        Ok(host)
    }

    async fn launch(&self, cell: &Cell) -> Result<()> {
        let tasks = TaskGroup::new(Arc::clone(&self.runtime));
        let ports = Ports {
            runtime: tasks.clone(),
            ..self.ports.clone()
        };
        let app = (self.system)().part(cell.name);
        let app = match &self.overload {
            // The one that is watched, even if the system makes another one each time.
            Some(overload) => app.shedding(overload.clone()),
            None => app,
        };
        let running = Arc::new(app.start(ports).await?);
        let live = Some(Live { tasks, running });
        *cell.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    fn join_routes(&self) {
        let running = self.cells.values().filter_map(Cell::live);
        let routes = running.fold(Router::new(), |routes, live| {
            routes.merge(live.running.routes())
        });
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Kills a service's tasks at their current await and restarts it from the store. Returns
    /// `false` if the service does not run here.
    ///
    /// # Errors
    ///
    /// Those of the start.
    pub async fn crash(&self, name: &str) -> Result<bool> {
        let Some(cell) = self.cells.get(name) else {
            return Ok(false);
        };
        let _turn = cell.turn.lock().await;
        let live = cell
            .live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(live) = live {
            live.running.abandon();
            live.tasks.kill().await;
        }
        tracing::warn!(service = name, "killed on request, restarting");
        self.launch(cell).await?;
        self.join_routes();
        Ok(true)
    }

    /// Drains all services; see [`Running::drain`].
    pub async fn drain(&self) {
        let running: Vec<_> = self.running().collect();
        futures_util::future::join_all(running.iter().map(|running| running.drain())).await;
    }

    /// Kills all tasks, after [`Self::drain`].
    pub async fn stop(&self) {
        self.tasks.kill().await;
        for live in self.cells.values().filter_map(Cell::live) {
            live.running.abandon();
            live.tasks.kill().await;
        }
    }

    /// Kills all services except these. Messages to the killed ones wait in their queues.
    pub async fn keep(&self, only: &[&str]) {
        for (name, cell) in &self.cells {
            if !only.contains(name)
                && let Some(live) = cell.live()
            {
                live.running.abandon();
                live.tasks.kill().await;
            }
        }
    }

    /// Returns the routes of the services that run when a request arrives.
    pub fn routes(self: &Arc<Self>) -> Router {
        let host = Arc::clone(self);
        Router::new().fallback(move |request: Request| {
            let routes = host
                .routes
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            async move {
                let answered: Result<_, Infallible> = routes.oneshot(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
        })
    }

    /// Returns the ports that all services share.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the overload of the process, if it is watched.
    #[must_use]
    pub fn overload(&self) -> Option<&Overload> {
        self.overload.as_ref()
    }

    /// Returns the messages and routes of the whole system, also of services that run elsewhere.
    #[must_use]
    pub fn description(&self) -> describe::System {
        describe::System::from(&(self.system)())
    }

    /// Returns the queues and bindings of the whole system.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Returns the running services.
    pub fn running(&self) -> impl Iterator<Item = Arc<Running>> {
        self.cells
            .values()
            .filter_map(|cell| Some(cell.live()?.running))
    }

    /// Returns the services that run now.
    #[must_use]
    pub fn snapshot(&self) -> RunningSystem {
        RunningSystem {
            ports: self.ports.clone(),
            running: self.running().collect(),
        }
    }

    /// Returns the names of the services of this process, running or restarting.
    pub fn services(&self) -> impl Iterator<Item = &'static str> {
        self.cells.keys().copied()
    }

    /// Returns a service.
    ///
    /// # Errors
    ///
    /// `service_unavailable` while it restarts, or if it does not run here.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceContext>> {
        self.snapshot().service(name)
    }

    /// Returns read access to a service's own data.
    ///
    /// # Errors
    ///
    /// `service_unavailable` while it restarts, or if it does not run here.
    pub fn reads(&self, name: &str) -> Result<Reads> {
        self.snapshot().reads(name)
    }
}

impl Cell {
    fn live(&self) -> Option<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
