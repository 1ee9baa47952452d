//! From settings to a shop that is open, and back to one that is closed with nothing lost.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process: its sockets and its clock are the machine's"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use shop_contracts::inventory::AdjustStock;
use shop_provider::Provider;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;
use wingbeat::app::Ports;
use wingbeat::http::session::Sessions;
use wingbeat::http::{Problem, serve};
use wingbeat::real::{HyperClient, TokioRuntime};
use wingbeat::{Effects, Result, Runtime as _, RuntimeExt as _, Saga as _, Store as _, run_unit};
use wingbeat_embedded::{Embedded, EmbeddedCache};

use crate::ops::Readiness;
use crate::{Host, Settings, admin, audit, dev, docs, ops, shop, timeline};

/// The pause between two sweeps of what has outlived its retention.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// The longest wait at the start for seeds to arrive everywhere.
const SEEDED_WITHIN: Duration = Duration::from_secs(10);
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
    /// The data cannot be used, or the services do not start.
    #[error("{0}")]
    Services(wingbeat::Error),
}

impl From<wingbeat::Error> for Error {
    fn from(why: wingbeat::Error) -> Self {
        Self::Services(why)
    }
}

/// A shop that is open.
pub struct Open {
    /// Its services.
    pub host: Arc<Host>,
    /// Its store and broker.
    pub embedded: Arc<Embedded>,
    /// Who is signed in.
    pub sessions: Sessions,
    /// The stand-in for the payment company.
    pub provider: Provider,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/metrics` is, where this process records them.
    pub ops_address: Option<SocketAddr>,
    /// Where the admin's password is; `None` when the settings say it.
    pub admin_password: Option<String>,
    /// Orders that were on their way when the last process ended.
    pub recovered: usize,
    readiness: Readiness,
    end: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
}

/// Opens the shop on its embedded default.
///
/// # Errors
///
/// What is in the way.
pub async fn start(settings: &Settings) -> Result<Open, Error> {
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
    let embedded = Embedded::open(&wingbeat_embedded::Config::new(&settings.data))?;
    let cache = EmbeddedCache::open(&settings.data, runtime.clone())?;
    let ledger = settings.data.join("provider.db");
    let near = SocketAddr::from(([127, 0, 0, 1], 0));
    let provider = shop_provider::start(shop_provider::Config {
        listen: near,
        ledger,
    });
    let provider = provider.await?;
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded.clone(),
        cache: cache.clone(),
        http: HyperClient::new(),
    };
    let sessions = Sessions::new(cache, runtime.clone());
    let services = shop::services(settings, &sessions, &provider.url());
    let host = Host::start(runtime, ports, services).await?;
    let recovered = in_flight(&host).await?;
    let readiness = Readiness::default();
    let (end, ended) = watch::channel(false);
    let mut open = Open {
        admin_password: ensure_admin(&host, settings).await?,
        ops_address: ops_listener.as_ref().and_then(|it| it.local_addr().ok()),
        host: Arc::clone(&host),
        embedded,
        sessions,
        provider,
        address,
        recovered,
        readiness,
        end,
        serving: Vec::new(),
    };
    let routes = shop_gateway::edge(
        open.api(),
        open.sessions.clone(),
        open.host.ports().runtime.clone(),
    );
    open.serve(listener, routes, &ended);
    if let (Some(listener), Some(handle)) = (ops_listener, metrics) {
        open.serve(listener, ops::metrics(Arc::clone(&host), handle), &ended);
    }
    seed(&host).await?;
    settle(&host).await;
    open.readiness.set(true);
    open.serving
        .push(tokio::spawn(retain(Arc::clone(&open.embedded), ended)));
    Ok(open)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|why| Error::Listen(address, why))
}

/// Orders whose checkout has not ended.
async fn in_flight(host: &Host) -> Result<usize> {
    use shop_orders::checkout::Checkout;
    use wingbeat::saga::{SagaRecord, table};
    let context = host.service("orders")?;
    let (mut count, mut after) = (0, None);
    loop {
        let page = context
            .store
            .scan(table(Checkout::NAME), after, 1_000)
            .await?;
        let Some((last, _)) = page.last() else {
            return Ok(count);
        };
        after = Some(last.clone());
        for (_, record) in &page {
            let saga: SagaRecord<Checkout> = wingbeat::decode(&record.body)?;
            count += usize::from(!saga.ended);
        }
    }
}

/// The admin's password is the one in the settings, or a random one in the data directory.
async fn ensure_admin(host: &Host, settings: &Settings) -> Result<Option<String>, Error> {
    let (password, told) = match &settings.admin_password {
        Some(password) => (password.clone(), None),
        None => {
            let password = own_password(host, &settings.data.join("admin-password"))?;
            (password.clone(), Some(password))
        }
    };
    let identity = host.service("identity")?;
    shop_identity::ensure_admin(&identity, &password).await?;
    Ok(told)
}

fn own_password(host: &Host, path: &Path) -> Result<String, Error> {
    let failed = |why| Error::File(path.display().to_string(), why);
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
        Err(why) => return Err(failed(why)),
    }
    let mut secret = [0_u8; 12];
    host.ports().runtime.fill_secret(&mut secret);
    let password = hex::encode(secret);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    writeln!(file, "{password}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(password)
}

/// Lists the products of a new shop and puts them on the shelves; each once, however often the shop
/// starts.
async fn seed(host: &Host) -> Result<()> {
    let catalog = host.service("catalog")?;
    shop_catalog::seeding::seed(&catalog).await?;
    run_unit(&catalog, |scope| async move {
        let sown = wingbeat::Claims::of(&scope);
        let mut effects = Effects::new();
        for (number, seed) in (1_u128..).zip(shop_catalog::seeding::seeds()) {
            if seed.units == 0 || sown.owner("seeded", seed.sku.as_str()).await?.is_some() {
                continue;
            }
            sown.claim("seeded", seed.sku.as_str(), "stock").await?;
            effects.send(&AdjustStock {
                sku: seed.sku,
                delta: seed.units,
                reason: "opening stock".into(),
                adjustment_id: Uuid::from_u128(number),
            });
        }
        scope.emit(effects)
    })
    .await
}

/// Waits until nothing is on its way, so that the first visitor sees what was seeded. After a crash
/// under load it does not wait for the whole backlog.
async fn settle(host: &Host) {
    let runtime = &host.ports().runtime;
    let idle = async {
        loop {
            let look = admin::look(&host.sight()).await.unwrap_or_default();
            let arriving = |of: &&admin::Subscription| {
                matches!(
                    of.name,
                    "product_listed" | "adjust_stock" | "stock_level_changed"
                )
            };
            let left = look.iter().filter(arriving);
            if left.map(|it| it.waiting + it.in_flight).sum::<u64>() == 0 {
                return;
            }
            runtime.sleep(Duration::from_millis(2)).await;
        }
    };
    if runtime.timeout(SEEDED_WITHIN, idle).await.is_none() {
        tracing::warn!("the seeds are still on their way");
    }
}

async fn retain(embedded: Arc<Embedded>, mut ended: watch::Receiver<bool>) {
    let runtime = TokioRuntime::new();
    loop {
        tokio::select! {
            biased;
            _ = ended.changed() => return,
            () = runtime.sleep(RETENTION_EVERY) => {}
        }
        if let Err(why) = embedded.retain(runtime.now()).await {
            tracing::warn!(code = why.code(), "what has expired stays for now: {why}");
        }
    }
}

impl Open {
    /// Everything that programs may ask.
    fn api(&self) -> Router {
        let host = &self.host;
        let dev = dev::Dev {
            host: Arc::clone(host),
            sessions: self.sessions.clone(),
            provider: self.provider.url(),
        };
        let own = Router::new()
            .merge(ops::health(self.readiness.clone()))
            .merge(docs::routes(host.topology()))
            .merge(timeline::routes(Arc::clone(host)))
            .merge(admin::routes(Arc::clone(host)))
            .merge(audit::routes(Arc::clone(host), self.provider.url()))
            .merge(dev::routes(dev));
        let services = host.routes();
        own.fallback_service(services)
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.embedded),
                intake,
            ))
    }

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
        self.readiness.set(false);
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

/// Nothing new is taken in while it could not be stored.
async fn intake(State(embedded): State<Arc<Embedded>>, request: Request, next: Next) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && request.uri().path().starts_with("/api/") && !embedded.writable() {
        let detail = "the disk is full or fails: nothing new is taken in, nothing is lost";
        return Problem::new(503, "storage_full", detail).into_response();
    }
    next.run(request).await
}
