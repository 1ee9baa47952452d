//! Two replicas of every service and two gateways, each of them asked to end and started again while people shop: nobody
//! notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;
use shop_client::http::{Call, Event};
use shop_client::{Order, Shop, Shopper};
use shop_e2e::balancer::Balancer;
use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::process::binary;
use shop_e2e::shopping::Shopping;
use tokio::sync::watch;

/// Longer than the balancer takes to look, on a busy machine too.
const DRAIN_DELAY: (&str, &str) = ("WINGBEAT_DRAIN_DELAY", "2s");
/// How long the orders may take to end, and then to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// What nobody else wants.
const QUIET: &str = "WB-BELL-01";
/// An order that nobody has placed.
const NOBODYS: &str = "01890000-0000-7000-8000-000000000000";
/// What an order that goes well is told to be.
const STATUSES: [&str; 6] = [
    "placed",
    "stock_reserved",
    "payment_authorized",
    "paid",
    "shipped",
    "completed",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_runs_twice_and_is_restarted_piece_by_piece() {
    let folder = tempfile::tempdir().unwrap();
    let quick = [
        DRAIN_DELAY,
        ("WINGBEAT_SHIPPING_DISPATCH_AFTER", "400ms"),
        ("WINGBEAT_SHIPPING_DELIVER_AFTER", "400ms"),
        // A slow machine is not a slow bank: nobody is told of that.
        ("WINGBEAT_CHECKOUT_DELAYED_AFTER", "10m"),
    ];
    let mut fleet = Fleet::start_all_twice(folder.path().to_owned(), binary(), &quick).await;
    let services: Vec<&str> = fleet.members.iter().map(|it| it.service).collect();
    let once = services.iter().filter(|it| **it == "provider").count();
    assert_eq!((services.len(), once), (21, 1), "{services:?}");
    let gateways: Vec<u16> = fleet.of("gateway").iter().map(|it| it.port).collect();
    let balancer = Balancer::to(&gateways).await;
    let shop = balancer.shop();
    balancer.ready().await;

    let shopping = Shopping::begin(&shop, 10).await;
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(no_request_fails(shop.clone(), Arc::clone(&over)));
    for (place, service) in services.iter().enumerate() {
        if *service == "provider" {
            continue;
        }
        assert!(shopping.in_flight(2).await, "orders are placed");
        let status = fleet.members[place].terminate().await;
        assert!(status.success(), "{service} ends with {status}");
        fleet.members[place].start();
        fleet.ready().await;
        balancer.ready().await;
    }
    over.store(true, Ordering::SeqCst);
    let answered = watching.await.unwrap();
    assert!(answered > 200, "{answered} requests were made meanwhile");
    let outcome = shopping.end(&shop, PASSWORD).await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert_eq!(fleet.crashed, Vec::<String>::new());
}

/// Reads and writes, each sent once, with and without a key; how many were answered. And whoever listens meanwhile is
/// told everything once.
async fn no_request_fails(shop: Shop, over: Arc<AtomicBool>) -> usize {
    let shopper: Shopper = shop.shoppers(1).await.unwrap().remove(0);
    let (told, mut hears) = watch::channel(None);
    let listening = tokio::spawn(listen(shopper.clone(), told));
    let _ = hears.wait_for(Option::is_some).await.unwrap();
    let (mut answered, mut placed) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let answer = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
        assert_eq!(answer.status, 200);
        for path in ["/api/v1/me", "/api/v1/cart", "/api/v1/promotions"] {
            let answer = shopper.ask(Call::get(path)).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
        }
        shopper.orders().await.expect("its orders are listed");
        let order = Order::of([(QUIET.into(), 1)]);
        let key = shop_client::shop::key();
        // No time to send it again: it is answered at once, or fails.
        let limit = Duration::from_millis(1);
        let order = shopper.place_as(&key, &order, limit).await;
        placed.push(order.expect("the order is taken").order_id);
        keyless(&shop, &shopper).await;
        answered += 8;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for id in &placed {
        shopper.wait_ended(id, TOLD_WITHIN).await.unwrap();
    }
    let all = |told: &Told| placed.iter().all(|id| ended(told, id));
    let waits = hears.wait_for(|told| told.as_ref().is_some_and(all));
    let _ = tokio::time::timeout(TOLD_WITHIN, waits).await;
    let told = hears.borrow().clone().unwrap();
    drop(hears);
    listening.await.unwrap();
    for id in placed {
        assert_eq!(told[&id], STATUSES, "{id}");
    }
    answered
}

/// What has no key is never sent twice by anybody, so it must not fail the first time.
async fn keyless(shop: &Shop, shopper: &Shopper) {
    let email = format!("{:032x}@rolling.example", fastrand::u128(..));
    let signed_up = shop.sign_up(&email, "a password of theirs").await;
    signed_up.expect("somebody signs up");
    let path = format!("/api/v1/orders/{NOBODYS}/cancel");
    let answer = shopper.ask(Call::post(&path)).await.unwrap();
    assert_eq!(answer.status, 404, "nobody placed this");
}

/// What each order was told to be, in the order of telling.
type Told = BTreeMap<String, Vec<String>>;

fn ended(told: &Told, id: &str) -> bool {
    let last = told.get(id).and_then(|statuses| statuses.last());
    last.map(String::as_str) == STATUSES.last().copied()
}

/// Tells what it was told, over as many streams as it takes, until nobody wants to know; nothing before the first stream
/// is open.
async fn listen(shopper: Shopper, told: watch::Sender<Option<Told>>) {
    let mut last: Option<HeaderValue> = None;
    while !told.is_closed() {
        let Ok(mut stream) = shopper.stream(last.as_ref()).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        told.send_modify(|told| _ = told.get_or_insert_default());
        while !told.is_closed() {
            let next = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;
            match next {
                Ok(Ok(Some(event))) => last = note(&event, &told).or(last),
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

/// Notes what an event tells of an order; its id.
fn note(event: &Event, told: &watch::Sender<Option<Told>>) -> Option<HeaderValue> {
    let data: Value = serde_json::from_slice(&event.data).ok()?;
    let [id, status] = ["order_id", "status"].map(|it| data[it].as_str().map(str::to_owned));
    let (id, status) = (id?, status?);
    told.send_modify(|told| {
        let told = told.get_or_insert_default();
        told.entry(id).or_default().push(status);
    });
    HeaderValue::from_bytes(&event.id).ok()
}
