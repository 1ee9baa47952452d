//! The shop without stand-ins: mails by SMTP, the payment provider and a service over https.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shop_client::Order;
use shop_client::http::Call;
use shop_e2e::fleet::Plan;
use shop_e2e::wait::{BOUND, check, until};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wingbeat_servers::smtp::{Security, Smtp};
use wingbeat_servers::tls::Authority;

const EMAIL: &str = "ada@example.org";
/// The user and the password of the mail server.
const LOGIN: (&str, &str) = ("shop", "s3cret");

/// A proxy that terminates TLS. Dropping it closes its port and its connections.
struct TlsProxy {
    port: u16,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl TlsProxy {
    async fn to(port: u16, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (acceptor, count) = (TlsAcceptor::from(config), Arc::clone(&connections));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                open.spawn(async move {
                    let Ok(mut client) = acceptor.accept(socket).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self {
            port: own_port,
            connections,
            _tasks: tasks,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_stand_ins_an_order_is_paid_over_https_and_mailed_by_smtp() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    let mails = Smtp::start(Security::StartTls(certificate.server()), Some(LOGIN));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (user, password) = LOGIN;
    let smtp = format!(
        "smtp://{user}:{password}@localhost:{}",
        mails.address().port()
    );
    let plan = Plan::around("payments", 1)
        .cheap_passwords()
        .ships_after("50ms")
        .with("WINGBEAT_DEV", "off")
        .with("WINGBEAT_SMTP", &smtp)
        .with("WINGBEAT_TLS_CA", ca.to_str().unwrap());
    let mut fleet = plan.start().await;
    let bank = TlsProxy::to(fleet.members[0].port, certificate.server()).await;
    let provider = format!("https://localhost:{}", bank.port);
    let env = [("WINGBEAT_PROVIDER", provider.as_str())];
    fleet.restart_with("payments", &env).await;
    let port = fleet.of("payments")[0].port;
    let payments = TlsProxy::to(port, certificate.server()).await;
    let url = format!("https://localhost:{}", payments.port);
    let env = [("WINGBEAT_URL_PAYMENTS", url.as_str())];
    fleet.restart_with("gateway", &env).await;

    let shop = fleet.shop();
    let stand_in = shop.ask(&Call::get("/dev/mailbox")).await.unwrap();
    assert_eq!(stand_in.status, 404, "there is no mailbox");
    shop.sign_up(EMAIL, "a password of hers").await.unwrap();
    let shopper = shop.sign_in(EMAIL, "a password of hers").await.unwrap();
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
    assert_eq!(ended.status, "completed");
    assert!(bank.connections.load(Ordering::SeqCst) > 0);
    // The gateway asks payments for its part of the timeline.
    let path = format!("/api/v1/orders/{}/timeline", placed.order_id);
    let timeline = shopper.ask(Call::get(&path)).await.unwrap();
    let timeline = String::from_utf8_lossy(&timeline.body).into_owned();
    assert!(timeline.contains("payments.payment_captured"), "{timeline}");
    assert!(payments.connections.load(Ordering::SeqCst) > 0);

    let expected = [
        "Thank you for your order",
        "Welcome to the shop",
        "Your order is on its way",
    ];
    let received = until("the mails arrive", async || {
        let received = mails.received();
        let subjects = received.iter().filter_map(|mail| mail.header("subject"));
        let mut subjects: Vec<String> = subjects.collect();
        subjects.sort();
        check(subjects == expected, format_args!("{subjects:?}"))?;
        Ok::<_, String>(received)
    })
    .await;
    for mail in &received {
        assert_eq!(mail.to, [EMAIL]);
        assert!(mail.secure);
        assert_eq!(mail.user.as_deref(), Some(user));
    }
    let in_clear = mails.in_clear();
    assert!(
        !in_clear.contains("AUTH") && !in_clear.contains(EMAIL),
        "{in_clear}"
    );

    let site = fleet.site();
    site.until_quiet().await;
    let (report, text) = site.admin().await.audit().await.unwrap();
    assert!(report.ok, "{text}");
    for member in &fleet.members {
        let log = fleet
            .folder
            .join(format!("{}-{}.log", member.roles[0], member.port));
        let log = std::fs::read_to_string(log).unwrap();
        for secret in [password, EMAIL] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}
