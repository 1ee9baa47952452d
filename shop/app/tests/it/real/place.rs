//! Where a shop of a test keeps what it has: a folder, or also a part of its own of private servers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use wingbeat_servers::{Postgres, RabbitMq, Redis};

/// Whether these tests are compiled as `real_on_servers`, and not as `real`: see `main.rs`.
const ON_SERVERS: bool = module_path!().len() > "it::real::place".len();
/// Shops that the servers have room for; each test opens one.
const ROOM: usize = 100;

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
                    rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"t">>)
                   end || N <- lists:seq(0, {})], ok."#,
                ROOM - 1
            ),
        ]);
        Servers { broker, store, cache }
    })
}

/// A place for one shop.
pub(super) struct Place {
    pub(super) data: PathBuf,
    /// Settings by which it reaches its servers; none when the folder is all it has.
    pub(super) servers: Vec<(&'static str, String)>,
    /// The number of its cache.
    cache: Option<usize>,
    _folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().expect("a folder");
        let number = ON_SERVERS.then(|| TAKEN.fetch_add(1, Ordering::Relaxed));
        Self {
            data: folder.path().to_owned(),
            servers: number.map(part).unwrap_or_default(),
            cache: number,
            _folder: folder,
        }
    }
}

impl Place {
    /// Whether its Redis has the key; `None` without a Redis.
    pub(super) fn has_key(&self, key: &str) -> Option<bool> {
        let number = self.cache?;
        let mut socket =
            TcpStream::connect(("127.0.0.1", servers().cache.port())).expect("it listens");
        let asked = format!("SELECT {number}\r\nEXISTS {key}\r\n");
        socket.write_all(asked.as_bytes()).expect("it is sent");
        let mut told = [0; 9];
        socket.read_exact(&mut told).expect("it answers");
        Some(told == *b"+OK\r\n:1\r\n")
    }
}

/// A virtual host, a database, and a cache for one shop.
fn part(number: usize) -> Vec<(&'static str, String)> {
    assert!(number < ROOM, "more than {ROOM} tests: raise it");
    let servers = servers();
    servers.store.sql(&format!("CREATE DATABASE t{number}"));
    let store = servers.store.url();
    let (server, _) = store.rsplit_once('/').expect("a URL with a database");
    vec![
        ("broker", format!("{}/t{number}", servers.broker.url())),
        ("store", format!("{server}/t{number}")),
        ("cache", format!("{}/{number}", servers.cache.url())),
        ("dev", "on".to_owned()),
    ]
}
