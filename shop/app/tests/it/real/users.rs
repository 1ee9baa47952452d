//! The users in `deploy/` on real servers: each service can work, and do nothing else.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shop_e2e::users::{self, PASSWORD};
use shop_e2e::wait::{check, until};
use wingbeat::http::session::Sessions;
use wingbeat::ports::{Envelope, Kind, Topology};
use wingbeat::run::{Backends, Servers};
use wingbeat::tls::TlsFiles;
use wingbeat::transport::{Binding, Queue, Refused};
use wingbeat::{Name, Ports, RuntimeExt as _, TokioRuntime, cache::Durability};
use wingbeat_servers::{Postgres, RabbitMq, Redis};

/// Servers with the users of `deploy/`.
struct World {
    broker: RabbitMq,
    store: Postgres,
    cache: Redis,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = World {
            broker: RabbitMq::start(),
            store: Postgres::start(),
            cache: Redis::start(),
        };
        let [broker, store, cache] = shop::users::files().map(|(_, text)| text);
        users::of_broker(&world.broker, &broker);
        users::of_store(&world.store, &store);
        users::of_cache(&world.cache, &cache);
        world
    })
}

impl World {
    /// Returns the error of a statement, or an empty text.
    fn sql(&self, role: &str, sql: &str) -> String {
        let output = users::psql(&self.store, role, &["-c", sql]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), error.is_empty(), "{error}");
        error
    }

    /// Opens the broker and the cache as a user.
    async fn open(&self, name: &str) -> Ports {
        let with_user = |url: String, user: &str| {
            let host = url.rsplit(['@', '/']).next().unwrap().to_owned();
            let scheme = url.split("://").next().unwrap().to_owned();
            format!("{scheme}://{user}:{PASSWORD}@{host}")
        };
        let servers = Servers {
            broker: with_user(self.broker.url(), name),
            store: self.store.url(),
            cache: with_user(self.cache.url(), name),
            tls: TlsFiles::default(),
        };
        let runtime = TokioRuntime::new();
        let folder = tempfile::tempdir().unwrap();
        let (folder, tls) = (folder.path(), TlsFiles::default());
        let opened = Backends::open(Some(&servers), folder, name, &tls, &runtime);
        let ports = opened.await.expect(name).ports;
        let declared = ports.transport.declare(&topology()).await;
        declared.expect("everything exists already");
        ports
    }
}

/// A part of the topology of the shop.
fn topology() -> Topology {
    let queue = |message, kind| Queue {
        bindings: vec![Binding { message, kind }],
        ordered: false,
    };
    let refund = queue("payments.refund_payment.v1", Kind::Command);
    let opens = queue("identity.user_registered.v1", Kind::Event);
    let queues = [
        (Name::new("payments.refund_payment"), refund),
        (Name::new("carts.user_registered"), opens),
    ];
    Topology {
        queues: queues.into(),
    }
}

fn message(ports: &Ports, kind: &'static str, role: Kind) -> Envelope {
    let id = ports.runtime.id();
    Envelope {
        id: id.into(),
        source: "test".into(),
        kind: kind.into(),
        role,
        key: "k".into(),
        time: ports.runtime.now(),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: "{}".into(),
    }
}

async fn publish(ports: &Ports, kind: &'static str, role: Kind) -> Result<(), Refused> {
    let message = message(ports, kind, role);
    ports.transport.publish(vec![message]).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_service_may_do_what_the_service_needs_and_no_more() {
    let world = tokio::task::block_in_place(world);
    let (registered, refund) = ("identity.user_registered.v1", "payments.refund_payment.v1");
    let (identity, carts) = (world.open("identity").await, world.open("carts").await);
    let (orders, payments) = (world.open("orders").await, world.open("payments").await);

    publish(&identity, registered, Kind::Event)
        .await
        .expect("its own event");
    let own = carts
        .transport
        .consume(Name::new("carts.user_registered"), 1)
        .await;
    let delivered = own
        .expect("its own queue")
        .next()
        .await
        .expect("a delivery");
    assert_eq!(delivered[0].envelope.as_ref().unwrap().kind, registered);
    publish(&orders, refund, Kind::Command)
        .await
        .expect("it sends commands");
    let refunds = Name::new("payments.refund_payment");
    let own = payments.transport.consume(refunds, 1).await;
    own.expect("its own queue")
        .next()
        .await
        .expect("a delivery");

    for name in ["carts", "catalog", "orders", "gateway"] {
        let ports = world.open(name).await;
        let forged = publish(&ports, registered, Kind::Event).await;
        assert!(
            matches!(forged, Err(Refused::Unconfirmed(_))),
            "{name}: {forged:?}"
        );
    }
    for name in ["carts", "promotions", "gateway"] {
        let ports = world.open(name).await;
        let sent = publish(&ports, refund, Kind::Command).await;
        assert!(
            matches!(sent, Err(Refused::Unconfirmed(_))),
            "{name} sends commands: {sent:?}"
        );
    }
    for name in ["orders", "carts", "gateway"] {
        let ports = world.open(name).await;
        let consumed = ports.transport.consume(refunds, 1).await;
        assert!(consumed.is_err(), "{name} reads the queues of payments");
        let letters = ports
            .transport
            .broker_dead_letters(Name::new("payments"))
            .await;
        assert!(
            letters.is_err(),
            "{name} reads the dead letters of payments"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_the_user_may_not_declare_is_reported() {
    let world = tokio::task::block_in_place(world);
    let ports = world.open("orders").await;
    let queue = Queue {
        bindings: vec![Binding {
            message: "identity.user_registered.v1",
            kind: Kind::Event,
        }],
        ordered: false,
    };
    let topology = Topology {
        queues: [(Name::new("orders.of_the_next_release"), queue)].into(),
    };
    let why = ports
        .transport
        .declare(&topology)
        .await
        .expect_err("it is missing");
    assert_eq!(why.code(), "topology_missing", "{why}");
    assert!(
        why.to_string().contains("orders.of_the_next_release"),
        "{why}"
    );
}

/// The tables are those of a migration; `shop migrate` grants the same privileges.
#[test]
fn the_role_of_a_service_reads_no_other_schema() {
    let world = world();
    for service in ["payments", "notifications"] {
        let made = format!(
            "CREATE SCHEMA {service}; CREATE TABLE {service}.record(id int);
             GRANT USAGE ON SCHEMA {service} TO {service}, gateway;
             GRANT SELECT ON {service}.record TO gateway;
             GRANT SELECT, INSERT, UPDATE, DELETE ON {service}.record TO {service}"
        );
        assert_eq!(
            world.sql("migrate", &made),
            "",
            "the role may create schemas"
        );
    }
    assert_eq!(
        world.sql("payments", "INSERT INTO payments.record VALUES (1)"),
        ""
    );
    assert_eq!(world.sql("gateway", "SELECT * FROM payments.record"), "");
    for (role, sql) in [
        ("notifications", "SELECT * FROM payments.record"),
        ("notifications", "INSERT INTO payments.record VALUES (2)"),
        ("gateway", "INSERT INTO payments.record VALUES (2)"),
        ("payments", "CREATE TABLE payments.mine(id int)"),
        ("payments", "CREATE TABLE public.mine(id int)"),
        ("payments", "CREATE SCHEMA mine"),
        ("payments", "DROP TABLE payments.record"),
        ("payments", "SET ROLE notifications"),
        ("migrate", "CREATE ROLE mine"),
        ("migrate", "SET ROLE payments"),
    ] {
        let error = world.sql(role, sql);
        let refused = error.contains("permission denied") || error.contains("must be owner");
        assert!(refused, "{role}: {sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_user_of_a_service_reaches_its_own_keys_and_sessions() {
    let world = tokio::task::block_in_place(world);
    let (identity, carts) = (world.open("identity").await, world.open("carts").await);
    let catalog = world.open("catalog").await;
    let sessions = |ports: &Ports| Sessions::new(Arc::clone(&ports.cache), ports.runtime.clone());
    let user = uuid::Uuid::from_u128(7);
    let (token, session) = sessions(&identity)
        .start(user, false)
        .await
        .expect("it starts");
    let set = |session: &mut wingbeat::http::session::Session| session.set_claim("theme", "dark");
    sessions(&carts)
        .update(&session, set)
        .await
        .expect("claims are everybody's");
    let found = sessions(&carts).find(&token).await.expect("it is read");
    assert!(found.is_some());
    sessions(&carts)
        .end_all(user)
        .await
        .expect_err("only identity ends all sessions");
    sessions(&identity)
        .end_all(user)
        .await
        .expect("it ends them");

    let day = Duration::from_secs(24 * 3_600);
    let put = async |ports: &Ports, key: &str| {
        let put = ports.cache.put(key, "x".into(), day, Durability::Volatile);
        put.await.map_err(|why| why.code())
    };
    assert_eq!(put(&catalog, "catalog:product:a").await, Ok(()));
    catalog
        .cache
        .remove_prefix("catalog:product:")
        .await
        .expect("its own keys");
    assert_eq!(
        identity.cache.hit("login-failures:a", day).await.ok(),
        Some(1)
    );
    for (ports, key) in [
        (&carts, "catalog:product:a"),
        (&catalog, "login-failures:a"),
    ] {
        assert_eq!(put(ports, key).await, Err("cache_failed"), "{key}");
        assert!(ports.cache.get(key).await.is_err(), "{key}");
    }
    // A refusal of Redis is no outage.
    until("the cache is used", async || {
        let found = sessions(&carts).find(&token).await;
        check(found.is_ok(), format_args!("{found:?}"))
    })
    .await;
}
