//! Mails by SMTP: the service on the real clock, against a mail server in this process.
#![allow(
    clippy::disallowed_methods,
    reason = "real sockets: their clock is the machine's"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shop_contracts::identity::UserRegistered;
use shop_contracts::notifications::{EmailFailed, EmailSent, RememberAddress};
use shop_contracts::orders::OrderShipped;
use shop_contracts::{OrderId, UserId};
use shop_notifications::smtp::{Sender, Smtp as Client, message_id};
use shop_notifications::{Config, Delivery, service};
use tempfile::TempDir;
use wingbeat::call::HyperClient;
use wingbeat::test::Model;
use wingbeat::tls::TlsFiles;
use wingbeat::{
    App, Effects, Parts, Ports, Result, Running, Service, State, TargetPolicy, TokioRuntime, Uuid,
    run_unit,
};
use wingbeat_servers::smtp::{Received, Reply, Security, Smtp, Step};
use wingbeat_servers::{Authority, Issued};

const LOGIN: (&str, &str) = ("shop", "p@ss/word");
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
/// The longest wait for a mail or an event.
const BOUND: Duration = Duration::from_secs(60);

/// The events of the service, as another service receives them.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(bool, String)>>>);

/// The state of that service.
#[derive(Clone, Parts)]
struct Observer {
    seen: Seen,
}

async fn sent(event: EmailSent, State(seen): State<Seen>) -> Result<()> {
    seen.0.lock().unwrap().push((true, event.template));
    Ok(())
}

async fn failed(event: EmailFailed, State(seen): State<Seen>) -> Result<()> {
    seen.0.lock().unwrap().push((false, event.template));
    Ok(())
}

struct World {
    running: Running,
    seen: Seen,
    _folder: TempDir,
}

impl World {
    /// Starts the service with this mail server and this authority.
    async fn start(url: &str, authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = TlsFiles::default();
        if let Some(authority) = authority {
            let ca = folder.path().join("ca.pem");
            std::fs::write(&ca, authority.certificate()).unwrap();
            files.ca = ca.to_str().map(str::to_owned);
        }
        let client = Client::new(url.parse().unwrap(), Sender::default(), &files).unwrap();
        let config = Config {
            delivery: Delivery::Smtp(client),
            target: TargetPolicy {
                timeout: Duration::from_secs(20),
                backoff: Duration::from_millis(20),
                backoff_max: Duration::from_millis(200),
                breaker_open: Duration::from_millis(100),
                ..Config::default().target
            },
            ..Config::default()
        };
        let seen = Seen::default();
        let observer = Service::new("observer").with_state(Observer { seen: seen.clone() });
        let app = App::new()
            .service(service(&config))
            .service(observer.on(sent).on(failed))
            .allow_unknown_owners();
        let runtime = TokioRuntime::new();
        let model = Model::new(runtime.clone());
        let ports = Ports {
            runtime,
            store: model.store.clone(),
            transport: model.transport.clone(),
            cache: model.cache.clone(),
            http: HyperClient::new(),
        };
        Self {
            running: app.start(ports).await.unwrap(),
            seen,
            _folder: folder,
        }
    }

    async fn send(&self, effects: impl Fn(&mut Effects) + Send + Sync) {
        let service = self.running.service("notifications").unwrap();
        let effects = &effects;
        let unit = run_unit(&service, |scope| async move {
            let mut all = Effects::new();
            effects(&mut all);
            scope.emit(all)
        });
        unit.await.unwrap();
    }

    /// Registers a user with this address and name, who is welcomed.
    async fn register(&self, number: u128, email: &str, name: &str) {
        let user_id = user(number);
        self.send(|effects| {
            effects.send(&RememberAddress {
                user_id,
                email: email.into(),
                name: name.into(),
                marketing_opt_in: false,
            });
            effects.publish(&UserRegistered {
                user_id,
                marketing_opt_in: false,
            });
        })
        .await;
    }

    /// Waits until the service has reported so many mails, each sent or failed.
    async fn reported(&self, count: usize) -> Vec<(bool, String)> {
        until("the outcome is reported", || {
            let seen = self.seen.0.lock().unwrap().clone();
            (seen.len() >= count).then_some(seen)
        })
        .await
    }
}

async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "{what}: never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn user(number: u128) -> UserId {
    Uuid::from_u128(0x0193_f0a0_0000_7000_8000_0000_0000_0000 + number)
        .to_string()
        .parse()
        .unwrap()
}

fn url(scheme: &str, server: &Smtp, rest: &str) -> String {
    format!(
        "{scheme}://shop:p%40ss%2Fword@localhost:{}{rest}",
        server.address().port()
    )
}

fn welcomed() -> Vec<(bool, String)> {
    vec![(true, "welcome".into())]
}

fn assert_whole(mail: &Received) {
    assert_eq!(mail.from, "no-reply@shop.example");
    assert_eq!(mail.to, ["ada@example.org"]);
    assert_eq!(mail.header("to").as_deref(), Some("Ada <ada@example.org>"));
    assert_eq!(
        mail.header("subject").as_deref(),
        Some("Welcome to the shop")
    );
    let id = message_id(&format!("welcome/{}", user(1)), "shop.example");
    assert_eq!(mail.header("message-id"), Some(id));
    let kind = mail.header("content-type").unwrap();
    assert!(kind.starts_with("multipart/alternative"), "{kind}");
    for part in ["text/plain", "text/html", "Dear Ada,", "<p>Dear Ada,</p>"] {
        assert!(mail.content.contains(part), "{part}: {}", mail.content);
    }
}

#[tokio::test]
async fn a_mail_goes_through_starttls_with_a_password_and_nothing_else_crosses_in_clear() {
    let authority = Authority::new();
    let server = Smtp::start(
        Security::StartTls(authority.issue(&NAMES).server(None)),
        Some(LOGIN),
    );
    let world = World::start(&url("smtp", &server, ""), Some(&authority)).await;
    world.register(1, "ada@example.org", "Ada").await;
    assert_eq!(world.reported(1).await, welcomed());
    // The same cause again: no second mail.
    world.register(1, "ada@example.org", "Ada").await;
    let order_id = OrderId::default();
    let shipped = OrderShipped {
        order_id,
        user_id: user(1),
    };
    world
        .send(|effects| {
            effects.publish(&shipped);
        })
        .await;
    let expected = [welcomed(), vec![(true, "order_shipped".to_owned())]].concat();
    assert_eq!(world.reported(2).await, expected);

    let received = server.received();
    assert_eq!(received.len(), 2);
    assert_whole(&received[0]);
    assert!(received.iter().all(|mail| mail.secure));
    assert_eq!(received[0].user.as_deref(), Some(LOGIN.0));
    assert_eq!(server.connections(), 1, "the connection is used again");
    let in_clear = server.in_clear();
    let verbs: Vec<&str> = in_clear
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(verbs, ["EHLO", "STARTTLS"], "{in_clear}");
}

#[tokio::test]
async fn a_mail_goes_through_tls_from_the_first_byte_on() {
    let authority = Authority::new();
    let server = Smtp::start(
        Security::Implicit(authority.issue(&NAMES).server(None)),
        Some(LOGIN),
    );
    let world = World::start(&url("smtps", &server, ""), Some(&authority)).await;
    world.register(1, "ada@example.org", "Ada").await;
    assert_eq!(world.reported(1).await, welcomed());
    assert_whole(&server.received()[0]);
    assert_eq!(server.in_clear(), "");
}

/// Starts the service with this URL, and waits until it has tried to send a mail several times.
async fn refuses(server: &Smtp, url: &str, authority: &Authority) {
    let world = World::start(url, Some(authority)).await;
    world.register(1, "ada@example.org", "Ada").await;
    until("it tries again", || {
        (server.connections() >= 3).then_some(())
    })
    .await;
    assert!(server.received().is_empty());
    assert!(world.seen.0.lock().unwrap().is_empty(), "the mail waits");
    let in_clear = server.in_clear();
    for secret in ["MAIL", "AUTH", "ada@example.org"] {
        assert!(!in_clear.contains(secret), "{in_clear}");
    }
}

#[tokio::test]
async fn without_valid_tls_neither_password_nor_mail_is_sent() {
    let authority = Authority::new();
    let certificates: [(&str, Issued); 3] = [
        ("another authority", Authority::new().issue(&NAMES)),
        ("another name", authority.issue(&["mail.example.com"])),
        ("expired", authority.issue_expired(&NAMES)),
    ];
    for (case, certificate) in certificates {
        println!("{case}");
        let server = Smtp::start(Security::StartTls(certificate.server(None)), Some(LOGIN));
        refuses(&server, &url("smtp", &server, ""), &authority).await;
        let server = Smtp::start(Security::Implicit(certificate.server(None)), Some(LOGIN));
        refuses(&server, &url("smtps", &server, ""), &authority).await;
    }
    // A server, or somebody on the way, that hides `STARTTLS`.
    let server = Smtp::start(Security::Plain, Some(LOGIN));
    refuses(&server, &url("smtp", &server, ""), &authority).await;
}

/// The negative control: the same server without TLS gets the mail from who asks for no TLS.
#[tokio::test]
async fn only_a_url_that_says_so_sends_without_tls() {
    let server = Smtp::start(Security::Plain, Some(LOGIN));
    let world = World::start(&url("smtp", &server, "?tls=off"), None).await;
    world.register(1, "ada@example.org", "Ada").await;
    assert_eq!(world.reported(1).await, welcomed());
    assert_whole(&server.received()[0]);
    assert!(server.in_clear().contains("AUTH PLAIN"));
    assert!(server.in_clear().contains("ada@example.org"));
}

fn plain() -> (Smtp, String) {
    let server = Smtp::start(Security::Plain, None);
    let url = format!("smtp://localhost:{}?tls=off", server.address().port());
    (server, url)
}

#[tokio::test]
async fn a_permanent_refusal_is_reported_once_and_stops_no_other_mail() {
    let (server, url) = plain();
    server.refuse(
        "eve@example.org",
        Some("550 5.1.1 <eve@example.org> is unknown"),
    );
    let world = World::start(&url, None).await;
    for number in 10..20 {
        world.register(number, "eve@example.org", "Eve").await;
    }
    world.register(1, "ada@example.org", "Ada").await;
    let mut seen = world.reported(11).await;
    seen.sort();
    let refused = vec![(false, "welcome".to_owned()); 10];
    assert_eq!(seen, [refused, welcomed()].concat());
    assert_eq!(server.received().len(), 1);
    assert_whole(&server.received()[0]);
}

#[tokio::test]
async fn a_temporary_refusal_is_tried_again_and_stops_no_other_mail() {
    let (server, url) = plain();
    server.refuse("eve@example.org", Some("450 4.2.0 try again later"));
    let world = World::start(&url, None).await;
    for number in 10..20 {
        world.register(number, "eve@example.org", "Eve").await;
    }
    world.register(1, "ada@example.org", "Ada").await;
    assert_eq!(world.reported(1).await, welcomed());
    server.refuse("eve@example.org", None);
    let seen = world.reported(11).await;
    assert!(seen.iter().all(|(sent, _)| *sent), "{seen:?}");
    assert_eq!(server.received().len(), 11);
}

#[tokio::test]
async fn every_step_that_fails_for_now_is_tried_again() {
    let busy = || Reply::Line("451 4.3.0 later".into());
    let cases = [
        (
            Step::Greeting,
            Reply::Line("554 5.3.2 no service here".into()),
        ),
        (Step::Greeting, Reply::Cut),
        (Step::Hello, busy()),
        (
            Step::Login,
            Reply::Line("535 5.7.8 the password is wrong".into()),
        ),
        (Step::Login, busy()),
        (Step::Sender, Reply::Line("421 4.3.2 closing".into())),
        (Step::Sender, busy()),
        (Step::Recipient, busy()),
        (Step::Data, busy()),
        (Step::Content, busy()),
    ];
    for (step, reply) in cases {
        let server = Smtp::start(Security::Plain, Some(LOGIN));
        server.script(step, reply.clone(), 2);
        let world = World::start(&url("smtp", &server, "?tls=off"), None).await;
        world.register(1, "ada@example.org", "Ada").await;
        assert_eq!(world.reported(1).await, welcomed(), "{step:?} {reply:?}");
        assert_eq!(server.received().len(), 1, "{step:?} {reply:?}");
    }
}

#[tokio::test]
async fn every_step_that_fails_for_good_is_reported() {
    for step in [Step::Sender, Step::Recipient, Step::Data, Step::Content] {
        let (server, url) = plain();
        server.script(step, Reply::Line("554 5.7.1 not this mail".into()), 1);
        let world = World::start(&url, None).await;
        world.register(1, "ada@example.org", "Ada").await;
        let failed = vec![(false, "welcome".to_owned())];
        assert_eq!(world.reported(1).await, failed, "{step:?}");
        assert!(server.received().is_empty(), "{step:?}");
    }
}

#[tokio::test]
async fn a_repetition_after_an_unknown_outcome_has_the_same_message_id() {
    let (server, url) = plain();
    server.script(Step::Content, Reply::Cut, 1);
    let world = World::start(&url, None).await;
    world.register(1, "ada@example.org", "Ada").await;
    assert_eq!(world.reported(1).await, welcomed());
    let received = server.received();
    assert_eq!(received.len(), 2, "the first attempt may have been lost");
    assert_eq!(received[0].content, received[1].content);
    assert_whole(&received[1]);
}

#[tokio::test]
async fn mails_wait_while_the_mail_server_is_down() {
    let (server, url) = plain();
    let world = World::start(&url, None).await;
    world.register(1, "ada@example.org", "Ada").await;
    world.reported(1).await;
    server.stop();
    for number in 2..12 {
        world.register(number, "ada@example.org", "Ada").await;
    }
    server.start_again();
    let seen = world.reported(11).await;
    assert!(seen.iter().all(|(sent, _)| *sent), "{seen:?}");
    let ids = server
        .received()
        .into_iter()
        .map(|mail| mail.header("message-id"));
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 11, "each mail once");
}

#[tokio::test]
async fn a_name_from_outside_adds_neither_header_nor_recipient() {
    let (server, url) = plain();
    let world = World::start(&url, None).await;
    let name = "Ada\r\nBcc: all@example.org\r\n\r\n.\r\nQUIT\r\n";
    world.register(1, "ada@example.org", name).await;
    assert_eq!(world.reported(1).await, welcomed());
    let received = server.received();
    assert_eq!((received.len(), received[0].to.len()), (1, 1));
    assert_eq!(received[0].header("bcc"), None, "{}", received[0].content);
    // An address that is none is a permanent refusal.
    world
        .register(2, "eve@example.org>\r\nRCPT TO:<all@example.org", "Eve")
        .await;
    let failed = vec![(false, "welcome".to_owned())];
    assert_eq!(world.reported(2).await, [welcomed(), failed].concat());
    assert_eq!(server.received().len(), 1);
}
