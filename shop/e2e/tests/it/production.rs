//! The shop without stand-ins: on servers that accept nothing but TLS, with a payment provider and
//! services on https, and mails by SMTP. Recording proxies prove that nothing crosses in plain
//! text.

use std::process::Command;
use std::sync::Arc;

use shop_client::Order;
use shop_client::http::Call;
use shop_e2e::fleet::{Fleet, PASSWORD, Plan};
use shop_e2e::process::{binary, free_port};
use shop_e2e::servers::Servers;
use shop_e2e::wait::{BOUND, check, until};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wingbeat_servers::smtp::{Security, Smtp};
use wingbeat_servers::{Authority, Proxy};

use crate::start::assert_refused;
use crate::storefront::{customer_signs_up_and_buys, scene_at};

/// The user and the password of all servers. PostgreSQL asks this user for the password itself, not
/// for a proof.
const LOGIN: (&str, &str) = ("exposed", "f0rks-and-Sp00ns");
/// The user and the password as SMTP sends them (RFC 4616, in base64).
const LOGIN_OF_SMTP: &str = "AGV4cG9zZWQAZjBya3MtYW5kLVNwMDBucw==";

/// A proxy that terminates TLS. Dropping it closes its port and its connections.
struct TlsProxy {
    port: u16,
    _tasks: JoinSet<()>,
}

impl TlsProxy {
    async fn to(port: u16, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(config);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    let Ok(mut client) = acceptor.accept(socket).await else {
                        return;
                    };
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self {
            port: own_port,
            _tasks: tasks,
        }
    }
}

/// The settings of processes, and what crosses the network between them.
struct Wiring {
    settings: Vec<(&'static str, String)>,
    proxies: Vec<(&'static str, Proxy)>,
    mails: Smtp,
    _tls: Vec<TlsProxy>,
}

/// The ports of HTTP servers.
#[derive(Clone, Copy)]
struct Ports {
    provider: u16,
    payments: u16,
}

impl Wiring {
    /// Everything in plain text.
    fn plain(servers: &Servers, ports: Ports) -> Self {
        let mails = Smtp::start(Security::Plain, Some(LOGIN));
        let targets = [
            servers.broker_port(),
            servers.store().port(),
            servers.cache.port(),
            ports.provider,
            ports.payments,
            mails.address().port(),
        ];
        Self::through(
            targets,
            ["", "?sslmode=disable", "http", "?tls=off"],
            mails,
            Vec::new(),
        )
    }

    /// Everything with TLS. The servers accept nothing else from now on.
    async fn secure(servers: &Servers, ports: Ports, authority: &Authority) -> Self {
        let issued = authority.issue(&["localhost"]);
        let (ca, tls) = (authority.certificate(), issued.server(None));
        let (broker, cache) = tokio::task::block_in_place(|| {
            let broker = servers.broker().listen_tls(&ca, &[(&issued, false)])[0];
            servers.broker().accept_only_tls();
            servers.store().use_tls(&ca, &issued);
            servers.store().accept_only_tls();
            let cache = free_port();
            servers.cache.use_tls(cache, &ca, &issued, false);
            servers.cache.accept_only_tls();
            (broker, cache)
        });
        let provider = TlsProxy::to(ports.provider, Arc::clone(&tls)).await;
        let payments = TlsProxy::to(ports.payments, Arc::clone(&tls)).await;
        let mails = Smtp::start(Security::StartTls(tls), Some(LOGIN));
        let targets = [
            broker,
            servers.store().port(),
            cache,
            provider.port,
            payments.port,
            mails.address().port(),
        ];
        let forms = ["s", "?sslmode=verify-full", "https", ""];
        Self::through(targets, forms, mails, vec![provider, payments])
    }

    /// Starts a proxy to each target. `forms` are the parts in which URLs with and without TLS
    /// differ.
    fn through(targets: [u16; 6], forms: [&str; 4], mails: Smtp, tls: Vec<TlsProxy>) -> Self {
        const NAMES: [&str; 6] = [
            "RabbitMQ",
            "PostgreSQL",
            "Redis",
            "provider",
            "payments",
            "mail",
        ];
        let (user, password) = LOGIN;
        let [s, sslmode, http, tls_off] = forms;
        let proxies = targets.map(Proxy::start);
        let [broker, store, cache, provider, payments, mail] = proxies.each_ref().map(Proxy::port);
        let login = format!("{user}:{password}@localhost");
        let settings = vec![
            ("WINGBEAT_BROKER", format!("amqp{s}://{login}:{broker}")),
            (
                "WINGBEAT_STORE",
                format!("postgres://{login}:{store}/postgres{sslmode}"),
            ),
            ("WINGBEAT_CACHE", format!("redis{s}://{login}:{cache}")),
            (
                "WINGBEAT_PROVIDER",
                format!("{http}://localhost:{provider}"),
            ),
            (
                "WINGBEAT_URL_PAYMENTS",
                format!("{http}://localhost:{payments}"),
            ),
            ("WINGBEAT_SMTP", format!("smtp://{login}:{mail}{tls_off}")),
            ("WINGBEAT_MAIL_FROM", "The shop <shop@plume.example>".into()),
        ];
        Self {
            settings,
            proxies: NAMES.into_iter().zip(proxies).collect(),
            mails,
            _tls: tls,
        }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        let settings = self.settings.iter();
        settings
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    /// Returns the proxies that have seen one of the texts, each with the text.
    fn seen(&self, texts: &[&str]) -> Vec<(&'static str, String)> {
        let mut seen = Vec::new();
        for (name, proxy) in &self.proxies {
            let found = texts.iter().filter(|text| proxy.has_seen(text.as_bytes()));
            seen.extend(found.map(|text| (*name, (*text).to_owned())));
        }
        seen
    }
}

/// Lets the servers know the user and the password of [`LOGIN`].
fn admit(servers: &Servers) {
    let (user, password) = LOGIN;
    servers.broker().control(&[
        "eval",
        &format!(
            r#"ok = rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{password}">>, <<"t">>),
               rabbit_auth_backend_internal:set_permissions(
                   <<"{user}">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"t">>), ok."#
        ),
    ]);
    servers.store().sql(&format!(
        "CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'"
    ));
    let user = format!("ACL SETUSER {user} on >{password} ~* &* +@all");
    servers.cache.command(&user, "+OK");
}

/// A customer, and what the mails to her contain.
struct Customer {
    email: &'static str,
    password: &'static str,
}

/// Signs a customer up, buys a bell, and waits for the three mails. Returns the order.
async fn buy(fleet: &Fleet, wiring: &Wiring, customer: &Customer) -> String {
    let shop = fleet.shop();
    let (email, password) = (customer.email, customer.password);
    shop.sign_up(email, password).await.unwrap();
    let shopper = shop.sign_in(email, password).await.unwrap();
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
    assert_eq!(ended.status, "completed");
    // The gateway asks payments for its part of the timeline.
    let path = format!("/api/v1/orders/{}/timeline", placed.order_id);
    let timeline = shopper.ask(Call::get(&path)).await.unwrap();
    let timeline = String::from_utf8_lossy(&timeline.body).into_owned();
    assert!(timeline.contains("payments.payment_captured"), "{timeline}");

    let expected = [
        "Thank you for your order",
        "Welcome to the shop",
        "Your order is on its way",
    ];
    let received = until("the mails arrive", async || {
        let received = wiring.mails.received();
        let subjects = received.iter().filter_map(|mail| mail.header("subject"));
        let mut subjects: Vec<String> = subjects.collect();
        subjects.sort();
        check(subjects == expected, format_args!("{subjects:?}"))?;
        Ok::<_, String>(received)
    })
    .await;
    for mail in &received {
        assert_eq!(mail.to, [email]);
        assert_eq!(mail.from, "shop@plume.example");
        assert_eq!(mail.user.as_deref(), Some(LOGIN.0));
    }
    placed.order_id
}

/// Restarts all processes but the provider.
async fn restart(fleet: &mut Fleet, settings: &[(&str, &str)]) {
    for member in fleet.members.iter_mut().skip(1) {
        let status = member.terminate().await;
        assert!(status.success(), "{member} ended with {status}");
        member.start_with(settings);
    }
    fleet.ready().await;
}

/// Starts the shop in plain text.
async fn started(servers: Servers, ports: Ports, plain: &Wiring) -> Fleet {
    let mut plan = Plan::around("payments", 1)
        .on(servers)
        .cheap_passwords()
        .ships_after("50ms")
        .port_of("provider", ports.provider)
        .port_of("payments", ports.payments)
        .with("WINGBEAT_DEV", "off");
    for (name, value) in plain.settings() {
        plan = plan.with(name, value);
    }
    let fleet = plan.start().await;
    let stand_in = fleet.shop().ask(&Call::get("/dev/mailbox")).await.unwrap();
    assert_eq!(stand_in.status, 404, "there is no mailbox");
    fleet
}

/// The control: without TLS each proxy finds what it is searched for.
async fn everything_is_readable(fleet: &Fleet, plain: &Wiring, customer: &Customer) {
    let order = buy(fleet, plain, customer).await;
    let (password, email) = (LOGIN.1, customer.email);
    let found = plain.seen(&[password, LOGIN_OF_SMTP, email, &order, "Thank you"]);
    for (server, text) in [
        ("RabbitMQ", password),
        ("RabbitMQ", email),
        ("RabbitMQ", &order),
        ("PostgreSQL", password),
        ("PostgreSQL", email),
        ("PostgreSQL", &order),
        ("Redis", password),
        ("provider", &order),
        ("payments", &order),
        ("mail", LOGIN_OF_SMTP),
        ("mail", email),
        ("mail", "Thank you"),
    ] {
        let expected = (server, text.to_owned());
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
}

async fn nothing_is_readable(fleet: &Fleet, secure: &Wiring, customer: &Customer) {
    let order = buy(fleet, secure, customer).await;
    for (name, proxy) in &secure.proxies {
        assert!(proxy.recorded() > 1_000, "{name}: {}", proxy.recorded());
    }
    let (user, password) = LOGIN;
    let login = format!("\0{user}\0");
    let readable = [
        password,
        LOGIN_OF_SMTP,
        &login,
        customer.email,
        customer.password,
        &order,
        "Traffic",
        "Thank you",
        "order_id",
        "traceparent",
        "SELECT",
    ];
    assert_eq!(secure.seen(&readable), []);
    assert!(secure.mails.received().iter().all(|mail| mail.secure));
}

/// `shop audit` over https: all invariants hold, and a certificate of nobody is refused.
async fn audited(fleet: &Fleet, url: &str) {
    fleet.site().until_quiet().await;
    for (ca, code) in [("ca.pem", 0), ("system", 2)] {
        let mut audit = Command::new(binary());
        audit.args(["audit", "--url", url, "--wait", "60s"]);
        audit.env("SHOP_ADMIN_PASSWORD", PASSWORD);
        audit.current_dir(&fleet.folder).env("WINGBEAT_TLS_CA", ca);
        let output = tokio::task::spawn_blocking(move || audit.output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{ca}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_servers_with_tls_nothing_readable_crosses_the_network() {
    let servers = Servers::private().await;
    tokio::task::block_in_place(|| admit(&servers));
    let ports = Ports {
        provider: free_port(),
        payments: free_port(),
    };
    let plain = Wiring::plain(&servers, ports);
    let mut fleet = started(servers, ports, &plain).await;
    let ada = Customer {
        email: "ada.quill@person.example",
        password: "a horse of hers",
    };
    everything_is_readable(&fleet, &plain, &ada).await;

    let authority = Authority::new();
    let secure = Wiring::secure(&fleet.servers, ports, &authority).await;
    std::fs::write(fleet.folder.join("ca.pem"), authority.certificate()).unwrap();
    let mut settings = secure.settings();
    settings.push(("WINGBEAT_TLS_CA", "ca.pem"));
    settings.push(("WINGBEAT_SECURE_COOKIES", "on"));
    restart(&mut fleet, &settings).await;
    let eve = Customer {
        email: "eve.plume@person.example",
        password: "a cart of hers",
    };
    nothing_is_readable(&fleet, &secure, &eve).await;

    // The servers accept nothing else.
    let mut refused = Command::new(binary());
    refused.args(["run", "orders", "--listen", "127.0.0.1:0"]);
    refused.current_dir(&fleet.folder).envs(plain.settings());
    let parts = ["broker_unavailable", "store_refused", "cache_unavailable"];
    let refused = tokio::task::block_in_place(|| refused.output().unwrap());
    assert_refused(&refused, &parts);

    let gateway = fleet.members.last().unwrap().port;
    let front = TlsProxy::to(gateway, authority.issue(&["localhost"]).server(None)).await;
    let url = format!("https://localhost:{}", front.port);
    let mia = Customer {
        email: "mia.vane@person.example",
        password: "a browser of hers",
    };
    let scene = scene_at(&url, 1280, 1000).await;
    customer_signs_up_and_buys(scene, mia.email, mia.password).await;
    let readable = [LOGIN.1, mia.email, mia.password, "Nowhere Lane"];
    assert_eq!(secure.seen(&readable), []);
    audited(&fleet, &url).await;
    for member in &fleet.members {
        let log = format!("{}-{}.log", member.roles[0], member.port);
        let log = std::fs::read_to_string(fleet.folder.join(log)).unwrap();
        for secret in [LOGIN.1, ada.email, eve.email, mia.email] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}
