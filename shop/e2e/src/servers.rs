//! RabbitMQ, PostgreSQL and Redis for the shops under test, each behind a proxy that can be cut.
//!
//! Starting RabbitMQ and PostgreSQL takes longer than most tests. So a shop gets a virtual host and
//! a database of its own on servers that all tests of this process share, unless its test stops or
//! blocks them: then they are private. Redis starts at once and is always private.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use wingbeat_servers::{Postgres, RabbitMq, Redis};

use crate::proxy::Proxy;

/// Virtual hosts on the shared RabbitMQ, made at once because each start of `rabbitmqctl` takes a
/// second.
const ROOMS: usize = 36;

/// RabbitMQ and PostgreSQL.
struct Pair {
    broker: RabbitMq,
    store: Postgres,
}

impl Pair {
    fn start() -> Self {
        std::thread::scope(|scope| {
            let broker = scope.spawn(RabbitMq::start);
            let store = Postgres::start();
            let broker = broker.join().unwrap();
            Self { broker, store }
        })
    }
}

/// The pair that tests share. It ends with this process, by its watchdogs.
fn shared() -> &'static Pair {
    static SHARED: OnceLock<Pair> = OnceLock::new();
    SHARED.get_or_init(|| {
        let pair = Pair::start();
        pair.broker.control(&[
            "eval",
            &format!(
                r#"[begin V = list_to_binary("room" ++ integer_to_list(N)),
                    rabbit_vhost:add(V, <<"t">>),
                    rabbit_auth_backend_internal:set_permissions(
                        <<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"t">>)
                   end || N <- lists:seq(0, {})], ok."#,
                ROOMS - 1
            ),
        ]);
        pair
    })
}

/// The servers of one shop.
pub struct Servers {
    /// `None` for a room on the shared pair.
    private: Option<Pair>,
    /// The virtual host; empty for the default one.
    vhost: String,
    database: String,
    /// Redis.
    pub cache: Redis,
    /// The proxy between services and RabbitMQ.
    pub to_broker: Proxy,
    /// The proxy between services and PostgreSQL.
    pub to_store: Proxy,
    /// The proxy between services and Redis.
    pub to_cache: Proxy,
}

impl Servers {
    /// Takes a virtual host and a database on the shared servers.
    pub async fn shared() -> Self {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(
            number < ROOMS,
            "more than {ROOMS} shops: raise the number of rooms"
        );
        let room = format!("room{number}");
        let database = room.clone();
        let make = move || shared().store.sql(&format!("CREATE DATABASE {database}"));
        tokio::task::spawn_blocking(make).await.unwrap();
        Self::of(None, room.clone(), room).await
    }

    /// Starts servers that nobody else uses.
    pub async fn private() -> Self {
        let pair = tokio::task::spawn_blocking(Pair::start).await.unwrap();
        Self::of(Some(pair), String::new(), "postgres".into()).await
    }

    async fn of(private: Option<Pair>, vhost: String, database: String) -> Self {
        let cache = tokio::task::spawn_blocking(Redis::start).await.unwrap();
        let pair = private.as_ref().unwrap_or_else(|| shared());
        Self {
            to_broker: Proxy::to(pair.broker.port()).await,
            to_store: Proxy::to(pair.store.port()).await,
            to_cache: Proxy::to(cache.port()).await,
            private,
            vhost,
            database,
            cache,
        }
    }

    /// RabbitMQ.
    ///
    /// # Panics
    ///
    /// Panics if it is shared: other shops run on it.
    #[must_use]
    pub fn broker(&self) -> &RabbitMq {
        &self.private.as_ref().expect("private servers").broker
    }

    /// PostgreSQL.
    ///
    /// # Panics
    ///
    /// Panics if it is shared: other shops run on it.
    #[must_use]
    pub fn store(&self) -> &Postgres {
        &self.private.as_ref().expect("private servers").store
    }

    fn pair(&self) -> &Pair {
        self.private.as_ref().unwrap_or_else(|| shared())
    }

    /// Runs SQL in the shop's database, and returns what `psql` prints.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        self.pair().store.sql_in(&self.database, sql)
    }

    /// The port of RabbitMQ itself, past the proxy.
    #[must_use]
    pub fn broker_port(&self) -> u16 {
        self.pair().broker.port()
    }

    /// The broker's URL at this port: that of a proxy, or [`Self::broker_port`].
    #[must_use]
    pub fn broker_at(&self, port: u16) -> String {
        let url = format!("amqp://guest:guest@127.0.0.1:{port}");
        if self.vhost.is_empty() {
            url
        } else {
            format!("{url}/{}", self.vhost)
        }
    }

    /// The store's URL, past the proxy.
    #[must_use]
    pub fn store_url(&self) -> String {
        self.store_at(self.pair().store.port())
    }

    fn store_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.database)
    }

    /// The settings by which services reach the servers, through the proxies.
    #[must_use]
    pub fn settings(&self) -> [(String, String); 3] {
        let cache = format!("redis://127.0.0.1:{}", self.to_cache.port());
        [
            (
                "WINGBEAT_BROKER".into(),
                self.broker_at(self.to_broker.port()),
            ),
            ("WINGBEAT_STORE".into(), self.store_at(self.to_store.port())),
            ("WINGBEAT_CACHE".into(), cache),
        ]
    }
}
