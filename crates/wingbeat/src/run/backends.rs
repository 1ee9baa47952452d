//! The adapters of a process: embedded, or RabbitMQ, PostgreSQL and Redis.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "servers")]
use std::time::Duration;

#[cfg(feature = "embedded")]
use wingbeat_embedded::{Embedded, EmbeddedCache, Inspector, Loss};
#[cfg(feature = "servers")]
use wingbeat_postgres::Postgres;
#[cfg(feature = "servers")]
use wingbeat_rabbitmq::RabbitMq;
#[cfg(feature = "servers")]
use wingbeat_redis::Redis;

#[cfg(feature = "servers")]
use wingbeat_core::Runtime as _;
use wingbeat_core::tls::TlsFiles;

use super::error::RunError;
use super::settings::Servers;
use crate::call::HyperClient;
use crate::{Ports, Result, TokioRuntime};

/// The time for which a start waits for servers that accept connections and do not answer.
#[cfg(feature = "servers")]
const PATIENCE: Duration = Duration::from_secs(60);
/// A server that is absent refuses a connection sooner than this. One that is slow does not.
#[cfg(feature = "servers")]
const SLOW: Duration = Duration::from_millis(500);

/// The ports of a process, and the adapters behind them.
pub struct Backends {
    /// The ports, for the services.
    pub ports: Ports,
    #[cfg(feature = "embedded")]
    embedded: Option<Arc<Embedded>>,
}

impl From<Ports> for Backends {
    /// For adapters that Wingbeat does not ship; see [`open_on`](super::open_on).
    fn from(ports: Ports) -> Self {
        Self {
            ports,
            #[cfg(feature = "embedded")]
            embedded: None,
        }
    }
}

impl Backends {
    /// Opens the data directory, or connects to the servers. `name` is shown by the broker. `tls`
    /// applies to outgoing HTTP.
    ///
    /// # Errors
    ///
    /// Those of the adapters, of all servers at once; `not_built` if the program lacks the feature
    /// `embedded` or `servers`.
    pub async fn open(
        servers: Option<&Servers>,
        data: &Path,
        name: &str,
        tls: &TlsFiles,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Self, RunError> {
        let http = HyperClient::with_tls(tls.clone());
        match servers {
            // Boxed: the compiler limits the depth of a program's futures.
            Some(servers) => Box::pin(Self::connect(servers, name, runtime, http)).await,
            None => Ok(Self::embedded(data, runtime, http)?),
        }
    }

    /// Opens the data directory only to read it, beside the process that has it open, or connects
    /// to the servers.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub(super) async fn open_to_read(
        servers: Option<&Servers>,
        data: &Path,
        name: &str,
        tls: &TlsFiles,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Self, RunError> {
        if servers.is_some() {
            return Self::open(servers, data, name, tls, runtime).await;
        }
        Ok(Self::inspect(
            data,
            runtime,
            HyperClient::with_tls(tls.clone()),
        )?)
    }

    #[cfg(feature = "embedded")]
    fn inspect(data: &Path, runtime: &Arc<TokioRuntime>, http: Arc<HyperClient>) -> Result<Self> {
        let inspector = Inspector::open(&wingbeat_embedded::Config::new(data))?;
        Ok(Self::from(Ports {
            runtime: runtime.clone(),
            store: inspector.clone(),
            transport: inspector.clone(),
            cache: inspector,
            http,
        }))
    }

    #[cfg(not(feature = "embedded"))]
    fn inspect(data: &Path, runtime: &Arc<TokioRuntime>, http: Arc<HyperClient>) -> Result<Self> {
        Self::embedded(data, runtime, http)
    }

    #[cfg(feature = "embedded")]
    fn embedded(data: &Path, runtime: &Arc<TokioRuntime>, http: Arc<HyperClient>) -> Result<Self> {
        let embedded = Embedded::open(&wingbeat_embedded::Config::new(data))?;
        embedded.admit("cache.db", Loss::Acceptable)?;
        let cache = EmbeddedCache::open(data, runtime.clone())?;
        Ok(Self {
            ports: Ports {
                runtime: runtime.clone(),
                store: embedded.clone(),
                transport: embedded.clone(),
                cache,
                http,
            },
            embedded: Some(embedded),
        })
    }

    #[cfg(not(feature = "embedded"))]
    fn embedded(_: &Path, _: &Arc<TokioRuntime>, _: Arc<HyperClient>) -> Result<Self> {
        let text = "built without the feature `embedded`: set --broker, --store and --cache";
        Err(crate::Error::reject("not_built", text))
    }

    /// Returns what is wrong in the URLs of the servers, without connecting to one.
    #[cfg(feature = "servers")]
    pub(super) fn faults(servers: &Servers) -> Vec<crate::Error> {
        let (store, broker, cache) = configs(servers);
        let checks = [
            Postgres::check(&store),
            RabbitMq::check(&broker),
            Redis::check(&cache),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    #[cfg(not(feature = "servers"))]
    pub(super) fn faults(_: &Servers) -> Vec<crate::Error> {
        Vec::new()
    }

    /// Connects to all servers at once, and reports each one that does not answer. A server that is
    /// slow to answer gets a minute; one that refuses connections is reported at once.
    #[cfg(feature = "servers")]
    async fn connect(
        servers: &Servers,
        name: &str,
        runtime: &Arc<TokioRuntime>,
        http: Arc<HyperClient>,
    ) -> Result<Self, RunError> {
        RunError::all(Self::faults(servers).into_iter().map(Into::into).collect())?;
        let (store, mut broker, mut cache) = configs(servers);
        broker.name = name.to_owned();
        // Programs in other languages find sessions under documented keys.
        cache.namespace = String::new();
        let connecting = futures_util::future::join3(
            patiently(runtime, || Postgres::connect(&store, runtime.clone())),
            patiently(runtime, || RabbitMq::connect(&broker, runtime.clone())),
            patiently(runtime, || Redis::connect(&cache, runtime.clone())),
        );
        match connecting.await {
            (Ok(store), Ok(transport), Ok(cache)) => Ok(Self::from(Ports {
                runtime: runtime.clone(),
                store,
                transport,
                cache,
                http,
            })),
            (store, broker, cache) => {
                let failed = [store.err(), broker.err(), cache.err()];
                let failed = failed.into_iter().flatten().map(RunError::from);
                Err(RunError::Several(failed.collect()))
            }
        }
    }

    #[cfg(not(feature = "servers"))]
    async fn connect(
        _: &Servers,
        _: &str,
        _: &Arc<TokioRuntime>,
        _: Arc<HyperClient>,
    ) -> Result<Self, RunError> {
        let text = "built without the feature `servers`";
        Err(crate::Error::reject("not_built", text).into())
    }

    /// Checks that a file of the program belongs to the embedded store. On servers there is nothing
    /// to check.
    #[cfg_attr(
        not(feature = "embedded"),
        allow(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "there is no store"
        )
    )]
    pub(super) fn admit(&self, file: &str) -> Result<()> {
        #[cfg(feature = "embedded")]
        if let Some(embedded) = &self.embedded {
            return embedded.admit(file, Loss::Fatal);
        }
        let _ = file;
        Ok(())
    }

    /// Returns the embedded store and broker, if the process runs on it.
    #[cfg(feature = "embedded")]
    #[must_use]
    pub fn as_embedded(&self) -> Option<&Arc<Embedded>> {
        self.embedded.as_ref()
    }

    /// Returns whether the process stores data in its own directory.
    pub(super) fn stores_here(&self) -> bool {
        #[cfg(feature = "embedded")]
        return self.embedded.is_some();
        #[cfg(not(feature = "embedded"))]
        #[allow(clippy::unused_self, reason = "there is no such store")]
        false
    }

    /// Returns whether new work can be stored. On servers the commit decides.
    #[must_use]
    pub fn writable(&self) -> bool {
        #[cfg(feature = "embedded")]
        if let Some(embedded) = &self.embedded {
            return embedded.writable();
        }
        true
    }
}

/// Connects again while the server is slow, which is an outage and no wrong setting.
#[cfg(feature = "servers")]
async fn patiently<T, F: Future<Output = Result<T>>>(
    runtime: &TokioRuntime,
    connect: impl Fn() -> F,
) -> Result<T> {
    let end = runtime.elapsed() + PATIENCE;
    loop {
        let began = runtime.elapsed();
        let why = match connect().await {
            Err(why) if why.code().ends_with("_unavailable") => why,
            connected_or_refused => return connected_or_refused,
        };
        let now = runtime.elapsed();
        if now - began < SLOW || now >= end {
            return Err(why);
        }
        tracing::warn!(
            code = why.code(),
            "waiting for a server that is slow to answer: {why}"
        );
    }
}

/// The configurations of the adapters.
#[cfg(feature = "servers")]
fn configs(
    servers: &Servers,
) -> (
    wingbeat_postgres::Config,
    wingbeat_rabbitmq::Config,
    wingbeat_redis::Config,
) {
    let mut store = wingbeat_postgres::Config::new(&servers.store);
    let mut broker = wingbeat_rabbitmq::Config::new(&servers.broker);
    let mut cache = wingbeat_redis::Config::new(&servers.cache);
    store.tls = servers.tls.clone();
    broker.tls = servers.tls.clone();
    cache.tls = servers.tls.clone();
    (store, broker, cache)
}
