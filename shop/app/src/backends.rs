//! What a process runs on: the data directory, or RabbitMQ, PostgreSQL and Redis.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::app::Ports;
use wingbeat::real::{HyperClient, TokioRuntime};
use wingbeat::{Error, Result, RuntimeExt as _};
use wingbeat_embedded::{Embedded, EmbeddedCache};
use wingbeat_postgres::Postgres;
use wingbeat_rabbitmq::RabbitMq;
use wingbeat_redis::Redis;

use crate::Settings;
use crate::settings::Servers;

/// A server that has not answered by then counts as away.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The ports, and what is behind them.
pub struct Backends {
    /// For the services.
    pub ports: Ports,
    behind: Behind,
}

enum Behind {
    Files(Arc<Embedded>),
    Servers {
        store: Arc<Postgres>,
        broker: Arc<RabbitMq>,
    },
}

impl Backends {
    /// Opens the data directory, or connects to the servers.
    ///
    /// # Errors
    ///
    /// What is in the way: one line, no password in it.
    pub async fn open(
        settings: &Settings,
        name: &str,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Self> {
        match &settings.servers {
            Some(servers) => Self::connect(servers, name, runtime).await,
            None => Self::files(settings, runtime),
        }
    }

    fn files(settings: &Settings, runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let embedded = Embedded::open(&wingbeat_embedded::Config::new(&settings.data))?;
        let cache = EmbeddedCache::open(&settings.data, runtime.clone())?;
        Ok(Self {
            ports: Ports {
                runtime: runtime.clone(),
                store: embedded.clone(),
                transport: embedded.clone(),
                cache,
                http: HyperClient::new(),
            },
            behind: Behind::Files(embedded),
        })
    }

    async fn connect(servers: &Servers, name: &str, runtime: &Arc<TokioRuntime>) -> Result<Self> {
        let store = Postgres::connect(
            &wingbeat_postgres::Config::new(&servers.store),
            runtime.clone(),
        )
        .await?;
        let mut config = wingbeat_rabbitmq::Config::new(&servers.broker);
        config.name = name.to_owned();
        let broker = RabbitMq::connect(&config, runtime.clone()).await?;
        let mut config = wingbeat_redis::Config::new(&servers.cache);
        config.namespace = String::new(); // Others find a session under the key that the docs tell.
        let cache = Redis::connect(&config, runtime.clone()).await?;
        Ok(Self {
            ports: Ports {
                runtime: runtime.clone(),
                store: store.clone(),
                transport: broker.clone(),
                cache,
                http: HyperClient::new(),
            },
            behind: Behind::Servers { store, broker },
        })
    }

    /// The data directory's store and broker, if that is what it runs on.
    #[must_use]
    pub fn embedded(&self) -> Option<&Arc<Embedded>> {
        match &self.behind {
            Behind::Files(embedded) => Some(embedded),
            Behind::Servers { .. } => None,
        }
    }

    /// Whether new work can be taken in. On servers it is the commit that tells.
    #[must_use]
    pub fn writable(&self) -> bool {
        match &self.behind {
            Behind::Files(embedded) => embedded.writable(),
            Behind::Servers { .. } => true,
        }
    }

    /// Whether store and broker answer, and the broker takes messages. The cache may be away.
    ///
    /// # Errors
    ///
    /// Theirs: which of them does not, and why.
    pub async fn answer(&self) -> Result<()> {
        let Behind::Servers { store, broker } = &self.behind else {
            return Ok(());
        };
        let both = async {
            store.ping().await?;
            broker.ping().await
        };
        let silent = || Error::retry("servers_away", "store or broker do not answer in time");
        let answered = self.ports.runtime.timeout(ANSWER_WITHIN, both).await;
        answered.unwrap_or_else(|| Err(silent()))
    }
}
