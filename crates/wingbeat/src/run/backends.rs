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

use wingbeat_core::tls::TlsFiles;

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
    /// Opens the data directory, or connects to the servers. `name` is shown by the broker. `tls`
    /// applies to outgoing HTTP.
    ///
    /// # Errors
    ///
    /// Those of the adapters; `tls_invalid` if a TLS file cannot be used; `not_built` if the program lacks the feature `embedded` or `servers`.
    pub async fn open(
        servers: Option<&Servers>,
        data: &Path,
        name: &str,
        tls: &TlsFiles,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Self> {
        let http = HyperClient::with_tls(tls.clone());
        if *tls != TlsFiles::default() {
            http.prepare_tls()?;
        }
        match servers {
            Some(servers) => Self::connect(servers, name, runtime, http).await,
            None => Self::embedded(data, runtime, http),
        }
    }

    #[cfg(feature = "embedded")]
    fn embedded(data: &Path, runtime: &Arc<TokioRuntime>, http: Arc<HyperClient>) -> Result<Self> {
        let embedded = Embedded::open(&wingbeat_embedded::Config::new(data))?;
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

    #[cfg(feature = "servers")]
    async fn connect(
        servers: &Servers,
        name: &str,
        runtime: &Arc<TokioRuntime>,
        http: Arc<HyperClient>,
    ) -> Result<Self> {
        let config = wingbeat_postgres::Config::new(&servers.store);
        let store = Postgres::connect(&config, runtime.clone()).await?;
        let mut config = wingbeat_rabbitmq::Config::new(&servers.broker);
        config.name = name.to_owned();
        let broker = RabbitMq::connect(&config, runtime.clone()).await?;
        let mut config = wingbeat_redis::Config::new(&servers.cache);
        // Programs in other languages find sessions under documented keys.
        config.namespace = String::new();
        let cache = Redis::connect(&config, runtime.clone()).await?;
        Ok(Self::from(Ports {
            runtime: runtime.clone(),
            store,
            transport: broker,
            cache,
            http,
        }))
    }

    #[cfg(not(feature = "servers"))]
    async fn connect(
        _: &Servers,
        _: &str,
        _: &Arc<TokioRuntime>,
        _: Arc<HyperClient>,
    ) -> Result<Self> {
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
