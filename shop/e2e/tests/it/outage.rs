//! The payment company is down, or a service of ours: orders are still placed, and processed once it
//! is back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Card, Order, Shopper};

use shop_e2e::process::Place;

/// Orders placed during an outage.
const ORDERS: usize = 40;
/// How long an answer that is awaited may take.
const SOON: Duration = Duration::from_secs(30);
/// The breaker opens within this after the first failure.
const OPENED_WITHIN: Duration = Duration::from_secs(10);
/// It closes within this after the provider is back.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

async fn json_of(shopper: &Shopper, path: &str) -> Value {
    let answer = shopper.ask(Call::get(path)).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

async fn breaker(admin: &Shopper) -> String {
    let breakers = json_of(admin, "/api/v1/admin/breakers").await;
    breakers["items"][0]["state"].as_str().unwrap().to_owned()
}

/// Waits for the breaker; how long that took.
async fn breaker_is(admin: &Shopper, state: &str, within: Duration) -> Duration {
    let start = Instant::now();
    while breaker(admin).await != state {
        assert!(start.elapsed() < within, "not {state} within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

async fn place(shoppers: &[Shopper], card: Card) -> Vec<(usize, String)> {
    let mut placed = Vec::new();
    for number in 0..ORDERS {
        let at = number % shoppers.len();
        let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
        let answer = shoppers[at].place(&order, SOON).await.unwrap();
        placed.push((at, answer.order_id));
    }
    placed
}

async fn all_are_paid(shoppers: &[Shopper], placed: &[(usize, String)]) {
    for (at, id) in placed {
        let status = shoppers[*at].wait_paid(id, SOON).await.unwrap();
        assert!(status.is_paid(), "{status:?}");
    }
}

async fn all_holds(admin: &Shopper) {
    let letters = json_of(admin, "/api/v1/admin/dead-letters").await;
    assert_eq!(letters["items"], json!([]));
    let (report, text) = admin.audit().await.unwrap();
    assert!(report.ok, "{text}");
}

#[tokio::test]
async fn orders_are_placed_while_the_provider_is_down_and_paid_once_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let place_of = Place::new(data.path()).with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "500ms");
    let running = place_of.start().await;
    let shop = place_of.shop();
    let shoppers = shop.shoppers(8).await.unwrap();
    let admin = shop.admin(&place_of.password()).await.unwrap();

    shop.set_faults(&json!({"outage": true})).await.unwrap();
    let placed = place(&shoppers, Card::Ok).await;
    breaker_is(&admin, "open", OPENED_WITHIN).await;
    for (at, id) in &placed {
        let until = Instant::now() + SOON;
        while !shoppers[*at].order(id).await.unwrap().payment_delayed {
            assert!(Instant::now() < until, "{id} is not delayed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(shop.products().await.unwrap().len() >= 12);

    shop.set_faults(&json!({})).await.unwrap();
    breaker_is(&admin, "closed", CLOSED_WITHIN).await;
    all_are_paid(&shoppers, &placed).await;
    all_holds(&admin).await;
    drop(running);
}

#[tokio::test]
async fn one_slow_or_flaky_card_never_opens_the_breaker() {
    let data = tempfile::tempdir().unwrap();
    let place_of = Place::new(data.path());
    let running = place_of.start().await;
    let shop = place_of.shop();
    let shoppers = shop.shoppers(1).await.unwrap();
    let admin = shop.admin(&place_of.password()).await.unwrap();
    for card in [Card::Flaky, Card::Slow, Card::LostReply] {
        let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
        let placed = shoppers[0].place(&order, SOON).await.unwrap();
        loop {
            assert_eq!(breaker(&admin).await, "closed", "{card:?}");
            if shoppers[0].order(&placed.order_id).await.unwrap().is_paid() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    all_holds(&admin).await;
    drop(running);
}

#[tokio::test]
async fn any_service_may_crash_while_orders_flow() {
    let data = tempfile::tempdir().unwrap();
    let place_of = Place::new(data.path())
        .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "100ms")
        .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "100ms");
    let running = place_of.start().await;
    let shop = place_of.shop();
    let shoppers = shop.shoppers(8).await.unwrap();
    let admin = shop.admin(&place_of.password()).await.unwrap();
    let mut all = Vec::new();
    for service in shop_registry::NAMES {
        let path = format!("/dev/services/{service}/crash");
        let call = Call::post(&path);
        let (placed, crashed) = tokio::join!(place(&shoppers, Card::Ok), shop.ask(&call));
        assert_eq!(crashed.unwrap().status, 200, "{service}");
        all.extend(placed);
    }
    for (at, id) in &all {
        let status = shoppers[*at]
            .wait_ended(id, Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(status.status, "completed");
    }
    all_holds(&admin).await;
    let unknown = shop
        .ask(&Call::post("/dev/services/nobody/crash"))
        .await
        .unwrap();
    assert_eq!(unknown.status, 404);
    drop(running);
}
