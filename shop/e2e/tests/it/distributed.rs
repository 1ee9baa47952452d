//! Each service as a process of its own on RabbitMQ, PostgreSQL and Redis: the same shop, also without its cache.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use shop_client::http::Call;
use shop_client::{Shop, Shopper};
use shop_e2e::fleet::{Fleet, Member, PASSWORD, Servers, alone};
use shop_e2e::process::binary;
use wingbeat_servers::{Postgres, RabbitMq, Redis};

use crate::start::refuses;
use crate::storefront::{
    bank_is_down_and_back, declined_and_cancelled, fits_a_phone, guest_buys_and_sees_why, scene_at,
};

/// How long anything may take to heal.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_by_themselves_are_the_same_shop() {
    let folder = tempfile::tempdir().unwrap();
    let quick = [("WINGBEAT_CHECKOUT_DELAYED_AFTER", "1s")];
    let fleet = Fleet::start(folder.path().to_owned(), binary(), &quick).await;
    let desk = async || scene_at(&fleet.url(), 1280, 1000).await;
    guest_buys_and_sees_why(desk().await).await;
    bank_is_down_and_back(desk().await).await;
    declined_and_cancelled(desk().await).await;
    fits_a_phone(scene_at(&fleet.url(), 390, 844).await).await;
    without_the_cache(&fleet).await;
}

/// Redis is lost, says nothing, or is full: what is public is answered, what needs the part that fails says 503, and
/// it heals by itself.
async fn without_the_cache(fleet: &Fleet) {
    let (shop, cache) = (fleet.shop(), &fleet.servers.cache);
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    shopper.orders().await.expect("its orders are listed");
    let unknown = async || {
        let refused = shopper.orders().await.expect_err("nobody knows who asks");
        assert!(refused.to_string().contains("503"), "{refused}");
    };

    tokio::task::block_in_place(|| cache.kill());
    is_open(&shop).await;
    unknown().await;
    tokio::task::block_in_place(|| cache.start_again());
    heals(&shopper).await;

    cache.pause();
    is_open(&shop).await;
    unknown().await;
    cache.resume();
    heals(&shopper).await;

    cache.limit_memory(1);
    is_open(&shop).await;
    let refused = shop.admin(PASSWORD).await.map(drop);
    let refused = refused.expect_err("a session has no place");
    assert!(refused.to_string().contains("503"), "{refused}");
    cache.limit_memory(0);
    let until = Instant::now() + HEALED_WITHIN;
    while let Err(why) = shop.admin(PASSWORD).await {
        assert!(Instant::now() < until, "there is no place again: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is public is answered, and the shop says that it is ready.
async fn is_open(shop: &Shop) {
    for _ in 0..10 {
        let answer = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
        assert_eq!(answer.status, 200, "what is public is answered");
    }
    let ready = shop.ask(&Call::get("/readyz")).await.unwrap();
    assert_eq!(ready.status, 200, "the cache is no reason to close");
}

async fn heals(shopper: &Shopper) {
    let until = Instant::now() + HEALED_WITHIN;
    while let Err(why) = shopper.orders().await {
        assert!(Instant::now() < until, "it does not heal: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn run(services: &[&str], env: &[(&str, &str)], folder: &std::path::Path) -> Output {
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

/// Whoever publishes first has declared the queues of all: a subscriber that has never run before misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_runs_for_the_first_time_hears_what_was_told_before() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start().await;
    let mut identity = alone("identity", &servers, folder.path(), &binary());
    let shop = started(&mut identity).await;
    let (email, password) = ("ada@example.com", "a password of hers");
    shop.sign_up(email, password).await.expect("she signs up");
    assert!(identity.terminate().await.success());

    let mut notifications = alone("notifications", &servers, folder.path(), &binary());
    let shop = started(&mut notifications).await;
    let until = Instant::now() + HEALED_WITHIN;
    let path = format!("/dev/mailbox?to={email}");
    let mailbox = Call::get(&path);
    loop {
        let answer = shop.ask(&mailbox).await.unwrap();
        if String::from_utf8_lossy(&answer.body).contains("\"welcome\"") {
            return;
        }
        assert!(Instant::now() < until, "she is not welcomed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A broker that takes nothing, or is away, is named by the readiness of who has something to say, until it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_takes_nothing_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start().await;
    let mut identity = alone("identity", &servers, folder.path(), &binary());
    let shop = started(&mut identity).await;
    let control = |args: &[&str]| tokio::task::block_in_place(|| servers.broker.control(args));

    control(&["set_disk_free_limit", "100000GB"]);
    // The broker says so when something is published, not before.
    let (email, password) = ("ada@example.com", "a password of hers");
    shop.sign_up(email, password)
        .await
        .expect("she signs up all the same");
    says(&shop, 503, "broker_blocked").await;
    control(&["set_disk_free_limit", "50MB"]);
    says(&shop, 200, "ready").await;

    tokio::task::block_in_place(|| servers.broker.kill());
    says(&shop, 503, "broker_away").await;
    tokio::task::block_in_place(|| servers.broker.start_again());
    says(&shop, 200, "ready").await;

    let log = folder
        .path()
        .join(format!("identity-{}.log", identity.port));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("broker_blocked") && log.contains("broker_away"),
        "{log}"
    );
    assert!(
        !log.contains("guest:guest") && !log.contains(password),
        "{log}"
    );
}

/// Waits until it is ready, or says why not.
async fn says(shop: &Shop, status: u16, word: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = shop.ask(&Call::get("/readyz")).await.unwrap();
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == status && told.contains(word) {
            return;
        }
        assert!(Instant::now() < until, "never {word}: {told}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts a process and waits until it is ready.
async fn started(member: &mut Member) -> Shop {
    member.start();
    let shop = Shop::at(&format!("http://127.0.0.1:{}", member.port)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let ready = Call::get("/readyz");
    while !shop.ask(&ready).await.is_ok_and(|it| it.status == 200) {
        assert!(Instant::now() < until, "{} is not ready", member.service);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop
}

/// From an empty folder, with an empty environment: one line says what is missing, with no password in it.
#[test]
fn a_service_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |services: &[&str], env: &[(&str, &str)], words: &str| {
        let output = run(services, env, folder.path());
        refuses(&output, words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("s3cret"), "{told}");
    };
    refused(&["order"], &[], "there is no service \"order\"");
    refused(&["orders"], &[], "--broker, --store and --cache");
    let away = [
        ("WINGBEAT_BROKER", "amqp://u:s3cret@127.0.0.1:1"),
        ("WINGBEAT_STORE", "postgres://u:s3cret@127.0.0.1:1/db"),
        ("WINGBEAT_CACHE", "redis://u:s3cret@127.0.0.1:1"),
    ];
    refused(&["orders"], &away[..2], "--cache is missing");
    refused(&["orders"], &away, "PostgreSQL");
    refused(&["identity"], &away, "SHOP_ADMIN_PASSWORD");
    refused(&["payments"], &away, "--provider");
    refused(&["notifications"], &away, "SMTP");
}

/// One of the servers is named wrongly, away, or refuses the password; the others are there.
#[test]
fn a_server_that_cannot_be_used_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
    let right = [
        ("WINGBEAT_BROKER", broker.url()),
        ("WINGBEAT_STORE", store.url()),
        ("WINGBEAT_CACHE", cache.url()),
    ];
    let guest = format!("amqp://guest:s3cret@127.0.0.1:{}", broker.port());
    let session = format!("redis://u:s3cret@127.0.0.1:{}", cache.port());
    let cases = [
        (
            0,
            "http://u:s3cret@127.0.0.1".to_owned(),
            "not a URL of AMQP",
        ),
        (0, "amqp://u:s3cret@127.0.0.1:1".to_owned(), "RabbitMQ"),
        (0, guest, "RabbitMQ"),
        (
            1,
            "mysql://u:s3cret@127.0.0.1/db".to_owned(),
            "not a URL of PostgreSQL",
        ),
        (
            1,
            "postgres://u:s3cret@127.0.0.1:1/db".to_owned(),
            "PostgreSQL",
        ),
        (1, store.guarded("s3cret"), "28P01"),
        (
            2,
            "http://u:s3cret@127.0.0.1".to_owned(),
            "not a URL of Redis",
        ),
        (2, "redis://u:s3cret@127.0.0.1:1".to_owned(), "Redis"),
        (2, session, "Redis"),
    ];
    for (which, url, words) in &cases {
        let mut env = right.clone();
        env[*which].1.clone_from(url);
        let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
        let output = run(&["orders"], &env, folder.path());
        refuses(&output, words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("s3cret"), "{told}");
    }
}
