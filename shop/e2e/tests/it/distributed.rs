//! Services as processes of their own: the same shop to a browser, without its cache, and with
//! servers that fail.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Error, Shop, Shopper};
use shop_e2e::fleet::alone;
use shop_e2e::member::Member;
use shop_e2e::process::{binary, free_port};
use shop_e2e::servers::Servers;
use shop_e2e::wait::{check, until};
use wingbeat_servers::{Postgres, RabbitMq, Redis};

use crate::shared::PLAIN;
use crate::start::assert_refused;
use crate::storefront::{
    bank_is_down_and_back, declined_and_cancelled, fits_a_phone, guest_buys_and_sees_why, scene_at,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sees_no_difference_to_the_shop_in_one_process() {
    let mut fleet = PLAIN.alone().await;
    let delayed_soon = [("WINGBEAT_CHECKOUT_DELAYED_AFTER", "1s")];
    fleet.restart_with("orders", &delayed_soon).await;
    let desk = async || scene_at(&fleet.url(), 1280, 1000).await;
    guest_buys_and_sees_why(desk().await).await;
    bank_is_down_and_back(desk().await).await;
    declined_and_cancelled(desk().await).await;
    fits_a_phone(scene_at(&fleet.url(), 390, 844).await).await;
    fleet.restart_with("orders", &[]).await;
}

/// While Redis is killed, paused or full, public routes work and routes that need a session are
/// answered with 503; both work again once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_cache_public_routes_work_and_sessions_are_unavailable() {
    let fleet = PLAIN.alone().await;
    let (shop, cache) = (fleet.shop(), &fleet.servers.cache);
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    shopper.orders().await.unwrap();

    tokio::task::block_in_place(|| cache.kill());
    is_open(&shop).await;
    unavailable(shopper.orders().await);
    tokio::task::block_in_place(|| cache.start_again());
    recovers(&shopper).await;

    cache.pause();
    is_open(&shop).await;
    unavailable(shopper.orders().await);
    cache.resume();
    recovers(&shopper).await;

    cache.limit_memory(1);
    is_open(&shop).await;
    let site = fleet.site();
    unavailable(shop.admin(&site.password).await);
    cache.limit_memory(0);
    until("sessions are stored again", async || {
        shop.admin(&site.password).await
    })
    .await;
}

fn unavailable<T>(answer: Result<T, Error>) {
    let refused = answer.map(drop).expect_err("sessions are unavailable");
    assert!(
        matches!(refused, Error::Refused { status: 503, .. }),
        "{refused}"
    );
}

/// Public routes are answered, and the shop is ready.
async fn is_open(shop: &Shop) {
    for _ in 0..10 {
        let answer = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let ready = shop.ask(&Call::get("/readyz")).await.unwrap();
    assert_eq!(ready.status, 200, "the shop works without its cache");
}

async fn recovers(shopper: &Shopper) {
    until("sessions are known again", async || shopper.orders().await).await;
}

/// The first process that publishes declares the queues of all services.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_runs_for_the_first_time_receives_earlier_messages() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::shared().await;
    let mut identity = alone("identity", &servers, folder.path());
    let shop = started(&mut identity).await;
    let (email, password) = ("ada@example.com", "a password of hers");
    shop.sign_up(email, password).await.unwrap();
    assert!(identity.terminate().await.success());

    let mut notifications = alone("notifications", &servers, folder.path());
    let shop = started(&mut notifications).await;
    let path = format!("/dev/mailbox?to={email}");
    until("the user is welcomed", async || {
        let answer = shop.ask(&Call::get(&path)).await.unwrap();
        let mails: Value = serde_json::from_slice(&answer.body).unwrap();
        check(mails["items"][0]["template"] == "welcome", &mails)
    })
    .await;
}

/// A broker that blocks publishers or is unavailable appears in the readiness and the log of a
/// service that publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_and_log_report_a_broker_that_takes_no_messages() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::private().await;
    let mut identity = alone("identity", &servers, folder.path());
    let shop = started(&mut identity).await;
    let control = |args: &[&str]| tokio::task::block_in_place(|| servers.broker().control(args));

    control(&["set_disk_free_limit", "100000GB"]);
    // The broker reports the alarm when something is published.
    let (email, password) = ("ada@example.com", "a password of hers");
    shop.sign_up(email, password).await.unwrap();
    let blocked = not_ready(&shop).await;
    control(&["set_disk_free_limit", "50MB"]);
    ready(&shop).await;

    tokio::task::block_in_place(|| servers.broker().kill());
    let unavailable = not_ready(&shop).await;
    tokio::task::block_in_place(|| servers.broker().start_again());
    ready(&shop).await;

    assert_ne!(blocked, unavailable);
    let log = format!("identity-{}.log", identity.port);
    let log = std::fs::read_to_string(folder.path().join(log)).unwrap();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let lines: Vec<Value> = lines.collect();
    for code in [blocked, unavailable] {
        assert!(
            lines.iter().any(|line| line["code"] == *code),
            "{code}: {log}"
        );
    }
    for secret in ["guest:guest", password] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Waits until the process is not ready, and returns the code of the reason, which names the
/// broker.
async fn not_ready(shop: &Shop) -> String {
    until("the process is not ready", async || {
        let answer = shop.ask(&Call::get("/readyz")).await.unwrap();
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        let code = problem["code"].as_str().unwrap_or_default();
        let broken = answer.status == 503 && code.starts_with("broker_");
        check(broken, &problem).map(|()| code.to_owned())
    })
    .await
}

async fn ready(shop: &Shop) {
    until("the process is ready", async || {
        let answer = shop.ask(&Call::get("/readyz")).await.unwrap();
        check(answer.status == 200, answer.status)
    })
    .await;
}

/// Starts a process and waits until it is ready.
async fn started(member: &mut Member) -> Shop {
    member.start();
    let crashes = member.ready().await;
    assert!(crashes.is_empty(), "{member}: {crashes:?}");
    Shop::at(&format!("http://127.0.0.1:{}", member.port)).unwrap()
}

fn run(services: &[&str], env: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(binary())
        .arg("run")
        .args(services)
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .args(["--log", "error"])
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Servers that nobody runs.
const UNAVAILABLE: [(&str, &str); 3] = [
    ("WINGBEAT_BROKER", "amqp://u:s3cret@127.0.0.1:1"),
    ("WINGBEAT_STORE", "postgres://u:s3cret@127.0.0.1:1/db"),
    ("WINGBEAT_CACHE", "redis://u:s3cret@127.0.0.1:1"),
];

/// In an empty folder with an empty environment: one line names the missing setting and contains no
/// password.
#[test]
fn a_missing_setting_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |services: &[&str], env: &[(&str, &str)], words: &[&str]| {
        assert_refused(&run(services, env, folder.path()), words);
    };
    refused(&["order"], &[], &["order", "orders", "gateway", "provider"]);
    refused(&["orders"], &[], &["--broker", "--store", "--cache"]);
    refused(&["orders"], &UNAVAILABLE[..2], &["--cache"]);
    refused(&["orders"], &UNAVAILABLE, &["store_unavailable"]);
    refused(&["identity"], &UNAVAILABLE, &["SHOP_ADMIN_PASSWORD"]);
    for weak in ["", "short", "password123"] {
        let env = [&UNAVAILABLE[..], &[("SHOP_ADMIN_PASSWORD", weak)]].concat();
        refused(&["identity"], &env, &["SHOP_ADMIN_PASSWORD is not"]);
    }
    refused(&["payments"], &UNAVAILABLE, &["--provider"]);
    refused(&["notifications"], &UNAVAILABLE, &["--smtp"]);
}

/// A wrong URL is reported by the name of its part, before a server is asked.
#[test]
fn a_wrong_url_is_reported_by_its_part_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |services: &[&str], env: &[(&str, &str)], words: &[&str]| {
        assert_refused(&run(services, env, folder.path()), words);
    };
    let with = |name, value| [&UNAVAILABLE[..], &[(name, value)]].concat();
    for (name, value, word) in [
        (
            "WINGBEAT_SMTP",
            "http://u:s3cret@mail.example.com",
            "scheme",
        ),
        (
            "WINGBEAT_SMTP",
            "smtp://u:s3cret@mail.example.com?tls=off",
            "TLS",
        ),
        (
            "WINGBEAT_SMTP",
            "smtp://u:s3cret@mail.example.com?retries=3",
            "retries",
        ),
        ("WINGBEAT_SMTP", "smtp://u:s3cret@a,b", "one host"),
        ("WINGBEAT_MAIL_FROM", "shop", "address"),
    ] {
        refused(&["notifications"], &with(name, value), &[name, word]);
    }
    for (value, word) in [
        ("https://u:s3cret@bank.example.com", "password"),
        ("https://bank.example.com?key=s3cret", "query"),
        ("https://bank.example.com/#s3cret", "fragment"),
        ("https://a,b", "host"),
        ("https://bank.example.com:0", "port"),
        ("bank.example.com", "scheme"),
    ] {
        let provider = with("WINGBEAT_PROVIDER", value);
        refused(&["payments"], &provider, &["WINGBEAT_PROVIDER", word]);
    }
    let providers = with("WINGBEAT_URL_PROVIDER", "http://a,http://b");
    refused(&["payments"], &providers, &["WINGBEAT_URL_PROVIDER"]);
    let upstream = with("WINGBEAT_URL_ORDERS", "http://u:s3cret@orders,orders");
    refused(&["orders"], &upstream, &["WINGBEAT_URL_ORDERS"]);
}

#[test]
fn certificates_that_cannot_be_used_or_are_not_used_are_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |services: &[&str], env: &[(&str, &str)], words: &[&str]| {
        assert_refused(&run(services, env, folder.path()), words);
    };
    let mut plain = UNAVAILABLE;
    plain[1].1 = "postgres://u:s3cret@127.0.0.1:1/db?sslmode=disable";
    let with = |name, value| [&UNAVAILABLE[..], &[(name, value)]].concat();
    let authority = with("WINGBEAT_TLS_CA", "no-such-file.pem");
    refused(
        &["orders"],
        &authority,
        &["tls_invalid", "no-such-file.pem"],
    );
    let of_mails = [
        ("WINGBEAT_DEV", "on"),
        ("WINGBEAT_SMTP", "smtp://mail.example.com"),
        ("WINGBEAT_TLS_CA", "no-such-file.pem"),
    ];
    let of_mails = [&plain[..], &of_mails[..]].concat();
    refused(&["notifications"], &of_mails, &["tls_invalid"]);
    let unused = [&plain[..], &[("WINGBEAT_TLS_CA", "ca.pem")]].concat();
    refused(&["orders"], &unused, &["WINGBEAT_TLS_CA"]);
}

/// One server has a wrong URL, is unavailable or refuses the password, while the others work.
#[test]
fn a_server_that_cannot_be_used_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
    let right = [
        ("WINGBEAT_BROKER", broker.url()),
        ("WINGBEAT_STORE", store.url()),
        ("WINGBEAT_CACHE", cache.url()),
    ];
    let guest = format!("amqp://guest:s3cret@127.0.0.1:{}", broker.port());
    let session = format!("redis://u:s3cret@127.0.0.1:{}", cache.port());
    // None of the servers offers TLS.
    let encrypted = [
        format!(
            "amqps://guest:s3cret@127.0.0.1:{}?verify=verify_none",
            broker.port()
        ),
        format!("{}?sslmode=require", store.url_with_password("s3cret")),
        format!(
            "rediss://u:s3cret@127.0.0.1:{}?ssl_cert_reqs=none",
            cache.port()
        ),
    ];
    let [amqps, tls, rediss] = encrypted;
    let text = str::to_owned;
    let cases = [
        (0, text("http://u:s3cret@127.0.0.1"), "broker_url_invalid"),
        (0, text("amqp://u:s3cret@127.0.0.1:1"), "broker_unavailable"),
        (0, guest, "broker_refused"),
        (
            1,
            text("mysql://u:s3cret@127.0.0.1/db"),
            "store_url_invalid",
        ),
        (
            1,
            text("postgres://u:s3cret@127.0.0.1:1/db"),
            "store_unavailable",
        ),
        (1, store.url_with_password("s3cret"), "store_refused"),
        (2, text("http://u:s3cret@127.0.0.1"), "cache_url_invalid"),
        (2, text("redis://u:s3cret@127.0.0.1:1"), "cache_unavailable"),
        (2, session, "cache_refused"),
        (0, amqps, "broker_tls_failed"),
        (1, tls, "store_tls_failed"),
        (2, rediss, "cache_tls_failed"),
    ];
    for (which, url, code) in &cases {
        let mut env = right.clone();
        env[*which].1.clone_from(url);
        let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
        let output = run(&["orders"], &env, folder.path());
        assert_refused(&output, &[code]);
        if !code.ends_with("_url_invalid") {
            let address = url.rsplit('@').next().unwrap();
            let address = address.split(['/', '?']).next().unwrap();
            assert_refused(&output, &[address]);
        }
    }
}

/// Each server that does not answer is named with its address, not only the first one.
#[test]
fn all_servers_that_do_not_answer_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let [broker, store, cache] = std::array::from_fn(|_| free_port());
    let env = [
        (
            "WINGBEAT_BROKER",
            format!("amqp://u:s3cret@127.0.0.1:{broker}"),
        ),
        (
            "WINGBEAT_STORE",
            format!("postgres://u:s3cret@127.0.0.1:{store}/db"),
        ),
        (
            "WINGBEAT_CACHE",
            format!("redis://u:s3cret@127.0.0.1:{cache}"),
        ),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let addresses = [broker, store, cache].map(|port| format!("127.0.0.1:{port}"));
    let mut words = vec![
        "broker_unavailable",
        "store_unavailable",
        "cache_unavailable",
    ];
    words.extend(addresses.iter().map(String::as_str));
    assert_refused(&run(&["orders"], &env, folder.path()), &words);
}

/// Everything that is wrong is reported at once, and before the first connection: a server that
/// would accept one gets none.
#[test]
fn all_wrong_settings_are_reported_at_once_before_the_first_connection() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let cache = format!("redis://u:s3cret@127.0.0.1:{port}");
    let env = [
        ("WINGBEAT_BROKER", "http://u:s3cret@127.0.0.1"),
        ("WINGBEAT_STORE", "mysql://u:s3cret@127.0.0.1/db"),
        ("WINGBEAT_CACHE", cache.as_str()),
        ("WINGBEAT_DRAIN_DELAY", "later"),
        ("WINGBEAT_LOG_FORMAT", "xml"),
        ("WINGBEAT_SHIPPING_DISPATCH_AFTER", "soon"),
        ("WINGBEAT_PASSWORD_PASSES", "0"),
        ("WINGBEAT_URL_ORDERS", "orders:8080"),
        ("SHOP_ADMIN_PASSWORD_FILE", "missing"),
        ("TOKIO_WORKER_THREADS", "none"),
    ];
    let words = [
        "broker_url_invalid",
        "store_url_invalid",
        "WINGBEAT_DRAIN_DELAY",
        "WINGBEAT_LOG_FORMAT",
        "WINGBEAT_SHIPPING_DISPATCH_AFTER",
        "WINGBEAT_PASSWORD_PASSES",
        "WINGBEAT_URL_ORDERS",
        "SHOP_ADMIN_PASSWORD_FILE",
        "TOKIO_WORKER_THREADS",
        "--provider",
        "\"order, bill\"",
    ];
    let services = ["payments", "order", "bill"];
    assert_refused(&run(&services, &env, folder.path()), &words);
    let asked = listener.accept().map(|_| ());
    let none = asked.map_err(|why| why.kind());
    assert_eq!(none, Err(std::io::ErrorKind::WouldBlock), "it was asked");
}
