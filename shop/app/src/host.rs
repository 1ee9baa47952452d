//! The services of a process, each with tasks of its own: one can be dropped where it stands and
//! started anew while the others go on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::Request;
use tower::ServiceExt as _;
use wingbeat::app::Ports;
use wingbeat::describe::System;
use wingbeat::real::{TaskGroup, TokioRuntime};
use wingbeat::scope::ServiceContext;
use wingbeat::{App, Name, Reads, Result, Running};

use crate::Sight;

/// Makes a service's app; called again whenever the service starts anew.
pub type Build = Box<dyn Fn() -> App + Send + Sync>;

/// The services of a process.
pub struct Host {
    runtime: Arc<TokioRuntime>,
    ports: Ports,
    cells: BTreeMap<&'static str, Cell>,
    system: System,
    routes: RwLock<Router>,
}

/// One service.
struct Cell {
    build: Build,
    /// Held while the service starts anew, so that two crashes do not meet.
    turn: tokio::sync::Mutex<()>,
    live: RwLock<Option<Live>>,
}

#[derive(Clone)]
struct Live {
    tasks: Arc<TaskGroup>,
    running: Arc<Running>,
}

impl Host {
    /// Starts those of all services that are `wanted`. Every queue of every service exists before the first
    /// message is sent, also of those that run elsewhere, or have never run.
    ///
    /// # Errors
    ///
    /// Wrong wiring, or ports that are not there.
    pub async fn start(
        runtime: Arc<TokioRuntime>,
        ports: Ports,
        services: Vec<(&'static str, Build)>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Arc<Self>> {
        let whole = services.iter().map(|(_, build)| build());
        let whole = whole.fold(App::new(), App::merge);
        let topology = whole.topology();
        let mut services = services;
        services.retain(|(name, _)| wanted(name));
        let names: Vec<Name> = services.iter().map(|(name, _)| Name::new(name)).collect();
        ports.store.prepare(&names, &topology).await?;
        ports.transport.declare(&topology).await?;
        let cell = |(name, build)| {
            let cell = Cell {
                build,
                turn: tokio::sync::Mutex::default(),
                live: RwLock::default(),
            };
            (name, cell)
        };
        let host = Arc::new(Self {
            runtime,
            ports,
            cells: services.into_iter().map(cell).collect(),
            system: System::from(&whole),
            routes: RwLock::default(),
        });
        for cell in host.cells.values() {
            host.launch(cell).await?;
        }
        host.join_routes();
        Ok(host)
    }

    async fn launch(&self, cell: &Cell) -> Result<()> {
        let tasks = TaskGroup::new(Arc::clone(&self.runtime));
        let ports = Ports {
            runtime: tasks.clone(),
            ..self.ports.clone()
        };
        let running = Arc::new((cell.build)().start(ports).await?);
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

    /// Drops a service's tasks where they stand and starts it anew from the store; `false` when there
    /// is no such service.
    ///
    /// # Errors
    ///
    /// When it does not start again.
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
        tracing::warn!(service = name, "crashed by hand; starting it anew");
        self.launch(cell).await?;
        self.join_routes();
        Ok(true)
    }

    /// Stops pulling work, finishes and acknowledges what runs.
    pub async fn drain(&self) {
        let running: Vec<_> = self.running().collect();
        futures_util::future::join_all(running.iter().map(|running| running.drain())).await;
    }

    /// Ends all tasks: the last thing, after [`Self::drain`].
    pub async fn stop(&self) {
        for live in self.cells.values().filter_map(Cell::live) {
            live.running.abandon();
            live.tasks.kill().await;
        }
    }

    /// Ends all services but these, where they stand: what is sent to the others waits.
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

    /// The services' routes, of whatever runs when a request comes.
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

    /// What all services run on.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The messages and routes of all services, also of those that run elsewhere.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The services that run.
    pub fn running(&self) -> impl Iterator<Item = Arc<Running>> {
        self.cells
            .values()
            .filter_map(|cell| Some(cell.live()?.running))
    }

    /// What runs now.
    #[must_use]
    pub fn sight(&self) -> Sight {
        Sight {
            ports: self.ports.clone(),
            running: self.running().collect(),
        }
    }

    /// The names of all services, whether they run or not.
    pub fn services(&self) -> impl Iterator<Item = &'static str> {
        self.cells.keys().copied()
    }

    /// A service's context.
    ///
    /// # Errors
    ///
    /// Retry, while the service is starting anew.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceContext>> {
        self.sight().service(name)
    }

    /// A service's own data.
    ///
    /// # Errors
    ///
    /// Retry, while the service is starting anew.
    pub fn reads(&self, name: &str) -> Result<Reads> {
        self.sight().reads(name)
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
