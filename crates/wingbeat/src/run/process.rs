//! The life of a process: it starts from settings, becomes ready, and shuts down gracefully.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process: its sockets and its clock are the machine's"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::backends::Backends;
use super::bodies;
#[cfg(feature = "console")]
use super::console;
use super::documents::documents;
use super::error::RunError;
use super::host::{Host, System};
use super::machine::Machine;
use super::ops;
use super::program::{Process, Program, Roles};
use super::readiness::{Readiness, closing, health, health_routes};
use super::settings::Settings;
use super::trust;
use crate::describe::Info;
use crate::http::measure::{measure, routed};
use crate::http::session::{Sessions, identify};
use crate::http::{Limits, Problem, problems, serve_within, traced};
use crate::overload::Overload;
use crate::{App, Ports, SharedRuntime, TokioRuntime};

/// The longest wait for unfinished work during the shutdown. The next start continues it.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// The largest number of connections to the operator's port.
const OPS_CONNECTIONS: usize = 16;
/// The number of connections that wait until the process accepts them.
const BACKLOG: u32 = 1024;

/// Starts a process with these roles. The process is ready when this returns.
///
/// # Errors
///
/// The reason why it does not start.
pub async fn open<P: Program>(
    program: P,
    settings: Settings<P::Own>,
    roles: Roles,
) -> Result<Process<P>, RunError> {
    let (listeners, runtime) = (Listeners::open(&settings)?, TokioRuntime::new());
    let name = roles.name(program.name());
    let (servers, tls) = (settings.servers.as_ref(), &settings.tls);
    #[cfg(feature = "https")]
    warn_of_plain_http(&settings).await;
    let backends = Backends::open(servers, &settings.data, &name, tls, &runtime).await?;
    for file in program.files(&settings, &roles) {
        backends.admit(file)?;
    }
    start(program, settings, roles, backends, runtime, listeners).await
}

/// Starts a process like [`open`], on adapters that Wingbeat does not ship: the settings of the
/// servers and the data directory are ignored.
///
/// # Errors
///
/// The reason why it does not start.
pub async fn open_on<P: Program>(
    program: P,
    settings: Settings<P::Own>,
    roles: Roles,
    ports: Ports,
) -> Result<Process<P>, RunError> {
    let (listeners, runtime) = (Listeners::open(&settings)?, TokioRuntime::new());
    let backends = Backends::from(ports);
    start(program, settings, roles, backends, runtime, listeners).await
}

/// Warns of `http` URLs among the settings whose hosts are not in a private network.
#[cfg(feature = "https")]
async fn warn_of_plain_http<S>(settings: &Settings<S>) {
    use crate::tls::{Host, Protection, warn_if_exposed};
    for address in settings.urls.iter().filter(|it| !it.is_https()) {
        if let Some((name, port)) = address.http.clone() {
            let server = format!("the server of {}", address.origin);
            warn_if_exposed(&server, &[Host { name, port }], Protection::Plaintext).await;
        }
    }
}

/// The ports of a process.
struct Listeners {
    public: Bound,
    address: SocketAddr,
    /// The operator's port, if this process records metrics.
    ops: Option<(Bound, ops::Recorder)>,
}

/// A port on which the process does not listen yet.
///
/// It is taken before anything else, so that a port in use is reported at once. The process listens
/// when it can answer. Until then, connections are refused, and a client tries another replica. If
/// they were queued, requests would wait for as long as the start takes.
struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    fn to(address: SocketAddr) -> Result<Self, RunError> {
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // As for every listener of tokio: a process that restarts gets its port back. On
            // Windows this would let two processes share it.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|why| RunError::Listen(address, why))
    }

    fn listen(self) -> Result<TcpListener, RunError> {
        let listening = self.socket.listen(BACKLOG);
        listening.map_err(|why| RunError::Listen(self.address, why))
    }
}

impl Listeners {
    fn open<S>(settings: &Settings<S>) -> Result<Self, RunError> {
        let public = Bound::to(settings.listen);
        let metrics = ops::record();
        let ops = match &metrics {
            Some(_) => Bound::to(settings.ops_listen).map(Some),
            None => Ok(None),
        };
        let (public, ops) = match (public, ops) {
            (Err(public), Err(ops)) => return Err(RunError::Several(vec![public, ops])),
            (public, ops) => (public?, ops?),
        };
        Ok(Self {
            address: public.address,
            public,
            ops: ops.zip(metrics),
        })
    }
}

async fn start<P: Program>(
    program: P,
    settings: Settings<P::Own>,
    roles: Roles,
    backends: Backends,
    runtime: Arc<TokioRuntime>,
    listeners: Listeners,
) -> Result<Process<P>, RunError> {
    let Listeners {
        public,
        address,
        ops,
    } = listeners;
    let trust = trust::keys(&program, &settings, &roles)?;
    let bodies = bodies::place(&settings, &backends.ports)?;
    let ops_address = ops.as_ref().map(|(it, _)| it.address);
    let state = program.begin(&settings, &roles, &backends.ports).await?;
    let (program, settings) = (Arc::new(program), Arc::new(settings));
    let (roles, state) = (Arc::new(roles), Arc::new(state));
    let overload = watched(&settings, &backends);
    let system: System = {
        let (program, settings) = (Arc::clone(&program), Arc::clone(&settings));
        let (roles, state) = (Arc::clone(&roles), Arc::clone(&state));
        let trust = trust.clone();
        Arc::new(move || {
            let app = program.system(&settings, &roles, &state);
            let app = app.shedding(overload.clone());
            let app = app.large_bodies(bodies.clone());
            let app = recording(app, &settings);
            match &trust {
                Some(trust) => app.signed(trust.clone()),
                None => app,
            }
        })
    };
    let wanted = |name: &str| roles.services.contains(name);
    let ports = backends.ports.clone();
    let host = Host::start(Arc::clone(&runtime), ports, system, wanted).await?;
    let (end, ended) = watch::channel(false);
    let mut process = Process {
        program,
        settings,
        roles,
        state,
        runtime,
        backends: Arc::new(backends),
        trust,
        host,
        readiness: Readiness::default(),
        address,
        ops_address,
        printed: Vec::new(),
        end,
        serving: Vec::new(),
        #[cfg(feature = "otlp")]
        exporting: None,
    };
    let program = Arc::clone(&process.program);
    let routes = program.routes(&process).await?;
    let limits = Limits::of_process();
    let routes = closing(routes, process.readiness.clone());
    process.serve(public.listen()?, routes, limits, &ended);
    if let Some((listener, handle)) = ops {
        process.operate(listener.listen()?, handle, &ended)?;
    }
    process.printed = program.prepare(&process).await?;
    process.readiness.open();
    process.watch_servers(ended);
    Ok(process)
}

impl<P: Program> Process<P> {
    /// Returns the routes of the services that run here, with `/healthz` and `/readyz`. Writes are
    /// refused while the disk is full.
    pub fn service_routes(&self) -> Router {
        let backends = Arc::clone(&self.backends);
        health(self.readiness.clone())
            .fallback_service(self.host.routes())
            .layer(middleware::from_fn_with_state(backends, intake))
    }

    /// Returns the public routes of a program without routes of its own: those of the services,
    /// measured, traced, with the caller's session; and the documents of the whole system.
    pub(super) fn default_routes(&self) -> Router {
        let runtime: SharedRuntime = self.runtime.clone();
        let cache = Arc::clone(&self.backends.ports.cache);
        let sessions = Sessions::new(cache, runtime.clone());
        let routes = self
            .service_routes()
            .merge(self.documents())
            .layer(middleware::from_fn(routed))
            .layer(middleware::from_fn_with_state(sessions, identify))
            .layer(middleware::from_fn(problems));
        traced(routes, self.program.name(), runtime.clone())
            .layer(middleware::from_fn_with_state(runtime, measure))
    }

    fn documents(&self) -> Router {
        let info = Info::new(self.program.name(), "1").description(self.program.about());
        let (_, health) = health_routes().into_parts();
        documents(self.host.description().operations(health), &info)
    }

    /// Returns the lines to print when the process is ready.
    pub(super) fn greeting(&self) -> Vec<String> {
        let mut lines = self.program.greeting(self);
        lines.extend(self.printed.iter().cloned());
        lines
    }

    fn serve(
        &mut self,
        listener: TcpListener,
        routes: Router,
        limits: Limits,
        ended: &watch::Receiver<bool>,
    ) {
        let mut ended = ended.clone();
        let end = async move {
            let _ = ended.changed().await; // The process was dropped, which ends it too.
        };
        let serving = tokio::spawn(serve_within(listener, routes, limits, end));
        self.serving.push(serving);
    }

    /// Serves the operator's port.
    fn operate(
        &mut self,
        listener: TcpListener,
        recorder: ops::Recorder,
        ended: &watch::Receiver<bool>,
    ) -> Result<(), RunError> {
        let metrics = ops::Metrics {
            host: Arc::clone(&self.host),
            readiness: self.readiness.clone(),
            recorder,
        };
        #[cfg(feature = "otlp")]
        self.export(metrics.clone())?;
        let token = self.settings.ops_token.clone();
        #[cfg(feature = "console")]
        let console = console::on_port(
            self.program.name(),
            Arc::clone(&self.host),
            self.readiness.clone(),
            token.clone(),
            self.runtime.clone(),
        );
        let routes = ops::routes(metrics, token);
        #[cfg(feature = "console")]
        let routes = routes.merge(console);
        let limits = Limits {
            connections: OPS_CONNECTIONS,
            ..Limits::default()
        };
        self.serve(listener, routes, limits, ended);
        Ok(())
    }

    /// Starts to send the metrics to the collector of the settings, if they name one.
    #[cfg(feature = "otlp")]
    fn export(&mut self, metrics: ops::Metrics) -> Result<(), RunError> {
        use crate::telemetry::otlp::Points;
        let otlp = &self.settings.otlp;
        if let Some(url) = &otlp.metrics {
            let service = self.roles.name(self.program.name());
            let points = Points::to(url, &service, &self.settings.tls);
            let points = points.map_err(|why| RunError::Collector(why.to_string()))?;
            let exporting = ops::Exporting::start(metrics, points, otlp.interval);
            self.exporting = Some(exporting);
        }
        Ok(())
    }

    /// Reports the process as not ready while its servers do not answer.
    fn watch_servers(&mut self, mut ended: watch::Receiver<bool>) {
        let watching = self.readiness.clone().watch(self.backends.ports.clone());
        let watching = async move {
            tokio::select! {
                biased;
                _ = ended.changed() => {}
                () = watching => {}
            }
        };
        self.serving.push(tokio::spawn(watching));
    }

    /// Shuts down gracefully: answers open requests and finishes the work that has begun.
    pub async fn close(self) {
        self.readiness.close();
        tokio::time::sleep(self.settings.drain_delay).await;
        self.end.send_replace(true);
        for serving in self.serving {
            let _ = serving.await; // The server has ended; its result does not matter.
        }
        let drained = tokio::time::timeout(DRAIN_WITHIN, self.host.drain()).await;
        if drained.is_err() {
            tracing::warn!("some work was not finished in time; the next start continues it");
        }
        #[cfg(feature = "otlp")]
        if let Some(exporting) = self.exporting {
            exporting.finish().await;
        }
        self.host.stop().await;
    }
}

/// Makes the services record what the settings say.
fn recording<S>(app: App, settings: &Settings<S>) -> App {
    match &settings.recording {
        Some(recording) => app.recording(recording.clone()),
        None => app,
    }
}

/// Returns the overload of this process, with the watermarks of its settings.
fn watched<S>(settings: &Settings<S>, backends: &Backends) -> Overload {
    let data = backends.stores_here().then(|| settings.data.clone());
    let machine = Machine::new(settings.memory_limit, data);
    let watermarks = machine.fitted(settings.watermarks);
    Overload::new(watermarks, Arc::new(machine))
}

/// Refuses writes while they cannot be stored.
async fn intake(State(backends): State<Arc<Backends>>, request: Request, next: Next) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && !backends.writable() {
        let detail = "the disk is full or fails: new writes are refused, stored work is kept";
        return Problem::new(503, "storage_full", detail).into_response();
    }
    next.run(request).await
}
