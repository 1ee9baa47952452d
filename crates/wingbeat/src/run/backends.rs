//! The adapters of a process: embedded, or RabbitMQ, PostgreSQL and Redis.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "servers")]
use std::time::Duration;

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
use crate::{Error, Ports, Result, TokioRuntime};

/// A server that has not answered by then counts as unavailable.
#[cfg(feature = "servers")]
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The ports of a process, and the adapters behind them.
pub struct Backends {
    /// The ports, for the services.
    pub ports: Ports,
    adapters: Adapters,
}

enum Adapters {
    #[cfg(feature = "embedded")]
    Embedded(Arc<Embedded>),
    #[cfg(feature = "servers")]
    Servers {
        store: Arc<Postgres>,
        broker: Arc<RabbitMq>,
    },
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
            adapters: Adapters::Embedded(embedded),
        })
    }

    #[cfg(not(feature = "embedded"))]
    fn embedded(_data: &Path, _runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let text = "built without the feature `embedded`: set --broker, --store and --cache";
        Err(Error::reject("not_built", text))
    }

    #[cfg(feature = "servers")]
    async fn connect(servers: &Servers, name: &str, runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let config = wingbeat_postgres::Config::new(&servers.store);
        let store = Postgres::connect(&config, runtime.clone()).await?;
        let mut config = wingbeat_rabbitmq::Config::new(&servers.broker);
        config.name = name.to_owned();
        let broker = RabbitMq::connect(&config, runtime.clone()).await?;
        let mut config = wingbeat_redis::Config::new(&servers.cache);
        // Programs in other languages find sessions under documented keys.
        config.namespace = String::new();
        let cache = Redis::connect(&config, runtime.clone()).await?;
        Ok(Self {
            ports: Ports {
                runtime: runtime.clone(),
                store: store.clone(),
                transport: broker.clone(),
                cache,
                http: HyperClient::new(),
            },
            adapters: Adapters::Servers { store, broker },
        })
    }

    #[cfg(not(feature = "servers"))]
    async fn connect(_: &Servers, _: &str, _: &Arc<TokioRuntime>) -> Result<Self> {
        let text = "built without the feature `servers`";
        Err(Error::reject("not_built", text))
    }

    /// Returns the embedded store and broker, if the process runs on it.
    #[cfg(feature = "embedded")]
    #[must_use]
    pub fn as_embedded(&self) -> Option<&Arc<Embedded>> {
        match &self.adapters {
            Adapters::Embedded(embedded) => Some(embedded),
            #[cfg(feature = "servers")]
            Adapters::Servers { .. } => None,
        }
    }

    /// Returns whether new work can be stored. On servers the commit decides.
    #[must_use]
    pub fn writable(&self) -> bool {
        match &self.adapters {
            #[cfg(feature = "embedded")]
            Adapters::Embedded(embedded) => embedded.writable(),
            #[cfg(feature = "servers")]
            Adapters::Servers { .. } => true,
        }
    }

    /// Checks that store and broker answer, and that the broker takes messages. The cache may be
    /// unavailable.
    ///
    /// # Errors
    ///
    /// Those of the store and the broker; `servers_unavailable` if they do not answer within three
    /// seconds.
    pub async fn ping(&self) -> Result<()> {
        match &self.adapters {
            #[cfg(feature = "embedded")]
            Adapters::Embedded(_) => Ok(()),
            #[cfg(feature = "servers")]
            Adapters::Servers { store, broker } => {
                use crate::RuntimeExt as _;
                let both = async {
                    store.ping().await?;
                    broker.ping().await
                };
                let answered = self.ports.runtime.timeout(ANSWER_WITHIN, both).await;
                answered.unwrap_or_else(|| {
                    let text = "store or broker do not answer in time";
                    Err(Error::retry("servers_unavailable", text))
                })
            }
        }
    }
}
