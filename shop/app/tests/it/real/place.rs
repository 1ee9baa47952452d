//! The place where a shop of a test keeps its data: a folder, and in the mode with servers also a
//! virtual host, a database and a cache of its own.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use shop_e2e::http_suite::Cache;
use tempfile::TempDir;
use wingbeat_servers::{Postgres, RabbitMq, Redis};

/// Shops that the servers have room for; each test opens one.
const ROOMS: usize = 100;

/// The data directory and the servers of a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Its data directory.
    Embedded,
    /// RabbitMQ, PostgreSQL and Redis.
    OnServers,
}

struct Servers {
    broker: RabbitMq,
    store: Postgres,
    cache: Redis,
}

/// One set for all tests of this process; a watchdog ends it with the process.
fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
        // One call for all of them: each start of `rabbitmqctl` takes a second.
        broker.control(&[
            "eval",
            &format!(
                r#"[begin V = list_to_binary("t" ++ integer_to_list(N)),
                    rabbit_vhost:add(V, <<"t">>),
                    rabbit_auth_backend_internal:set_permissions(
                        <<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"t">>)
                   end || N <- lists:seq(0, {})], ok."#,
                ROOMS - 1
            ),
        ]);
        Servers {
            broker,
            store,
            cache,
        }
    })
}

/// A place for one shop.
pub(crate) struct Place {
    pub(super) data: PathBuf,
    /// The settings by which it reaches its servers; none in the embedded mode.
    pub(super) servers: Option<wingbeat::run::Servers>,
    pub(super) cache: Option<Cache>,
    _folder: TempDir,
}

impl Place {
    pub(super) fn new(shape: Shape) -> Self {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let on_servers = shape == Shape::OnServers;
        let number = on_servers.then(|| TAKEN.fetch_add(1, Ordering::Relaxed));
        Self {
            data: folder.path().to_owned(),
            servers: number.map(room),
            cache: number.map(|database| Cache {
                port: servers().cache.port(),
                database,
            }),
            _folder: folder,
        }
    }
}

/// A virtual host, a database and a cache for one shop.
fn room(number: usize) -> wingbeat::run::Servers {
    assert!(
        number < ROOMS,
        "more than {ROOMS} tests: raise the number of rooms"
    );
    let servers = servers();
    servers.store.sql(&format!("CREATE DATABASE t{number}"));
    let store = servers.store.url();
    let (server, _) = store.rsplit_once('/').unwrap();
    wingbeat::run::Servers {
        broker: format!("{}/t{number}", servers.broker.url()),
        store: format!("{server}/t{number}"),
        cache: format!("{}/{number}", servers.cache.url()),
        tls: wingbeat::run::ServersTls::default(),
    }
}
