//! From settings to a shop that is open, and back to one that is closed with nothing lost.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process: its sockets and its clock are the machine's"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use shop_provider::Provider;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wingbeat::http::session::Sessions;
use wingbeat::http::{serve, traced};
use wingbeat::real::TokioRuntime;
use wingbeat::runtime::SharedRuntime;
use wingbeat::{Result, Runtime as _};

use crate::backends::Backends;
use crate::cast::Cast;
use crate::ops::Readiness;
use crate::{Host, Settings, cast, ops, prepare, routes, shop};

/// The pause between two looks whether the servers answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for work to be finished at the end; what is left is done at the next start.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Why the shop does not open: one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The provider does not start.
    #[error(transparent)]
    Provider(#[from] shop_provider::Error),
    /// Such a process cannot be.
    #[error(transparent)]
    Cast(#[from] cast::Error),
    /// The data cannot be used, or the services do not start.
    #[error("{0}")]
    Services(wingbeat::Error),
}

impl From<wingbeat::Error> for Error {
    fn from(why: wingbeat::Error) -> Self {
        Self::Services(why)
    }
}

/// A process of the shop that is open.
pub struct Open {
    /// Its services.
    pub host: Arc<Host>,
    /// What it runs on.
    pub backends: Arc<Backends>,
    /// Who is signed in.
    pub sessions: Sessions,
    /// The stand-in for the payment company, if it is here.
    pub provider: Option<Provider>,
    /// Where the payment company is.
    pub provider_url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/metrics` is, where this process records them.
    pub ops_address: Option<SocketAddr>,
    /// Where the admin's password is; `None` when the settings say it, or identity is elsewhere.
    pub admin_password: Option<String>,
    /// Orders that were on their way when the last process ended.
    pub recovered: usize,
    pub(crate) cast: Cast,
    pub(crate) readiness: Readiness,
    drain_delay: Duration,
    end: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
}

/// Opens the whole shop in one process.
///
/// # Errors
///
/// What is in the way.
pub async fn start(settings: &Settings) -> Result<Open, Error> {
    open(settings, Cast::whole(settings)).await
}

/// Opens a process with these services.
///
/// # Errors
///
/// What is in the way.
pub async fn open(settings: &Settings, cast: Cast) -> Result<Open, Error> {
    let listener = listen(settings.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|why| Error::Listen(settings.listen, why))?;
    let metrics = ops::record();
    let ops_listener = match &metrics {
        Some(_) => Some(listen(settings.ops_listen).await?),
        None => None,
    };
    let runtime = TokioRuntime::new();
    let backends = Arc::new(Backends::open(settings, &cast.name(), &runtime).await?);
    let provider = stand_in(settings, &cast).await?;
    let provider_url = match &provider {
        Some(provider) => provider.url(),
        None => routes::elsewhere(settings, "provider"),
    };
    let ports = backends.ports.clone();
    let sessions = Sessions::new(Arc::clone(&ports.cache), runtime.clone());
    let all = shop::services(settings, &cast, &sessions, &provider_url);
    let wanted = |name: &str| cast.services.contains(name);
    let host = Host::start(runtime.clone(), ports.clone(), all, wanted).await?;
    let recovered = prepare::in_flight(&host).await?;
    let readiness = Readiness::default();
    let (end, ended) = watch::channel(false);
    let mut open = Open {
        admin_password: prepare::ensure_admin(&host, settings).await?,
        ops_address: ops_listener.as_ref().and_then(|it| it.local_addr().ok()),
        host: Arc::clone(&host),
        backends,
        sessions,
        provider,
        provider_url,
        address,
        recovered,
        cast,
        readiness,
        drain_delay: settings.drain_delay,
        end,
        serving: Vec::new(),
    };
    let routes = routes::of(&open, settings, &runtime).await?;
    let routes = ops::parting(routes, open.readiness.clone());
    open.serve(listener, routes, &ended);
    if let (Some(listener), Some(handle)) = (ops_listener, metrics) {
        let metrics = ops::metrics(Arc::clone(&host), open.readiness.clone(), handle.clone());
        open.serve(listener, metrics, &ended);
        let measuring: SharedRuntime = runtime.clone();
        runtime.spawn(Box::pin(ops::upkeep(handle, measuring)));
    }
    let mut seeds_are_new = false;
    if open.cast.services.contains("catalog") {
        seeds_are_new = prepare::seed(&host).await?;
    }
    if open.cast.whole {
        prepare::settle(&host, seeds_are_new).await;
    }
    open.readiness.open();
    let watching = watch_servers(
        Arc::clone(&open.backends),
        open.readiness.clone(),
        ended.clone(),
    );
    open.serving.push(tokio::spawn(watching));
    if !open.cast.services.is_empty() {
        let retaining = retain(Arc::clone(&open.backends), ended);
        open.serving.push(tokio::spawn(retaining));
    }
    Ok(open)
}

/// Starts the provider alone, on the public address.
///
/// # Errors
///
/// What is in the way.
pub async fn provider(settings: &Settings) -> Result<Provider, Error> {
    let ledger = ledger(settings)?;
    let listen = settings.listen;
    traced_provider(shop_provider::Config { listen, ledger }).await
}

/// It knows nothing of us; that its answers belong to our traces is put around it.
async fn traced_provider(config: shop_provider::Config) -> Result<Provider, Error> {
    let runtime = TokioRuntime::new();
    let around = |routes| traced(routes, "provider", runtime);
    Ok(shop_provider::start_within(config, around).await?)
}

fn ledger(settings: &Settings) -> Result<std::path::PathBuf, Error> {
    let made = std::fs::create_dir_all(&settings.data);
    made.map_err(|why| Error::File(settings.data.display().to_string(), why))?;
    Ok(settings.data.join("provider.db"))
}

/// The stand-in for the payment company, on a real socket of the loopback.
async fn stand_in(settings: &Settings, cast: &Cast) -> Result<Option<Provider>, Error> {
    if !cast.provider {
        return Ok(None);
    }
    let ledger = ledger(settings)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = shop_provider::Config { listen, ledger };
    traced_provider(config).await.map(Some)
}

/// Says that the process is not ready while its servers do not answer; it heals by itself.
async fn watch_servers(
    backends: Arc<Backends>,
    readiness: Readiness,
    mut ended: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            biased;
            _ = ended.changed() => return,
            () = backends.ports.runtime.sleep(LOOK_EVERY) => {}
        }
        readiness.servers(backends.answer().await);
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|why| Error::Listen(address, why))
}

async fn retain(backends: Arc<Backends>, mut ended: watch::Receiver<bool>) {
    let ports = &backends.ports;
    tokio::select! {
        biased;
        _ = ended.changed() => {}
        () = wingbeat::sweep(Arc::clone(&ports.store), Arc::clone(&ports.runtime)) => {}
    }
}

impl Open {
    fn serve(&mut self, listener: TcpListener, routes: Router, ended: &watch::Receiver<bool>) {
        let mut ended = ended.clone();
        let end = async move {
            drop(ended.changed().await);
        };
        self.serving
            .push(tokio::spawn(serve(listener, routes, end)));
    }

    /// Closes: open requests are answered, what was begun is finished, nothing is lost.
    pub async fn close(self) {
        self.readiness.close();
        tokio::time::sleep(self.drain_delay).await;
        self.end.send_replace(true);
        for serving in self.serving {
            drop(serving.await);
        }
        let drained = tokio::time::timeout(DRAIN_WITHIN, self.host.drain()).await;
        if drained.is_err() {
            tracing::warn!("some work was not finished in time; the next start goes on with it");
        }
        self.host.stop().await;
    }
}
