//! The place where a shop of a test keeps its data: a folder, and in the mode with servers also a
//! virtual host, a database and a cache of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use shop_e2e::fleet::SERVICES;
use shop_e2e::http_suite::Cache;
use tempfile::TempDir;
use wingbeat::run::{Secret, TrustFiles, make_keys};
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
    /// The keys of its services; none if commands are not signed.
    pub(super) trust: Option<TrustFiles>,
    /// The name of its database in PostgreSQL.
    database: Option<String>,
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
            trust: None,
            cache: number.map(|database| Cache {
                port: servers().cache.port(),
                database,
            }),
            database: number.map(|number| format!("t{number}")),
            _folder: folder,
        }
    }
}

impl Place {
    /// Makes keys with which all services sign.
    pub(super) fn signed(self) -> Self {
        let keys = self.data.join("keys");
        let names = SERVICES.into_iter().chain(["gateway"]);
        let names: Vec<String> = names.map(str::to_owned).collect();
        assert_eq!(make_keys(&keys, &names).unwrap(), names.len());
        let signing = keys.join("signing").to_str().unwrap().to_owned();
        let trust = TrustFiles {
            signing_key: Some(Secret(signing)),
            trusted_keys: keys.join("trusted"),
            accept_unsigned: false,
        };
        Self {
            trust: Some(trust),
            ..self
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
        tls: wingbeat::tls::TlsFiles::default(),
    }
}

/// Returns all rows of the shop's tables, and all keys and values of its cache, each with the name
/// of its place. There is nothing in the embedded mode.
pub(super) fn scan_servers(place: &Place) -> Vec<(String, Vec<u8>)> {
    let (Some(database), Some(cache)) = (&place.database, place.cache) else {
        return Vec::new();
    };
    let store = &servers().store;
    let tables = store.sql_in(
        database,
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    );
    let rows = |table: &str| format!("SELECT t::text FROM {table} t");
    let all: Vec<_> = tables.lines().map(rows).collect();
    assert!(all.len() > 20, "the services have tables: {tables}");
    let rows = store.sql_in(database, &all.join(" UNION ALL "));
    assert!(rows.len() > 10_000, "the tables have rows");
    let values = scan_cache(cache);
    assert!(values.len() > 100, "the cache has keys");
    vec![
        ("PostgreSQL".into(), rows.into_bytes()),
        ("Redis".into(), values),
    ]
}

/// Returns all keys and values of a database of Redis.
fn scan_cache(cache: Cache) -> Vec<u8> {
    const SCRIPT: &str = "local all = {}
        for _, key in ipairs(redis.call('KEYS', '*')) do
            local kind = redis.call('TYPE', key).ok
            all[#all + 1] = key
            if kind == 'string' then all[#all + 1] = redis.call('GET', key)
            elseif kind == 'hash' then
                for _, part in ipairs(redis.call('HGETALL', key)) do all[#all + 1] = part end
            elseif kind == 'zset' then
                for _, part in ipairs(redis.call('ZRANGE', key, 0, -1)) do all[#all + 1] = part end
            else error('cannot read a ' .. kind) end
        end
        return table.concat(all, ' ')";
    let mut socket = TcpStream::connect(("127.0.0.1", cache.port)).unwrap();
    let select = format!("SELECT {}\r\n", cache.database);
    let eval = format!(
        "*3\r\n$4\r\nEVAL\r\n${}\r\n{SCRIPT}\r\n$1\r\n0\r\n",
        SCRIPT.len()
    );
    socket.write_all((select + &eval).as_bytes()).unwrap();
    let mut replies = BufReader::new(socket);
    let mut line = String::new();
    replies.read_line(&mut line).unwrap();
    assert_eq!(line, "+OK\r\n");
    line.clear();
    replies.read_line(&mut line).unwrap();
    let length = line
        .trim()
        .strip_prefix('$')
        .unwrap_or_else(|| panic!("{line}"));
    let mut values = vec![0; length.parse().unwrap()];
    replies.read_exact(&mut values).unwrap();
    values
}
