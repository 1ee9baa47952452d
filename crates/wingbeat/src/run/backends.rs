//! The adapters of a process: embedded, or RabbitMQ, PostgreSQL and Redis.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "embedded")]
use wingbeat_embedded::{Embedded, EmbeddedCache};
#[cfg(feature = "servers")]
use wingbeat_postgres::Postgres;
#[cfg(feature = "servers")]
use wingbeat_rabbitmq::RabbitMq;
#[cfg(feature = "servers")]
use wingbeat_redis::Redis;

use super::settings::Servers;
use crate::call::HyperClient;
use crate::{Ports, Result, TokioRuntime};

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
    /// Opens the data directory, or connects to the servers. `name` is shown by the broker.
    ///
    /// # Errors
    ///
    /// Those of the adapters; `not_built` if the program lacks the feature `embedded` or `servers`.
    pub async fn open(
        servers: Option<&Servers>,
        data: &Path,
        name: &str,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Self> {
        match servers {
            Some(servers) => Self::connect(servers, name, runtime).await,
            None => Self::embedded(data, runtime),
        }
    }

    #[cfg(feature = "embedded")]
    fn embedded(data: &Path, runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let embedded = Embedded::open(&wingbeat_embedded::Config::new(data))?;
        let cache = EmbeddedCache::open(data, runtime.clone())?;
        Ok(Self {
            ports: Ports {
                runtime: runtime.clone(),
                store: embedded.clone(),
                transport: embedded.clone(),
                cache,
                http: HyperClient::new(),
            },
            embedded: Some(embedded),
        })
    }

    #[cfg(not(feature = "embedded"))]
    fn embedded(_data: &Path, _runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let text = "built without the feature `embedded`: set --broker, --store and --cache";
        Err(crate::Error::reject("not_built", text))
    }

    #[cfg(feature = "servers")]
    async fn connect(servers: &Servers, name: &str, runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let tls = wingbeat_connect::TlsFiles {
            ca: servers.tls.ca.clone(),
            certificate: servers.tls.certificate.clone(),
            key: servers.tls.key.clone(),
        };
        let mut store = wingbeat_postgres::Config::new(&servers.store);
        store.tls = tls.clone();
        let mut broker = wingbeat_rabbitmq::Config::new(&servers.broker);
        broker.name = name.to_owned();
        broker.tls = tls.clone();
        let mut cache = wingbeat_redis::Config::new(&servers.cache);
        cache.tls = tls;
        // Programs in other languages find sessions under documented keys.
        cache.namespace = String::new();
        check([
            Postgres::check(&store),
            RabbitMq::check(&broker),
            Redis::check(&cache),
        ])?;
        let store = Postgres::connect(&store, runtime.clone()).await?;
        let broker = RabbitMq::connect(&broker, runtime.clone()).await?;
        let cache = Redis::connect(&cache, runtime.clone()).await?;
        Ok(Self::from(Ports {
            runtime: runtime.clone(),
            store,
            transport: broker,
            cache,
            http: HyperClient::new(),
        }))
    }

    #[cfg(not(feature = "servers"))]
    async fn connect(_: &Servers, _: &str, _: &Arc<TokioRuntime>) -> Result<Self> {
        let text = "built without the feature `servers`";
        Err(crate::Error::reject("not_built", text))
    }

    /// Returns the embedded store and broker, if the process runs on it.
    #[cfg(feature = "embedded")]
    #[must_use]
    pub fn as_embedded(&self) -> Option<&Arc<Embedded>> {
        self.embedded.as_ref()
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

/// Returns all errors of the settings as one, so that a user can correct them at once.
#[cfg(feature = "servers")]
fn check(settings: [Result<()>; 3]) -> Result<()> {
    let wrong: Vec<crate::Error> = settings.into_iter().filter_map(Result::err).collect();
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(crate::Error::reject(first.code(), texts.join("; ")))
}
